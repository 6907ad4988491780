"""Block lengths chosen while decoding, from what blocks took and how much of them was accepted (``--gamma auto``).

Nothing is measured beforehand. A block of n drafted tokens gives (1 − a^(n+1)) / (1 − a) tokens if each is accepted with
chance a (Leviathan et al. 2211.17192, equation 1), and takes what blocks of its length took so far. The length with the most
tokens a second is next. What was learned holds for the pair, so it is kept from one text to the next.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

import torch

from fastdraft_core.decoding.drafters import Drafter
from fastdraft_core.decoding.sampling import Sampling
from fastdraft_core.events import MOST_GAMMA

#: What one judged token leaves of the weight of those before it: about the last thirty count.
_MEMORY = 0.97
#: The same for the seconds of blocks of one length.
_STEADY = 0.9
#: Each length is tried so often at first; the first block of a length prepares shapes and is not counted.
_FIRST_TIMES = 2
#: After so many blocks of the best length, a neighbour of it is tried as often again: costs change, and were seen once.
_LOOK_EVERY = 24
#: A new length must promise so much more than the present one: changes cost something too.
_WORTH_A_CHANGE = 1.02
#: A block counts as at most so many times the usual: one that something held up changes little, but what stays is learned.
_MOST_AT_ONCE = 1.5


@dataclass(slots=True)
class Pace:
    """What is known of a pair: the chance of acceptance, and the seconds of blocks by their length."""

    acceptance: float = 0.5
    gamma: int = MOST_GAMMA
    seconds: dict[int, float] = field(default_factory=dict)
    _times: Counter[int] = field(default_factory=Counter)
    _blocks: int = 0

    def choose(self) -> int:
        """The length of the next block."""
        for length in range(MOST_GAMMA, 0, -1):
            if self._times[length] < _FIRST_TIMES or length not in self.seconds:
                return length
        self._blocks += 1
        looks, turn = divmod(self._blocks, _LOOK_EVERY)
        if looks and turn < _FIRST_TIMES:
            return min(MOST_GAMMA, max(1, self.gamma + (1 if looks % 2 else -1)))
        rates = {n: self._tokens(n) / seconds for n, seconds in self.seconds.items()}
        best = max(rates, key=rates.__getitem__)
        if rates[best] > _WORTH_A_CHANGE * rates[self.gamma]:
            self.gamma = best
        return self.gamma

    def saw(self, drafted: int, accepted: int, seconds: float, *, settled: bool) -> None:
        """Learn from a block; it is ``settled`` if the one before was as long."""
        for position in range(min(accepted + 1, drafted)):
            self.acceptance = _MEMORY * self.acceptance + (1 - _MEMORY) * (position < accepted)
        self._times[drafted] += 1
        if settled:
            usual = self.seconds.get(drafted, seconds)
            self.seconds[drafted] = _STEADY * usual + (1 - _STEADY) * min(seconds, _MOST_AT_ONCE * usual)

    def _tokens(self, length: int) -> float:
        return sum(self.acceptance**n for n in range(length + 1))


class AdaptiveDrafter:
    """A drafter that proposes as many tokens as its ``pace`` says, at most what it is asked for."""

    def __init__(self, inner: Drafter, pace: Pace) -> None:
        self._inner = inner
        self._pace = pace
        self._begin = self._drafted = self._before = 0
        self._since = 0.0

    @property
    def logits(self) -> list[torch.Tensor]:
        """Of the last proposal."""
        return self._inner.logits

    def prepare(self, gamma: int, sampling: Sampling) -> None:
        """For every length up to ``gamma``."""
        for length in range(1, gamma + 1):
            self._inner.prepare(length, sampling)

    def start(self, ids: list[int]) -> None:
        """Read a new prompt."""
        self._before = 0
        self._inner.start(ids)

    def propose(
        self, ids: list[int], gamma: int, sampling: Sampling, stream: torch.Generator
    ) -> tuple[list[int], torch.Tensor | None]:
        """As the drafter inside, for the length that is now the best."""
        self._since, self._begin = time.perf_counter(), len(ids)
        drafted, q = self._inner.propose(ids, min(gamma, self._pace.choose()), sampling, stream)
        self._before, self._drafted = self._drafted, len(drafted)
        return drafted, q

    def keep(self, length: int) -> None:
        """Learn from the verdict, and forget what was read past the first ``length`` tokens."""
        self._inner.keep(length)
        if self._drafted:
            seconds = time.perf_counter() - self._since
            settled = self._drafted == self._before
            self._pace.saw(self._drafted, length - self._begin, seconds, settled=settled)
