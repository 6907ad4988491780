"""One notation for every way to draft: what is typed for a draft, as a value.

``demo:S``, ``FOLDER@vocab=8192``: a model. ``ngram:2-4``: the longest repeated suffix of 2 to 4 tokens, without a model.
``self:int4``: the target itself in fewer bits. ``self:layers=8``: its first 8 layers and its head.
``cascade:ngram:2-4+demo:S``: a lookup drafts for the draft. ``other:FOLDER``: a model with another vocabulary.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.catalog import ModelName, lasting, parse_name

NGRAM, SELF, CASCADE, OTHER = "ngram:", "self:", "cascade:", "other:"
#: What pickers offer of it; suffixes of one token match nearly anywhere, and those of more than four hardly ever alone.
USUAL_NGRAM = f"{NGRAM}2-4"
#: Formats of fewer bits that a target may draft for itself in.
_BITS = ("int8", "int4")
#: What pickers offer beside models, in words.
OFFERED = {
    USUAL_NGRAM: "what followed the longest repeated suffix of 2 to 4 tokens; no cost",
    f"{SELF}int4": "the target itself with 4-bit weights",
    f"{SELF}int8": "the target itself with 8-bit weights",
}
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
class SelfDraft:
    """The target drafts for itself: with its weights in the format ``weights``, or with its first ``layers`` alone.

    ``draft_vocab`` is how many ids its head scores then, None for all.
    """

    weights: str = ""
    layers: int = 0
    draft_vocab: int | None = None

    def __str__(self) -> str:
        """As it is typed."""
        return str(ModelName(f"{SELF}{self.weights or f'layers={self.layers}'}", self.draft_vocab))


@dataclass(frozen=True, slots=True)
class NgramDraft:
    """What followed the longest suffix seen before, of ``longest`` to ``shortest`` tokens, in the prompt and the text."""

    shortest: int
    longest: int

    def __str__(self) -> str:
        """As it is typed."""
        return f"{NGRAM}{self.shortest}" + (f"-{self.longest}" if self.longest > self.shortest else "")


@dataclass(frozen=True, slots=True)
class CascadeDraft:
    """A lookup drafts for a model that drafts for the target (Cascade Speculative Drafting, arXiv 2312.11462)."""

    lookup: NgramDraft
    model: ModelDraft | SelfDraft

    def __str__(self) -> str:
        """As it is typed."""
        return f"{CASCADE}{self.lookup}+{self.model}"


@dataclass(frozen=True, slots=True)
class OtherDraft:
    """A model with another vocabulary drafts what both have (token-level intersection, arXiv 2502.05202)."""

    name: ModelName

    def __str__(self) -> str:
        """As it is typed."""
        return f"{OTHER}{self.name}"


DraftSpec = ModelDraft | SelfDraft | NgramDraft | CascadeDraft | OtherDraft


def parse_draft(text: str) -> DraftSpec:
    """The way to draft that ``text`` names.

    Raises:
        FastdraftError: it is no such notation.
    """
    if text.startswith(NGRAM):
        return _ngram(text)
    if text.startswith(OTHER):
        return _other(text)
    return _cascade(text) if text.startswith(CASCADE) else _model(text)


def model_of(spec: DraftSpec) -> ModelDraft | SelfDraft | OtherDraft | None:
    """The model that a way to draft needs; None where it needs none."""
    if isinstance(spec, CascadeDraft):
        return spec.model
    return None if isinstance(spec, NgramDraft) else spec


def refuse_as_target(name: str) -> None:
    """That ``name`` can be a target.

    Raises:
        FastdraftError: it is a way to draft, or has a draft vocabulary.
    """
    if name.startswith((NGRAM, SELF, CASCADE, OTHER)):
        raise FastdraftError(
            f"{name} is a way to draft and no target; give a model as the target, and this as --draft."
        )
    if parse_name(name).draft_vocab is not None:
        raise FastdraftError(
            f"A target scores every id, or its text would be another one: leave @vocab out of {name}. It is for drafts."
        )


def lasting_draft(text: str) -> str:
    """``text`` as it means the same from every working folder."""
    if text.startswith(CASCADE):
        before, plus, model = text.partition("+")
        return f"{before}{plus}{lasting_draft(model)}"
    if text.startswith(OTHER):
        return f"{OTHER}{lasting(text.removeprefix(OTHER))}"
    return text if text.startswith((NGRAM, SELF)) else lasting(text)


def _model(text: str) -> ModelDraft | SelfDraft:
    name = parse_name(text)
    if not name.base.startswith(SELF):
        return ModelDraft(name)
    what = name.base.removeprefix(SELF)
    if what in _BITS:
        return SelfDraft(weights=what, draft_vocab=name.draft_vocab)
    match = re.fullmatch(r"layers=(\d+)", what)
    if match is None or int(match[1]) == 0:
        raise FastdraftError(
            f"{text!r} is not understood; write {' or '.join(SELF + bits for bits in _BITS)} for the target in fewer bits, or "
            f"{SELF}layers=8 for its first 8 layers."
        )
    return SelfDraft(layers=int(match[1]), draft_vocab=name.draft_vocab)


def _other(text: str) -> OtherDraft:
    name = parse_name(text.removeprefix(OTHER))
    if not name.base or name.base.startswith((NGRAM, SELF, CASCADE, OTHER)):
        raise FastdraftError(f"{text!r} is not understood; write {OTHER}MODEL, for example {OTHER}owner/model.")
    if name.draft_vocab is not None:
        raise FastdraftError(f"{text!r} scores the tokens that both vocabularies have; leave @vocab out.")
    return OtherDraft(name)


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


def _cascade(text: str) -> CascadeDraft:
    lookup, plus, model = text.removeprefix(CASCADE).partition("+")
    if not plus or not model or not lookup.startswith(NGRAM) or model.startswith((NGRAM, CASCADE, OTHER)):
        raise FastdraftError(
            f"{text!r} is not understood; write {CASCADE}{USUAL_NGRAM}+DRAFT, a lookup that drafts for a draft model, for "
            f"example {CASCADE}{USUAL_NGRAM}+demo:S."
        )
    return CascadeDraft(_ngram(lookup), _model(model))
