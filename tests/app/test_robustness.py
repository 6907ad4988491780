"""Whatever a model says, an engine does or a terminal sends: the screen stays whole, and so does the terminal."""

from __future__ import annotations

import os
import signal
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from fastdraft_app.client.engine import EngineClient
from fastdraft_app.live.replay import Piece
from fastdraft_app.live.session import Phase
from fastdraft_app.live.token_layout import Layout
from fastdraft_core import places
from fastdraft_core.formatting import elide, one_line, safe
from tests.terminal import Session, alive, gone

from .conftest import MakeApp
from .fake_engine import HOSTILE, MOMENTS
from .helpers import live, wait_for
from .live.test_live_screen import banner, pane

FORBIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
TEXTS = st.text(st.one_of(st.characters(), st.sampled_from("".join(HOSTILE)))) | st.lists(st.sampled_from(HOSTILE)).map(
    "".join
)


@given(TEXTS, st.booleans())
def test_nothing_dangerous_comes_through(text: str, ascii_only: bool) -> None:
    """Commands to the terminal, marks that turn the direction, and what takes no room become visible pictures."""
    shown = safe(text, ascii_only)
    assert [c for c in shown if c not in "\n\t" and unicodedata.category(c) in FORBIDDEN] == []
    assert safe(shown, ascii_only) == shown
    shown.encode()
    line = one_line(text, " ", " ", ascii_only)
    assert "\n" not in line
    assert "\t" not in line
    assert cell_len(elide(line, 20)) <= 20


@given(st.lists(TEXTS), st.integers(2, 90))
def test_no_line_leaves_its_pane(tokens: list[str], width: int) -> None:
    """However text and tokens are cut, each line has the width that the layout believes, at most the pane's."""
    layout = Layout(width)
    for token in tokens:
        layout.add(Piece(safe(token), "accepted", 0, 0))
    for line in layout.lines:
        assert line.width == sum(cell_len(cell.text) for cell in line.cells) <= width
        assert line.width >= cell_len(line.text)


def test_a_flood_of_combining_marks_is_laid_out() -> None:
    """A model stuck on an accent fills lines; it neither grows one cell forever nor takes forever."""
    layout = Layout(40)
    for _ in range(50_000):
        layout.add(Piece("\u0301", "accepted", 0, 0))
    assert max(len(cell.text) for line in layout.lines for cell in line.cells) < 40
    assert len(layout.lines) > 50


@given(
    st.lists(
        st.binary() | st.sampled_from([b'{"type":"progress","what":"\xf0\x9f"}', b"[" * 5000, b'{"type":"block"}'])
    )
)
def test_no_line_of_the_engine_stops_the_reader(lines: list[bytes]) -> None:
    """Bytes that are no UTF-8, half a message, nonsense: left out and logged, and the next message is taken."""
    client = EngineClient(Path("unused.log"), ["unused"])
    for line in lines:
        client._take(line)
    client._take(b'{"type":"progress","what":"x"}')
    assert client.incoming


async def test_engine_killed_fifty_times(make_app: MakeApp, tmp_path: Path) -> None:
    """kill -9 in every phase, again and again: the signal is named, one key brings it back, at the end all is well."""
    deaths = tmp_path / "deaths"
    deaths.write_text("".join(f"{MOMENTS[count % len(MOMENTS)]}\n" for count in range(50)))
    app = make_app(fake=("--speed", "50", "--deaths", str(deaths)))
    async with app.run_test(size=(80, 24)) as pilot:
        for _ in range(50):
            await wait_for(pilot, lambda: live(pilot).session.phase is Phase.STOPPED, 60)
            assert "The engine stopped (signal 9)" in live(pilot).session.error
            await pilot.press("r")
        await wait_for(pilot, lambda: live(pilot).session.phase is Phase.DONE, 60)
        await pilot.pause()
        assert deaths.read_text() == ""
        assert banner(pilot) == ""
        assert pane(pilot, "ar").view.text == pane(pilot, "sd").view.text


@pytest.fixture
def hostile(home: Path) -> Iterator[Session]:
    """The real program in a pseudo-terminal; each of the two runs gives half a million hostile characters."""
    del home
    session = Session(
        "tests.app.run_with_fake_engine",
        "--no-intro",
        "--length",
        "2000",
        "--",
        "--speed",
        "1e9",
        "--hostile",
        "500000",
    )
    yield session
    if alive(session.pid):
        os.kill(session.pid, signal.SIGKILL)
        os.waitpid(session.pid, 0)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals on Windows")
def test_a_million_hostile_characters_and_a_resize_storm(hostile: Session) -> None:
    """The terminal gets no command of the model's; keys work afterwards; nothing crashes and nothing stays."""
    hostile.read_until(b"timing", seconds=60)
    engines = hostile.engines()
    for count in range(30):
        hostile.resize(20 + count * 5 % 141, 6 + count * 7 % 43)
        hostile.read()
    hostile.resize(100, 30)
    hostile.read_until(b"replayed together", seconds=120)
    os.write(hostile.fd, b"v")
    hostile.output += b"|"
    os.write(hostile.fd, b"q")
    assert hostile.ended(60) == 0
    for command in (
        b"]0;pwned\x07",
        b"\x1b[31mpwned",
        b"\xc2\x9b",
        b"\x1bPq",
        "\u202e".encode(),
        "\u200b".encode(),
        b"\x00",
    ):
        assert command not in hostile.output
    assert "␛]0;pwned␇".encode() in hostile.output
    assert b"Traceback" not in hostile.output
    assert gone(engines)
    log = places.log_file("app")
    assert not log.exists() or "Traceback" not in log.read_text()
