"""How a prompt is read: in passes of a fixed size, and what the cache still has of its beginning is not read again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch

from fastdraft_core.runtimes.base import Kept

#: Tokens a pass over a prompt: enough for matrix products to be bound by computing, and few enough that of a large model a pass takes
#: seconds, between two of which somebody may call it off.
PREFILL_CHUNK = 256


class PromptCache:
    """The prompt that the cache of a runtime begins with.

    Passes begin at multiples of the chunk, whatever was read before: so what they give has the same bits whether the passes before
    were kept or made again. For that reason tokens that were decoded are read again where they come back in a prompt, unless somebody
    adopts them.

    ``read`` reads ids after what is cached and returns float32 logits ``[V]`` after the last one; ``keep`` forgets all but the first
    tokens; ``wait`` waits for a device that works on its own.
    """

    def __init__(
        self,
        read: Callable[[list[int]], torch.Tensor],
        keep: Callable[[int], None],
        wait: Callable[[], None] = lambda: None,
    ) -> None:
        self.kept = Kept()
        self._read, self._keep, self._wait = read, keep, wait
        self._ids: list[int] = []
        self._chunk = PREFILL_CHUNK
        self._seconds: list[float] = []
        self._logits: torch.Tensor | None = None
        # Adopted tokens serve one prompt; what is read behind them, in passes that begin anywhere, serves no other.
        self._adopted = self._mixed = False

    def adopt(self, ids: list[int]) -> None:
        """The cache holds ``ids``, decoded ones included, and the next prompt may begin with any number of them."""
        self._ids, self._seconds, self._logits = list(ids), [], None
        self._adopted = self._mixed = True

    def forget(self, length: int) -> None:
        """The runtime keeps its first ``length`` tokens alone."""
        if length < len(self._ids):
            self._cut(length)

    def logits(self, ids: list[int], chunk: int) -> torch.Tensor:
        """Have the cache hold ``ids`` and nothing else; the logits ``[V]`` of what follows, which belong to the caller."""
        for _ in self.reading(ids, chunk):
            pass
        assert self._logits is not None
        return self._logits.clone()

    def reading(self, ids: list[int], chunk: int) -> Iterator[int]:
        """The same, pass by pass: how many tokens are there, at first those that were kept. Whoever stops loses nothing of it."""
        known = self._shared(ids, chunk)
        if known < len(self._ids):
            self._cut(known)
        # What was decoded after the prompt goes too.
        self._keep(known)
        self._chunk = chunk
        self._adopted, self._mixed = False, self._mixed and known > 0
        self.kept = Kept(known, sum(self._seconds))
        yield known
        for begin in range(known, len(ids), chunk):
            started = time.perf_counter()
            part = ids[begin : begin + chunk]
            self._logits = self._read(part)
            self._wait()
            self._seconds.append(time.perf_counter() - started)
            self._ids += part
            yield len(self._ids)

    def _shared(self, ids: list[int], chunk: int) -> int:
        """How many of the tokens of ``ids`` the cache has from the very passes that would read them now."""
        if chunk != self._chunk:
            return 0
        if ids == self._ids and self._logits is not None:
            return len(ids)
        same = next(
            (i for i, (a, b) in enumerate(zip(ids, self._ids, strict=False)) if a != b), min(len(ids), len(self._ids))
        )
        # The last pass gives the logits, so it is made in any case.
        same = min(same, len(ids) - 1)
        if self._mixed:
            return same if self._adopted else 0
        return same // chunk * chunk

    def _cut(self, length: int) -> None:
        del self._ids[length:]
        # A pass that is cut into is no whole one, and no pass of a prompt begins behind it.
        del self._seconds[-(-length // self._chunk) :]
        self._logits = None
