"""Sweeps for the screens: a real recorded stream, and a whole grid with figures made by hand."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from fastdraft_core.bench.verdict import verdict
from fastdraft_core.events import PointMeasured, SweepFinished, SweepStarted, decode_message
from fastdraft_core.results import store
from fastdraft_core.results.store import Result
from tests.bench.points import measured, model, plan, predicted

from .fake_engine import MACHINE

STREAM = Path(__file__).with_name("sweep.jsonl")
"""``fastdraft sweep demo --gamma 1-6 --prompts 1 --length 32 --budget 7m --within 10% --json`` on a busy machine, as it came."""
FAKE_SWEEP = Path(__file__).with_name("fake_sweep.py")

DRAFTS = {"demo:XS": (700_000, 0.55, 0.04), "demo:S": (1_900_000, 0.66, 0.07), "demo:M": (3_900_000, 0.72, 0.12)}
"""Parameters, acceptance of a token, and c."""


def fake_sweep(*options: str) -> list[str]:
    """The command of a sweep that plays ``STREAM``."""
    return [sys.executable, str(FAKE_SWEEP), *options]


def grid(name: str = "20260102-030405-demo", *, faster: float = 1.0, left_out: int = 0, **changes: object) -> Result:
    """Three drafts, gamma 1 to 8, two tasks: speed-up by the formula; the last ``left_out`` points are predicted only."""
    gammas, drafts = tuple(range(1, 9)), tuple(DRAFTS)
    begun = plan(drafts, gammas, name=name, created=f"{name[:4]}-{name[4:6]}-{name[6:8]}T03:04:05+00:00",
                 target=model("demo", 22_800_000), peak_bandwidth=14.5, **changes)  # type: ignore[arg-type]  # fmt: skip
    cards = [model(draft, size) for draft, (size, _, _) in DRAFTS.items()]
    made = Result(SweepStarted(**{**{f: getattr(begun, f) for f in begun.__struct_fields__}, "drafts": cards}))
    points = [(d, g, t) for t in ("code", "text") for d in drafts for g in gammas]
    for number, (draft, gamma, task) in enumerate(points):
        speedup, chance = _speedup(draft, gamma, task)
        guess = predicted(draft, gamma, task, speedup * (0.97 + 0.01 * (gamma % 4)))
        made.add(msgspec.structs.replace(guess, acceptance=chance * 1.02, tau=1 + gamma * chance * 1.02))
        if number < len(points) - left_out:
            made.add(measured(draft, gamma, task, speedup * faster, 1.02 + 0.004 * gamma, acceptance=chance))
    made.add(verdict(made))
    made.add(SweepFinished(reason="budget" if left_out else "complete", seconds=251.0))
    return made


def _speedup(draft: str, gamma: int, task: str) -> tuple[float, float]:
    _, chance, cost = DRAFTS[draft]
    chance -= 0.15 * (task == "text")
    tau = sum(chance**n for n in range(gamma + 1))
    return tau / (1.0 + 0.03 * gamma + cost * gamma), (tau - 1) / gamma


def swept(name: str, *points: PointMeasured, target: str = "demo", drafts: Sequence[str] = tuple(DRAFTS)) -> None:
    """Keep a sweep on the fake engine's machine, by default of the bundled pair, with these points."""
    machine = {"cpu": MACHINE.cpu, "physical_cores": 2, "os": "An OS", "versions": {}}
    write = store.writer(name)
    # As where nobody chose a runtime and PyTorch was measured to be the faster one.
    chosen = {"runtime_reason": "measured faster here", "load": {"runtime": "auto"}}
    write(plan(tuple(drafts), (2, 4, 6), name=name, target=model(target, 22_800_000), machine=machine, **chosen))
    for point in points:
        write(point)


def keep(result: Result) -> Result:
    """Write a result where the app finds it."""
    write = store.writer(result.plan.name)
    events = [result.plan, *result.predicted.values(), *result.measured.values(), result.verdict, result.finished]
    for event in events:
        if event is not None:
            write(event)
    return result


def recorded() -> Result:
    """What the recorded stream found."""
    first, *others = (decode_message(line) for line in STREAM.read_bytes().splitlines())
    assert isinstance(first, SweepStarted)
    made = Result(first)
    for event in others:
        made.add(event)
    return made
