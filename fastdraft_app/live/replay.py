"""What a recorded comparison shows at a moment of the replay.

Both runs were timed one after the other; here they share one clock that starts at each run's first
token. Nothing in this module draws, waits or reads the time.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

from fastdraft_core import metrics
from fastdraft_core.events import Block, Compared, Event, FirstToken, RunFinished, RunMetrics, RunStarted, Token

Mode = Literal["ar", "sd"]
MODES: tuple[Mode, ...] = get_args(Mode)
"""Autoregressive and speculative, in the order in which they are timed."""

RUN_NAMES: dict[Mode, str] = {"ar": "autoregressive", "sd": "speculative"}

View = Literal["clean", "history", "plain"]
VIEWS: tuple[View, ...] = get_args(View)
"""The final text by state; the same with what was thrown away; the final text without colour."""

SPEEDS = (1.0, 1 / 4, 1 / 10, 1 / 50)
"""Of the replay, the true one first."""

_ROUNDING = 1e-6


class Place(NamedTuple):
    """A token of a run: its step, and its position among the tokens of the step."""

    step: int
    position: int


class Piece(NamedTuple):
    """One token to show: its text, its kind (a state, ``plain`` or ``prompt``) and where it came from."""

    text: str
    kind: str
    step: int
    position: int

    @property
    def place(self) -> Place:
        """Where it came from; the prompt's step is -1."""
        return Place(self.step, self.position)


class Totals(NamedTuple):
    """Sums over the blocks up to one moment."""

    tokens: int = 0
    drafted: int = 0
    accepted: int = 0
    draft_seconds: float = 0.0
    verify_seconds: float = 0.0
    overhead_seconds: float = 0.0
    bytes_read: int = 0


@dataclass(frozen=True)
class Figures:
    """The figures of one run at one moment; ``tokens`` leaves out the first, as the seconds do."""

    tokens: int = 0
    seconds: float = 0.0
    tokens_per_second: float = 0.0
    acceptance: float | None = None
    tau: float | None = None
    mbsu: float | None = None
    draft_share: float | None = None
    verify_share: float | None = None
    overhead_share: float | None = None
    gigabytes_per_second: float | None = None


NO_FIGURES = Figures()
"""Of a run that has not begun."""


@dataclass
class Track:
    """One recorded run. A *step* is the first token or a block."""

    started: RunStarted
    first: FirstToken | None = None
    blocks: list[Block] = field(default_factory=list)
    totals: list[Totals] = field(default_factory=lambda: [Totals()])
    finished: RunFinished | None = None

    @property
    def num_steps(self) -> int:
        """Steps recorded so far."""
        return 0 if self.first is None else 1 + len(self.blocks)

    @property
    def seconds(self) -> float:
        """Decode time from the first token to the end of the last block."""
        return self.blocks[-1].at if self.blocks else 0.0

    def add(self, block: Block) -> None:
        """Record the next block."""
        self.blocks.append(block)
        self.totals.append(_add(self.totals[-1], block))

    def steps_at(self, time: float) -> int:
        """How many steps are visible ``time`` seconds after the first token."""
        if self.first is None or time < 0:
            return 0
        return 1 + bisect_right(self.blocks, time, key=lambda block: block.at)

    def drafted_at(self, time: float) -> int:
        """How many tokens of the block in progress have been drafted at ``time``, evenly over its drafting time."""
        steps = self.steps_at(time)
        if not 0 < steps <= len(self.blocks):
            return 0
        block, begun = self.blocks[steps - 1], self._begun(steps)
        if block.draft_seconds <= 0:
            return 0
        share = (time - begun) / block.draft_seconds
        return min(int(share * len(block.drafted) + _ROUNDING), len(block.drafted))

    def moment_after(self, time: float) -> float | None:
        """When the next thing happens after ``time``: a block is drafted, or it is judged. None at the end."""
        steps = self.steps_at(time)
        if steps == 0 or steps > len(self.blocks):
            return 0.0 if steps == 0 and self.first is not None else None
        block = self.blocks[steps - 1]
        drafted = self._begun(steps) + block.draft_seconds
        waits = block.drafted and self.drafted_at(time) < len(block.drafted) and drafted < block.at
        return drafted if waits else block.at

    def _begun(self, step: int) -> float:
        return self.blocks[step - 2].at if step > 1 else 0.0

    def pieces(self, start: int, stop: int, view: View) -> list[Piece]:
        """The tokens of steps ``start`` to ``stop`` that ``view`` shows."""
        return [piece for step in range(start, stop) for piece in self._step_pieces(step, view)]

    def pending(self, step: int, count: int) -> list[Piece]:
        """The first ``count`` drafted tokens of ``step``, which nobody has judged yet."""
        return [Piece(token.text, "pending", step, n) for n, token in enumerate(self.tokens(step)[:count])]

    def _step_pieces(self, step: int, view: View) -> Iterable[Piece]:
        for position, token in enumerate(self.tokens(step)):
            if view == "history" or token.state not in ("rejected", "discarded"):
                yield Piece(token.text, "plain" if view == "plain" else token.state, step, position)

    def tokens(self, step: int) -> list[Token]:
        """All tokens of a step, in order: the drafted ones, then the target's own."""
        if step == 0:
            assert self.first is not None
            return [self.first.token]
        block = self.blocks[step - 1]
        return block.drafted if block.extra is None else [*block.drafted, block.extra]

    def text(self, steps: int) -> str:
        """The final text of the first ``steps`` steps."""
        return "".join(piece.text for piece in self.pieces(0, steps, "plain"))

    def figures(self, steps: int, cost: float | None = None) -> Figures:
        """The figures after ``steps`` steps; ``cost`` is draft over target parameters, for MBSU."""
        if self.finished is not None and steps == self.num_steps:
            return _final(self.finished.metrics)
        if steps < 2:
            return NO_FIGURES
        return _running(self.totals[steps - 1], self.blocks[steps - 2].at, steps - 1, self.started.gamma, cost)


def _add(totals: Totals, block: Block) -> Totals:
    accepted = sum(token.state == "accepted" for token in block.drafted)
    return Totals(
        totals.tokens + accepted + (block.extra is not None),
        totals.drafted + len(block.drafted),
        totals.accepted + accepted,
        totals.draft_seconds + block.draft_seconds,
        totals.verify_seconds + block.verify_seconds,
        totals.overhead_seconds + block.overhead_seconds,
        totals.bytes_read + block.bytes_read,
    )


def _running(totals: Totals, seconds: float, blocks: int, gamma: int, cost: float | None) -> Figures:
    efficiency = metrics.tau(totals.tokens, blocks)
    busy = totals.draft_seconds + totals.verify_seconds + totals.overhead_seconds
    return Figures(
        tokens=totals.tokens,
        seconds=seconds,
        tokens_per_second=totals.tokens / seconds if seconds > 0 else 0.0,
        acceptance=metrics.acceptance(totals.accepted, totals.drafted) if totals.drafted else None,
        tau=efficiency,
        mbsu=metrics.memory_bound_speedup(efficiency, cost, gamma) if cost is not None else None,
        draft_share=totals.draft_seconds / busy if busy else None,
        verify_share=totals.verify_seconds / busy if busy else None,
        overhead_share=totals.overhead_seconds / busy if busy else None,
        gigabytes_per_second=metrics.gigabytes_per_second(totals.bytes_read, seconds) or None,
    )


def _final(found: RunMetrics) -> Figures:
    speculative = found.drafted > 0
    return Figures(
        tokens=found.tokens,
        seconds=found.seconds,
        tokens_per_second=found.tokens_per_second,
        acceptance=found.acceptance if speculative else None,
        tau=found.tau if speculative else None,
        mbsu=found.mbsu if speculative else None,
        draft_share=found.draft_share,
        verify_share=found.verify_share,
        overhead_share=found.overhead_share,
        gigabytes_per_second=found.gigabytes_per_second or None,
    )


def _mode(name: str) -> Mode | None:
    """The mode that an event names; a later version may know others."""
    return next((mode for mode in MODES if mode == name), None)


class Recording:
    """The events of one comparison, by mode. An autoregressive ``RunStarted`` begins a new one."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.tracks: dict[Mode, Track] = {}
        self.compared: Compared | None = None
        for event in events:
            self.add(event)

    def add(self, event: Event) -> None:
        """Record one event; events of a run that never started are left out."""
        if isinstance(event, RunStarted):
            self._start(event)
        elif isinstance(event, Compared):
            self.compared = event
        elif isinstance(event, FirstToken | Block | RunFinished):
            self._continue(event)

    def _start(self, event: RunStarted) -> None:
        mode = _mode(event.mode)
        if mode == MODES[0]:
            self.tracks.clear()
            self.compared = None
        if mode is not None:
            self.tracks[mode] = Track(event)

    def _continue(self, event: FirstToken | Block | RunFinished) -> None:
        mode = _mode(event.mode)
        track = self.tracks.get(mode) if mode is not None else None
        if track is None:
            return
        if isinstance(event, FirstToken):
            track.first = event
        elif isinstance(event, Block):
            track.add(event)
        else:
            track.finished = event

    @property
    def seconds(self) -> float:
        """Length of the replay: the longer of the two runs."""
        return max((track.seconds for track in self.tracks.values()), default=0.0)

    @property
    def cancelled(self) -> bool:
        """Whether a run was ended by the user."""
        return any(
            track.finished is not None and track.finished.reason == "cancelled" for track in self.tracks.values()
        )

    def steps_at(self, mode: Mode, time: float) -> int:
        """How many steps of ``mode`` are visible at ``time`` on the common clock."""
        track = self.tracks.get(mode)
        return 0 if track is None else track.steps_at(time)

    def moment_after(self, time: float) -> float:
        """When the next thing happens in the speculative run, or in the only one; at last the end."""
        track = self.tracks.get(MODES[1]) or self.tracks.get(MODES[0])
        moment = track.moment_after(time) if track is not None else None
        return self.seconds if moment is None else moment


@dataclass
class Player:
    """The one clock of a replay. It is moved, never read from the system."""

    seconds: float = 0.0
    """Length of the replay."""
    position: float = 0.0
    """Where the replay stands."""
    speed: float = SPEEDS[0]
    stepping: bool = False
    """Whether the clock goes from one event to the next instead of running."""

    @property
    def at_end(self) -> bool:
        """Whether everything has been shown."""
        return self.position >= self.seconds

    @property
    def slow(self) -> bool:
        """Whether there is time to see tokens before they are judged."""
        return self.stepping or self.speed < 1

    def advance(self, elapsed: float) -> None:
        """Move on by ``elapsed`` seconds of the viewer, at most to the end."""
        self.stepping = False
        self.position = min(self.position + elapsed * self.speed, self.seconds)

    def step(self, moment: float) -> None:
        """Stand still at ``moment``."""
        self.stepping, self.position = True, min(moment, self.seconds)

    def slow_down(self) -> None:
        """Take the next slower speed, after the slowest the true one again."""
        self.speed = SPEEDS[(SPEEDS.index(self.speed) + 1) % len(SPEEDS)]
