"""A job's curves as a chart takes them."""

from __future__ import annotations

from statistics import fmean

from fastdraft_app.theme.palette import SERIES
from fastdraft_app.widgets.chart import Point, Series
from fastdraft_core.jobs.view import JobView


def loss_series(view: JobView, *, smooth: bool, other: JobView | None = None) -> list[Series]:
    """The training loss, averaged or as it came, and the held-out losses, over training tokens; or that of two jobs."""
    training = "training, smoothed" if smooth else "training"
    if other is not None:
        return [Series(f"{one.name}: {training}", one.smoothed if smooth else one.loss) for one in (view, other)]
    held_out = (Series(f"held out: {source}", points) for source, points in view.held_out.items())
    return [Series(training, view.smoothed if smooth else view.loss), *held_out]


def acceptance_series(view: JobView, other: JobView | None = None) -> list[Series]:
    """Expected acceptance by source; of two jobs by source where there are marks for all, else the mean of each."""
    if other is None:
        return [Series(source, points) for source, points in view.expected.items()]
    if len(view.expected) + len(other.expected) > len(SERIES):
        return [Series(f"{one.name}: mean of {len(one.expected)} sources", _mean(one)) for one in (view, other)]
    return [Series(f"{one.name}: {source}", points) for one in (view, other) for source, points in one.expected.items()]


def _mean(view: JobView) -> tuple[Point, ...]:
    """The mean over sources, where all were evaluated."""
    values: dict[float, list[float]] = {}
    for points in view.expected.values():
        for x, y in points:
            values.setdefault(x, []).append(y)
    return tuple((x, fmean(ys)) for x, ys in sorted(values.items()) if len(ys) == len(view.expected))


def rate_series(view: JobView) -> list[Series]:
    """Tokens a second."""
    return [Series("tokens/s", view.rates)]


def schedule_series(view: JobView) -> list[Series]:
    """The learning rate."""
    return [Series("learning rate", view.learning_rates)]
