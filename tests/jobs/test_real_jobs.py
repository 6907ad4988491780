"""Real trainings in real processes: whatever happens to them, nothing that was checkpointed is lost or spoilt."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from safetensors.torch import load_file

from fastdraft_core import places
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Checkpointed, Event, StageStarted, Step
from fastdraft_core.jobs import control, queue
from fastdraft_core.jobs.folder import EVENTS
from fastdraft_core.jobs.history import EventLog
from fastdraft_core.jobs.run import run_job, run_queued
from fastdraft_core.jobs.view import JobReader
from fastdraft_core.training.checkpoints import load_trainer
from fastdraft_core.training.folders import find_checkpoint
from fastdraft_core.training.recipe import Recipe
from fastdraft_core.training.stop import Stop
from tests.jobs.tiny import record, state, tiny_recipe, wait_for, wait_for_state, write_world

ENDLESS = 100_000


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A target and texts."""
    (tmp_path / "world").mkdir()
    return write_world(tmp_path / "world")


def submit(recipe: Recipe) -> Path:
    """Queue a real job."""
    folder = places.jobs() / recipe.name
    queue.submit(recipe, folder, detach=True, device="cpu")
    return folder


def here(recipe: Recipe) -> Path:
    """Queue a job for this very process."""
    folder = places.jobs() / recipe.name
    queue.submit(recipe, folder, detach=False, device="cpu")
    return folder


def saved(folder: Path) -> int:
    """The step of the last checkpoint that the events tell of."""
    return max((e.step for e in EventLog(folder / EVENTS).read() if isinstance(e, Checkpointed)), default=0)


def wait_for_checkpoint(folder: Path, step: int) -> None:
    """Wait until ``step`` or a later one is saved."""
    wait_for(lambda: saved(folder) >= step or state(folder) == "failed", lambda: (folder / "log.txt").read_text())


def readable(folder: Path) -> int:
    """Load the checkpoint whole, as a resume does; its step."""
    found = find_checkpoint(folder / "checkpoints" / "pt" / "last")
    assert found is not None
    assert all(tensor.isfinite().all() for tensor in load_file(found / "model.safetensors").values())
    return load_trainer(found).step


def last_loss(folder: Path) -> float:
    """The loss of the newest step."""
    return [e.loss for e in EventLog(folder / EVENTS).read() if isinstance(e, Step)][-1]


def test_killed_paused_and_resumed_is_the_same_training(world: Path) -> None:
    """kill -9 loses at most the steps since the last checkpoint, a pause none, and in the end nobody can tell."""
    recipe = tiny_recipe(world, steps=24)
    undisturbed = world / "undisturbed"
    list(run_job(recipe, undisturbed))

    folder = submit(recipe)
    wait_for_checkpoint(folder, 5)
    process = record(folder).process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    wait_for_state(folder, "lost")
    kept = readable(folder)
    # The kill may fall between the renames and the event.
    assert saved(folder) <= kept <= saved(folder) + 1
    assert "resumed" in JobReader(folder).view().error

    control.resume(folder)
    wait_for_checkpoint(folder, kept + 5)
    control.pause(folder)
    wait_for_state(folder, "paused")
    assert readable(folder) == saved(folder)

    control.resume(folder)
    wait_for_state(folder, "finished")
    starts = [e.step for e in EventLog(folder / EVENTS).read() if isinstance(e, StageStarted)]
    assert len(starts) == 3
    assert starts[1] == kept
    for name in ("model.safetensors", "trainer.safetensors"):
        ours, theirs = (f / "checkpoints" / "pt" / "last" / name for f in (folder, undisturbed))
        assert ours.read_bytes() == theirs.read_bytes()
    assert last_loss(folder) == last_loss(undisturbed)


def test_a_step_of_minutes_is_broken_off(world: Path) -> None:
    """SIGTERM must not wait for the end of an optimizer step, which on a laptop can take minutes."""
    stage = {
        "tokens": 1 << 18,
        "sources": {"small": 1.0},
        "sequence_length": 16,
        "batch_tokens": 1 << 18,
        "micro_batch": 1,
    }
    folder = submit(tiny_recipe(world, pt=stage))
    wait_for(lambda: any(isinstance(e, StageStarted) for e in EventLog(folder / EVENTS).read()))
    # By now it is in the middle of its first step.
    time.sleep(3.0)
    control.pause(folder)
    wait_for_state(folder, "paused")
    assert saved(folder) == 0


@pytest.mark.skipif(not hasattr(psutil, "RLIMIT_FSIZE"), reason="needs prlimit")
def test_a_full_disk_is_the_reason_and_the_checkpoint_is_intact(world: Path) -> None:
    """When nothing more can be written, the last checkpoint stays, the reason is kept, and with space it goes on."""
    recipe = tiny_recipe(world, steps=ENDLESS)
    folder = submit(recipe)
    wait_for_checkpoint(folder, 3)
    process = record(folder).process
    assert process is not None
    psutil.Process(process.pid).rlimit(psutil.RLIMIT_FSIZE, (2048, 2048))
    wait_for_state(folder, "failed")
    assert "Free some space" in record(folder).error
    kept = readable(folder)
    assert kept >= 3
    going_on = run_job(recipe, folder)
    assert next(e.step for e in going_on if isinstance(e, StageStarted)) == kept


def test_a_loss_that_is_not_a_number(world: Path) -> None:
    """A training that diverged fails with the advice to lower the rate, and spoils no checkpoint."""
    stage = {"tokens": ENDLESS, "sources": {"small": 1.0}, "sequence_length": 16, "batch_tokens": 64, "warmup": 0.0}
    folder = here(tiny_recipe(world, pt={**stage, "learning_rate": 1e25}))
    with pytest.raises(FastdraftError, match=r"pt\.learning_rate"):
        list(run_queued(folder, Stop()))
    assert state(folder) == "failed"
    assert "pt.learning_rate" in record(folder).error
    assert readable(folder) >= 1


def test_the_log_that_is_named_is_the_one_that_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job in the foreground has no log.txt; what nobody foresaw lies in the command line's own log."""
    log = logging.FileHandler(tmp_path / "fastdraft.log")
    monkeypatch.setattr(logging.getLogger(), "handlers", [log])
    folder = here(tiny_recipe())

    def breaks(*_: object) -> Iterator[Event]:
        raise ValueError("something unforeseen")

    with pytest.raises(FastdraftError, match="something unforeseen") as caught:
        list(run_queued(folder, Stop(), breaks))
    log.close()
    assert log.baseFilename in caught.value.message
    assert "Traceback" in Path(log.baseFilename).read_text()


def test_data_that_vanishes_is_named(world: Path) -> None:
    """A shard that somebody deletes while a job reads it ends the job with its path, the checkpoint intact."""
    folder = here(tiny_recipe(world, steps=ENDLESS))
    running = run_queued(folder, Stop())
    next(event for event in running if isinstance(event, Checkpointed) and event.step == 2)
    (shard,) = (places.cache() / "shards").glob("small-train-*/tokens.bin")
    shard.unlink()
    with pytest.raises(FastdraftError) as caught:
        list(running)
    assert str(shard.parent) in caught.value.message
    assert (state(folder), record(folder).error) == ("failed", caught.value.message)
    assert readable(folder) >= 2
