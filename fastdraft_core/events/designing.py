"""A design study: which shapes were tried, what each costs on this machine, and which one was chosen.

A study on disk is a file of these lines: ``DesignStarted`` first.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from fastdraft_core.events.base import Event
from fastdraft_core.events.engine import ModelCard


class ShapeKey(NamedTuple):
    """What tells one candidate from another: depth, width, ids that its head scores (0: all), and weight format."""

    layers: int
    width: int
    draft_vocab: int
    weights: str


class DesignShape(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate.

    ``parameters`` counts embedding, layers and head; ``budgeted`` is whether it spends the study's budget, and does not stand
    beside it for the comparison of widths alone. ``draft_vocab`` 0 is the whole vocabulary, ``weights`` empty as trained.
    """

    layers: int
    width: int
    heads: int
    kv_heads: int
    intermediate: int
    parameters: int
    budgeted: bool
    draft_vocab: int = 0
    weights: str = ""

    @property
    def key(self) -> ShapeKey:
        """What tells it from the others."""
        return ShapeKey(self.layers, self.width, self.draft_vocab, self.weights)


class DesignStarted(Event, frozen=True):
    """Everything needed to repeat a study. ``parameters`` is the budget, ``gammas`` the block lengths, ``train`` tokens a candidate.

    ``load`` is how the models were loaded (the fields of ``LoadOptions``, with the runtime that was used); ``target_hash`` is the
    digest of the target's weights and tokenizer. ``tie`` and ``architecture`` are the same for all ``shapes``.
    """

    schema: str
    name: str
    created: str
    command: str
    machine: dict[str, Any]
    target: ModelCard
    target_hash: str
    load: dict[str, Any]
    runtime: str
    runtime_reason: str
    threads: int
    parameters: int
    architecture: str
    tie: bool
    context: int
    gammas: list[int]
    temperature: float
    train: int
    seed: int
    shapes: list[DesignShape]
    skipped: list[str]


class Estimate(msgspec.Struct, frozen=True):
    """A measured mean, its 95 % interval by Student's t, and of how many values."""

    mean: float
    low: float
    high: float
    count: int


class ShapeMeasured(Event, frozen=True):
    """What a candidate costs. Seconds a block by gamma are of drafting alone; ``head`` is the same with a head of a few ids.

    ``step_seconds`` is the target's autoregressive step in the same minutes; ``verify[n - 1]`` is v(n), ``draft[n - 1]`` c in blocks of
    n and ``overhead`` what else a block takes, in such steps. ``head_share`` is the measured share of the longest block that a head over
    the scored ids takes more than one over 64; None where the head scores no more than that. ``fallback`` says why blocks
    are not drafted the fast way.
    """

    shape: DesignShape
    block_seconds: list[Estimate]
    step_seconds: float
    verify: list[float]
    draft: list[float]
    overhead: float
    head_share: float | None
    weight_bytes: int
    fallback: str = ""


class ShapeTrained(Event, frozen=True):
    """What a candidate learned from the study's training budget: its acceptance and tau by gamma, on the target's own texts.

    ``speedup`` is predicted by gamma from the candidate's measured costs and this acceptance; ``seconds`` is what training took.
    """

    key: ShapeKey
    tokens: int
    seconds: float
    acceptance: list[float]
    tau: list[float]
    speedup: list[float]


class DesignProgress(Event, frozen=True):
    """What is being done now: candidate number ``done`` of ``total`` is under way."""

    what: str
    done: int
    total: int


class DesignFinished(Event, frozen=True):
    """The study's end. ``reason`` is ``complete`` or ``stopped``; ``chosen`` is the best candidate so far, None without one."""

    reason: str
    chosen: ShapeKey | None
    seconds: float
