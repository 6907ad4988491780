"""``fastdraft jobs``: the same as the screens, for scripts and people without one."""

from __future__ import annotations

import io
import json
import logging
import sys
from functools import partial
from pathlib import Path

import msgspec
import pytest

from fastdraft_core import places
from fastdraft_core.events import JobEnded, JobStarted, decode_message
from fastdraft_core.jobs import run
from fastdraft_core.training.recipe import dump_recipe
from tests.commands import Cli
from tests.jobs import worker
from tests.jobs.conftest import Submit
from tests.jobs.tiny import state, tiny_recipe, wait_for, wait_for_state
from tests.jobs.worker import works


@pytest.fixture
def recipe_file(tmp_path: Path) -> str:
    """A recipe on disk."""
    path = tmp_path / "mine.toml"
    path.write_bytes(msgspec.toml.encode(dump_recipe(tiny_recipe(name="mine"))))
    return str(path)


def test_no_jobs_yet(cli: Cli) -> None:
    """A first call says how to make a job, on stderr; a program reads an empty list."""
    code, out, err = cli("jobs")
    assert (code, out) == (0, "")
    assert "--detach" in err
    assert cli("jobs", "--json")[:2] == (0, "")


def test_a_job_from_its_beginning_to_its_end(cli: Cli, submit: Submit, recipe_file: str) -> None:
    """Every command once, in the order in which a person uses them."""
    del submit  # it makes the jobs' work quick
    code, out, _ = cli("train", recipe_file, "--detach", "--device", "cpu")
    assert (code, out) == (0, "mine\n")
    folder = places.jobs() / "mine"
    wait_for(lambda: works(folder))
    assert cli("jobs")[1].splitlines()[1].split()[:2] == ["mine", "running"]
    (listed,) = cli("jobs", "--json")[1].splitlines()
    assert json.loads(listed)["state"] == "running"
    assert cli("train", recipe_file, "--detach")[0] == 1
    code, _, err = cli("jobs", "delete", "mine", "--yes")
    assert code == 1
    assert "Cancel it first" in err
    assert cli("jobs", "pause", "mine")[0] == 0
    wait_for_state(folder, "paused")
    code, out, err = cli("jobs", "follow", "mine", "--lines", "1000")
    assert code == 0
    assert "started on cpu" in out
    assert "job mine is paused" in err
    assert cli("jobs", "resume", "mine")[0] == 0
    assert cli("jobs", "cancel", "mine")[0] == 0
    wait_for_state(folder, "cancelled")
    assert cli("jobs", "retry", "mine")[0] == 0
    (folder / "end").touch()
    code, out, _ = cli("jobs", "follow", "mine", "--json", "--lines", "1000")
    assert code == 0
    events = [decode_message(line.encode()) for line in out.splitlines()]
    assert isinstance(events[0], JobStarted)
    assert isinstance(events[-1], JobEnded)
    assert (events[-1].state, state(folder)) == ("finished", "finished")
    code, out, _ = cli("jobs", "show", "mine")
    assert code == 0
    assert "mine: finished on cpu" in out
    assert str(folder) in out
    assert json.loads(cli("jobs", "show", "mine", "--json")[1])["folder"] == str(folder)
    code, out, err = cli("jobs", "delete", "mine", "--yes")
    assert (code, out) == (0, "")
    assert "are free" in err
    assert not folder.exists()


def test_following_a_job_that_fails_is_a_failure(cli: Cli, submit: Submit) -> None:
    """A script that waits for a job learns from the exit code how it went, and from stderr why."""
    folder = submit("first")
    (folder / "fail").touch()
    code, _, err = cli("jobs", "follow", "first")
    assert code == 1
    assert "It was told to fail." in err
    assert "It was told to fail." in cli("jobs", "show", "first")[1]


def test_deleting_asks_first(cli: Cli, submit: Submit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a yes nothing is deleted."""
    folder = submit("first")
    (folder / "end").touch()
    wait_for_state(folder, "finished")
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    assert cli("jobs", "delete", "first")[0] == 1
    assert folder.is_dir()


@pytest.mark.parametrize("command", ["show", "follow", "pause", "resume", "cancel", "retry", "delete"])
def test_a_wrong_name_is_one_sentence(cli: Cli, command: str) -> None:
    """Exit code 1 and what there is; a missing name is wrong usage, 2."""
    code, out, err = cli("jobs", command, "nobody")
    assert (code, out) == (1, "")
    assert "no job 'nobody'" in err
    assert cli("jobs", command)[0] == 2


def test_a_job_in_the_foreground_has_a_log(
    cli: Cli, recipe_file: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The jobs screen shows the same lines of it as of a job in the background, after a failure the reason too."""
    monkeypatch.setattr(run, "run_queued", partial(run.run_queued, work=worker.work))
    for name in ("ACCELERATE_USE_CPU", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "")
    # As the command line sets it, where no test has handlers of its own.
    caplog.set_level(logging.INFO)
    folder = places.jobs() / "mine"
    folder.mkdir(parents=True)
    (folder / "fail").touch()
    assert cli("train", recipe_file, "--device", "cpu")[0] == 1
    (folder / "fail").unlink()
    (folder / "end").touch()
    code, out, _ = cli("train", recipe_file, "--device", "cpu")
    assert code == 0
    assert "started on cpu" in out
    lines = (folder / "log.txt").read_text().splitlines()
    assert sum("started on cpu" in line for line in lines) == 2
    assert sum("It was told to fail." in line for line in lines) == 1
    logging.getLogger("fastdraft").info("afterwards")
    assert (folder / "log.txt").read_text().splitlines() == lines


def test_a_background_job_has_its_place(cli: Cli, recipe_file: str, tmp_path: Path) -> None:
    """A job elsewhere would be neither listed nor found again."""
    code, _, err = cli("train", recipe_file, "--detach", "--job", str(tmp_path / "elsewhere"))
    assert code == 1
    assert "Leave out --job or --detach" in err
