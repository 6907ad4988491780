"""The real program in a pseudo-terminal: whatever ends it, terminal and processes are in order."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastdraft_core import places
from tests.terminal import Session, alive, gone

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals on Windows")
RESTORED = (b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?1000l", b"\x1b[?2004l")


@pytest.fixture
def session(home: Path) -> Iterator[Session]:
    """The program, running, its engine at work."""
    del home
    session = Session("tests.app.run_with_fake_engine", "--length", "200", "--broken-view", "--", "--speed", "5")
    session.read_until(b"timing")
    yield session
    if alive(session.pid):
        os.kill(session.pid, signal.SIGKILL)
        os.waitpid(session.pid, 0)


def test_old_mouse_bytes_then_q(session: Session) -> None:
    """Mouse bytes of a tmux re-attach are survived; q leaves with code 0 and a restored terminal."""
    engines = session.engines()
    assert engines
    os.write(session.fd, b"\x1b[M \xf0\x80")
    session.read()
    os.write(session.fd, b"q")
    assert session.ended() == 0
    assert b"Traceback" not in session.output
    assert all(sequence in session.output for sequence in RESTORED)
    assert gone(engines)


def test_polite_kill_restores_the_terminal(session: Session) -> None:
    """SIGTERM ends app and engine, and the shell gets its terminal back."""
    engines = session.engines()
    os.kill(session.pid, signal.SIGTERM)
    assert session.ended() == 128 + signal.SIGTERM
    assert all(sequence in session.output for sequence in RESTORED)
    assert gone(engines)


def test_closed_terminal_leaves_nothing(session: Session) -> None:
    """Closing the terminal window ends app and engine."""
    engines = session.engines()
    os.close(session.fd)
    session.fd = -1
    session.ended()
    assert gone(engines)


def test_a_crash_is_one_sentence(session: Session) -> None:
    """An unexpected error restores the terminal, names the log and shows no traceback."""
    engines = session.engines()
    os.write(session.fd, b"v")
    assert session.ended() == 1
    assert all(sequence in session.output for sequence in RESTORED)
    after = session.output.rpartition(b"\x1b[?1049l")[2].replace(b"\r\n", b"")
    assert b"unexpected error" in after
    assert str(places.log_file("app")).encode() in after
    assert b"Traceback" not in after
    assert b"an error made for a test" not in after
    assert "an error made for a test" in places.log_file("app").read_text()
    assert gone(engines)
