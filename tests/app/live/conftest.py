"""What the tests of the live screen share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fastdraft_app.live.controller import LiveController
from fastdraft_app.settings.preferences import Preferences
from fastdraft_core.recordings import read_recording

from .bench import FAST, Bench, Engine, MakeBench, Onlooker


@pytest.fixture
async def make_bench(tmp_path: Path) -> AsyncIterator[MakeBench]:
    """A controller on a fake engine with options; ``replay`` is a recording to begin with, ``flags`` are settings."""

    def make(*fake: str, replay: Path | None = None, **flags: object) -> Bench:
        preferences = Preferences(tmp_path / "settings.toml", {"intro": False, "length": 40, **flags})  # type: ignore[dict-item]
        engine, view = Engine(tmp_path / "engine.log", *(fake or FAST)), Onlooker()
        recorded = read_recording(replay) if replay is not None else None
        bench: Bench
        controller = LiveController(engine, preferences, view, recorded, lambda: bench.sweeping)
        bench = Bench(controller, engine, view, preferences)
        made.append(bench)
        return bench

    made: list[Bench] = []
    yield make
    for bench in made:
        await bench.engine.stop()
