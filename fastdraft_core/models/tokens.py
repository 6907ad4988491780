"""The ids of a tokenizer beside the rows of its model's table."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.prompt_ids import chat_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: A plain sentence, for whoever has no prompt.
SAMPLE = "The first of the rules is that nothing is lost."


def known_ids(tokenizer: PreTrainedTokenizerBase) -> int:
    """One more than the largest id; ids may have gaps, so the number of tokens would cut the last ones off."""
    return max(tokenizer.get_vocab().values()) + 1


def check_ids(tokenizer: PreTrainedTokenizerBase, rows: int, name: str) -> None:
    """That a prompt needs no id beyond the ``rows`` that the table of the model ``name`` has.

    A token that no prompt holds, such as one for padding, may lie beyond it.

    Raises:
        FastdraftError: the chat template or the tokenizer's own frame puts such tokens into every prompt.
    """
    if known_ids(tokenizer) > rows:
        refuse_ids(_every_prompt(tokenizer), tokenizer, rows, name)


def refuse_ids(ids: Iterable[int], tokenizer: PreTrainedTokenizerBase, rows: int, name: str) -> None:
    """Nothing, unless some of ``ids`` lie beyond the ``rows`` of the table of the model ``name``.

    Raises:
        FastdraftError: they do; the message names the first token.
    """
    lacking = sorted({token for token in ids if token >= rows})
    if lacking:
        raise FastdraftError(
            f"The tokenizer of {name} has tokens that the model does not have: {tokenizer.convert_ids_to_tokens(lacking[0])!r} is "
            f"id {lacking[0]} and the table of embeddings has {rows} rows. Resize the embeddings (resize_token_embeddings) and "
            "train them, or use the tokenizer that the model was trained with."
        )


def _every_prompt(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The ids of a sample, plain and inside the chat template."""
    ids = list(tokenizer(SAMPLE).input_ids)
    if getattr(tokenizer, "chat_template", None):
        # A template that fails says so where a prompt needs it.
        with suppress(FastdraftError):
            ids += chat_ids(tokenizer, SAMPLE, "")
    return ids
