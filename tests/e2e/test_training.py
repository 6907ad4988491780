"""The wizard to a running job in a real terminal; whatever is killed, the job can be taken up again."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from fastdraft_app.client.train import save_recipe
from fastdraft_core import places
from fastdraft_core.training.recipe import dump_recipe, load_recipe, parse_recipe
from tests.jobs.tiny import record, state, wait_for, wait_for_state
from tests.terminal import ROOT, Session, alive

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals on Windows")

#: As xterm sends it.
F3 = b"\x1bOR"


def opened() -> Session:
    """The app on the stand-in engine: nothing but the job needs the processor."""
    session = Session("tests.app.run_with_fake_engine", "--no-intro", columns=120, rows=36)
    session.read_until(b"timing")
    return session


def press(session: Session, keys: bytes, until: bytes) -> None:
    """Type, and wait for what then is seen."""
    session.output = b""
    os.write(session.fd, keys)
    session.read_until(until, seconds=90)


def launch(session: Session) -> None:
    """Enter on every page of the wizard, the first being on screen, and once more to launch."""
    for seen in (
        b"Where shall",
        b"How large",
        b"Pre-training",
        b"Continued",
        b"Fine-tuning",
        b"Names, places",
        b"What will",
    ):
        press(session, b"\r", seen)
    os.write(session.fd, b"\r")


def test_ten_keys_to_a_job_that_outlives_everything() -> None:
    """3 and eight enters train; kill -9 of the app leaves the job, kill -9 of the job is seen and resumed."""
    folder = places.jobs() / "my-draft"
    session = opened()
    press(session, b"3", b"Which model")
    launch(session)

    def read_until_running() -> bool:
        session.read()
        return (folder / "job.json").is_file() and state(folder) == "running"

    wait_for(read_until_running, seconds=120)
    process = record(folder).process
    assert process is not None

    os.kill(session.pid, signal.SIGKILL)
    os.waitpid(session.pid, 0)
    os.close(session.fd)
    assert alive(process.pid)
    assert state(folder) == "running"

    os.kill(process.pid, signal.SIGKILL)
    wait_for_state(folder, "lost")
    session = opened()
    press(session, b"4", b"vanished")
    press(session, b"u", b"running")
    wait_for_state(folder, "running")
    press(session, b"X", b"cancelled")
    wait_for_state(folder, "cancelled")
    os.write(session.fd, b"q")
    assert session.ended() == 0
    assert b"Traceback" not in session.output


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
    session.read_until(b"replayed together", seconds=120)
    press(session, b"3", b"Which model")
    press(session, F3, b"Open a recipe")
    press(session, b"seconds.toml", b"saved")
    press(session, b"\r", b"Which model")
    launch(session)
    assert b"seconds" in session.output, "another recipe was opened"

    def finished() -> bool:
        session.read()
        return (folder / "job.json").is_file() and state(folder) in ("finished", "failed", "lost")

    wait_for(finished, lambda: session.output[-20000:].decode(errors="replace"), seconds=600)
    assert state(folder) == "finished", (folder / "log.txt").read_text()[-2000:]
    assert (folder / "model" / "model.safetensors").is_file()
    press(session, b"4", b"acceptance after")
    press(session, b"g", b"replayed together")
    os.write(session.fd, b"q")
    assert session.ended() == 0
    assert b"Traceback" not in session.output
