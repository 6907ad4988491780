"""Pictures of the sweep and results screens. Run with ``--snapshot-update`` after a wanted change, and look at the report."""

from __future__ import annotations

from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from fastdraft_app.dialogs.picker import PickerScreen
from fastdraft_app.results.compare_screen import CompareScreen
from fastdraft_app.results.result_screen import ResultScreen
from fastdraft_app.results.screen import ResultsScreen
from tests.app.conftest import MakeApp
from tests.app.helpers import RECORDING, wait_for
from tests.app.sweeps import grid, keep
from tests.app.test_screen_snapshots import named

SIZES = [(80, 24), (160, 48)]
LOOKS = ["dark", "no-colour"]
OPENED = {"result": ResultScreen, "compared": CompareScreen, "results": ResultsScreen}


async def shown(pilot: Pilot[None], what: str) -> None:
    """One of the screens, with what it shows drawn."""
    if what == "idle":
        await pilot.press("2")
        await pilot.pause()
        return
    await pilot.press("5")
    await wait_for(pilot, lambda: getattr(pilot.app.screen, "entries", None))
    if what == "compared":
        await pilot.press("c")
        await wait_for(pilot, lambda: isinstance(pilot.app.screen, PickerScreen) and pilot.app.screen._rows)
        pilot.app.screen.query_one(Input).cursor_blink = False
        await pilot.press("enter")
    elif what == "result":
        await pilot.press("enter")
    await wait_for(pilot, lambda: isinstance(pilot.app.screen, OPENED[what]))
    for _ in range(3):
        await pilot.pause()


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("size", SIZES, ids=named)
@pytest.mark.parametrize("what", ["idle", "results", "result", "compared"])
def test_pictures(
    snap_compare: Any, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, what: str, size: tuple[int, int], look: str
) -> None:
    """Every screen at the smallest and the largest size, with colour and without."""
    if look == "no-colour":
        monkeypatch.setenv("NO_COLOR", "1")
    keep(grid("20260102-030405-demo"))
    keep(grid("20260103-030405-demo", faster=1.05, left_out=20, threads=1))

    async def before(pilot: Pilot[None]) -> None:
        await shown(pilot, what)

    assert snap_compare(make_app("--theme", "dark", "--replay", str(RECORDING)), terminal_size=size, run_before=before)
