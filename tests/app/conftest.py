"""What the tests of the app share: an app on a fake engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fastdraft_app.app import FastdraftApp
from fastdraft_app.cli import parse
from fastdraft_app.client.engine import EngineClient

from .helpers import fake_command

MakeApp = Callable[..., FastdraftApp]


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Colours as of a good terminal that no other one is inside of, and an engine process that finds the packages."""
    for name in ("NO_COLOR", "TMUX", "TERM_PROGRAM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


@pytest.fixture
def make_app(tmp_path: Path) -> MakeApp:
    """An app with command line ``arguments`` on a fake engine with ``fake`` options."""

    def make(*arguments: str, fake: tuple[str, ...] = ("--speed", "20")) -> FastdraftApp:
        engine = EngineClient(tmp_path / "engine.log", fake_command(*fake))
        return FastdraftApp(parse(["--no-intro", "--length", "40", *arguments]), engine)

    return make
