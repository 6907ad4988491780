"""Whoever names no gamma gets the one that was measured to be the fastest here, and is told so."""

from __future__ import annotations

from typing import Any

import pytest

from fastdraft_core.events import PointMeasured
from fastdraft_core.results import store
from fastdraft_core.results.advice import USUAL_GAMMA, calibrated_gamma
from tests.bench.points import measured, model, plan

DRAFT, CPU = "demo:S", "a processor"
LOAD = {"runtime": "torch"}


def keep(name: str, *points: PointMeasured, cpu: str = CPU, **changes: Any) -> None:
    """A kept sweep of the bundled pair with these points."""
    write = store.writer(name)
    machine = {"cpu": cpu}
    write(plan((DRAFT,), (2, 4, 8), name=name, target=model("demo", 22_800_000), machine=machine, **changes))
    for point in points:
        write(point)


def test_the_fastest_over_all_tasks_counts() -> None:
    """One task's favourite may lose on the other; a gamma that only one task has does not count."""
    keep(
        "20260101-000000-demo",
        *(measured(DRAFT, gamma, "code", speedup) for gamma, speedup in ((2, 1.4), (4, 2.0), (8, 9.0))),
        *(measured(DRAFT, gamma, "text", speedup) for gamma, speedup in ((2, 1.5), (4, 1.2))),
    )
    found = calibrated_gamma("demo", DRAFT, 0.0, CPU, LOAD)
    assert found.gamma == 4
    assert "20260101-000000-demo" in found.words
    assert "1.55x, measured" in found.words


def test_the_newest_sweep_of_this_machine_counts() -> None:
    """Not another processor's, not another pair's, not at another temperature; a damaged one is passed over."""
    keep("20260101-000000-demo", measured(DRAFT, 2, "code", 1.5))
    keep("20260102-000000-demo", measured(DRAFT, 8, "code", 1.5))
    keep("20260103-000000-demo", measured(DRAFT, 4, "code", 1.5), cpu="another")
    keep("20260104-000000-demo")
    (store.folder("20260104-000000-demo") / "events.jsonl").write_bytes(b"{\n")
    assert calibrated_gamma("demo", DRAFT, 0.0, CPU, LOAD).gamma == 8
    for pair in (("other", DRAFT, 0.0), ("demo", "demo:M", 0.0), ("demo", DRAFT, 0.6)):
        assert calibrated_gamma(*pair, CPU, LOAD) == (USUAL_GAMMA, "")


def test_a_first_look_does_not_outdo_a_whole_round() -> None:
    """Two turns may look good by chance: gamma 8 with two is not advised where gamma 4 was measured in whole rounds."""
    lucky = measured(DRAFT, 8, "code", 3.0, repeats=0, reach=2.0)
    keep("20260101-000000-demo", measured(DRAFT, 4, "code", 1.5), lucky)
    assert calibrated_gamma("demo", DRAFT, 0.0, CPU, LOAD).gamma == 4


def test_without_any_sweep_it_is_the_usual_one() -> None:
    """A fresh machine."""
    assert calibrated_gamma("demo", DRAFT, 0.0, CPU, LOAD) == (USUAL_GAMMA, "")


@pytest.mark.parametrize(
    "asked",
    [
        {"runtime": "openvino"},
        {"runtime": "torch", "dtype": "float32"},
        {"runtime": "torch", "device": "cuda"},
        {"runtime": "auto"},
    ],
)
def test_another_runtime_device_or_precision_has_its_own_gamma(asked: dict[str, str]) -> None:
    """What was the fastest on PyTorch in bfloat16 says nothing of OpenVINO, of float32 or of a GPU."""
    keep("20260101-000000-demo", measured(DRAFT, 2, "code", 1.5))
    assert calibrated_gamma("demo", DRAFT, 0.0, CPU, LOAD).gamma == 2
    assert calibrated_gamma("demo", DRAFT, 0.0, CPU, asked) == (USUAL_GAMMA, "")


def test_a_runtime_that_nobody_chose_is_the_one_that_a_sweep_chose() -> None:
    """Both ask what was measured faster here."""
    loaded = dict(
        runtime="openvino", runtime_reason="OpenVINO is faster here", load={"runtime": "openvino", "threads": 2}
    )
    keep("20260101-000000-demo", measured(DRAFT, 8, "code", 1.5), **loaded)
    for runtime in ("auto", "openvino"):
        assert calibrated_gamma("demo", DRAFT, 0.0, CPU, {"runtime": runtime}).gamma == 8
