"""Tokens of the tokenizer that the model has no row for: one sentence at load where every prompt has them, else at the prompt."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from fastdraft_core.decoding.sampling import Sampling
from fastdraft_core.engine.load_options import LoadOptions
from fastdraft_core.engine.pair import load_pair
from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.folders import load_tokenizer


def with_token(folder: str, to: Path, template: str) -> str:
    """A copy of the model whose tokenizer has one token more."""
    copied = Path(shutil.copytree(folder, to))
    tokenizer: Any = load_tokenizer(copied, "copy")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|user|>"]})
    tokenizer.chat_template = template
    tokenizer.save_pretrained(copied)
    return str(copied)


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
def test_a_template_with_tokens_that_the_model_lacks_is_refused_at_load(
    runtime: str, tiny_pair: tuple[str, str], tmp_path: Path
) -> None:
    """Rather than an index error in the first pass, or nonsense."""
    folder = with_token(tiny_pair[0], tmp_path / "model", "<|user|>{{ messages[0]['content'] }}")
    with pytest.raises(FastdraftError, match=r"'<\|user\|>' is id \d+ and the table of embeddings has 300 rows"):
        load_pair(folder, None, LoadOptions(runtime=runtime, dtype="float32"))


def test_a_token_that_no_prompt_has_is_no_reason_to_refuse(tiny_pair: tuple[str, str], tmp_path: Path) -> None:
    """One for padding, say; a prompt that holds it after all is one sentence."""
    folder = with_token(tiny_pair[0], tmp_path / "model", "")
    pair = load_pair(folder, None, LoadOptions(runtime="torch", dtype="float32"))
    assert pair.request("def f", max_new_tokens=4, sampling=Sampling()).prompt
    with pytest.raises(FastdraftError, match="has tokens that the model does not have"):
        pair.request("a <|user|> b", max_new_tokens=4, sampling=Sampling())
