"""What decoding yields: token ids and measured seconds, without text."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from fastdraft_core.decoding.sampling import Sampling
from fastdraft_core.errors import FastdraftError

TOKEN, BLOCK = "token", "block"
#: How drafted tokens are judged.
VERIFICATIONS = (TOKEN, BLOCK)


class Stopwatch:
    """Seconds of decode time; a generator pauses it around each ``yield``."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._elapsed = 0.0
        self._since = clock()

    def read(self) -> float:
        """Seconds so far; only while the watch runs."""
        return self._elapsed + self._clock() - self._since

    def pause(self) -> None:
        """Stand still until ``resume``."""
        self._elapsed = self.read()

    def resume(self) -> None:
        """Go on from where ``pause`` stopped."""
        self._since = self._clock()


@dataclass(frozen=True, slots=True)
class Streams:
    """Three independent generators; ``accept`` is on the CPU, the others where the logits are."""

    draft: torch.Generator
    accept: torch.Generator
    target: torch.Generator

    @classmethod
    def of(cls, seed: int, device: torch.device | str = "cpu") -> Streams:
        """The streams of ``seed``: the same seed gives the same tokens on the same machine."""
        seeds = [int(s.generate_state(1, np.uint64)[0]) & (1 << 63) - 1 for s in np.random.SeedSequence(seed).spawn(3)]
        draft, target = torch.Generator(device).manual_seed(seeds[0]), torch.Generator(device).manual_seed(seeds[2])
        return cls(draft, torch.Generator().manual_seed(seeds[1]), target)


@dataclass(frozen=True, slots=True)
class Request:
    """What to decode: prompt ids, how to sample, how long, and the ids that end a text.

    ``verification`` is how sampled blocks are judged, ``token`` by token or over the whole ``block`` at once.

    Raises:
        FastdraftError: there is no such verification.
    """

    prompt: list[int]
    max_new_tokens: int
    sampling: Sampling = field(default_factory=Sampling)
    stops: frozenset[int] = frozenset()
    seed: int = 0
    verification: str = TOKEN

    def __post_init__(self) -> None:
        if self.verification not in VERIFICATIONS:
            raise FastdraftError(f"There is no verification {self.verification!r}; use {' or '.join(VERIFICATIONS)}.")

    def streams(self, device: torch.device | str = "cpu") -> Streams:
        """Fresh random streams of this request."""
        return Streams.of(self.seed, device)


@dataclass(frozen=True, slots=True)
class First:
    """The prefill's own token (pitfall 13); ``seconds`` is the time to it.

    The first ``kept`` tokens of the prompt were in the cache; the seconds that reading them took before are counted in.
    """

    token: int
    seconds: float
    kept: int = 0

    @property
    def emitted(self) -> list[int]:
        """Ids that this record adds to the text."""
        return [self.token]


@dataclass(frozen=True, slots=True)
class Pass:
    """One target pass over ``drafted`` ids, of which ``accepted`` were kept, and the target's ``extra`` token.

    ``judged`` counts the drafted tokens that got a verdict. Where a stop or the asked length cut the
    block, ``accepted`` counts what was really emitted and ``extra`` is None. ``at`` is decode time
    in seconds since the first token; ``context`` the tokens before this pass, of which the draft did not see the first ``skipped``.
    """

    drafted: list[int]
    judged: int
    accepted: int
    extra: int | None
    at: float
    draft_seconds: float
    verify_seconds: float
    overhead_seconds: float
    context: int
    p: list[float] = field(default_factory=list)
    q: list[float] = field(default_factory=list)
    u: list[float] = field(default_factory=list)
    skipped: int = 0

    @property
    def emitted(self) -> list[int]:
        """Ids that this record adds to the text."""
        return self.drafted[: self.accepted] + ([] if self.extra is None else [self.extra])

    @property
    def counted(self) -> int:
        """Drafted tokens that statistics count: all, or those up to a stop that was accepted."""
        return self.accepted if self.extra is None else len(self.drafted)


Record = First | Pass


def cut(tokens: list[int], stops: frozenset[int]) -> list[int]:
    """``tokens`` up to and including the earliest stop (pitfall 11)."""
    return next((tokens[: i + 1] for i, token in enumerate(tokens) if token in stops), tokens)
