"""A real sweep through the real screen: the app, the process it starts, the bundled pair, in a pseudo-terminal."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastdraft_core.results import store
from tests.terminal import Session, alive, gone

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals on Windows"),
    pytest.mark.slow,
]
PATIENCE = 600.0
OPTIONS = {
    "drafts": "demo:S", "gamma": "1,3", "task": "code", "prompts": "1", "length": "24", "within": "50%", "budget": "9m",
}  # fmt: skip


@pytest.fixture
def session(home: Path) -> Iterator[Session]:
    """The app on a sweep of two points; the live screen shows a recording meanwhile, so that no engine loads beside it."""
    del home
    recording = Path(__file__).parents[1] / "app" / "recording.jsonl"
    flags = [f"--sweep-{name}={value}" for name, value in OPTIONS.items()]
    session = Session(
        "fastdraft_app.app", "--replay", str(recording), "--runtime", "torch", *flags, columns=120, rows=36
    )
    yield session
    if alive(session.pid):
        os.kill(session.pid, signal.SIGKILL)
        os.waitpid(session.pid, 0)


def test_a_real_sweep_from_the_screen_to_the_store_and_on(session: Session) -> None:
    """2, space: both points are measured, the verdict comes, enter runs the point live; the result is kept."""
    session.read_until(b"identical text")
    os.write(session.fd, b"2")
    session.read_until(b"Is speculation worth it")
    os.write(session.fd, b" ")
    session.read_until(b"complete: ", seconds=PATIENCE)
    (name,) = store.names()
    result = store.read(name)
    assert {key[:2] for key in result.measured} == {("demo:S", 1), ("demo:S", 3)}
    assert result.verdict is not None
    assert gone(session.engines(), seconds=20)
    session.output = b""
    os.write(session.fd, b"\r")
    session.read_until(b"replayed together", seconds=PATIENCE)
    os.write(session.fd, b"5")
    session.read_until(b"1 kept sweep")
    processes = session.engines()
    os.write(session.fd, b"q")
    assert session.ended() == 0
    assert b"Traceback" not in session.output
    assert gone(processes)
