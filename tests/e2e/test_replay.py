"""The real program shows a recording in a pseudo-terminal, on good and on poor terminals."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from tests.terminal import Session

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals on Windows")
RECORDING = str(Path(__file__).parents[1] / "app" / "recording.jsonl")
TRUE_COLOUR = re.compile(rb"\x1b\[[0-9;]*[34]8;[25];")
MOUSE_ON = b"\x1b[?1000h"


def replay(*options: str) -> bytes:
    """Everything that the program writes from its start to ``q``."""
    session = Session("fastdraft_app.app", "--replay", RECORDING, *options)
    session.read_until(b"identical text")
    assert session.engines() == [], "a replay starts no engine"
    os.write(session.fd, b"q")
    assert session.ended() == 0
    assert b"Traceback" not in session.output
    assert b"\x1b[?1049l" in session.output, "the terminal is restored"
    return session.output


def test_a_replay_in_full_colour(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start, picture, q: code 0, no engine, the terminal as it was."""
    monkeypatch.setenv("COLORTERM", "truecolor")
    output = replay()
    assert TRUE_COLOUR.search(output)
    assert MOUSE_ON in output


def test_a_replay_with_16_colours_and_no_mouse(home: Path) -> None:
    """The settings of a poor line hold: none but the 16 colours are sent, and the mouse is left alone."""
    output = replay("--theme", "16", "--no-mouse", "--ascii", "--fps", "4")
    assert not TRUE_COLOUR.search(output)
    assert MOUSE_ON not in output
    assert all(byte < 0x80 for byte in output)
