"""The byte-level BPE and the hash that names a tokenizer."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdraft_core.data.tokenizer import BOS, EOS, tokenizer_hash, train_tokenizer
from fastdraft_core.errors import FastdraftError

TEXTS = ["def add(a, b):\n    return a + b\n", "The quick brown fox jumps over the lazy dog, again and again.\n"] * 20


@cache
def small() -> Any:
    """A tokenizer of 300 ids."""
    return train_tokenizer(iter(TEXTS), 300)


@settings(max_examples=100)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40))
def test_every_text_comes_back(text: str) -> None:
    """Tabs, emoji, control characters, any script: decoding gives back the very text, nothing is unknown."""
    ids = small()(text, add_special_tokens=False).input_ids
    assert small().decode(ids) == text


def test_every_text_starts_with_bos() -> None:
    """The target saw <|bos|> before every document, so every prompt must begin with it, once."""
    ids = small()("def add").input_ids
    assert ids[0] == small().bos_token_id
    assert ids.count(small().bos_token_id) == 1


def test_special_ids_are_two_and_within_the_vocabulary() -> None:
    """The shard's type and the model's table follow from len(tokenizer)."""
    assert len(small()) == 300
    assert small().convert_ids_to_tokens([small().bos_token_id, small().eos_token_id]) == [BOS, EOS]


def test_training_again_gives_the_same_tokenizer() -> None:
    """A recipe reproduces the bundled model only if its tokenizer comes out the same."""
    assert tokenizer_hash(train_tokenizer(iter(TEXTS), 300)) == tokenizer_hash(small())


def test_the_hash_survives_saving(tmp_path: Any) -> None:
    """A job that is resumed reads the tokenizer from disk and must accept its own shards."""
    from transformers import AutoTokenizer

    small().save_pretrained(tmp_path)
    assert tokenizer_hash(AutoTokenizer.from_pretrained(tmp_path)) == tokenizer_hash(small())


def changed(**parts: Any) -> Any:
    """The small tokenizer with some parts of its description replaced."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    described = json.loads(small().backend_tokenizer.to_str())
    described["model"] |= parts.pop("model", {})
    special = {"bos_token": parts.pop("bos_token", BOS), "eos_token": parts.pop("eos_token", EOS)}
    template = parts.pop("chat_template", None)
    tokenizer = Tokenizer.from_str(json.dumps({**described, **parts}))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=template, **special)


def vocabulary_with_two_swapped() -> dict[str, int]:
    """Two plain tokens that change their ids."""
    vocabulary = json.loads(small().backend_tokenizer.to_str())["model"]["vocab"]
    (a, i), (b, j) = list(vocabulary.items())[10:12]
    return {**vocabulary, a: j, b: i}


def merges() -> list[list[str]]:
    return json.loads(small().backend_tokenizer.to_str())["model"]["merges"]


@pytest.mark.parametrize(
    "change",
    [
        lambda: {"model": {"vocab": vocabulary_with_two_swapped()}},
        lambda: {"model": {"merges": merges()[:-1]}},
        lambda: {"model": {"merges": [*merges()[:-2], merges()[-1], merges()[-2]]}},
        lambda: {"normalizer": {"type": "Lowercase"}},
        lambda: {
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
        },
        lambda: {"post_processor": None},
        lambda: {"eos_token": BOS},
        lambda: {"chat_template": "{{ messages }}"},
    ],
    ids=["vocabulary", "a merge less", "order of merges", "normalizer", "pre-tokenizer", "bos", "eos", "chat template"],
)
def test_the_hash_tells_meanings_apart(change: Callable[[], dict[str, Any]]) -> None:
    """Whatever changes ids or what they mean is another tokenizer: its shards must not be read as this one's."""
    assert tokenizer_hash(changed(**change())) != tokenizer_hash(changed())


def test_the_hash_does_not_hear_of_padding() -> None:
    """A call that pads or truncates sets the tokenizer's state; the shards are the same all the same."""
    tokenizer = changed()
    before = tokenizer_hash(tokenizer)
    tokenizer.backend_tokenizer.enable_truncation(4)
    tokenizer.backend_tokenizer.enable_padding(length=8)
    assert tokenizer_hash(tokenizer) == before


def test_a_tokenizer_without_a_fast_form_is_refused() -> None:
    """Shards are made by `tokenizers` on all cores; a tokenizer in Python is one sentence, not a traceback."""
    with pytest.raises(FastdraftError, match=r"object has no fast form"):
        tokenizer_hash(object())
