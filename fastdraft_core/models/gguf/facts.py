"""What lists of models tell of a GGUF file, read from its header alone. No model library."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.fingerprint import fingerprint
from fastdraft_core.models.gguf.architectures import architecture_of, configuration, sizes_of, weights_of
from fastdraft_core.models.gguf.model_file import parts, read_model
from fastdraft_core.models.gguf.rope import read_factors
from fastdraft_core.models.gguf.vocabulary import NOT_NEEDED, read_vocabulary
from fastdraft_core.models.weights import stamp


@dataclass(frozen=True, slots=True)
class GgufFacts:
    """A model in GGUF files. ``architecture`` is transformers' name; ``tokenizer`` names the vocabulary's ``num_tokens``.

    ``chat`` says that it has a chat template.
    """

    architecture: str
    quantization: str
    vocab_size: int
    context: int
    parameters: int
    num_bytes: int
    tokenizer: str
    num_tokens: int
    chat: bool = False


def gguf_facts(file: Path) -> GgufFacts | None:
    """The facts of the model that begins in ``file``; None where it is damaged or cannot be imported."""
    return _read(tuple(parts(file)), tuple(stamp(part) for part in parts(file)))


@lru_cache(maxsize=512)
def _read(files: tuple[Path, ...], stamps: tuple[tuple[int, int], ...]) -> GgufFacts | None:
    """``stamps`` have the files read again when they are others."""
    try:
        model = read_model(files[0], without=NOT_NEEDED)
        found, sizes = architecture_of(model), sizes_of(model)
        # What an import would refuse is not listed.
        weights_of(model)
        configuration(model, read_factors(model))
        name, num_tokens = fingerprint(read_vocabulary(model).tokens)
        quantization = model.quantization
        chat = bool(model.text("tokenizer.chat_template", ""))
    except FastdraftError:
        return None
    return GgufFacts(
        architecture=found.class_name,
        quantization=quantization,
        vocab_size=sizes.vocab,
        context=sizes.context,
        parameters=model.parameters,
        num_bytes=sum(size for size, _ in stamps),
        tokenizer=name,
        num_tokens=num_tokens,
        chat=chat,
    )
