"""The settings screen: everything in the schema, at once in force, remembered, and no nonsense."""

from __future__ import annotations

import pytest
from textual.pilot import Pilot
from textual.widgets import Checkbox, Input, Select, Static

from fastdraft_app.live.session import Phase
from fastdraft_app.settings.schema import fields
from fastdraft_app.settings.screen import ELSEWHERE, SettingsScreen
from tests.app.conftest import MakeApp
from tests.app.helpers import RECORDING, live, wait_for


async def open_settings(pilot: Pilot[None]) -> SettingsScreen:
    """Press F2 once something is on screen."""
    await wait_for(pilot, lambda: live(pilot).session.phase is Phase.DONE)
    await pilot.press("f2")
    await wait_for(pilot, lambda: isinstance(pilot.app.screen, SettingsScreen))
    await pilot.pause()
    screen = pilot.app.screen
    assert isinstance(screen, SettingsScreen)
    return screen


async def test_every_setting_is_there_with_its_value(make_app: MakeApp) -> None:
    """What ``--help`` lists can be set here, except what has a screen of its own; flags are marked."""
    app = make_app("--gamma", "7")
    async with app.run_test(size=(100, 40)) as pilot:
        screen = await open_settings(pilot)
        for field in fields():
            assert bool(screen.query(f"#set-{field.name}")) is (field.name not in ELSEWHERE)
        assert screen.query_one("#set-gamma", Input).value == "7"
        assert "by flag" in str(screen.query_one("#about-gamma", Static).render())
        assert "by flag" not in str(screen.query_one("#about-seed", Static).render())


async def test_a_new_value_runs_at_once_and_is_remembered(make_app: MakeApp) -> None:
    """Change gamma, enter, and the comparison runs anew behind the dialog."""
    app = make_app()
    async with app.run_test(size=(100, 40)) as pilot:
        screen = await open_settings(pilot)
        gamma = screen.query_one("#set-gamma", Input)
        gamma.focus()
        gamma.value = "6"
        await pilot.press("enter", "escape")
        await wait_for(pilot, lambda: live(pilot).session.phase is Phase.DONE
                       and live(pilot).session.recording.tracks["ar"].started.gamma == 6)  # fmt: skip
    assert make_app().preferences.current.gamma == 6


async def test_nonsense_is_explained_in_place_and_not_taken(make_app: MakeApp) -> None:
    """The row says what would do; leaving waits until it is repaired."""
    app = make_app()
    async with app.run_test(size=(100, 40)) as pilot:
        screen = await open_settings(pilot)
        gamma = screen.query_one("#set-gamma", Input)
        gamma.focus()
        gamma.value = "many"
        await pilot.press("escape")
        await pilot.pause()
        assert app.screen is screen
        assert "'many' is not a whole number from 1 to 12" in str(screen.query_one("#about-gamma", Static).render())
        assert app.preferences.current.gamma == 4
        gamma.value = "5"
        await pilot.press("escape")
        await wait_for(pilot, lambda: app.screen is not screen)
        assert app.preferences.current.gamma == 5


async def test_choices_and_boxes_hold_at_once(make_app: MakeApp) -> None:
    """The theme changes under the dialog; a box that is off is empty, so that it can be read without colour."""
    app = make_app()
    async with app.run_test(size=(100, 50)) as pilot:
        screen = await open_settings(pilot)
        screen.query_one("#set-theme", Select).value = "light"
        box = screen.query_one("#set-ascii", Checkbox)
        assert "X" not in str(box.render())
        box.value = True
        await wait_for(pilot, lambda: app.theme == "fastdraft-light")
        await pilot.pause()
        assert "X" in str(box.render())
        assert app.preferences.current.ascii is True


async def test_all_defaults(make_app: MakeApp) -> None:
    """One key back to the beginning."""
    app = make_app()
    app.preferences.change({"gamma": 9, "theme": "light", "exports": "/somewhere"})
    async with app.run_test(size=(100, 40)) as pilot:
        screen = await open_settings(pilot)
        await pilot.press("f9")
        await wait_for(pilot, lambda: app.preferences.current.gamma == 4)
        assert app.preferences.current.exports == ""
        assert screen.query_one("#set-gamma", Input).value == "4"
        assert screen.query_one("#set-theme", Select).value == "auto"


@pytest.mark.parametrize("size", [(60, 16), (80, 24), (160, 48)])
async def test_it_fits_and_scrolls_at_every_size(make_app: MakeApp, size: tuple[int, int]) -> None:
    """No setting is out of reach on a small screen."""
    app = make_app("--replay", str(RECORDING))
    async with app.run_test(size=size) as pilot:
        screen = await open_settings(pilot)
        page = screen.query_one("#page")
        assert screen.region.contains_region(page.region)
        last = screen.query_one("#set-log_level")
        last.focus()
        await wait_for(pilot, lambda: page.region.contains_region(last.region))
