"""Where a speculative block's time goes on OpenVINO: inside the two models, and in everything around them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from fastdraft_core.decoding.drafters import ModelDrafter
from fastdraft_core.decoding.records import Pass, Request
from fastdraft_core.decoding.speculative import lossless, speculative
from fastdraft_core.engine.pair import Pair


class _Clocked:
    """A runtime whose calls are timed; ``inference`` is what the compiled model itself took of ``passes``."""

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime
        self.inference = self.passes = self.rewinding = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)

    def forward(self, ids: list[int]) -> Any:
        begin = time.perf_counter()
        logits = self._runtime.forward(ids)
        self.passes += time.perf_counter() - begin
        # Milliseconds of the last inference, by OpenVINO's own clock; no interface of ours gives it.
        self.inference += self._runtime._passes._request.latency / 1e3
        return logits

    def write_block(self, last: Sequence[int], count: int, temperature: float = 0, points: Sequence[int] = ()) -> Any:
        begin = time.perf_counter()
        written = self._runtime.write_block(last, count, temperature, points)
        self.passes += time.perf_counter() - begin
        self.inference += self._runtime._graphs[count, temperature == 0]._request.latency / 1e3
        return written

    def rewind(self, length: int) -> None:
        begin = time.perf_counter()
        self._runtime.rewind(length)
        self.rewinding += time.perf_counter() - begin


def split(pair: Pair, requests: Sequence[Request], gamma: int) -> dict[str, float]:
    """Shares of the decode time of speculative runs, which add up to 1.

    ``draft`` and ``verify`` are inside the compiled models; ``calls`` is our Python and copies around them, ``sampling``
    the verdict and the drawing, ``rewind`` both caches, ``python`` the rest of the loop.
    """
    target, draft = _Clocked(pair.target), _Clocked(pair.draft)
    judging = _Timed(lossless)
    total = drafting = 0.0
    for request in requests:
        records = list(speculative(target, ModelDrafter(draft), request, gamma, judge=judging))
        passes = [record for record in records if isinstance(record, Pass)]
        total += passes[-1].at
        drafting += sum(p.draft_seconds for p in passes)
    inside = draft.inference + target.inference
    shares = {
        "draft": draft.inference,
        "verify": target.inference,
        "calls": draft.passes + target.passes - inside,
        "sampling": judging.seconds + drafting - draft.passes,
        "rewind": draft.rewinding + target.rewinding,
    }
    shares["python"] = total - sum(shares.values())
    return {name: seconds / total for name, seconds in shares.items()}


class _Timed:
    """A function that adds up its seconds."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.seconds = 0.0

    def __call__(self, *arguments: Any) -> Any:
        begin = time.perf_counter()
        result = self._function(*arguments)
        self.seconds += time.perf_counter() - begin
        return result
