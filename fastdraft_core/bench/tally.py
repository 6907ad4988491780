"""What was measured of one point so far, and the event that says it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from fastdraft_core.bench.interval import Interval, bootstrap, first_interval, interval, pooled_speedup
from fastdraft_core.events import PointMeasured, RunTotals, Turn, TurnMeasured
from fastdraft_core.events.sweeping import PointKey
from fastdraft_core.metrics import Cost, block_cost, figures, pooled


@dataclass(frozen=True, slots=True)
class Run:
    """One timed run of one mode; ``joules`` where the machine tells."""

    totals: RunTotals
    joules: float | None
    peak_memory: int


@dataclass(slots=True)
class Tally:
    """The turns of one point, those that an earlier sweep kept included. Turn n is of the n-th prompt, round and round."""

    key: PointKey
    turns: list[TurnMeasured] = field(default_factory=list)
    warm_ups: int = 0
    disturbed: int = 0
    """Dropped since the last turn."""

    def add(self, prompt: int, baseline: Run, speculative: Run, *, busy: bool) -> TurnMeasured:
        """Take in both runs of one turn; the event that says so."""
        draft, gamma, temperature, task = self.key
        turn = TurnMeasured(
            draft=draft,
            gamma=gamma,
            temperature=temperature,
            task=task,
            prompt=prompt,
            baseline=baseline.totals,
            speculative=speculative.totals,
            baseline_joules=baseline.joules,
            joules=speculative.joules,
            peak_memory=speculative.peak_memory,
            warm_ups=self.warm_ups,
            disturbed=self.disturbed,
            busy=busy,
        )
        self.turns.append(turn)
        self.warm_ups, self.disturbed = 0, 0
        return turn

    def repeats(self, prompts: int) -> int:
        """Complete rounds over all prompts."""
        seen = Counter(turn.prompt for turn in self.turns)
        return min(seen[number] for number in range(prompts))

    def times(self) -> list[Turn]:
        """Seconds a token of every turn; texts that ended with their first token have none."""
        return [
            Turn(
                t.prompt,
                t.baseline.seconds / t.baseline.tokens,
                t.speculative.seconds / t.speculative.tokens,
                (t.baseline.tokens + t.speculative.tokens) / 2,
            )
            for t in self.turns
            if t.baseline.tokens and t.speculative.tokens
        ]

    def interval(self, prompts: int) -> Interval | None:
        """The speed-up with its bounds, once two turns tell how far it is known."""
        times = self.times()
        return interval(times) if self.repeats(prompts) > 1 or prompts == 1 else first_interval(times)

    def event(
        self,
        found: Interval,
        prompts: int,
        precision: float,
        cost: Cost,
        peak_bandwidth: float | None,
        more_memory: int,
        fallback: str,
    ) -> PointMeasured:
        """The point as measured so far, with ``found`` as its interval."""
        draft, gamma, temperature, task = self.key
        metrics = figures(pooled([t.speculative for t in self.turns]), cost)
        baseline = figures(pooled([t.baseline for t in self.turns]), cost)
        split = block_cost(baseline, metrics)
        assert split is not None, "both modes were timed"
        times = self.times()
        low, high = bootstrap(times, lambda t: t.prompt, pooled_speedup) or (None, None)
        return PointMeasured(
            draft=draft,
            gamma=gamma,
            temperature=temperature,
            task=task,
            speedup=found.ratio,
            low=found.low,
            high=found.high,
            prompts_low=low,
            prompts_high=high,
            # Fewer rounds may agree by chance.
            reached=found.half_width <= precision and self.repeats(prompts) > 1,
            repeats=self.repeats(prompts),
            warm_ups=sum(t.warm_ups for t in self.turns),
            disturbed=sum(t.disturbed for t in self.turns),
            busy=sum(t.busy for t in self.turns),
            metrics=metrics,
            baseline=baseline,
            cost=split,
            bandwidth_share=metrics.gigabytes_per_second / peak_bandwidth if peak_bandwidth else None,
            joules_per_token=_joules([(t.joules, t.speculative.tokens) for t in self.turns]),
            baseline_joules_per_token=_joules([(t.baseline_joules, t.baseline.tokens) for t in self.turns]),
            peak_memory=max(t.peak_memory for t in self.turns),
            more_memory=more_memory,
            turns=times,
            fallback=fallback,
        )


def _joules(runs: Sequence[tuple[float | None, int]]) -> float | None:
    """Joules a token, if every run knows its energy."""
    spent = [joules for joules, _ in runs if joules is not None]
    return sum(spent) / sum(tokens for _, tokens in runs) if len(spent) == len(runs) else None
