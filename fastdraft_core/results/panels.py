"""What the charts of a result show: speed-up, acceptance, tau and bandwidth against gamma, speed-up against the draft's size.

Data alone. ``charts`` draws them into files, the app on its screen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fastdraft_core.events import PointMeasured, PointPredicted
from fastdraft_core.results.store import Result


@dataclass(frozen=True, slots=True)
class Mark:
    """A point, with bounds where they are known, and words that stand beside it."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    words: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one draft. A ``guess`` was not timed: dashed and without shapes."""

    name: str
    number: int
    marks: Sequence[Mark]
    guess: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes. ``rule`` is a horizontal line with its name; ``gammas`` are on the axis in any case."""

    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    rule: tuple[float, str] | None = None
    gammas: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Chart:
    """One figure of a result: a panel for every task at every temperature, in the order of ``Result.groups``."""

    title: str
    panels: Sequence[Panel]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw yet."""
        return not any(series.marks for panel in self.panels for series in panel.series)


Measured = Callable[[PointMeasured], Mark]
Predicted = Callable[[PointPredicted], Mark]


def figures(result: Result) -> dict[str, Chart]:
    """Every figure by name, also those that are still empty."""
    one = (1.0, "autoregressive")
    peak = None if result.all_cached else result.plan.peak_bandwidth
    return {
        "speedup": Chart(
            "Speed-up against gamma",
            _by_gamma(
                result,
                "times autoregressive",
                lambda p: Mark(p.gamma, p.speedup, p.low, p.high),
                lambda p: Mark(p.gamma, p.speedup),
                one,
            ),
        ),
        "acceptance": Chart(
            "Acceptance against gamma (accepted/drafted)",
            _by_gamma(
                result,
                "accepted / drafted",
                lambda p: Mark(p.gamma, p.metrics.acceptance),
                lambda p: Mark(p.gamma, p.acceptance),
            ),
        ),
        "tau": Chart(
            "Block efficiency against gamma",
            _by_gamma(
                result, "tokens a target pass", lambda p: Mark(p.gamma, p.metrics.tau), lambda p: Mark(p.gamma, p.tau)
            ),
        ),
        "bandwidth": Chart(
            f"Effective memory bandwidth against gamma{_cached(result)}",
            _by_gamma(
                result,
                "GB/s",
                lambda p: Mark(p.gamma, p.metrics.gigabytes_per_second),
                None,
                (peak, "measured peak of the machine") if peak else None,
            ),
        ),
        "size": Chart("Speed-up against the draft's size, each at its best measured gamma", _by_size(result)),
    }


def _cached(result: Result) -> str:
    """Which drafts lie in the processor's cache with their target, where the memory's peak bounds nothing."""
    names = [card.name for card in result.plan.drafts if result.cached(card.name)]
    return f" (cache-bound{'' if result.all_cached else ': ' + ', '.join(names)})" if names else ""


def _by_gamma(
    result: Result,
    y_label: str,
    measured: Measured,
    predicted: Predicted | None,
    rule: tuple[float, str] | None = None,
) -> list[Panel]:
    panels = []
    for task, temperature in result.groups:
        series = []
        for number, card in enumerate(result.plan.drafts):
            keys = [(card.name, gamma, temperature, task) for gamma in result.plan.gammas]
            if predicted:
                marks = [predicted(result.predicted[key]) for key in keys if key in result.predicted]
                series.append(Series(card.name, number, marks, guess=True))
            found = [measured(result.measured[key]) for key in keys if key in result.measured]
            series.append(Series(card.name, number, found))
        drawn = [s for s in series if s.marks]
        panels.append(Panel(f"{task}, T {temperature:g}", "gamma", y_label, drawn, rule, result.plan.gammas))
    return panels


def _by_size(result: Result) -> list[Panel]:
    panels = []
    for task, temperature in result.groups:
        series = []
        for number, card in enumerate(result.plan.drafts):
            points = [
                p
                for p in result.measured.values()
                if (p.draft, p.task, p.temperature) == (card.name, task, temperature)
            ]
            if points:
                best = max(points, key=lambda p: p.speedup)
                mark = Mark(card.parameters / 1e6, best.speedup, best.low, best.high, f"gamma {best.gamma}")
                series.append(Series(card.name, number, [mark]))
        title = f"{task}, T {temperature:g}"
        panels.append(Panel(title, "million parameters", "times autoregressive", series, (1.0, "autoregressive")))
    return panels
