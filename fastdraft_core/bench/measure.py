"""Autoregressive against speculative decoding on the same prompts, interleaved (pitfall 21)."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fastdraft_core.bench.costs import Costs, measure_costs, predict
from fastdraft_core.bench.interval import bootstrap
from fastdraft_core.bench.tasks import Prompt
from fastdraft_core.decoding.records import TOKEN, Pass, Request
from fastdraft_core.decoding.sampling import Sampling
from fastdraft_core.decoding.totals import run_totals
from fastdraft_core.engine.pair import Pair
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import RunMetrics
from fastdraft_core.metrics import figures, pooled


@dataclass(frozen=True, slots=True)
class Sample:
    """One timed run: ``gamma`` 0 is autoregressive. The prefill and its token are not in it."""

    prompt: int
    repeat: int
    gamma: int
    passes: list[Pass]

    @property
    def tokens(self) -> int:
        """Tokens decoded after the first."""
        return sum(len(p.emitted) for p in self.passes)

    @property
    def seconds(self) -> float:
        """Decode seconds of those tokens."""
        return self.passes[-1].at if self.passes else 0.0


@dataclass(frozen=True, slots=True)
class Point:
    """Figures at one gamma over all prompts and repeats.

    ``speedup`` is the median over repeats of total tokens/s against the autoregressive total of the
    same repeat, whatever the lengths of its texts; ``low`` and ``high`` bound it at 95 %, by bootstrap over prompts, and are absent where there is one prompt.
    """

    gamma: int
    tokens_per_second: float
    speedup: float
    low: float | None
    high: float | None
    acceptance: float
    tau: float
    predicted: float
    metrics: RunMetrics
    fallback: str = ""


def measure(
    pair: Pair,
    prompts: Sequence[Prompt],
    gammas: Sequence[int],
    sampling: Sampling,
    *,
    length: int,
    repeats: int,
    seed: int,
    ignore_stop: bool = False,
    verification: str = TOKEN,
) -> Iterator[Sample]:
    """Run every prompt with every gamma and autoregressively, in turn, ``repeats`` times after a warm-up.

    A text ends where the model ends it, at most after ``length`` tokens; with ``ignore_stop`` all have that many.
    """
    requests = [
        pair.request(
            p.text,
            max_new_tokens=length,
            sampling=sampling,
            seed=seed + i,
            ignore_stops=ignore_stop,
            verification=verification,
        )
        for i, p in enumerate(prompts)
    ]
    for gamma in (0, *gammas):
        pair.warm_up("sd" if gamma else "ar", requests[0], gamma)
    for repeat in range(repeats):
        for number, request in enumerate(requests):
            # Turning the order around every time spreads a drift of the machine over all points.
            order = [0, *gammas] if (repeat + number) % 2 == 0 else [*reversed(gammas), 0]
            for gamma in order:
                yield Sample(number, repeat, gamma, timed_passes(pair, request, gamma))


def costs_at(
    pair: Pair, prompts: Sequence[Prompt], gammas: Sequence[int], length: int, sampling: Sampling | None = None
) -> Costs:
    """Pass costs over runs of these prompts; of whole lengths, since a pass costs the same past the end of a text."""
    requests = [
        pair.request(p.text, max_new_tokens=length, sampling=sampling or Sampling(), ignore_stops=True) for p in prompts
    ]
    return measure_costs(pair, requests, max(gammas))


def points(pair: Pair, samples: Sequence[Sample], costs: Costs, sampling: Sampling) -> list[Point]:
    """One ``Point`` for each gamma, the autoregressive one (0) first.

    Raises:
        FastdraftError: every text ended with its first token, so that nothing was decoded.
    """
    # A prompt whose text ended with the prefill's token was decoded in no mode.
    samples = [s for s in samples if s.tokens]
    gammas = sorted({s.gamma for s in samples})
    if 0 not in gammas:
        raise FastdraftError(
            f"{pair.target.card.name} ends every text with its first token, so there is nothing to measure. Give other prompts, or "
            "--ignore-stop."
        )
    seen = {(s.repeat, s.gamma) for s in samples}
    samples = [s for s in samples if all((s.repeat, gamma) in seen for gamma in gammas)]
    return [_point(pair, samples, gamma, costs, sampling) for gamma in gammas]


def why_fallback(pair: Pair, gamma: int, sampling: Sampling) -> str:
    """What of a point did not run the fast way of its runtime, and why, as one sentence; empty where all did."""
    reasons = []
    if pair.target.card.fallback:
        reasons.append(f"{pair.target.card.name}: {pair.target.card.fallback}")
    if pair.draft is not None and gamma and (why := pair.drafter().why_steps(gamma, sampling)):
        reasons.append(f"{pair.draft.card.name} drafts step by step at gamma {gamma}: {why}")
    return "; ".join(reasons)


def timed_passes(pair: Pair, request: Request, gamma: int) -> list[Pass]:
    """The passes of one run; ``gamma`` 0 is autoregressive."""
    records = pair.decode("sd" if gamma else "ar", request, gamma)
    return [record for record in records if isinstance(record, Pass)]


def _point(pair: Pair, samples: Sequence[Sample], gamma: int, costs: Costs, sampling: Sampling) -> Point:
    mine = [s for s in samples if s.gamma == gamma]
    passes = [p for s in mine for p in s.passes]
    both = [s for s in samples if s.gamma in (0, gamma)]
    low, high = bootstrap(both, lambda s: s.prompt, lambda drawn: _speedup(drawn, gamma)) or (None, None)
    cost = pair.cost()
    metrics = figures(pooled([run_totals(s.passes, gamma, cost) for s in mine]), cost)
    return Point(
        gamma=gamma,
        tokens_per_second=metrics.tokens_per_second,
        speedup=statistics.median(
            _speedup([s for s in samples if s.repeat == r], gamma) for r in {s.repeat for s in mine}
        ),
        low=low,
        high=high,
        acceptance=metrics.acceptance,
        tau=metrics.tau,
        predicted=predict(passes, costs) if gamma else 1.0,
        metrics=metrics,
        fallback=why_fallback(pair, gamma, sampling),
    )


def _speedup(samples: Sequence[Sample], gamma: int) -> float:
    """Total tokens over total time, speculative over autoregressive; never a mean of ratios."""
    rate = {}
    for mode in (gamma, 0):
        mine = [s for s in samples if s.gamma == mode]
        rate[mode] = sum(s.tokens for s in mine) / sum(s.seconds for s in mine)
    return rate[gamma] / rate[0]
