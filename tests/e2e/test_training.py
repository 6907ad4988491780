"""The wizard to a running job in a real terminal; whatever is killed, the job can be taken up again."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from fastdraft_app.client.train import save_recipe
from fastdraft_core import places
from fastdraft_core.training.recipe import dump_recipe, load_recipe, parse_recipe
from tests.e2e.steps import PATIENCE, leave, press, see, until
from tests.jobs.tiny import record, state, wait_for
from tests.terminal import ROOT, Session, alive

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals on Windows")

#: As xterm sends it.
F3 = b"\x1bOR"


def opened() -> Session:
    """The app on the stand-in engine: nothing but the job needs the processor."""
    session = Session("tests.app.run_with_fake_engine", "--no-intro", columns=120, rows=36)
    see(session, b"timing")
    return session


def launch(session: Session, name: str) -> None:
    """Enter on every page of the wizard, the first being on screen; once more to launch ``name``, and the jobs are shown."""
    for seen in (b"Where shall", b"How large", b"Pre-training", b"Continued", b"Fine-tuning", b"Names, places"):
        press(session, b"\r", seen)
    see(session, name.encode())
    press(session, b"\r", b"What will")
    # The command stands on the page: what enter launches is there.
    see(session, b"the same on a command line")
    press(session, b"\r", b"loss, nats")


def in_state(folder: Path, *wanted: str) -> bool:
    """Whether there is a job in one of the ``wanted`` states."""
    return (folder / "job.json").is_file() and state(folder) in wanted


def test_ten_keys_to_a_job_that_outlives_everything() -> None:
    """3 and eight enters train; kill -9 of the app leaves the job, kill -9 of the job is seen and resumed."""
    folder = places.jobs() / "my-draft"
    session = opened()
    press(session, b"3", b"Which model")
    launch(session, "my-draft")
    until(session, lambda: in_state(folder, "running"), "a running job")
    process = record(folder).process
    assert process is not None

    os.kill(session.pid, signal.SIGKILL)
    os.waitpid(session.pid, 0)
    os.close(session.fd)
    assert alive(process.pid)
    assert state(folder) == "running"

    os.kill(process.pid, signal.SIGKILL)
    wait_for(lambda: in_state(folder, "lost"), lambda: f"the job is {state(folder)}", seconds=PATIENCE)
    session = opened()
    press(session, b"4", b"vanished")
    press(session, b"u", b"running")
    until(session, lambda: in_state(folder, "running"), "a job that runs again")
    press(session, b"X", b"cancelled")
    until(session, lambda: in_state(folder, "cancelled"), "a cancelled job")
    leave(session)


def test_a_draft_is_made_and_decodes_one_key_later() -> None:
    """The wizard with a saved recipe of seconds: PT → CP → FT to their end, then `g`: the live screen runs the new draft."""
    data = dump_recipe(load_recipe("demo-tiny"))
    # The project's own source: the built-in corpus takes a minute to tokenize.
    data |= {"name": "seconds", "decontaminate": [], "sources": {"own": {"path": str(ROOT / "fastdraft_core")}}}
    data["synthesis"] |= {"tokens": "4K", "batch_size": 32, "new_tokens": 48, "sources": {"own": 1.0}}
    for stage in ("pt", "cp", "ft"):
        data[stage] |= {"tokens": "16K", **({} if stage == "ft" else {"sources": {"own": 1.0}})}
    save_recipe(parse_recipe(data, "the test's recipe"))
    folder = places.jobs() / "seconds"
    session = Session("fastdraft_app.app", "--no-intro", "--length", "32", columns=160, rows=48)
    see(session, b"replayed together")
    press(session, b"3", b"Which model")
    press(session, F3, b"Open a recipe")
    press(session, b"seconds.toml", b"saved")
    press(session, b"\r", b"Which model")
    launch(session, "seconds")
    until(session, lambda: in_state(folder, "finished", "failed", "lost"), "the end of the job", seconds=4 * PATIENCE)
    assert state(folder) == "finished", (folder / "log.txt").read_text()[-2000:]
    assert (folder / "model" / "model.safetensors").is_file()
    # A screen that is left and shown again is drawn as a whole, whatever was seen of it before.
    press(session, b"1", b"replayed together")
    press(session, b"4", b"1 finished")
    see(session, b"acceptance after")
    press(session, b"g", b"replayed together")
    leave(session)
