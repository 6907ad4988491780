"""Several machines, for real but for the cable: a launcher for each, which knows of the other by address and rank alone."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from fastdraft_app.wizard.answers import Answers
from fastdraft_app.wizard.facts import Findings, facts
from fastdraft_app.wizard.questions import STEPS
from fastdraft_core.events import Step
from fastdraft_core.jobs.folder import EVENTS
from fastdraft_core.jobs.history import EventLog
from fastdraft_core.jobs.run import run_job
from fastdraft_core.training import loop, processes
from fastdraft_core.training.recipe import dump_recipe
from tests.jobs.tiny import state, tiny_recipe, write_world

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 300
STEPS_TRAINED = 6


def the_line() -> list[str]:
    """What the wizard tells to type on each of several machines."""
    device = next(number for number, step in enumerate(STEPS) if step.title == "Device")
    told = facts(device, Answers.fresh(), Findings(devices=()))
    (line,) = [line for line in told if "--num_machines" in line]
    return shlex.split(line)


def launch(recipe: Path, homes: list[Path], *more: str) -> list[subprocess.CompletedProcess[str]]:
    """The wizard's line, and ``more``, on as many machines as there are ``homes``, with its words in capitals filled in."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    meant = {
        "N": str(len(homes)),
        "FIRST": "127.0.0.1",
        "29500": port,
        "ALL": str(len(homes)),
        "RECIPE.toml": str(recipe),
    }
    # The same commands by their modules: a test may run where neither is on the path, and must compute in float32.
    meant["fastdraft_core.cli"] = "tests.training.float32_cli"
    launcher, *rest = the_line()
    assert launcher == "accelerate"
    running = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "accelerate.commands.accelerate_cli",
                *({**meant, "RANK": str(rank)}.get(w, w) for w in rest),
                *more,
            ],
            cwd=ROOT,
            env={**os.environ, "FASTDRAFT_HOME": str(home), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, home in enumerate(homes)
    ]
    try:
        said = [process.communicate(timeout=PATIENCE) for process in running]
    finally:
        for process in running:
            # Not killed: a launcher takes its workers with it.
            process.terminate()
            process.wait(60)
    return [subprocess.CompletedProcess(p.args, p.returncode, *s) for p, s in zip(running, said, strict=True)]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe file of a training of seconds."""
    (tmp_path / "world").mkdir()
    path = tmp_path / "tiny.toml"
    tiny = tiny_recipe(write_world(tmp_path / "world"), steps=STEPS_TRAINED)
    path.write_bytes(msgspec.toml.encode(dump_recipe(tiny)))
    return path


def figures(folder: Path) -> list[tuple[int, float, float]]:
    """Loss and gradient norm of every step."""
    return [(e.step, e.loss, e.gradient_norm) for e in EventLog(folder / EVENTS).read() if isinstance(e, Step)]


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    """The one that a process left with."""
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("fastdraft: ")]
    return said


def test_the_wizards_line_on_two_machines_is_one_training(
    tmp_path: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two machines with one file system train as one process does at the same tokens a step; the first one's job finishes."""
    for done in launch(recipe, [tmp_path / "shared"] * 2):
        assert done.returncode == 0, done.stderr[-3000:]
    folder = tmp_path / "shared" / "data" / "jobs" / "tiny"
    assert state(folder) == "finished"

    monkeypatch.setattr(loop, "_EVENT_SECONDS", 0.0)
    monkeypatch.setattr(processes, "choose_dtype", lambda device: "float32")
    alone = tmp_path / "alone"
    list(run_job(tiny_recipe(tmp_path / "world", steps=STEPS_TRAINED), alone))
    found, whole = figures(folder), figures(alone)
    assert [step for step, _, _ in found] == list(range(1, STEPS_TRAINED + 1))
    assert found == [pytest.approx(step, rel=1e-5) for step in whole]


def test_machines_with_disks_of_their_own_are_told(tmp_path: Path, recipe: Path) -> None:
    """Only the first writes shards and checkpoints: without a common file system both say what is missing, and leave."""
    for done in launch(recipe, [tmp_path / "first", tmp_path / "second"]):
        assert done.returncode != 0
        assert "need one file system" in sentence(done)
        assert str(tmp_path / "second" / "data" / "jobs" / "tiny") in sentence(done)


def test_what_the_first_refuses_all_are_told(tmp_path: Path, recipe: Path) -> None:
    """The first machine keeps the account of the job; where it does not even begin, the others must not wait for it."""
    for done in launch(recipe, [tmp_path / "shared"] * 2, "--stage", "ft"):
        assert done.returncode != 0
        assert "The recipe has no stage 'ft'" in sentence(done)
