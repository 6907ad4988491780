"""A newcomer's first minute, for real: the app, its engine and the bundled pair in a pseudo-terminal."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.terminal import Session, alive, gone

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals on Windows")


@pytest.fixture
def session(home: Path) -> Iterator[Session]:
    """The app at 160x48, opened with no argument but a short length."""
    del home
    session = Session("fastdraft_app.app", "--length", "48", columns=160, rows=48)
    yield session
    if alive(session.pid):
        os.kill(session.pid, signal.SIGKILL)
        os.waitpid(session.pid, 0)


def test_the_app_opens_on_a_real_comparison(session: Session) -> None:
    """The first command of the README: a recording at once, then both runs are measured here and replayed together."""
    session.read_until(b"Recording")
    session.read_until(b"timing the")
    session.output = b""
    session.read_until(b"replayed together")
    # Or identical up to a near-tie: where the processor computes in bf16, a block may round otherwise than a step.
    session.read_until(b" identical")
    engines = session.engines()
    assert engines
    os.write(session.fd, b"q")
    assert session.ended() == 0
    assert b"Traceback" not in session.output
    assert gone(engines)


def test_a_killed_engine_is_reported_and_one_key_restarts_it(session: Session) -> None:
    """kill -9 of the engine while it loads and while it decodes: the signal is named, and r brings a comparison."""
    session.read_until(b"Recording")
    killed = []
    for moment in ("loading", "timing"):
        if moment == "timing":
            session.read_until(b"timing the")
        (engine,) = session.engines()
        killed.append(engine)
        session.output = b""
        os.kill(engine, signal.SIGKILL)
        session.read_until(b"signal 9")
        session.output = b""
        os.write(session.fd, b"r")
    session.read_until(b"timing the")
    session.read_until(b"replayed together")
    assert not any(map(alive, killed))
    os.write(session.fd, b"q")
    assert session.ended() == 0
    assert b"Traceback" not in session.output
