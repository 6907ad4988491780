"""Ids: those of llama.cpp for the same file, whatever the text and whatever cuts it into words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fastdraft_core.models.gguf.model_file import read_model
from fastdraft_core.models.gguf.pretokenizers import names
from fastdraft_core.models.gguf.tokenizer import build_tokenizer
from tests.models.gguf.llama_cpp import LlamaCpp
from tests.models.gguf.writing import KINDS, Vocabulary, byte_level, sentencepiece, untrained, write_model

CORPUS = {
    "code": "def f(x):\n    return {\"a\": [1, 2.5e-3], 'b': x != 0}\n\n\n\tif (a==b) { c++; }  // note\r\n",
    "prose": "The quick brown fox doesn't jump; I'll say WE'VE slept — it's 'quoted', isn't it?  Yes!\n\nNew paragraph…",
    "numbers": "1 12 123 1234 12345 3.14159 1,000,000 0x1F 1e10 ½ ² Ⅷ ٣٤ 2024-01-31",
    "emoji": "🙂🚀 👩‍💻👍🏽 ❤️ flags 🇩🇪🇯🇵 end",
    "CJK": "東京は日本の首都です。人工知能、한국어 문장입니다！中文文本，测试。",
    "scripts": "Привет, мир! Γειά σου שלום नमस्ते دنیا Ünïcödé naïve Straße İstanbul",
    "special": "<|im_end|>hi<|user|> there <|begin|>x<think> y </s><s>z <|im_start|>user\nhey",
    "spaces": "  two   three    four     five\t\ttabs \n \n\n   end   ",
    "repeats": "aaaaaaaaaa ======== !!!!!!! ........ ------------ xxxx====xxxx",
    "one": "x",
    "space": " ",
}


def tiny(folder: Path, vocabulary: Vocabulary) -> Path:
    """A file with this vocabulary."""
    folder.mkdir(parents=True, exist_ok=True)
    kind = KINDS["qwen2"]
    return write_model(folder / "tiny.gguf", kind, untrained(kind, len(vocabulary.tokens)), vocabulary)


def check(file: Path, tokenizer: Any) -> None:
    """All texts have llama.cpp's ids."""
    peer = LlamaCpp(file)
    for name, text in CORPUS.items():
        assert tokenizer(text).input_ids == peer.ids(text), name


@pytest.mark.parametrize("pre", names())
def test_byte_level_ids_are_those_of_llama_cpp(pre: str, tmp_path: Path) -> None:
    """Every known way to cut text, over a vocabulary with merges across all cuts."""
    file = tiny(tmp_path, byte_level(pre))
    check(file, build_tokenizer(read_model(file)))


@pytest.mark.parametrize("prefix", [True, False])
def test_sentencepiece_ids_are_those_of_llama_cpp(prefix: bool, tmp_path: Path) -> None:
    """Merges follow from scores; unknown characters fall back to bytes; a space may be put before a text."""
    file = tiny(tmp_path, sentencepiece(prefix=prefix))
    tokenizer = build_tokenizer(read_model(file))
    check(file, tokenizer)
    for text in ("The quick brown fox", "東京 🙂", "a\nb"):
        ids = tokenizer(text, add_special_tokens=False).input_ids
        assert tokenizer.decode(ids) == text
