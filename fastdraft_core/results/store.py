"""A result is a folder with one file of events, written line by line as they come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fastdraft_core import places
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import (
    CostsMeasured,
    Event,
    PointMeasured,
    PointPredicted,
    RepeatDropped,
    SweepFinished,
    SweepStarted,
    SweepVerdict,
    TurnMeasured,
    cache_bound,
)
from fastdraft_core.events.sweeping import PointKey
from fastdraft_core.results.event_file import (
    FILE,
    Writer,
    choose,
    dated_name,
    decode_lines,
    open_writer,
    read_lines,
)

#: Changes when a field of a kept event changes its meaning.
SCHEMA = "fastdraft.sweep/1"
#: What is kept; the rest is for whoever watches.
KEPT = (
    SweepStarted,
    CostsMeasured,
    PointPredicted,
    TurnMeasured,
    PointMeasured,
    RepeatDropped,
    SweepVerdict,
    SweepFinished,
)


@dataclass(slots=True)
class Result:
    """A sweep as far as it got. Of several measurements of one point the last counts."""

    plan: SweepStarted
    costs: dict[tuple[str, str, float], CostsMeasured] = field(default_factory=dict)
    predicted: dict[PointKey, PointPredicted] = field(default_factory=dict)
    turns: dict[PointKey, list[TurnMeasured]] = field(default_factory=dict)
    measured: dict[PointKey, PointMeasured] = field(default_factory=dict)
    dropped: list[RepeatDropped] = field(default_factory=list)
    verdict: SweepVerdict | None = None
    finished: SweepFinished | None = None

    @property
    def groups(self) -> list[tuple[str, float]]:
        """Every task at every temperature, as asked for."""
        return [(task.name, temperature) for task in self.plan.tasks for temperature in self.plan.temperatures]

    @property
    def grid(self) -> list[PointKey]:
        """Every point that was asked for."""
        return [
            PointKey(card.name, gamma, temperature, task)
            for task, temperature in self.groups
            for card in self.plan.drafts
            for gamma in self.plan.gammas
        ]

    @property
    def total(self) -> int:
        """Points of the whole grid."""
        return len(self.groups) * len(self.plan.drafts) * len(self.plan.gammas)

    def add(self, event: Event) -> None:
        """Take in one event; what is not kept changes nothing."""
        match event:
            case CostsMeasured():
                self.costs[event.name, event.task, event.temperature] = event
            case PointPredicted():
                self.predicted[event.key] = event
            case TurnMeasured():
                self.turns.setdefault(event.key, []).append(event)
            case PointMeasured():
                self.measured[event.key] = event
            case RepeatDropped():
                self.dropped.append(event)
            case SweepVerdict():
                self.verdict = event
            case SweepFinished():
                self.finished = event

    def cached(self, draft: str) -> bool:
        """Whether target and that draft lie in the processor's cache, so that no share of the memory's peak has a meaning."""
        card = next((card for card in self.plan.drafts if card.name == draft), None)
        return cache_bound(self.plan.target, card, self.plan.last_level_cache)

    @property
    def all_cached(self) -> bool:
        """Whether that holds for every draft."""
        return all(self.cached(card.name) for card in self.plan.drafts)

    def label(self, task: str, temperature: float) -> str:
        """A task in words; the temperature is named where there are several."""
        return task if len(self.plan.temperatures) == 1 else f"{task} at T {temperature:g}"


def new_name(target: str) -> str:
    """A name for a new result: the time and the target, as a folder's name."""
    return dated_name(places.results(), target)


def names() -> list[str]:
    """All results, the newest last."""
    return sorted(path.parent.name for path in places.results().glob(f"*/{FILE}"))


def find(name: str) -> str:
    """The one result that ``name`` means: a name, the beginning of only one, or ``last``.

    Raises:
        FastdraftError: there is none, or there are several.
    """
    return choose(names(), name, "result", begin="fastdraft sweep", listed="fastdraft results list")


def folder(name: str) -> Path:
    """Where a result lies."""
    return places.results() / name


def read(name: str) -> Result:
    """The result of that very name.

    Raises:
        FastdraftError: its file cannot be read, or another version of fastdraft wrote it.
    """
    path = folder(name) / FILE
    return parse(read_lines(path), str(path))


def parse(lines: Sequence[bytes], where: str) -> Result:
    """A result from its lines, the first of which is the plan.

    Raises:
        FastdraftError: a line is no event, or the schema is not this version's.
    """
    plan, *events = decode_lines(lines, where, SCHEMA)
    if not isinstance(plan, SweepStarted):
        raise FastdraftError(f"{where} does not begin with the plan of a sweep.")
    result = Result(plan)
    for event in events:
        result.add(event)
    return result


def writer(name: str) -> Writer:
    """The writer of a result that is there or begins.

    Raises:
        FastdraftError: the folder cannot be written, or another process is writing this result.
    """
    return open_writer(folder(name), f"the result {name}", KEPT, f"fastdraft sweep --resume {name}")
