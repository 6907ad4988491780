"""Waiting for what a user would see, and the fake engine's command."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import TypeVar

from textual.pilot import Pilot

from fastdraft_app.client.engine import EngineClient
from fastdraft_app.client.sweep import SweepClient
from fastdraft_app.live.screen import LiveScreen

Kind = TypeVar("Kind")

#: The autoregressive run takes 20 s: a machine that is busy elsewhere still looks while it is timed.
SLOW = ("--speed", "0.05")
FAKE_ENGINE = Path(__file__).with_name("fake_engine.py")
RECORDING = Path(__file__).with_name("recording.jsonl")
"""``fastdraft record demo --draft demo:S --preset 'read config' --gamma 4 --length 48``, as it came."""


def fake_command(*options: str) -> list[str]:
    """The command line of the fake engine."""
    return [sys.executable, str(FAKE_ENGINE), *options]


def live(pilot: Pilot[None]) -> LiveScreen:
    """The live screen, also when something lies over it."""
    return next(screen for screen in pilot.app.screen_stack if isinstance(screen, LiveScreen))


async def wait_for(pilot: Pilot[None], what: Callable[[], object], seconds: float = 120.0) -> None:
    """Wait until ``what`` is true; fail where it does not come true in time."""
    end = monotonic() + seconds
    while not what():
        assert monotonic() < end, "this did not come true in time"
        await pilot.pause(0.02)


async def until(client: EngineClient | SweepClient, kind: type[Kind], seconds: float = 60.0) -> Kind:
    """The next message of ``kind`` that the process of ``client`` sends."""
    end = monotonic() + seconds
    while monotonic() < end:
        while client.incoming:
            message = client.incoming.popleft()
            if isinstance(message, kind):
                return message
        await asyncio.sleep(0.01)
    raise AssertionError(f"no {kind.__name__} came")


async def gone(pid: int, seconds: float = 30.0) -> bool:
    """Whether process ``pid`` ends within ``seconds``."""
    end = monotonic() + seconds
    while monotonic() < end:
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        await asyncio.sleep(0.02)
    return False
