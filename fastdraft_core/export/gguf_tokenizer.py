"""The tokenizer of an exported GGUF file: copied from the target's own file, or made from its ``tokenizer.json``.

What is made is read back by the import before anything is written, and must give the ids of the original.
"""

from __future__ import annotations

import json
import random
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.gguf.header import Metadata
from fastdraft_core.models.gguf.model_file import GgufModel
from fastdraft_core.models.gguf.pretokenizers import PreTokenizer, names, pre_tokenizer
from fastdraft_core.models.gguf.tokenizer import build_tokenizer, cutting
from fastdraft_core.models.gguf.vocabulary import BYTE_LEVEL, SENTENCEPIECE, TokenType

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: Of names that cut in one way the usual one is written; the others follow.
_USUAL = ("gpt-2", "smollm", "llama-bpe", "qwen2", "gpt-4o", "tekken", "deepseek-v3", "dbrx", "default")
_SPACE = "▁"
#: Characters of every kind that some expression tells apart.
_ALPHABET = "aZéßДя漢字かなカ한ن֏अि́٣½²0123456789'sS'tllL'RE’\"!?.,;:-_/\\|@#$%^&*()[]{}<>=+~`…—·€😀👍🏽\u200d   \t\n\r\u00a0\u3000"
_PROBES, _PROBE_LENGTH = 400, 40
_TEXTS = (
    "def f(x):\n\treturn {'a': [1, 2.5e-3], \"b\": x != 0}\r\n\r\n\n  // naïve 12345",
    "The quick brown fox doesn't jump; I'll say WE'VE slept — it's 'quoted', isn't it?  Yes!\n\nNew paragraph…",
    "東京は日本の首都です。 한국어 문장 Привет, мир! שלום नमस्ते 👩‍💻👍🏽  \u00a0x   end ",
    "1 12 123 1234 12345 3.14159 ½ ² Ⅷ ٣٤ ======== ........ aaaaaaaa",
    " ",
    "x",
)
#: So many tokens are encoded as texts of their own.
_MOST_TOKENS = 20_000


def copied(target: GgufModel) -> Metadata:
    """The tokenizer of ``target`` as its file has it: every text, type, id, name and the template."""
    return {key: value for key, value in target.metadata.items() if key.startswith("tokenizer.")}


def made(tokenizer: PreTrainedTokenizerBase, rows: int, ends: frozenset[int], name: str, called: str) -> Metadata:
    """The tokenizer of ``name``, with a token for each of ``rows``; ``ends`` end an answer, ``called`` is the file's name.

    Raises:
        FastdraftError: llama.cpp has no such tokenizer, or would give other ids.
    """
    described = _described(tokenizer, name)
    model = described["model"]
    if model.get("type") != "BPE":
        raise _refused(
            name, f"its tokenizer is of the kind {model.get('type')!r}, and only byte-level BPE and sentencepiece are"
        )
    metadata: Metadata = {"general.name": called}
    if model.get("byte_fallback"):
        metadata |= _sentencepiece(described, tokenizer)
    else:
        metadata |= _byte_level(described, tokenizer, name)
    metadata |= _listed(described, tokenizer, rows, metadata)
    metadata |= _roles(tokenizer, ends)
    if isinstance(template := getattr(tokenizer, "chat_template", None), str):
        metadata["tokenizer.chat_template"] = template
    _check_ids(metadata, tokenizer, name)
    del metadata["general.name"]
    return metadata


def _described(tokenizer: PreTrainedTokenizerBase, name: str) -> dict[str, Any]:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise _refused(name, "its tokenizer has no tokenizer.json")
    found: dict[str, Any] = json.loads(backend.to_str())
    return found


def _refused(name: str, why: str) -> FastdraftError:
    return FastdraftError(f"{name} cannot be written as GGUF: {why}. Export it with --to hf instead.")


# --- byte level --------------------------------------------------------------------------------------


def _byte_level(described: dict[str, Any], tokenizer: Any, name: str) -> Metadata:
    normalizer = (described["normalizer"] or {}).get("type")
    # llama.cpp composes no characters either of Qwen's models, whose normalizer this is.
    if normalizer not in (None, "NFC"):
        raise _refused(name, f"its tokenizer changes texts before it cuts them ({normalizer})")
    pre = _cut_as(tokenizer.backend_tokenizer.pre_tokenizer, whole_words=bool(described["model"].get("ignore_merges")))
    if pre is None:
        raise _refused(name, "it cuts text into words in a way that llama.cpp has no name for")
    return {
        "tokenizer.ggml.model": BYTE_LEVEL,
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.merges": [" ".join(pair) for pair in _merges(described)],
    }


def _cut_as(ours: Any, *, whole_words: bool) -> str | None:
    """llama.cpp's name for what cuts like ``ours``; None where there is none."""
    if ours is None:
        return None
    expected = [_pieces(ours, text) for text in _probes()]
    for name in dict.fromkeys((*_USUAL, *names())):
        cut = pre_tokenizer(name)
        if isinstance(cut, PreTokenizer) and cut.whole_words == whole_words:
            theirs = cutting(cut)
            if all(_pieces(theirs, text) == pieces for text, pieces in zip(_probes(), expected, strict=True)):
                return name
    return None


def _pieces(cut: Any, text: str) -> list[str]:
    return [piece for piece, _ in cut.pre_tokenize_str(text)]


def _probes() -> Iterator[str]:
    """Texts in which everything stands beside everything else, the same ones every time."""
    numbers = random.Random(0)
    yield from _TEXTS
    for _ in range(_PROBES):
        yield "".join(numbers.choices(_ALPHABET, k=_PROBE_LENGTH))


def _merges(described: dict[str, Any]) -> list[tuple[str, str]]:
    """Pairs; files from before tokenizers 0.20 have them as one text."""
    pairs = (pair.split(" ", 1) if isinstance(pair, str) else pair for pair in described["model"]["merges"])
    return [(first, second) for first, second in pairs]


# --- sentencepiece -----------------------------------------------------------------------------------


def _sentencepiece(described: dict[str, Any], tokenizer: Any) -> Metadata:
    """A token's score says when it is merged: the rank of its first merge, from the top."""
    ranks: dict[str, int] = {}
    for rank, (left, right) in enumerate(_merges(described)):
        ranks.setdefault(left + right, rank)
    vocabulary = described["model"]["vocab"]
    lowest = -float(len(ranks) + 1)
    scores = {number: -float(ranks[text]) if text in ranks else lowest for text, number in vocabulary.items()}
    width = max(tokenizer.get_vocab().values()) + 1
    prefix = '"prepend"' in json.dumps([described["normalizer"], described["pre_tokenizer"]]).lower()
    scheme = (described["pre_tokenizer"] or {}).get("prepend_scheme")
    return {
        "tokenizer.ggml.model": SENTENCEPIECE,
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.scores": array("f", (scores.get(number, 0.0) for number in range(width))),
        "tokenizer.ggml.add_space_prefix": prefix or scheme in ("always", "first"),
    }


# --- both --------------------------------------------------------------------------------------------


def _listed(described: dict[str, Any], tokenizer: Any, rows: int, metadata: Metadata) -> Metadata:
    """Text and type of every row; rows without a token are filled up as llama.cpp's converters do it."""
    sentencepiece = metadata["tokenizer.ggml.model"] == SENTENCEPIECE
    texts = {number: text for text, number in tokenizer.get_vocab().items()}
    types = dict.fromkeys(texts, TokenType.NORMAL)
    if sentencepiece:
        types |= {number: TokenType.BYTE for number, text in texts.items() if _is_byte(text)}
    for added in described["added_tokens"]:
        types[added["id"]] = TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED
    if sentencepiece and not metadata["tokenizer.ggml.add_space_prefix"]:
        # llama.cpp looks for such tokens in the text as it is, before spaces are written as they are in other tokens.
        spaces = {
            number
            for number, text in texts.items()
            if types[number] == TokenType.USER_DEFINED and not text.strip(_SPACE)
        }
        texts |= {number: " " * len(texts[number]) for number in spaces}
    if sentencepiece and tokenizer.unk_token_id is not None:
        types[tokenizer.unk_token_id] = TokenType.UNKNOWN
    listed: Metadata = {
        "tokenizer.ggml.tokens": [texts.get(number, f"[PAD{number}]") for number in range(rows)],
        "tokenizer.ggml.token_type": array("i", (int(types.get(number, TokenType.UNUSED)) for number in range(rows))),
    }
    return listed


def _is_byte(text: str) -> bool:
    return len(text) == 6 and text.startswith("<0x") and text.endswith(">")


def _roles(tokenizer: Any, ends: frozenset[int]) -> Metadata:
    """The ids that begin and end a text, and whether they are put around every one."""
    begin, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    framed = tokenizer("x").input_ids
    ids = {"bos": begin, "eos": end, "padding": tokenizer.pad_token_id, "unknown": tokenizer.unk_token_id}
    # Beside the end of a text, the end of a turn, where there is just one other.
    if len(others := ends - {end}) == 1:
        ids["eot"] = next(iter(others))
    told: Metadata = {
        f"tokenizer.ggml.{role}_token_id": int(number) for role, number in ids.items() if number is not None
    }
    told["tokenizer.ggml.add_bos_token"] = begin is not None and framed[:1] == [begin]
    told["tokenizer.ggml.add_eos_token"] = end is not None and len(framed) > 1 and framed[-1] == end
    return told


def _check_ids(metadata: Metadata, tokenizer: Any, name: str) -> None:
    """The new tokenizer, read back, has the original's vocabulary and gives its ids."""
    again = build_tokenizer(GgufModel((Path("the new file"),), metadata, {}))
    if again.get_vocab() != tokenizer.get_vocab():
        raise _refused(name, "llama.cpp would read other tokens than its tokenizer has")
    listed = metadata["tokenizer.ggml.tokens"]
    tokens = [tokenizer.decode([number]) for number in range(min(len(tokenizer.get_vocab()), _MOST_TOKENS))]
    assert isinstance(listed, list)
    for text in (normalize("NFC", text) for text in (*_TEXTS, *tokens)):
        if tokenizer(text).input_ids != again(text).input_ids:
            raise _refused(name, f"llama.cpp would cut {text[:40]!r} into other tokens than its tokenizer")
