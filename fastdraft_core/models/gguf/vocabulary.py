"""The tokens of a GGUF file: their texts, kinds and scores, and which of them begin and end a text. No model library."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.gguf.model_file import GgufModel

#: ``tokenizer.ggml.model`` of the tokenizers that can be built: byte-level BPE, and sentencepiece's BPE with scores.
BYTE_LEVEL, SENTENCEPIECE = "gpt2", "llama"
#: Arrays of the header that the tokens do not need.
NOT_NEEDED = ("tokenizer.ggml.merges", "tokenizer.ggml.scores")
_PADDING = re.compile(r"^\[PAD\d+\]$")
#: Tokens that end an answer wherever a vocabulary has them, as llama.cpp knows them by their texts.
_ENDS = frozenset({
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>",
    "<|end_of_text|>", "<end_of_utterance>", "<eos>",
})  # fmt: skip


class TokenType(IntEnum):
    """``tokenizer.ggml.token_type``."""

    UNDEFINED = 0
    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The text and type of every id; an id whose type is PADDING in llama.cpp's own way has the text None.

    ``beginning`` and ``end`` are ids, or None; ``ends`` are all ids that end an answer.
    """

    kind: str
    texts: tuple[str | None, ...]
    types: tuple[int, ...]
    beginning: int | None
    end: int | None
    unknown: int | None
    padding: int | None
    ends: tuple[int, ...]

    @property
    def tokens(self) -> dict[int, str]:
        """The token of every id that is one."""
        return {number: text for number, text in enumerate(self.texts) if text is not None}

    def of_type(self, *types: TokenType) -> list[int]:
        """The ids of tokens of these types."""
        return [
            number
            for number, (text, kind) in enumerate(zip(self.texts, self.types, strict=True))
            if text is not None and kind in types
        ]


def read_vocabulary(model: GgufModel) -> Vocabulary:
    """The vocabulary of ``model``.

    Raises:
        FastdraftError: it has none, one of a kind that cannot be used, or a damaged one.
    """
    kind = model.text("tokenizer.ggml.model")
    if kind not in (BYTE_LEVEL, SENTENCEPIECE):
        raise FastdraftError(
            f"{model.file} has a tokenizer of the kind {kind!r}; byte-level BPE ({BYTE_LEVEL!r}) and sentencepiece "
            f"({SENTENCEPIECE!r}) can be used. Use the model's Hugging Face folder instead."
        )
    listed = model.texts("tokenizer.ggml.tokens")
    if not listed:
        raise FastdraftError(f"{model.file} has no tokens in its header, so nothing can be encoded. Download it again.")
    types = tuple(int(number) for number in model.numbers("tokenizer.ggml.token_type")) or (TokenType.NORMAL,) * len(
        listed
    )
    if len(types) != len(listed):
        raise FastdraftError(
            f"{model.file} has {len(listed):,} tokens and {len(types):,} types of tokens. Download it again."
        )
    visible = kind == SENTENCEPIECE and not begins_with_space(model)
    texts = tuple(
        _text(number, text, token_type, visible_spaces=visible)
        for number, (text, token_type) in enumerate(zip(listed, types, strict=True))
    )
    _refuse_twins(model, texts)
    special = _Special(model, kind, len(texts))
    end = special.find("eos", 2)
    ends = {end, special.find("eot"), special.find("eom")} | set(_ends_by_text(texts))
    return Vocabulary(
        kind=kind,
        texts=texts,
        types=types,
        beginning=special.find("bos", 1),
        end=end,
        unknown=special.find("unknown", 0),
        padding=special.find("padding"),
        ends=tuple(sorted(number for number in ends if number is not None)),
    )


def begins_with_space(model: GgufModel) -> bool:
    """Whether a sentencepiece tokenizer puts a space before every stretch of text."""
    return model.flag("tokenizer.ggml.add_space_prefix", True)


def _text(number: int, text: str, token_type: int, *, visible_spaces: bool) -> str | None:
    """The token as Hugging Face tokenizers have it, so that two files of one model have one vocabulary."""
    # Rows without a token, which converters fill up to the width of the logits.
    if token_type == TokenType.UNUSED and _PADDING.match(text):
        return None
    if not text:
        return f"[EMPTY_{number}]"
    # llama.cpp's converters write such tokens with spaces. Where a text begins with one more, only these meet the text.
    if visible_spaces and token_type == TokenType.USER_DEFINED and not text.strip(" "):
        return "▁" * len(text)
    return text


def _refuse_twins(model: GgufModel, texts: tuple[str | None, ...]) -> None:
    seen: dict[str, int] = {}
    for number, text in enumerate(texts):
        if text is None:
            continue
        if text in seen:
            raise FastdraftError(
                f"{model.file} has the token {text!r} twice, as {seen[text]} and {number}. Use another file of the model."
            )
        seen[text] = number


def _ends_by_text(texts: Iterable[str | None]) -> list[int]:
    return [number for number, text in enumerate(texts) if text in _ENDS]


@dataclass(frozen=True, slots=True)
class _Special:
    """The ids that the header names."""

    model: GgufModel
    kind: str
    count: int

    def find(self, name: str, sentencepiece: int | None = None) -> int | None:
        """The id of a role; of a sentencepiece vocabulary that does not say it, its usual one."""
        key = f"tokenizer.ggml.{name}_token_id"
        usual = sentencepiece if self.kind == SENTENCEPIECE else None
        number = self.model.integer(key) if key in self.model.metadata else usual
        return number if number is not None and 0 <= number < self.count else None
