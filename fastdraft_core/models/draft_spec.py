"""One notation for every way to draft: what is typed for a draft, as a value.

``demo:S``, ``FOLDER@vocab=8192``: a model. ``ngram:2-4``: the longest repeated suffix of 2 to 4 tokens, without a model.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.catalog import ModelName, lasting, parse_name

NGRAM = "ngram:"
#: What pickers offer of it; suffixes of one token match nearly anywhere, and those of more than four hardly ever alone.
USUAL_NGRAM = f"{NGRAM}2-4"
#: What pickers offer beside models, in words.
OFFERED = {USUAL_NGRAM: "what followed the longest repeated suffix of 2 to 4 tokens; no cost"}
#: Longer suffixes than this find nothing that the shorter ones do not.
_LONGEST = 32


@dataclass(frozen=True, slots=True)
class ModelDraft:
    """A model drafts: a folder, a file or an id, with the options of its loading."""

    name: ModelName

    def __str__(self) -> str:
        """As it is typed."""
        return str(self.name)


@dataclass(frozen=True, slots=True)
class NgramDraft:
    """What followed the longest suffix seen before, of ``longest`` to ``shortest`` tokens, in the prompt and the text."""

    shortest: int
    longest: int

    def __str__(self) -> str:
        """As it is typed."""
        return f"{NGRAM}{self.shortest}" + (f"-{self.longest}" if self.longest > self.shortest else "")


DraftSpec = ModelDraft | NgramDraft


def parse_draft(text: str) -> DraftSpec:
    """The way to draft that ``text`` names.

    Raises:
        FastdraftError: it is no such notation.
    """
    if text.startswith(NGRAM):
        return _ngram(text)
    return ModelDraft(parse_name(text))


def names_model(text: str) -> bool:
    """Whether ``text`` names a model by itself, as a target must, and no way to draft for one."""
    return not text.startswith(NGRAM)


def refuse_as_target(name: str) -> None:
    """That ``name`` can be a target.

    Raises:
        FastdraftError: it is a way to draft, or has a draft vocabulary.
    """
    if not names_model(name):
        raise FastdraftError(
            f"{name} is a way to draft and no target; give a model as the target, and this as --draft."
        )
    if parse_name(name).draft_vocab is not None:
        raise FastdraftError(
            f"A target scores every id, or its text would be another one: leave @vocab out of {name}. It is for drafts."
        )


def lasting_draft(text: str) -> str:
    """``text`` as it means the same from every working folder."""
    return lasting(text) if names_model(text) else text


def _ngram(text: str) -> NgramDraft:
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", text.removeprefix(NGRAM))
    if match is None:
        raise FastdraftError(f"{text!r} is not understood; write ngram:SHORTEST-LONGEST, for example {USUAL_NGRAM}.")
    shortest, longest = int(match[1]), int(match[2] or match[1])
    if not 1 <= shortest <= longest <= _LONGEST:
        raise FastdraftError(
            f"{text!r} looks for suffixes of {shortest} to {longest} tokens; give lengths from 1 to {_LONGEST}, the shorter one "
            f"first, for example {USUAL_NGRAM}."
        )
    return NgramDraft(shortest, longest)
