"""A run cut into equal slices of time: what the small charts show. Pure; its cost does not grow with the run."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import NamedTuple

from fastdraft_app.live.replay import Totals, Track
from fastdraft_core import metrics


class Slice(NamedTuple):
    """What happened in one slice of a run. A block that lies in two slices counts in both by its share of time."""

    seconds: float
    blocks: float
    tokens: float
    drafted: float
    accepted: float
    draft_seconds: float
    verify_seconds: float
    overhead_seconds: float
    bytes_read: float

    @property
    def tokens_per_second(self) -> float:
        """Speed within the slice."""
        return self.tokens / self.seconds

    @property
    def gigabytes_per_second(self) -> float:
        """Effective memory bandwidth within the slice, in 10^9 bytes a second."""
        return metrics.gigabytes_per_second(self.bytes_read, self.seconds)

    @property
    def acceptance(self) -> float | None:
        """Accepted over drafted within the slice; None where nothing was drafted."""
        return metrics.acceptance(self.accepted, self.drafted) if self.drafted else None

    @property
    def tau(self) -> float:
        """Tokens a block within the slice."""
        return metrics.tau(self.tokens, self.blocks)

    @property
    def milliseconds(self) -> tuple[float, float, float]:
        """Draft, verify and overhead milliseconds of a block."""
        parts = (self.draft_seconds, self.verify_seconds, self.overhead_seconds)
        draft, verify, overhead = (1000 * part / self.blocks for part in parts)
        return draft, verify, overhead


def slices(track: Track | None, steps: int, seconds: float, columns: int) -> list[Slice]:
    """The first ``steps`` steps of ``track`` on an axis of ``seconds`` with ``columns`` slices, as far as they reach."""
    blocks = min(steps - 1, len(track.blocks)) if track is not None else 0
    if track is None or blocks <= 0 or seconds <= 0 or columns <= 0:
        return []
    end = track.blocks[blocks - 1].at
    # A hair of a slice at the end would divide by next to nothing.
    cuts = [time for k in range(columns + 1) if (time := seconds * k / columns) < end - 1e-9]
    moments = [_until(track, time) for time in cuts] + [_Moment(end, float(blocks), track.totals[blocks])]
    return [_between(begin, finish) for begin, finish in pairwise(moments)]


class _Moment(NamedTuple):
    """A time of a run with the blocks and the sums until then, parts of blocks included."""

    time: float
    blocks: float
    totals: Totals | tuple[float, ...]


def _until(track: Track, time: float) -> _Moment:
    """Time, blocks and totals at ``time``; what a block does is spread evenly over its time."""
    index = bisect_right(track.blocks, time, key=lambda block: block.at)
    begin = track.blocks[index - 1].at if index else 0.0
    share = (time - begin) / (track.blocks[index].at - begin)
    before, after = track.totals[index], track.totals[index + 1]
    return _Moment(time, index + share, tuple(a + share * (b - a) for a, b in zip(before, after, strict=True)))


def _between(begin: _Moment, end: _Moment) -> Slice:
    sums = (b - a for a, b in zip(begin.totals, end.totals, strict=True))
    return Slice(end.time - begin.time, end.blocks - begin.blocks, *sums)


class AcceptanceByPosition(NamedTuple):
    """Acceptance at each position of a block; None where nothing was judged."""

    joint: list[float | None]
    """Of the blocks that drafted position i, the share whose tokens 0..i were all accepted."""
    conditional: list[float | None]
    """Of the tokens judged at position i, the share accepted."""


class ByPosition:
    """Acceptance at each position of the blocks seen so far; moves forward block by block.

    A block that ended with an accepted stop, or with the asked length, counts only what was accepted.
    """

    def __init__(self) -> None:
        self._track: Track | None = None
        self._seen = 0
        self._counts: list[list[int]] = []

    def at(self, track: Track | None, steps: int) -> AcceptanceByPosition:
        """Acceptance at each position after ``steps`` steps."""
        if track is None:
            return AcceptanceByPosition([], [])
        blocks = max(steps - 1, 0)
        if track is not self._track or blocks < self._seen:
            self._track, self._seen = track, 0
            self._counts = [[0, 0, 0] for _ in range(track.started.gamma)]
        for block in track.blocks[self._seen : blocks]:
            accepted = sum(token.state == "accepted" for token in block.drafted)
            drafted = accepted if block.extra is None else len(block.drafted)
            for position, counts in enumerate(self._counts[:drafted]):
                counts[0] += 1
                counts[1] += accepted >= position
                counts[2] += accepted > position
        self._seen = min(blocks, len(track.blocks))
        joint = [kept / drafted if drafted else None for drafted, _, kept in self._counts]
        conditional = [kept / judged if judged else None for _, judged, kept in self._counts]
        return AcceptanceByPosition(joint, conditional)
