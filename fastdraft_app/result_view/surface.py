"""Reading a result: which point is looked at, in which figure; and a few words on it. Pure, without widgets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from fastdraft_core.events import PointMeasured, PointPredicted
from fastdraft_core.events.sweeping import PointKey, Setting
from fastdraft_core.formatting import short
from fastdraft_core.results.store import Result


class MetricValue(NamedTuple):
    """A figure of a point, and whether it was measured; else it is predicted."""

    number: float
    measured: bool


class BestPoint(NamedTuple):
    """The fastest point of a task at a temperature, and whether it was measured; else it is predicted."""

    key: PointKey
    measured: bool


@dataclass(frozen=True)
class Metric:
    """A figure of a point, as the table shows it. ``figure`` names its chart in ``results.panels``."""

    figure: str
    title: str
    caption: str
    """Of its chart."""
    unit: str
    digits: int
    measured: Callable[[PointMeasured], float]
    predicted: Callable[[PointPredicted], float] | None

    def value(self, result: Result, key: PointKey) -> MetricValue | None:
        """The figure at a point; None where nothing is known."""
        if point := result.measured.get(key):
            return MetricValue(self.measured(point), True)
        guess = result.predicted.get(key)
        return MetricValue(self.predicted(guess), False) if guess and self.predicted else None


METRICS = (
    Metric("speedup", "speed-up", "Speed-up against γ", "×", 2, lambda p: p.speedup, lambda p: p.speedup),
    Metric("bandwidth", "bandwidth", "Memory bandwidth, GB/s, against γ", "GB/s", 1,
           lambda p: p.metrics.gigabytes_per_second, None),
    Metric("acceptance", "acceptance", "Acceptance against γ", "", 2, lambda p: p.metrics.acceptance, lambda p: p.acceptance),
    Metric("tau", "block efficiency", "Block efficiency τ against γ", "tokens a block", 2, lambda p: p.metrics.tau,
           lambda p: p.tau),
    Metric("size", "speed-up", "Speed-up against draft size (millions)", "×", 2, lambda p: p.speedup, lambda p: p.speedup),
)  # fmt: skip
"""In the order of the key that goes through them."""


@dataclass(frozen=True)
class Cursor:
    """Where the cursor is: a task at a temperature, a draft, a gamma, by their numbers in the plan; and the figure."""

    group: int = 0
    draft: int = 0
    gamma: int = 0
    metric: int = 0

    def moved(self, result: Result, drafts: int, gammas: int) -> Cursor:
        """So many drafts down and gammas to the right, not beyond the edges."""
        return replace(
            self,
            draft=min(max(self.draft + drafts, 0), len(result.plan.drafts) - 1),
            gamma=min(max(self.gamma + gammas, 0), len(result.plan.gammas) - 1),
        )

    def next_group(self, result: Result) -> Cursor:
        """The next task or temperature."""
        return replace(self, group=(self.group + 1) % len(result.groups))

    def next_metric(self) -> Cursor:
        """The next figure."""
        return replace(self, metric=(self.metric + 1) % len(METRICS))

    def inside(self, result: Result) -> Cursor:
        """This cursor, or the nearest that ``result`` has."""
        return replace(self.moved(result, 0, 0), group=min(self.group, len(result.groups) - 1))

    def key(self, result: Result) -> PointKey:
        """The point under the cursor."""
        task, temperature = result.groups[self.group]
        return PointKey(result.plan.drafts[self.draft].name, result.plan.gammas[self.gamma], temperature, task)

    def at(self, result: Result, draft: str, gamma: int) -> Cursor:
        """The cursor of that draft and gamma in this group; unknown ones leave it as it is."""
        names = [card.name for card in result.plan.drafts]
        if draft not in names or gamma not in result.plan.gammas:
            return self
        return replace(self, draft=names.index(draft), gamma=result.plan.gammas.index(gamma))


def best(result: Result, group: int) -> BestPoint | None:
    """The fastest measured point of a group, or where none is measured the best predicted one."""
    task, temperature = result.groups[group]
    for points, measured in ((result.measured, True), (result.predicted, False)):
        found = {key: point.speedup for key, point in points.items() if key.is_of(task, temperature)}
        if found:
            return BestPoint(max(found, key=lambda key: found[key]), measured)
    return None


def recommended(result: Result) -> Setting | None:
    """The draft and gamma of the verdict, where something wins."""
    verdict = result.verdict
    return Setting(verdict.draft, verdict.gamma) if verdict and verdict.draft and verdict.gamma else None


def complete(result: Result) -> bool:
    """Whether every point of the grid is measured as well as it was going to be."""
    return result.finished is not None and result.finished.reason == "complete"


def made(result: Result) -> str:
    """When a sweep was begun, to the minute."""
    return result.plan.created[:16].replace("T", " ")


def title(result: Result) -> str:
    """Target and drafts."""
    return f"{short(result.plan.target.name)} + {' '.join(short(card.name) for card in result.plan.drafts)}"


def words(result: Result) -> list[str]:
    """The verdict; before there is one, what can be said so far, told as such."""
    if result.verdict is not None:
        return result.verdict.words
    said = [_so_far(result, group) for group in range(len(result.groups))]
    known = [sentence for sentence in said if sentence]
    if not known:
        return ["Nothing is known yet: costs of passes are measured first, then the surface is predicted."]
    left = f"{len(result.measured)} of {result.total} points measured; there is no verdict yet."
    return [f"So far: {'; '.join(known)}.", left]


def _so_far(result: Result, group: int) -> str:
    found = best(result, group)
    if found is None:
        return ""
    draft, gamma, temperature, task = found.key
    where = f"draft {draft} with gamma {gamma} on {result.label(task, temperature)}"
    if not found.measured:
        return f"predicted best is {where}, about {result.predicted[found.key].speedup:.2f}x"
    point = result.measured[found.key]
    return f"best measured is {where}, {point.speedup:.2f}x ({point.low:.2f}–{point.high:.2f})"
