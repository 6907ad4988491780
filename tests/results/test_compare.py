"""Two results side by side: what noise explains is not called a difference."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from fastdraft_core.bench.interval import interval
from fastdraft_core.events import Turn
from fastdraft_core.results.compare import compare, conditions, counterparts, uncompared
from tests.bench.points import measured, model, plan, result, task_card


@pytest.mark.parametrize(
    ("second", "reach", "mark"),
    [
        (1.5, 1.02, ""),
        (1.53, 1.02, ""),
        (1.6, 1.02, "higher"),
        (1.4, 1.02, "lower"),
        (1.6, 1.1, ""),
        (2.0, 1.1, "higher"),
    ],
)
def test_a_difference_counts_beyond_the_noise_of_both(second: float, reach: float, mark: str) -> None:
    """±2 % each: 1.53 against 1.50 is noise, 1.60 is not; with ±10 % on one side it is."""
    (found,) = compare(result(measured(speedup=1.5)), result(measured(speedup=second, reach=reach)))
    assert found.mark == mark
    assert found.ratio == pytest.approx(second / 1.5)
    assert found.noise == pytest.approx(math.hypot(math.log(1.02), math.log(reach)))


def test_only_common_points_are_compared_the_largest_difference_first() -> None:
    """A point of one side alone is no comparison."""
    first = result(measured(gamma=1, speedup=1.2), measured(gamma=2, speedup=1.5), measured(gamma=4, speedup=1.6))
    second = result(measured(gamma=2, speedup=1.4), measured(gamma=4, speedup=1.2), measured("M", gamma=2))
    assert [d.first.gamma for d in compare(first, second)] == [4, 2]
    assert compare(first, result()) == []


def test_what_only_one_has_measured_is_counted() -> None:
    """An unfinished sweep beside a whole one: points that both planned are never left out without a word."""
    first = result(
        *(measured(draft, gamma, task) for draft in "SM" for gamma in (1, 2, 4) for task in ("code", "text"))
    )
    second = result(measured("S", 2), measured("new", 2), drafts=("S", "new"), gammas=(2, 4, 8), tasks=("code",))
    assert len(compare(first, second)) == 2
    assert uncompared(first, second) == "Points of both that are not compared: 2 not measured in B."
    assert uncompared(second, first) == "Points of both that are not compared: 2 not measured in A."
    assert uncompared(first, first) == ""
    assert uncompared(result(measured("S", 1)), result(measured("S", 2))) == (
        "Points of both that are not compared: 1 not measured in A, 1 not measured in B, 10 in neither."
    )


def test_drafts_of_other_names_are_compared_and_it_is_said() -> None:
    """The same draft trained twice lies in two folders; a name decides first, then the size, then the place."""
    first = result(measured("runs/a/draft", speedup=1.5), measured("S", speedup=1.2), drafts=("runs/a/draft", "S"))
    second = result(measured("runs/b/draft", speedup=1.8), measured("S", speedup=1.2), drafts=("S", "runs/b/draft"))
    found = compare(first, second)
    assert [(d.first.draft, d.second.draft) for d in found] == [("runs/a/draft", "runs/b/draft"), ("S", "S")]
    said = list(conditions(first.plan, second.plan))
    assert said[0] == "drafts matched by order: runs/a/draft / runs/b/draft"
    assert any(line.startswith("weights of runs/a/draft: 1") for line in said)
    sized = counterparts(plan(drafts=("a1", "a2")), plan(drafts=("b1", "b2", "b3")))
    assert {name: (match.name, match.by) for name, match in sized.items()} == {
        "a1": ("b1", "parameters"),
        "a2": ("b2", "parameters"),
    }


def test_equal_sweeps_rarely_differ() -> None:
    """The claim behind the mark: of repetitions of one measurement, few are called different."""
    rng = np.random.default_rng(0)
    called = 0
    for _ in range(300):
        points = []
        for _ in range(2):
            noise = np.exp(rng.normal(0, 0.03, (12, 2)))
            found = interval([Turn(i % 4, b, s / 1.5) for i, (b, s) in enumerate(noise)])
            assert found is not None
            points.append(measured(speedup=found.ratio, low=found.low, high=found.high))
        called += bool(compare(result(points[0]), result(points[1]))[0].mark)
    assert called / 300 < 0.06


def test_what_differs_in_the_conditions_is_listed() -> None:
    """Machine, versions, threads, weights, prompts and lengths: whatever a figure could depend on, and nothing else."""
    first = plan()
    assert list(conditions(first, plan(name="other", created="later", command="again"))) == []
    second = plan(
        threads=8,
        hashes={**first.hashes, "S": "f" * 16},
        machine={**first.machine, "cpu": "Another", "versions": {"torch": "3.0"}},
        tasks=[task_card("code", length=128, digest="e" * 16), "text"],
        load={"runtime": "openvino", "weights": "int8"},
        runtime="openvino",
    )
    differing = {line.partition(":")[0] for line in conditions(first, second)}
    assert differing == {
        "machine", "torch", "threads", "runtime", "weights", "weights of S", "prompts of code", "new tokens of code",
    }  # fmt: skip


def test_other_models_are_named() -> None:
    """Another target, and drafts that have nobody to be compared with, stand before all differences."""
    first = plan(drafts=("S", "M"))
    second = plan(
        drafts=("S",), target=model("other", 10_000_000), hashes={"other": "f" * 16, "S": "1" * 16}, gammas=(2,)
    )
    assert list(conditions(first, second)) == [
        "drafts of one alone: M / none",
        "target: table / other",
        f"weights of table: {'0' * 16} / {'f' * 16}",
    ]


def test_models_are_compared_as_they_ran() -> None:
    """What was chosen for one and asked for in the other is no difference; where a draft ran otherwise, it is one."""
    first = plan()
    asked = {"runtime": "torch", "threads": 2, "device": "cpu", "dtype": first.target.dtype}
    assert list(conditions(first, plan(load=asked))) == []
    draft, other = first.drafts
    moved = msgspec.structs.replace(draft, device="npu", dtype="int8", kv_dtype="u8")
    second = msgspec.structs.replace(first, drafts=[moved, other])
    assert list(conditions(first, second)) == [
        f"precision of S: {draft.precision} / int8, u8 keys and values",
        f"device of S: {draft.device} / npu",
    ]
