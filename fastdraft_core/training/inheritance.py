"""Start a draft from an existing small model instead of from nothing.

*Pruned*: some layers of a sibling, a smaller model with the target's own vocabulary. *Transplanted*: some or all layers of
a donor with another vocabulary, whose embeddings are given to the target's tokens: a token with the same bytes gets the
donor's own row, any other the mean of the rows of the pieces that the donor cuts it into.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from fastdraft_core.engine.pair import check_vocabularies
from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.folders import load_tokenizer, local_folder
from fastdraft_core.runtimes.torch.loading import load_model
from fastdraft_core.training.architecture import read_config
from fastdraft_core.training.shape_check import usable_attention

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel

    from fastdraft_core.training.recipe import Init, ModelShape

#: A weight of a layer: what stands before its number, the number, what follows.
_LAYER = re.compile(r"^(.+?\.)(\d+)(\..+)$")
#: The recipe's names of a shape, and the configuration's.
_SHAPE = {
    "hidden_size": "hidden_size",
    "num_heads": "num_attention_heads",
    "num_kv_heads": "num_key_value_heads",
    "intermediate_size": "intermediate_size",
    "context_length": "max_position_embeddings",
    "tie_embeddings": "tie_word_embeddings",
}


def inherited_config(init: Init, shape: ModelShape, *, vocab_size: int, special: Mapping[str, Any]) -> PretrainedConfig:
    """The configuration of ``init.model`` with the layers that are kept; of it only config.json is read.

    A transplanted one has ``vocab_size`` ids and the ``special`` ids of the target.

    Raises:
        FastdraftError: the model cannot be had, or ``shape`` is not its own but for ``num_layers``.
    """
    assert init.model is not None
    config = read_config(init.model)
    # Some architectures lack one of these, such as key-value heads.
    own = {name: value for name, theirs in _SHAPE.items() if (value := getattr(config, theirs, None)) is not None}
    wrong = {name: value for name, value in own.items() if getattr(shape, name) != value}
    if shape.architecture not in (None, config.model_type):
        wrong["architecture"] = config.model_type
    if wrong:
        told = ", ".join(msgspec.toml.encode(wrong).decode().splitlines())
        raise FastdraftError(
            f"A {init.method} draft has the shape of {init.model} but for num_layers. Set under [model]: {told}."
        )
    kept = kept_layers(init, shape.num_layers, config.num_hidden_layers)
    if getattr(config, "layer_types", None):
        config.layer_types = [config.layer_types[layer] for layer in kept]
    config.num_hidden_layers = len(kept)
    if init.method == "transplant":
        config.update({"vocab_size": vocab_size, **special})
    return config


def kept_layers(init: Init, num_layers: int, available: int) -> list[int]:
    """Which of the ``available`` layers are kept, ascending: the recipe's own choice, or evenly spread ones, ends included.

    Raises:
        FastdraftError: there are not so many, or the recipe's list does not fit ``num_layers``.
    """
    if init.layers is None:
        if num_layers > available:
            raise FastdraftError(
                f"{init.model} has {available} layers; model.num_layers = {num_layers} is more than that."
            )
        last = max(1, num_layers - 1)
        return [round(n * (available - 1) / last) for n in range(num_layers)]
    kept = init.layers
    if kept != sorted(set(kept)) or not all(0 <= layer < available for layer in kept) or len(kept) != num_layers:
        raise FastdraftError(
            f"init.layers must name model.num_layers = {num_layers} different layers of {init.model} in ascending order, "
            f"from 0 to {available - 1}; it names {kept}."
        )
    return kept


def inherited_model(
    init: Init, config: PretrainedConfig, tokenizer: Any, target: str, attention: str
) -> tuple[PreTrainedModel, str]:
    """The draft of ``config`` with the weights of ``init.model`` in float32, and in words what it got from there.

    Raises:
        FastdraftError: a pruned one has another vocabulary than ``tokenizer``, or the weights cannot be had.
    """
    assert init.model is not None
    folder = local_folder(init.model)
    theirs = load_tokenizer(folder, init.model)
    if init.method == "pruned":
        try:
            check_vocabularies(tokenizer.get_vocab(), theirs.get_vocab(), target, init.model)
        except FastdraftError as error:
            raise FastdraftError(
                f"{error.message} For a model with another vocabulary set init.method = 'transplant'."
            ) from error
    source = load_model(folder, init.model, device="cpu", dtype="float32")
    kept = kept_layers(init, config.num_hidden_layers, source.config.num_hidden_layers)
    told = f"layers {', '.join(map(str, kept))} of {init.model}"
    if init.method == "transplant":
        told = f"{told}; {_transplant(source, theirs, tokenizer, config.vocab_size)}"
    return _with_layers(source, config, kept, attention), told


def _with_layers(
    source: PreTrainedModel, config: PretrainedConfig, kept: Sequence[int], attention: str
) -> PreTrainedModel:
    """A model of ``config`` with everything of ``source`` but the layers that are not ``kept``."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(
        deepcopy(config), attn_implementation=usable_attention(config, attention), dtype=source.dtype
    )
    place = {old: new for new, old in enumerate(kept)}
    weights = {}
    for name, tensor in source.state_dict().items():
        match = _LAYER.match(name)
        if match is None:
            weights[name] = tensor
        elif int(match[2]) in place:
            weights[f"{match[1]}{place[int(match[2])]}{match[3]}"] = tensor
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise FastdraftError(
            f"The layers of a {config.model_type} cannot be taken out one by one ({str(error).splitlines()[0]}). Train from "
            "nothing, or start from another model."
        ) from error
    return model


def _transplant(model: PreTrainedModel, theirs: Any, ours: Any, vocab_size: int) -> str:
    """Give ``model`` an embedding and an output row for each of the ``vocab_size`` ids of ``ours``; tells how."""
    import torch

    pieces, same = token_pieces(theirs, ours)
    table: Any = model.get_input_embeddings()
    head: Any = model.get_output_embeddings()
    tied = head is not None and head.weight is table.weight
    model.set_input_embeddings(
        torch.nn.Embedding.from_pretrained(_rows(table.weight, pieces, vocab_size), freeze=False)
    )
    if head is not None and not tied:
        out = torch.nn.Linear(head.in_features, vocab_size, bias=head.bias is not None)
        out.weight = torch.nn.Parameter(_rows(head.weight, pieces, vocab_size))
        if head.bias is not None:
            out.bias = torch.nn.Parameter(_rows(head.bias[:, None], pieces, vocab_size)[:, 0])
        model.set_output_embeddings(out)
    elif tied:
        model.tie_weights()
        model.get_output_embeddings().weight = model.get_input_embeddings().weight  # type: ignore[union-attr]
    rest = len(pieces) - same
    return f"{same:,} tokens have the donor's own embedding, {rest:,} the mean of its pieces"


def token_pieces(theirs: Any, ours: Any) -> tuple[dict[int, list[int]], int]:
    """For each id of ``ours`` the ids of ``theirs`` that stand for it, and how many ids have one of the same bytes.

    Special tokens are matched by what they are for, such as the end of a text.
    """
    known = {text: number for number, text in _token_bytes(theirs).items()}
    special = _special(theirs)
    found: dict[int, list[int]] = {}
    for number, role in {number: role for role, number in _special(ours).items()}.items():
        if role in special:
            found[number] = [special[role]]
    unmatched = []
    for number, text in _token_bytes(ours).items():
        if number in found:
            continue
        if text in known:
            found[number] = [known[text]]
        else:
            unmatched.append((number, text))
    same = len(found)
    texts = [text.decode("utf-8", "ignore") for _, text in unmatched]
    encoded = theirs(texts, add_special_tokens=False).input_ids if texts else []
    for (number, _), pieces in zip(unmatched, encoded, strict=True):
        found[number] = list(pieces)
    return found, same


def _rows(weight: torch.Tensor, pieces: Mapping[int, Sequence[int]], vocab_size: int) -> torch.Tensor:
    """``[vocab_size, width]``: the mean of ``weight``'s rows of each id's pieces; of all rows where there are none."""
    weight = weight.detach()
    rows = weight.mean(0, keepdim=True).repeat(vocab_size, 1)
    for number, ids in pieces.items():
        if ids and number < vocab_size:
            rows[number] = weight[list(ids)].mean(0)
    return rows


def _special(tokenizer: Any) -> dict[str, int]:
    roles = ("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id")
    return {role: number for role in roles if (number := getattr(tokenizer, role, None)) is not None}


def _token_bytes(tokenizer: Any) -> dict[int, bytes]:
    """What each id stands for in a text, whatever alphabet the vocabulary is written in; special ids are left out."""
    special = set(tokenizer.all_special_ids)
    decoder = json.loads(tokenizer.backend_tokenizer.to_str())["decoder"]
    read = _from_byte_level if "ByteLevel" in json.dumps(decoder) else _from_sentencepiece
    return {number: read(token) for token, number in tokenizer.get_vocab().items() if number not in special}


def _from_byte_level(token: str) -> bytes:
    """The bytes behind the printable characters that stand for them in a byte-level vocabulary."""
    alphabet = _byte_alphabet()
    if all(character in alphabet for character in token):
        return bytes(alphabet[character] for character in token)
    return token.encode()


def _from_sentencepiece(token: str) -> bytes:
    if match := re.fullmatch(r"<0x([0-9A-Fa-f]{2})>", token):
        return bytes.fromhex(match[1])
    return token.replace("▁", " ").encode()


@cache
def _byte_alphabet() -> dict[str, int]:
    """Byte-level BPE writes printable Latin-1 bytes as themselves and the others, in order, from U+0100 on."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = (byte for byte in range(256) if byte not in printable)
    shifted: Iterable[tuple[int, int]] = ((256 + n, byte) for n, byte in enumerate(others))
    return {chr(byte): byte for byte in printable} | {chr(code): byte for code, byte in shifted}
