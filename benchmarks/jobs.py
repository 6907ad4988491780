"""What looking at a long training costs: opening a job of tens of thousands of steps, and each look after that.

``python benchmarks/jobs.py`` writes the events of such a job into a folder of its own, opens it as the screens do, lets it
grow by a step at a time, and then opens it in the app at 160x48 without a terminal. Nothing is trained.
Prints a table and one JSON line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
from pathlib import Path
from time import perf_counter

import msgspec

from fastdraft_app.app import FastdraftApp
from fastdraft_app.cli import parse
from fastdraft_app.client.engine import EngineClient
from fastdraft_app.client.jobs import JobsClient
from fastdraft_app.jobs.job_screen import JobScreen
from fastdraft_app.jobs.screen import JobsScreen
from fastdraft_app.widgets.chart import Chart
from fastdraft_core import places
from fastdraft_core.events import Evaluated, Event, JobStarted, StageStarted, Step, encode
from fastdraft_core.jobs.folder import EVENTS, claim
from fastdraft_core.jobs.record import Record, write_record
from fastdraft_core.machine.devices import machine_card
from fastdraft_core.training.recipe import load_recipe

SCHEMA = "fastdraft.benchmark.jobs/1"
_ROWS = 8192
_EVALUATED_EVERY = 500


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=40_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["FASTDRAFT_HOME"] = home
        folder = _write(options.steps)
        seconds = {
            "open": [_open() for _ in range(options.repeats)],
            "look again": _look_again(folder, options.steps, options.repeats),
            "look, nothing new": _look_again(None, options.steps, options.repeats),
            "enter to chart": [asyncio.run(_enter(Path(home))) for _ in range(options.repeats)],
        }
    print(f"| {options.steps:,} steps      | median ms | worst ms |")
    print("| :---------------- | --------: | -------: |")
    for name, found in seconds.items():
        print(f"| {name:17} | {1e3 * statistics.median(found):9.1f} | {1e3 * max(found):8.1f} |")
    card = msgspec.to_builtins(machine_card())
    print(json.dumps({"schema": SCHEMA, "steps": options.steps, "seconds": seconds, "machine": card}))


def _write(steps: int) -> Path:
    """A paused job of one stage with so many steps."""
    folder = places.jobs() / "long"
    claim(load_recipe("demo-XS", ["name=long"]), folder)
    events: list[Event] = [JobStarted(at=1.0, device="cpu", pid=1)]
    events.append(StageStarted(stage="pt", step=0, num_steps=2 * steps, tokens_per_step=_ROWS, parameters=1_450_000))
    for number in range(1, steps + 1):
        events.append(_step(number, 2 * steps))
        if number % _EVALUATED_EVERY == 0:
            events.append(Evaluated(stage="pt", step=number, loss={"code": 3.0}, acceptance={"code": 0.4}))
    (folder / EVENTS).write_bytes(b"".join(map(encode, events)))
    write_record(folder, Record(state="paused", ticket=1, created=1.0, changed=1.0, folder="/", device="cpu"))
    return folder


def _step(number: int, steps: int) -> Step:
    return Step(
        stage="pt", step=number, num_steps=steps, tokens=number * _ROWS, loss=3 + 1 / number, learning_rate=1e-3,
        gradient_norm=1.0, tokens_per_second=4000.0, data_wait_share=0.01, utilisation=0.4, memory=800 << 20,
    )  # fmt: skip


def _open() -> float:
    begun = perf_counter()
    (view,) = JobsClient().poll()
    assert view.last is not None
    return perf_counter() - begun


def _look_again(folder: Path | None, steps: int, repeats: int) -> list[float]:
    """Seconds of each look; with ``folder`` it has grown by a step before each."""
    client, found = JobsClient(), []
    client.poll()
    for number in range(repeats):
        if folder is not None:
            with (folder / EVENTS).open("ab") as file:
                file.write(encode(_step(steps + number + 1, 2 * steps)))
        begun = perf_counter()
        client.poll()
        found.append(perf_counter() - begun)
    return found


async def _enter(home: Path) -> float:
    """From the key to the drawn chart; the list has read the job before, as it has for a person."""
    recording = next((places.assets() / "recordings").glob("*.jsonl"))
    options = parse(["--no-intro", "--replay", str(recording)])
    app = FastdraftApp(options, EngineClient(home / "engine.log"))
    async with app.run_test(size=(160, 48)) as pilot:
        await pilot.press("4")
        while not (isinstance(app.screen, JobsScreen) and app.screen.chosen):
            await pilot.pause(0.01)
        begun = perf_counter()
        await pilot.press("enter")
        while not (isinstance(app.screen, JobScreen) and app.screen.query_one("#loss", Chart).series):
            await pilot.pause(0.005)
        return perf_counter() - begun


if __name__ == "__main__":
    main()
