"""Several real processes over gloo: one training, whatever their number, and they leave together."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fastdraft_core.events import Event, StageStarted, Step, decode_message
from fastdraft_core.training import loop
from tests.training.tiny import STEPS, tiny_run

ROOT = Path(__file__).resolve().parents[2]


def train_with(processes: int, folder: Path, *orders: str) -> list[Event]:
    """The first process's events of a training by ``torchrun``."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command += ["-m", "tests.training.tiny", str(folder), *(orders or ("none:0:0",))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return [decode_message(line) for line in done.stdout.splitlines()]


def figures(events: list[Event]) -> dict[int, tuple[float, float]]:
    """Loss and gradient norm of every step."""
    return {e.step: (e.loss, e.gradient_norm) for e in events if isinstance(e, Step)}


def words(folder: Path, processes: int) -> set[str]:
    """What each process left with."""
    return {(folder / f"left-{rank}.txt").read_text() for rank in range(processes)}


def agrees(found: dict[int, tuple[float, float]], whole: dict[int, tuple[float, float]]) -> bool:
    """Equal but for the order of summation; a mean of the processes' means differs in the third digit."""
    return all(value == pytest.approx(whole[step], rel=1e-5) for step, value in found.items())


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Event]]:
    """Two processes, of which the second alone is asked to leave after step 4."""
    folder = tmp_path_factory.mktemp("two")
    return folder, train_with(2, folder, "stop:4:1")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[float, float]]:
    """One process, undisturbed."""
    return figures(list(loop.train_stage(tiny_run(tmp_path_factory.mktemp("one")))))


def test_two_processes_are_one_training(
    stopped: tuple[Path, list[Event]], whole: dict[int, tuple[float, float]]
) -> None:
    """The same losses and gradient norms as one process at the same tokens a step: losses are means over all tokens."""
    found = figures(stopped[1])
    assert list(found) == [1, 2, 3, 4]
    assert agrees(found, whole)


def test_all_leave_when_one_is_asked_to(stopped: tuple[Path, list[Event]]) -> None:
    """A process that goes on alone would wait for the others until a time-out."""
    assert words(stopped[0], 2) == {"Interrupted "}


def test_one_process_goes_on_with_what_two_saved(
    tmp_path: Path, stopped: tuple[Path, list[Event]], whole: dict[int, tuple[float, float]]
) -> None:
    """Nothing that is kept depends on the number of processes."""
    shutil.copytree(stopped[0], tmp_path / "job")
    events = list(loop.train_stage(tiny_run(tmp_path / "job")))
    assert isinstance(events[0], StageStarted)
    found = figures(events)
    assert list(found) == list(range(5, STEPS + 1))
    assert agrees(found, whole)


def test_three_go_on_with_it_and_all_leave_when_one_fails(
    tmp_path: Path, stopped: tuple[Path, list[Event]], whole: dict[int, tuple[float, float]]
) -> None:
    """Four rows a step do not divide by three; then the last of the three loses its data file, and all say which."""
    folder = tmp_path / "job"
    shutil.copytree(stopped[0], folder)
    found = figures(train_with(3, folder, "vanish:9:2"))
    assert list(found) == [5, 6, 7, 8, 9]
    assert agrees(found, whole)
    (said,) = words(folder, 3)
    assert "tokens.bin is gone or was cut short" in said
