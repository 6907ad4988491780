"""Job folders as trainings leave them, in every state, for the screens; nothing in them is random."""

from __future__ import annotations

import math
import platform
from pathlib import Path

from fastdraft_core import places
from fastdraft_core.events import (
    Evaluated,
    Event,
    JobStarted,
    Sampled,
    StageAcceptance,
    StageFinished,
    StageStarted,
    Step,
    encode,
)
from fastdraft_core.jobs.folder import EVENTS, claim
from fastdraft_core.jobs.record import Process, Record, State, write_record
from fastdraft_core.training.recipe import load_recipe

STEPS = {"pt": 60, "cp": 60, "ft": 120}
ROWS = 8192


def events(upto: int, *, accepted: bool = False) -> list[Event]:
    """What a training of three stages tells in its first ``upto`` steps."""
    found: list[Event] = [JobStarted(at=1.0, device="cpu", pid=1)]
    done = 0
    for stage, steps in STEPS.items():
        if done == upto:
            break
        found.append(StageStarted(stage=stage, step=0, num_steps=steps, tokens_per_step=ROWS, parameters=1_450_000))
        for number in range(1, min(steps, upto - done) + 1):
            loss = 3 + 5 * math.exp(-(done + number) / 30) + 0.1 * math.sin(7 * number)
            found.append(_step(stage, number, steps, loss))
            if number % 20 == 0:
                found += _evaluation(stage, number, loss, (done + number) / 600)
        done += min(steps, upto - done)
        if done >= sum(list(STEPS.values())[: list(STEPS).index(stage) + 1]):
            found.append(StageFinished(stage=stage, tokens=steps * ROWS, seconds=100.0))
    if accepted:
        found += [
            StageAcceptance(stage=s, gamma=3, temperature=0.6, acceptance={"code": a + 0.1, "text": a - 0.05})
            for s, a in (("pt", 0.21), ("cp", 0.29), ("ft", 0.41))
        ]
    return found


def _step(stage: str, number: int, steps: int, loss: float) -> Step:
    return Step(
        stage=stage, step=number, num_steps=steps, tokens=number * ROWS, loss=loss, learning_rate=4e-3 * (1 - number / 400),
        gradient_norm=1.0, tokens_per_second=4000.0 + number, data_wait_share=0.01, utilisation=0.41, memory=812 << 20,
    )  # fmt: skip


def _evaluation(stage: str, number: int, loss: float, gain: float) -> list[Event]:
    rates = {"code": 0.25 + gain, "text": 0.2 + gain / 2}
    told = {"code": ("def add(a, b):\n    return", " a + b\n"), "text": ("The quick \x1b[31mfox", " and the [bold]dog")}
    return [
        Evaluated(stage=stage, step=number, loss={"code": loss + 0.2, "text": loss + 0.4}, acceptance=rates),
        *(
            Sampled(stage=stage, step=number, source=source, prompt=prompt, text=text, target_text=" of the target")
            for source, (prompt, text) in told.items()
        ),
    ]


def job(
    name: str, state: State, upto: int, *, process: Process | None = None, error: str = "", changed: float = 1.0
) -> Path:
    """A job folder in ``state`` after ``upto`` steps."""
    folder = places.jobs() / name
    claim(load_recipe("demo-XS", [f"name={name}"]), folder)
    told = events(upto, accepted=state == "finished")
    (folder / EVENTS).write_bytes(b"".join(map(encode, told)))
    (folder / "log.txt").write_text("".join(f"12:00:{n % 60:02} pt step {n}\n" for n in range(90)))
    write_record(
        folder,
        Record(
            state=state, ticket=1, created=0.0, changed=changed, folder="/", device="cpu", process=process, error=error
        ),
    )
    return folder


def every_state() -> None:
    """A folder of jobs: finished, failed, lost with a line cut short, paused, and one that a crash spoilt."""
    model = job("demo-XS", "finished", 240, changed=9.0) / "checkpoints" / "ft" / "last"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    job("over-the-weekend", "failed", 90, error="The loss is not a number. Lower pt.learning_rate.", changed=8.0)
    lost = job("gone", "running", 70, process=Process(1 << 22, "never", platform.node()), changed=7.0)
    with (lost / EVENTS).open("ab") as file:
        file.write(b'{"type":"st')
    job("waits-for-me", "paused", 30, changed=6.0)
    (places.jobs() / "spoilt").mkdir()
    (places.jobs() / "spoilt" / EVENTS).write_bytes(b"\0" * 90)
