"""Model folders as a user has them on disk, small and untrained."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from fastdraft_core.data.tokenizer import train_tokenizer
from tests.runtimes.models import noisy, small_model

WIDTH = 300
CONTEXT = 160
#: ChatML with the tokenizer's own end token.
CHAT_TEMPLATE = (
    "{% for m in messages %}<|bos|>{{ m.role }}\n{{ m.content }}<|eos|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|bos|>assistant\n{% endif %}"
)


@cache
def tiny_tokenizer() -> Any:
    """A byte-level BPE of 300 ids."""
    texts = ["def add(a, b):\n    return a + b\n", "The quick brown fox jumps over the lazy dog.\n"] * 20
    return train_tokenizer(iter(texts), WIDTH)


def tiny_target() -> Any:
    """A two-layer Llama over the tokenizer's ids."""
    return small_model(
        "llama", vocab_size=WIDTH, max_position_embeddings=CONTEXT, bos_token_id=0, eos_token_id=1, pad_token_id=None
    )


def write_model(folder: Path, model: Any) -> str:
    """Save a model beside the tokenizer."""
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)


def write_tiny_pair(folder: Path) -> tuple[str, str]:
    """A target and a disturbed copy of it."""
    target = write_model(folder / "target", tiny_target())
    return target, write_model(folder / "draft", noisy(tiny_target(), 0.2))


def write_chat_pair(folder: Path) -> tuple[str, str]:
    """The same target and draft as a pair that is asked, not continued."""
    pair = write_tiny_pair(folder)
    for name in pair:
        (Path(name) / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    return pair
