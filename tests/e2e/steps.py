"""Steps of a user in a real terminal: each waits for what it acts on, and a failure says what was on screen."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from time import monotonic

from tests.terminal import Session

#: A machine that is busy with much else.
PATIENCE = 300.0
_ESCAPES = re.compile(rb"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[PX^_][^\x1b]*\x1b\\|[ -/]*[0-~])")
_SHOWN = 6000


def screen_text(session: Session) -> str:
    """What the program wrote last, as words."""
    words = _ESCAPES.sub(b"\n", session.output[-10 * _SHOWN :]).decode(errors="replace")
    lines = [line.rstrip() for line in words.splitlines()]
    return "\n".join(line for line in lines if line.strip())[-_SHOWN:]


def see(session: Session, text: bytes) -> None:
    """Wait until ``text`` was written."""
    until(session, lambda: text in session.output, repr(text))


def press(session: Session, keys: bytes, until: bytes) -> None:
    """Type, and wait for what then is seen; what was written before does not count."""
    session.output = b""
    os.write(session.fd, keys)
    see(session, until)


def until(session: Session, condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Wait for something that is not on screen, and go on reading: a program whose terminal is full stands still."""
    end = monotonic() + seconds
    while not condition():
        session.read()
        assert monotonic() < end, f"{what} did not come in {seconds:.0f} s; what was seen:\n{screen_text(session)}"


def leave(session: Session) -> None:
    """Quit, and see that the program ended well."""
    os.write(session.fd, b"q")
    assert session.ended(PATIENCE) == 0, screen_text(session)
    assert b"Traceback" not in session.output, screen_text(session)
