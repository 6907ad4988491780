"""The sweep itself, on tables that decode in no time: what is measured, in which order, and what becomes of disturbances."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fastdraft_core.bench import sweep as module
from fastdraft_core.bench.drafts import Lineup, choose_drafts, more_memory
from fastdraft_core.bench.sweep import sweep
from fastdraft_core.bench.tasks import Task, file_task
from fastdraft_core.decoding.explain import why_slower
from fastdraft_core.decoding.ngrams import Ngrams
from fastdraft_core.decoding.records import Pass, Request
from fastdraft_core.engine.pair import Pair
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import (
    CostsMeasured,
    Event,
    PointMeasured,
    PointPredicted,
    RepeatDropped,
    SweepFinished,
    SweepProgress,
    SweepVerdict,
)
from fastdraft_core.models.draft_spec import NgramDraft
from fastdraft_core.results import store
from fastdraft_core.results.store import Result
from tests.bench.letters import letters_pair
from tests.bench.points import plan
from tests.decoding.table import TableRuntime, card, random_table

HOUR = 3600.0
LOOSE = 1e300
"""An interval that any two repeats reach."""


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine that runs the tests may be as busy as it likes."""
    monkeypatch.setattr(module, "disturbance", lambda *args: "")


@pytest.fixture
def lineup() -> Lineup:
    first = letters_pair()
    other = TableRuntime(first.target.table.numpy() + random_table(5, 9, 2.5))  # type: ignore[attr-defined]
    return {"S": first, "M": replace(first, draft=other)}


@pytest.fixture
def tasks(lineup: Lineup, tmp_path: Path) -> list[Task]:
    return [task(lineup, tmp_path, "code", "ab"), task(lineup, tmp_path, "text", "cde")]


def task(lineup: Lineup, folder: Path, name: str, *texts: str) -> Task:
    """A task of these prompts and of each with another letter."""
    path = folder / f"{name}.jsonl"
    path.write_text("".join(f'{{"prompt": "{t}{end}"}}\n' for t in texts for end in ("", "d")))
    return file_task(path, "prompt", length=20).fitted(list(lineup.values()))


def run(lineup: Lineup, ready: list[Task], result: Result | None = None, **changes: Any) -> tuple[list[Event], Result]:
    """Sweep what the plan names of the lineup; ``changes`` are of the plan, but ``budget`` and ``stop``."""
    budget, stop = changes.pop("budget", HOUR), changes.pop("stop", lambda: False)
    result = result or Result(plan(**{"precision": LOOSE, "gammas": (1, 2), "last_level_cache": 1 << 20, **changes}))
    chosen = {card.name: lineup[card.name] for card in result.plan.drafts}
    return list(sweep(chosen, ready, result, budget, stop)), result


def of(kind: type[Any], events: list[Event]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


class Spy:
    """Sees every timed run: the request and gamma."""

    def __init__(self, real: Callable[[Pair, Request, int], list[Pass]]) -> None:
        self.seen: list[tuple[Request, int]] = []
        self._real = real

    def __call__(self, pair: Pair, request: Request, gamma: int) -> list[Pass]:
        self.seen.append((request, gamma))
        return self._real(pair, request, gamma)


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    watched = Spy(module.timed_passes)
    monkeypatch.setattr(module, "timed_passes", watched)
    return watched


def test_first_all_is_predicted_then_all_is_measured(lineup: Lineup, tasks: list[Task]) -> None:
    """Costs and the whole predicted surface come before the first timed point; then every point, the verdict, the end."""
    events, result = run(lineup, tasks)
    kinds = [type(e) for e in events if not isinstance(e, SweepProgress)]
    assert len(of(CostsMeasured, events)) == 2 * 2
    assert len(of(PointPredicted, events)) == 2 * 2 * 2 == result.total
    assert kinds.index(PointMeasured) > max(i for i, kind in enumerate(kinds) if kind is PointPredicted)
    assert result.measured.keys() == result.predicted.keys()
    assert kinds[-2:] == [SweepVerdict, SweepFinished]
    assert result.finished is not None
    assert result.finished.reason == "complete"


def test_greedy_points_land_on_their_prediction(lineup: Lineup, tasks: list[Task]) -> None:
    """Tokens, blocks and acceptance of a greedy run follow from the autoregressive text, to the block."""
    _, result = run(lineup, tasks, gammas=(1, 3))
    for key, point in result.measured.items():
        guess = result.predicted[key]
        assert point.metrics.tau == pytest.approx(guess.tau)
        assert point.metrics.acceptance == pytest.approx(guess.acceptance)
        assert point.metrics.joint == pytest.approx(guess.joint)


def test_a_lookup_is_measured_beside_models(lineup: Lineup, tasks: list[Task]) -> None:
    """It has costs, predictions and points, no memory of its own; where it never finds anything, that is what the verdict says."""
    target = lineup["S"].target
    lineup["M"] = replace(lineup["S"], draft=Ngrams(NgramDraft(1, 2), target))
    lineup["S"] = replace(lineup["S"], draft=Ngrams(NgramDraft(30, 30), target))
    events, result = run(lineup, tasks)
    assert result.measured.keys() == result.predicted.keys()
    for key, point in result.measured.items():
        assert (point.more_memory, point.metrics.mbsu) == (0, pytest.approx(point.metrics.tau))
        assert (point.metrics.drafted > 0) is (key.draft == "M")
        assert len(result.costs[key.draft, key.task, 0.0].verify) == 3
    never = [p for p in of(PointMeasured, events) if p.draft == "S"]
    assert {(p.metrics.tau, p.cost.drafted) for p in never} == {(1.0, 0.0)}
    assert all("Nothing was drafted" in why_slower(p.baseline, p.metrics) for p in never if p.speedup < 1)


def test_a_point_says_all_of_itself(lineup: Lineup, tasks: list[Task]) -> None:
    """Both modes' rates, the terms, memory and the interval; the speed-up is tau over the block's cost."""
    _, result = run(lineup, tasks)
    for point in result.measured.values():
        assert point.low < point.speedup < point.high
        assert point.speedup == pytest.approx(
            point.metrics.tokens_per_second / point.baseline.tokens_per_second, rel=1e-6
        )
        assert point.metrics.tau / point.cost.total == pytest.approx(point.speedup, rel=1e-6)
        assert (point.repeats, point.warm_ups, point.disturbed, point.busy) == (2, 1, 0, 0)
        assert point.peak_memory is not None
        assert point.peak_memory > 1 << 20
        assert point.bandwidth_share is None, "these weights lie in a cache"
        assert len(point.turns) == 4
        assert point.reached


def test_both_modes_stand_next_to_each_other(lineup: Lineup, tasks: list[Task], spy: Spy) -> None:
    """Pitfall 21: every turn is one prompt, autoregressive and each point once, first one end first, then the other."""
    run(lineup, tasks[:1], drafts=("S",), tasks=("code",))
    turns = [spy.seen[i : i + 3] for i in range(0, len(spy.seen), 3)]
    for turn in turns:
        assert len({tuple(request.prompt) for request, _ in turn}) == 1
        assert sorted(gamma for _, gamma in turn) == [0, 1, 2]
        assert all(not request.stops for request, _ in turn)
    assert {turn[0][1] == 0 for turn in turns} == {True, False}
    assert all(0 in (turn[0][1], turn[-1][1]) for turn in turns)


def test_sampled_repeats_draw_other_texts(lineup: Lineup, tasks: list[Task], spy: Spy) -> None:
    """The interval of a sampled point must know of the text's chance; both modes of a turn share their seed."""
    run(lineup, tasks[:1], drafts=("S",), tasks=("code",), temperatures=(0.7,), gammas=(2,))
    turns = [spy.seen[i : i + 2] for i in range(0, len(spy.seen), 2)]
    assert all(len({request.seed for request, _ in turn}) == 1 for turn in turns)
    assert len({turn[0][0].seed for turn in turns}) == len(turns)
    assert {turn[0][0].sampling.temperature for turn in turns} == {0.7}


def test_a_point_is_repeated_until_it_is_known(
    lineup: Lineup, tasks: list[Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interval that is never narrow enough is no end: every point has its share, then all go on until the budget ends."""
    monkeypatch.setattr(module, "_MAX_REPEATS", 3)
    result = Result(plan(precision=1e-9, gammas=(1, 2, 3, 4), drafts=("S",), tasks=("code",)))
    events, _ = run(lineup, tasks[:1], result, stop=lambda: any(p.repeats >= 7 for p in result.measured.values()))
    points = result.measured.values()
    assert result.finished is not None
    assert result.finished.reason == "stopped"
    assert not any(point.reached for point in points)
    # Four points are two batches: none is a whole share ahead of the other.
    assert {point.repeats for point in points} == {7, 6}
    assert sorted({p.repeats for p in of(PointMeasured, events)}) == [2, 3, 4, 5, 6, 7]


def test_a_disturbed_repeat_is_run_again(lineup: Lineup, tasks: list[Task], monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropped and counted, with its reason; the point has as many good turns as without the disturbance."""
    answers = iter(["other programs used the cores", "pages were read from disk"])
    monkeypatch.setattr(module, "disturbance", lambda *args: next(answers, ""))
    events, result = run(lineup, tasks[:1], drafts=("S",), tasks=("code",), gammas=(2,))
    (point,) = result.measured.values()
    assert [e.reason for e in of(RepeatDropped, events)] == [
        "other programs used the cores",
        "pages were read from disk",
    ]
    assert (point.disturbed, point.busy, len(point.turns)) == (2, 0, 4)
    assert [d.reason for d in result.dropped] == [e.reason for e in of(RepeatDropped, events)]


def test_a_machine_that_is_never_quiet_is_measured_all_the_same(
    lineup: Lineup, tasks: list[Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After three tries the turn counts and the point says so; further turns are not tried three times each."""
    monkeypatch.setattr(module, "disturbance", lambda *args: "other programs used the cores")
    events, result = run(lineup, tasks[:1], drafts=("S",), tasks=("code",), gammas=(2,))
    (point,) = result.measured.values()
    assert (point.disturbed, point.busy, len(point.turns)) == (2, 4, 4)
    assert any("busy" in sentence for sentence in of(SweepVerdict, events)[0].words)


def test_the_budget_ends_it_with_a_verdict(lineup: Lineup, tasks: list[Task]) -> None:
    """No time at all: nothing is measured, nothing is made up."""
    events, result = run(lineup, tasks, budget=0.0)
    assert [type(e) for e in events if not isinstance(e, SweepProgress)] == [SweepVerdict, SweepFinished]
    assert result.finished is not None
    assert result.finished.reason == "budget"
    assert not result.measured


def test_a_stop_keeps_what_was_found_and_a_second_run_goes_on(lineup: Lineup, tasks: list[Task]) -> None:
    """Stopped after some points: they stay; going on measures the others only, and no cost or prediction again."""
    result = Result(plan(precision=LOOSE, gammas=(1, 2)))
    events, _ = run(lineup, tasks, result, stop=lambda: len(result.measured) >= 2)
    assert events[-1] == SweepFinished(reason="stopped", seconds=events[-1].seconds)  # type: ignore[attr-defined]
    kept = dict(result.measured)
    assert 2 <= len(kept) < result.total
    again, _ = run(lineup, tasks, result)
    assert not of(CostsMeasured, again)
    assert not of(PointPredicted, again)
    assert {p.key for p in of(PointMeasured, again)}.isdisjoint(kept)
    assert len(result.measured) == result.total
    assert {key: result.measured[key] for key in kept} == kept


def test_a_stop_inside_a_turn_drops_the_half_turn(lineup: Lineup, tasks: list[Task], spy: Spy) -> None:
    """A baseline without its partner is no measurement; what was complete is told."""
    result = Result(plan(precision=1e-9, gammas=(2,), drafts=("S",), tasks=("code",)))
    # Two whole repeats of two prompts are eight runs; the ninth begins the third.
    run(lineup, tasks[:1], result, stop=lambda: len(spy.seen) >= 9)
    (point,) = result.measured.values()
    assert (point.repeats, len(point.turns), point.reached) == (2, 4, False)


def test_progress_never_promises_more_than_the_budget(lineup: Lineup, tasks: list[Task]) -> None:
    """What is left is an estimate that the budget bounds; the points counted are those that are over."""
    events, result = run(lineup, tasks, budget=HOUR)
    progress = of(SweepProgress, events)
    assert all(0 <= p.eta <= HOUR and p.done <= p.total == result.total for p in progress)
    assert [p.done for p in progress] == sorted(p.done for p in progress)
    assert progress[0].done == 0


def test_what_is_on_disk_is_what_was_found(lineup: Lineup, tasks: list[Task]) -> None:
    """Read again, a result equals the one in memory, event by event."""
    result = Result(plan(precision=LOOSE, gammas=(1, 2)))
    write = store.writer(result.plan.name)
    write(result.plan)
    for event in sweep(lineup, tasks, result, HOUR):
        write(event)
    assert store.read(result.plan.name) == result


def test_memory_of_a_draft(lineup: Lineup) -> None:
    """Its weights as they lie in memory, an untied embedding table included, and its cache."""
    pair = lineup["S"]
    assert pair.draft is not None
    pair.draft.card = card(parameters=1000, weight_bytes=3000, dtype="float32")
    assert more_memory(pair, 50) == 4000 + 50
    pair.draft.card = card(parameters=1000, weight_bytes=1100, dtype="int8 with scales")
    assert more_memory(pair, 50) == 1100 + 50


def test_drafts_are_named_or_bundled() -> None:
    """The bundled target brings its drafts; any other needs one, and none twice."""
    assert choose_drafts("demo", []) == ["demo:XS", "demo:S", "demo:M"]
    assert choose_drafts("demo", ["demo:S"]) == ["demo:S"]
    with pytest.raises(FastdraftError, match="add --draft"):
        choose_drafts("some/model", [])
    with pytest.raises(FastdraftError, match="twice"):
        choose_drafts("demo", ["demo:S", "demo:S"])
