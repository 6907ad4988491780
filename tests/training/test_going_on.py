"""Going on with a job: by its flag, and whatever became of its sources meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastdraft_core import places
from fastdraft_core.events import Checkpointed, Event, StageStarted, Tokenized
from fastdraft_core.jobs import run
from fastdraft_core.jobs.folder import claim, job_recipe
from fastdraft_core.jobs.record import Record, read_record
from fastdraft_core.jobs.run import run_job
from fastdraft_core.training.recipe import Recipe
from fastdraft_core.training.stop import Interrupted, Stop
from tests.commands import Cli
from tests.jobs.tiny import tiny_recipe, write_world


def _train_and_pause(recipe: Recipe, job: Path, step: int) -> None:
    stop = Stop()
    for event in run_job(recipe, job, stop=stop):
        if isinstance(event, Checkpointed) and event.step == step:
            stop.request()


def test_an_edited_source_does_not_end_a_training(tmp_path: Path) -> None:
    """Paused, a file edited, resumed: the stage goes on with the tokens it began with, to the same weights."""
    world = write_world(tmp_path / "world")
    recipe, undisturbed, job = tiny_recipe(world, steps=6), tmp_path / "undisturbed", tmp_path / "job"
    list(run_job(recipe, undisturbed))
    with pytest.raises(Interrupted):
        _train_and_pause(recipe, job, step=3)
    for text in (world / "texts").iterdir():
        text.write_text("Somebody wrote something else meanwhile.\n" * 20)
    events = list(run_job(recipe, job))
    assert [e.step for e in events if isinstance(e, StageStarted)] == [3]
    assert not [e for e in events if isinstance(e, Tokenized)]
    ours, theirs = (folder / "checkpoints/pt/last/model.safetensors" for folder in (job, undisturbed))
    assert ours.read_bytes() == theirs.read_bytes()


def test_resume_goes_on_with_the_job_that_is_there(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`train RECIPE --resume`: refused where no job is; else by the job's own recipe, stage and output, with --set on top."""
    seen: list[tuple[Any, Record]] = []

    def works(recipe: Any, folder: Path, record: Record, stop: Stop) -> Iterator[Event]:
        seen.append((recipe, record))
        return iter(())

    monkeypatch.setattr(run.run_queued, "__defaults__", (works,))
    recipe = tiny_recipe(tmp_path)
    kept = tmp_path / "kept"
    claim(recipe, kept)
    file = str(kept / "recipe.toml")
    job = places.jobs() / "tiny"
    code, _, err = cli("train", file, "--resume", "--device", "cpu")
    assert code == 1
    assert "There is no job in" in err
    assert not job.exists()
    asked = ("--set", "pt.tokens=1K", "--output", str(tmp_path / "draft"), "--device", "cpu")
    assert cli("train", file, *asked)[0] == 0
    assert cli("train", file, "--resume", "--set", "pt.micro_batch=1")[0] == 0
    assert [r.pt.tokens for r, _ in seen] == ["1K", "1K"]
    assert [r.pt.micro_batch for r, _ in seen] == [3, 1]
    assert job_recipe(job) == seen[1][0]
    record = read_record(job)
    assert record is not None
    assert (record.output, record.asked) == (str(tmp_path / "draft"), "cpu")
