"""Which tokens two vocabularies share, and a text of one tokenizer in the ids of another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.prompt_ids import text_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: How vocabularies write a space and a new line: byte-level ones, and sentencepiece's.
_SIGNS = str.maketrans({"Ġ": " ", "▁": " ", "Ċ": "\n"})
_BYTES = {"<0x0A>": "\n", "<0x09>": "\t"}
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def shared_tokens(
    target: PreTrainedTokenizerBase, draft: PreTrainedTokenizerBase, names: tuple[str, str]
) -> dict[int, int]:
    """The draft's id of every token that both have, ascending, with the target's id; the ends of a text are one token.

    Raises:
        FastdraftError: the vocabularies share less than two tokens.
    """
    theirs = _by_text(target.get_vocab())
    found: dict[int, int] = {}
    for text, number in sorted(_by_text(draft.get_vocab()).items(), key=lambda item: item[1]):
        if text in theirs:
            found[number] = theirs[text]
    ends = target.eos_token_id, draft.eos_token_id
    if isinstance(ends[0], int) and isinstance(ends[1], int) and ends[0] not in found.values():
        found[ends[1]] = ends[0]
    if len(found) < 2:
        raise FastdraftError(
            f"The vocabularies of {names[0]} and {names[1]} share {len(found)} tokens, so it can draft nothing. Use another draft."
        )
    return dict(sorted(found.items()))


def translator(target: PreTrainedTokenizerBase, draft: PreTrainedTokenizerBase) -> Callable[[Sequence[int]], list[int]]:
    """A function from ids of the target to the draft's ids of the same text, as its own prompts begin."""

    def translate(ids: Sequence[int]) -> list[int]:
        # Each tokenizer has a beginning of its own.
        begun = bool(ids) and ids[0] == target.bos_token_id
        text = target.decode(list(ids[begun:]), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        # Half a character at the end is no text yet.
        return text_ids(draft, text.rstrip(_REPLACEMENT))

    return translate


def _by_text(vocabulary: Mapping[str, int]) -> dict[str, int]:
    """The lowest id of each token by its text."""
    found: dict[str, int] = {}
    for token, number in sorted(vocabulary.items(), key=lambda item: item[1]):
        found.setdefault(_BYTES.get(token, token.translate(_SIGNS)), number)
    return found
