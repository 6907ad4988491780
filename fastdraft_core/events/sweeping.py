"""Sweeps: what was asked, what passes cost, what was predicted, what was measured, and the verdict.

A result on disk is a file of these lines: ``SweepStarted`` first, and of several ``PointMeasured`` of one point the last counts.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from fastdraft_core.events.base import Event
from fastdraft_core.events.decoding import RunMetrics
from fastdraft_core.events.engine import BlockCost, ModelCard


class TaskCard(msgspec.Struct, frozen=True, kw_only=True):
    """A task as it was run. ``template`` is how a prompt is made of a row; ``length`` new tokens follow each.

    ``request`` is what was typed for it, of a plain prompt file its path, with the ``field`` that was read; ``cut`` of the ``prompts`` were shortened to leave room in the context.
    ``later`` further turns were asked after the target's own greedy answers, and ``unfit`` would not have fitted into the context.
    ``chat`` is whether prompts stand inside the chat template; ``digest`` is of the prompts' texts, ``prompt`` the first of them.
    """

    name: str
    request: str
    field: str
    source: str
    template: str
    prompts: int
    length: int
    cut: int
    chat: bool
    digest: str
    prompt: str = ""
    later: int = 0
    unfit: int = 0


class SweepStarted(Event, frozen=True):
    """Everything needed to repeat a sweep. ``schema`` changes when a field changes its meaning.

    Models in folders are named by their whole paths, so that a sweep goes on from any working folder.
    ``precision`` is the asked half-width of a speed-up's interval, as a share; ``budget`` is in seconds.
    ``load`` is how the models were loaded (the fields of ``LoadOptions``, with the runtime that was used and why in
    ``runtime_reason``); ``hashes`` maps a model's name to the digest of its weights and tokenizer. ``peak_bandwidth`` is the
    machine's measured peak in GB/s for ``threads`` threads, absent where models do not lie in main memory. ``ignore_stop``: texts
    went on to their full length past where the model ends them. ``verification`` is how sampled blocks were judged, ``token`` by
    token or over the whole ``block``; predictions are always of the first, and foretell too little of the second.
    """

    schema: str
    name: str
    created: str
    command: str
    machine: dict[str, Any]
    target: ModelCard
    drafts: list[ModelCard]
    hashes: dict[str, str]
    load: dict[str, Any]
    runtime: str
    runtime_reason: str
    threads: int
    tasks: list[TaskCard]
    gammas: list[int]
    temperatures: list[float]
    top_k: int
    top_p: float
    precision: float
    budget: float
    seed: int
    peak_bandwidth: float | None
    last_level_cache: int | None
    ignore_stop: bool = True
    verification: str = "token"


class SweepProgress(Event, frozen=True):
    """What a sweep is doing. ``done`` of ``total`` points are measured; ``eta`` is the seconds left, at most the budget's rest."""

    what: str
    done: int
    total: int
    seconds: float
    eta: float | None


class RepeatDropped(Event, frozen=True):
    """A repeat that does not count, and why: another process, a hypervisor, page faults."""

    task: str
    temperature: float
    reason: str


class CostsMeasured(Event, frozen=True):
    """What passes cost on one task, from real decoding: means, in autoregressive steps of ``step_seconds``.

    ``verify[n - 1]`` is v(n), a target pass over n tokens; ``draft`` is c, one draft step; ``overhead`` is everything
    else in a block; ``first`` is what the first block of a text takes more.
    """

    task: str
    temperature: float
    name: str
    step_seconds: float
    verify: list[float]
    draft: float
    overhead: float
    first: float = 0.0


class Setting(NamedTuple):
    """What a sweep chooses between: a draft by its name, and a gamma."""

    draft: str
    gamma: int


class PointKey(NamedTuple):
    """A place in the grid of a sweep."""

    draft: str
    gamma: int
    temperature: float
    task: str

    @property
    def setting(self) -> Setting:
        """Its draft and gamma."""
        return Setting(self.draft, self.gamma)

    def is_of(self, task: str, temperature: float) -> bool:
        """Whether it was asked of this task at this temperature."""
        return self.task == task and self.temperature == temperature


class SweepPoint(Event, frozen=True):
    """A place in the grid: a draft's name, gamma, temperature and task."""

    draft: str
    gamma: int
    temperature: float
    task: str

    @property
    def key(self) -> PointKey:
        """The place alone."""
        return PointKey(self.draft, self.gamma, self.temperature, self.task)


class PointPredicted(SweepPoint, frozen=True):
    """A point as predicted from measured costs and from the acceptance along the target's own texts. Nothing here was timed.

    ``joint[i]`` is the share of blocks whose first i + 1 drafted tokens are all accepted.
    """

    speedup: float
    tau: float
    acceptance: float
    joint: list[float]
    cost: BlockCost


class Turn(msgspec.Struct, frozen=True, array_like=True):
    """Both modes on one prompt, next to each other: decode seconds a token, and the mean length of their texts in ``tokens``."""

    prompt: int
    baseline: float
    speculative: float
    tokens: float = 1.0


class RunTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over the passes of some runs, enough for every figure of theirs; the totals of two sets of runs add up.

    ``proposed`` counts all drafted tokens, ``drafted`` those that statistics count (up to an accepted stop). ``positions`` has, for
    each position of a block, the blocks that drafted, judged and accepted it. ``bytes`` were read by ``passes`` target passes, before
    ``beyond_context`` of which the draft saw the last part of the text alone.
    """

    tokens: int
    seconds: float
    passes: int
    proposed: int
    drafted: int
    accepted: int
    draft_seconds: float
    verify_seconds: float
    bytes: int
    positions: list[tuple[int, int, int]]
    beyond_context: int = 0


class TurnMeasured(SweepPoint, frozen=True):
    """One turn of a point: both modes on ``prompt``, next to each other. A sweep that goes on begins with what these say.

    ``warm_ups`` and ``disturbed`` runs were dropped before it; ``busy``: it counts although something disturbed it. Energy is in
    joules, absent where the machine does not tell it; ``peak_memory`` is of the process, in bytes.
    """

    prompt: int
    baseline: RunTotals
    speculative: RunTotals
    baseline_joules: float | None
    joules: float | None
    peak_memory: int
    warm_ups: int
    disturbed: int
    busy: bool


class PointMeasured(SweepPoint, frozen=True):
    """A point as measured. ``speedup`` is decode tokens/s over the autoregressive runs next to it.

    ``low`` and ``high`` bound it at 95 % for these prompts (repeats vary); ``prompts_low`` and ``prompts_high`` for other
    prompts of the kind (prompts drawn again), absent where one prompt ran alone. ``reached``: the interval is as narrow as asked.
    ``repeats`` is complete rounds over the prompts; in its first round, a point's interval is over the prompts that ran. ``warm_ups`` and ``disturbed`` repeats were dropped; ``busy`` were kept although the machine was busy,
    because every try was disturbed. ``bandwidth_share`` is of the machine's measured peak, absent where
    the weights lie in a cache. Energy is absent where the machine does not tell it. ``peak_memory`` is of the whole process, in bytes;
    ``more_memory`` is computed: the draft's weights and its cache at the longest text. ``fallback`` says what did not run the fast way of
    its runtime, and why; empty where all did.
    """

    speedup: float
    low: float
    high: float
    prompts_low: float | None
    prompts_high: float | None
    reached: bool
    repeats: int
    warm_ups: int
    disturbed: int
    busy: int
    metrics: RunMetrics
    baseline: RunMetrics
    cost: BlockCost
    bandwidth_share: float | None
    joules_per_token: float | None
    baseline_joules_per_token: float | None
    peak_memory: int | None
    more_memory: int
    turns: list[Turn]
    fallback: str = ""


class SweepVerdict(Event, frozen=True):
    """What to use, in ``words``: the first sentence is the answer. ``draft`` and ``gamma`` are absent where nothing wins.

    ``r_squared`` and ``max_error`` (a share of the measured speed-up) say how well the prediction met the ``measured``
    points; absent below three of them. ``blame`` is the term that costs most where nothing wins, with the ``break_even`` acceptance.
    """

    words: list[str]
    draft: str | None
    gamma: int | None
    blame: str | None
    break_even: float | None
    measured: int
    predicted: int
    r_squared: float | None
    max_error: float | None


class SweepFinished(Event, frozen=True):
    """A sweep ended: ``reason`` is ``complete``, ``budget`` or ``stopped``. ``seconds`` are of this run of it."""

    reason: str
    seconds: float
