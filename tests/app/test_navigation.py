"""Keys, palette, help, themes: everything can be found, and what is chosen stays chosen."""

from __future__ import annotations

import pytest
from textual.content import Content
from textual.pilot import Pilot
from textual.widgets import Static

from fastdraft_app import navigation
from fastdraft_app.app import FastdraftApp
from fastdraft_app.dialogs.help import HelpScreen
from fastdraft_app.live.screen import LiveScreen
from fastdraft_app.live.session import Phase
from fastdraft_app.settings.settings import Settings
from fastdraft_app.sweep.screen import SweepScreen
from fastdraft_app.theme.themes import BASIC, DARK, LIGHT
from fastdraft_app.widgets.key_bar import WIDE, KeyBar, choose
from fastdraft_core import places
from fastdraft_core.token_states import STATES

from .conftest import MakeApp
from .helpers import RECORDING, live, wait_for


@pytest.fixture
def app(make_app: MakeApp) -> FastdraftApp:
    """An app that shows a recording."""
    return make_app("--replay", str(RECORDING))


async def settled(pilot: Pilot[None]) -> None:
    """Wait for the end of the recording."""
    await wait_for(pilot, lambda: live(pilot).session.phase is Phase.DONE)
    await pilot.pause()


async def test_every_binding_can_be_remapped_and_explained(app: FastdraftApp) -> None:
    """Each key has an id of its own and a sentence; the palette and the help are made of them."""
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot)
        bindings = [
            active.binding for active in app.screen.active_bindings.values() if active.binding.id or active.binding.show
        ]
        assert all(binding.id and (binding.tooltip or binding.description) for binding in bindings)
        commands = [command.title for command in app.get_system_commands(app.screen)]
        for binding in bindings:
            assert binding.tooltip in commands, binding


async def test_the_palette_runs_actions(make_app: MakeApp) -> None:
    """ctrl+p, some letters of what it does, enter."""
    app = make_app("--replay", str(RECORDING))
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot)
        await pilot.press("ctrl+p")
        await pilot.press(*"next theme")
        await pilot.pause(0.3)
        await pilot.press("down", "enter")
        await wait_for(pilot, lambda: app.theme == LIGHT.name)


async def test_help_lists_every_key_and_state(app: FastdraftApp) -> None:
    """The page is made of the bindings, so that it cannot go stale; it fits 80 columns."""
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        wanted = {a.binding.tooltip for a in app.screen.active_bindings.values() if a.binding.id}
        await pilot.press("f1")
        await wait_for(pilot, lambda: isinstance(app.screen, HelpScreen))
        await pilot.pause()
        words = {str(static.render()) for static in app.screen.query(Static)}
        assert {word for word in wanted if word} <= words
        assert all(any(state.name in word for word in words) for state in STATES.values())
        page = app.screen.query_one("#page")
        assert max(row.region.right for row in app.screen.query(".words")) <= page.region.right
        await pilot.press("q")
        await wait_for(pilot, lambda: isinstance(app.screen, LiveScreen))


async def test_only_screens_that_exist_can_be_reached(app: FastdraftApp) -> None:
    """A number key without a screen does nothing and is shown nowhere."""
    async with app.run_test(size=(160, 48)) as pilot:
        await settled(pilot)
        known = {place.key for place in navigation.DESTINATIONS}
        for key in "1234567":
            before = app.screen
            await pilot.press(key)
            await pilot.pause()
            assert key in known or app.screen is before
        for place in navigation.DESTINATIONS:
            await pilot.press(place.key)
            assert app.current_mode == place.mode


async def test_t_goes_through_the_themes_and_is_remembered(make_app: MakeApp) -> None:
    """Dark, light, 16 colours, dark; the next start begins with the last one."""
    app = make_app("--replay", str(RECORDING))
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        seen = [app.theme]
        for _ in range(3):
            await pilot.press("t")
            seen.append(app.theme)
        assert seen == [DARK.name, LIGHT.name, BASIC.name, DARK.name]
        await pilot.press("t")
    assert make_app().theme == LIGHT.name
    assert make_app("--theme", "dark").theme == DARK.name


@pytest.mark.parametrize(("term", "theme"), [("xterm", BASIC), ("linux", BASIC), ("xterm-256color", DARK)])
def test_a_poor_terminal_gets_its_own_16_colours(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, term: str, theme: object
) -> None:
    """Over a serial line or on a console the nearest of 16 colours to ours would all be grey; so they are chosen."""
    monkeypatch.delenv("COLORTERM")
    monkeypatch.setenv("TERM", term)
    app = make_app()
    assert app.theme == getattr(theme, "name", None)


async def test_with_16_colours_only_those_are_sent(make_app: MakeApp) -> None:
    """The states keep the colours of the table: green, red, bright black, bright yellow, bright blue."""
    app = make_app("--theme", "16", "--replay", str(RECORDING))
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot)
        await pilot.press("v")
        await pilot.pause()
        colours = {
            color
            for y in range(36)
            for segment in app.screen._compositor.render_strips()[y]
            if segment.style is not None
            for color in (segment.style.color, segment.style.bgcolor)
            if color is not None
        }
        assert all(color.is_system_defined or color.is_default for color in colours), colours
        assert {"green", "red", "bright_black", "bright_yellow", "bright_blue"} <= {color.name for color in colours}


async def test_a_wrong_settings_file_is_told_once(make_app: MakeApp) -> None:
    """The app starts with the defaults and says what it left out."""
    places.config().mkdir(parents=True)
    (places.config() / "settings.toml").write_text("gamma = 99\n")
    app = make_app("--replay", str(RECORDING))
    assert app.preferences.current.gamma == Settings().gamma
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: any("gamma = 99" in note.message for note in app._notifications))
        assert len(app._notifications) == 1


async def test_the_screens_in_the_key_bar(app: FastdraftApp) -> None:
    """One screen needs no tab; several are shown with their numbers."""
    async with app.run_test(size=(240, 48)) as pilot:
        await settled(pilot)
        assert ("1 live" in live(pilot).query_one(KeyBar).text) is (len(navigation.DESTINATIONS) > 1)


async def test_a_wide_key_bar_has_every_screen_and_keys_of_this_one(app: FastdraftApp) -> None:
    """Seven screens leave room for what one does here, and nothing is cut off."""
    async with app.run_test(size=(160, 48)) as pilot:
        await settled(pilot)
        bar = live(pilot).query_one(KeyBar)
        assert all(f"{place.key} {place.title}" in bar.text for place in navigation.DESTINATIONS)
        assert "s slow" in bar.text
        assert bar.text.endswith("q quit")
        assert len(bar.text) <= bar.size.width


async def test_a_key_that_is_called_like_a_screen_is_no_screen(app: FastdraftApp) -> None:
    """The sweep screen's "enter live" stands apart from its neighbours as every key of a screen does."""
    async with app.run_test(size=(160, 48)) as pilot:
        await settled(pilot)
        await pilot.press("2")
        await wait_for(pilot, lambda: isinstance(app.screen, SweepScreen))
        await pilot.pause()
        bar = app.screen.query_one(KeyBar)
        assert "enter live  m figure  g task" in bar.text
        assert "1 live 2 sweep 3 train" in bar.text
        # So it does beside the screens, which stand close to each other where the line is wide.
        keys = [
            ("points.live", Content("enter live")),
            ("app.go-live", Content("1 live")),
            ("app.quit", Content("q quit")),
        ]
        assert choose(keys, WIDE).plain == "enter live  1 live q quit"
        assert choose(keys, WIDE - 1).plain == "enter live  1 live  q quit"


def test_help_and_quit_go_last() -> None:
    """However narrow the line is, they are there, and no key is shown in part."""
    keys = [("live.run", Content("space run")), ("app.help", Content("? help")), ("app.quit", Content("q quit"))]
    assert choose(keys, 25).plain == "space run  ? help  q quit"
    assert choose(keys, 24).plain == "? help  q quit"
