"""A pair so slow that the budget is short for it: points are measured all the same, and going on never begins again."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fastdraft_core.bench import survey
from fastdraft_core.bench import sweep as module
from fastdraft_core.bench.drafts import Lineup
from fastdraft_core.bench.sweep import sweep
from fastdraft_core.bench.tasks import Task, file_task
from fastdraft_core.decoding.records import Stopwatch
from fastdraft_core.events import CostsMeasured, Event, PointMeasured, TurnMeasured
from fastdraft_core.results import store
from fastdraft_core.results.store import Result
from tests.bench.letters import letters_pair
from tests.bench.points import plan
from tests.decoding.table import TableRuntime, random_table

BUDGET = 300.0
LENGTH = 64


class Clock:
    """Time that only passes of slow models move."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class SlowTable(TableRuntime):
    """A table whose every pass takes about ``seconds``."""

    def __init__(self, table: Any, clock: Clock, seconds: float) -> None:
        super().__init__(table)
        self._clock, self._seconds, self._random = clock, seconds, random.Random(0)

    def forward(self, ids: list[int]) -> torch.Tensor:
        self._clock.now += self._seconds * self._random.uniform(0.8, 1.2)
        return super().forward(ids)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of sweeps and stopwatches; nothing disturbs anything."""
    made = Clock()
    for part in (module, survey):
        monkeypatch.setattr(part, "time", SimpleNamespace(monotonic=made))
    monkeypatch.setattr(Stopwatch.__init__, "__defaults__", (made,))
    monkeypatch.setattr(module, "disturbance", lambda *args: "")
    return made


def lineup_of(clock: Clock, tokens_per_second: float) -> Lineup:
    """Three drafts ten times as fast as their target."""
    pair = letters_pair()
    table = pair.target.table.numpy()  # type: ignore[attr-defined]
    target = SlowTable(table, clock, 1 / tokens_per_second)
    return {
        name: replace(
            pair, target=target, draft=SlowTable(table + random_table(5, seed, 1.2), clock, 0.1 / tokens_per_second)
        )
        for seed, name in enumerate(("XS", "S", "M"), 1)
    }


def tasks_of(lineup: Lineup, folder: Path) -> list[Task]:
    """Two tasks of six prompts, as the defaults have them."""
    found = []
    for name in ("code", "text"):
        path = folder / f"{name}.jsonl"
        path.write_text("".join(f'{{"prompt": "{name[0].replace("t", "b")}{letter}"}}\n' for letter in "abcdea"))
        found.append(file_task(path, "prompt", length=LENGTH).fitted(list(lineup.values())))
    return found


def default_result(**changes: Any) -> Result:
    return Result(plan(**{"drafts": ("XS", "S", "M"), "gammas": tuple(range(1, 9)), "precision": 0.03, **changes}))


def of(kind: type[Any], events: list[Event]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


@pytest.mark.parametrize("speed", [5.0, 8.0])
def test_a_slow_pair_has_measured_points_within_the_budget(clock: Clock, tmp_path: Path, speed: float) -> None:
    """At 5 tokens/s and a default budget every task has measured points, and a verdict; the last run alone goes past the end."""
    lineup = lineup_of(clock, speed)
    result = default_result()
    list(sweep(lineup, tasks_of(lineup, tmp_path), result, BUDGET))
    assert result.finished is not None
    assert result.finished.reason == "budget"
    assert clock.now < BUDGET + 1.2 * LENGTH / speed + 1
    assert {point.task for point in result.measured.values()} == {"code", "text"}
    assert {draft for draft, _, _, _ in result.measured} == {"XS", "S", "M"}
    for point in result.measured.values():
        assert len(point.turns) >= 2
        assert point.low <= point.speedup <= point.high
        assert not point.reached, "two turns are no good measurement, however they agree"


def test_a_slow_pair_on_a_busy_machine_is_measured_all_the_same(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no time to run disturbed turns again: they count and say so."""
    monkeypatch.setattr(module, "disturbance", lambda *args: "other programs used the cores")
    lineup = lineup_of(clock, 5.0)
    result = default_result()
    list(sweep(lineup, tasks_of(lineup, tmp_path), result, BUDGET))
    assert result.measured
    assert all(point.busy == len(point.turns) for point in result.measured.values())
    assert not result.dropped


def test_going_on_continues_and_repeats_nothing(clock: Clock, tmp_path: Path) -> None:
    """A budget that ends again and again: no cost, prediction or turn is measured twice, and points only become better."""
    lineup = lineup_of(clock, 5.0)
    tasks = tasks_of(lineup, tmp_path)
    result = default_result()
    write = store.writer(result.plan.name)
    write(result.plan)
    turns: dict[Any, int] = {}
    surveyed: list[Any] = []
    for _ in range(4):
        for event in sweep(lineup, tasks, result, BUDGET / 2):
            write(event)
            if isinstance(event, CostsMeasured):
                surveyed.append((event.name, event.task))
            if isinstance(event, TurnMeasured):
                # The n-th turn of a point is of the n-th prompt, round and round.
                assert event.prompt == turns.get(event.key, 0) % 6
                turns[event.key] = turns.get(event.key, 0) + 1
            if isinstance(event, PointMeasured):
                assert len(event.turns) == turns[event.key]
        # Each run knows what the disk knows.
        result = store.read(result.plan.name)
    assert len(surveyed) == len(set(surveyed)) == 6
    assert {key: len(found) for key, found in result.turns.items()} == turns
    assert max(turns.values()) > 2


def test_a_survey_that_the_budget_cuts_is_kept(clock: Clock, tmp_path: Path) -> None:
    """What the first drafts cost is not measured again, so that even a very slow pair comes further with each run."""
    lineup = lineup_of(clock, 0.8)
    tasks = tasks_of(lineup, tmp_path)[:1]
    result = default_result(tasks=("code",))
    first = list(sweep(lineup, tasks, result, 0.6 * BUDGET))
    known = {event.name for event in of(CostsMeasured, first)}
    assert known
    assert known < {"XS", "S", "M"}
    again = {event.name for event in of(CostsMeasured, list(sweep(lineup, tasks, result, 2 * BUDGET)))}
    assert again == {"XS", "S", "M"} - known


def test_a_kept_point_is_never_replaced_by_a_worse_one(clock: Clock, tmp_path: Path) -> None:
    """Also one of an older version, whose turns are not on disk: it stays until more turns than it has are there."""
    lineup = lineup_of(clock, 1000.0)
    tasks = tasks_of(lineup, tmp_path)[:1]
    result = default_result(tasks=("code",), drafts=("XS",), gammas=(2,), precision=1e-12)
    lineup = {"XS": lineup["XS"]}
    list(sweep(lineup, tasks, result, BUDGET, lambda: any(p.repeats >= 3 for p in result.measured.values())))
    (kept,) = result.measured.values()
    result.turns.clear()
    events = list(sweep(lineup, tasks, result, BUDGET, lambda: any(p.repeats >= 5 for p in result.measured.values())))
    assert [p.repeats for p in of(PointMeasured, events)] == [4, 5]
    assert kept.repeats == 3
