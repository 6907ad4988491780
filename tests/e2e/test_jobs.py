"""The real ``fastdraft`` in a real terminal: train in the foreground, go on in the background, and take over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import psutil
import pytest

from fastdraft_core import places
from fastdraft_core.jobs.folder import EVENTS
from fastdraft_core.jobs.history import EventLog
from fastdraft_core.training.recipe import dump_recipe
from tests.jobs.tiny import record, state, tiny_recipe, wait_for, wait_for_state, write_world
from tests.terminal import ROOT, Session, alive

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals on Windows")

FASTDRAFT = "tests.e2e.fastdraft"


def fastdraft(*arguments: str) -> subprocess.CompletedProcess[str]:
    """``fastdraft ARGS`` without a terminal."""
    return subprocess.run([sys.executable, "-m", FASTDRAFT, *arguments], cwd=ROOT, capture_output=True, text=True)


def test_ctrl_c_a_lost_terminal_and_a_kill(tmp_path: Path) -> None:
    """Ctrl-C saves and exits with 130; in the background the same training goes on, whatever the terminal does."""
    (tmp_path / "world").mkdir()
    recipe = tiny_recipe(write_world(tmp_path / "world"), "mine", steps=100_000)
    file = tmp_path / "mine.toml"
    file.write_bytes(msgspec.toml.encode(dump_recipe(recipe)))
    folder = places.jobs() / "mine"

    terminal = Session(FASTDRAFT, "train", str(file), "--device", "cpu")
    terminal.read_until(b"checkpoint ", seconds=90)
    os.write(terminal.fd, b"\x03")
    assert terminal.ended() == 130
    assert b"the same command goes on from there" in terminal.output
    assert state(folder) == "paused"
    before = len(EventLog(folder / EVENTS).read())

    terminal = Session(FASTDRAFT, "train", str(file), "--device", "cpu", "--detach")
    terminal.read_until(b"jobs follow mine")
    assert terminal.ended() == 0
    os.close(terminal.fd)
    wait_for_state(folder, "running")
    follower = Session(FASTDRAFT, "jobs", "follow", "mine")
    follower.read_until(b"checkpoint ", seconds=90)
    os.write(follower.fd, b"\x03")
    assert follower.ended() == 130
    process = record(folder).process
    assert process is not None
    assert alive(process.pid)
    wait_for(lambda: len(EventLog(folder / EVENTS).read()) > before + 5)

    os.kill(process.pid, signal.SIGKILL)
    wait_for(lambda: not psutil.pid_exists(process.pid) or not alive(process.pid))
    assert "lost" in fastdraft("jobs").stdout
    assert fastdraft("jobs", "cancel", "mine").returncode == 0
    assert fastdraft("jobs", "delete", "mine", "--yes").returncode == 0
    assert not folder.exists()
