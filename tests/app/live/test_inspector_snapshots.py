"""Pictures of the inspector, of step mode and of the views. Run with ``--snapshot-update`` after a wanted change."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.app.conftest import MakeApp
from tests.app.helpers import RECORDING, live

from .test_inspector import SAMPLED, at_end, inspector, place_of

Before = Callable[[Pilot[None]], Awaitable[None]]


def pressed(*keys: str) -> Before:
    """At the end of the replay, press ``keys``."""

    async def before(pilot: Pilot[None]) -> None:
        await at_end(pilot)
        await pilot.press(*keys)
        await pilot.pause()

    return before


def inspected(state: str) -> Before:
    """At the end of the replay, inspect the first token of ``state``."""

    async def before(pilot: Pilot[None]) -> None:
        await pressed("i")(pilot)
        inspector(pilot).place = place_of(state)
        live(pilot)._tick()
        await pilot.pause()

    return before


@pytest.mark.parametrize("size", [(80, 24), (160, 48)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize(
    ("recording", "before"),
    [
        pytest.param(SAMPLED, inspected("rejected"), id="rejected"),
        pytest.param(SAMPLED, inspected("corrected"), id="corrected"),
        pytest.param(SAMPLED, pressed("n", "n", "n", "i"), id="pending"),
        pytest.param(SAMPLED, pressed("n", "n", "n"), id="step"),
        pytest.param(RECORDING, pressed("i", "left"), id="greedy"),
        pytest.param(RECORDING, pressed("v", "v"), id="plain"),
    ],
)
def test_pictures(snap_compare: Any, make_app: MakeApp, size: tuple[int, int], recording: Any, before: Before) -> None:
    """The whole screen, as it is drawn."""
    assert snap_compare(make_app("--replay", str(recording)), terminal_size=size, run_before=before)
