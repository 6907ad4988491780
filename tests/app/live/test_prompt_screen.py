"""The prompt editor: presets, earlier prompts, files, free text, at any width."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import OptionList, TextArea

from fastdraft_app.dialogs.picker import PickerScreen
from fastdraft_app.live.prompt_screen import PromptScreen
from fastdraft_app.live.session import Phase
from fastdraft_core import places
from fastdraft_core.history import remember_prompt
from tests.app.conftest import MakeApp
from tests.app.helpers import RECORDING, live, wait_for


async def open_editor(pilot: Pilot[None]) -> TextArea:
    """Press p once something is on screen."""
    await wait_for(pilot, lambda: live(pilot).session.phase is Phase.DONE)
    await pilot.press("p")
    await wait_for(pilot, lambda: isinstance(pilot.app.screen, PromptScreen))
    await pilot.pause()
    return pilot.app.screen.query_one(TextArea)


@pytest.mark.parametrize("key", ["f5", "ctrl+s", "ctrl+enter", "ctrl+j"])
async def test_several_lines_can_be_written_and_run(make_app: MakeApp, key: str) -> None:
    """Enter makes a line; F5 runs it, and so do the keys that other editors use."""
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        text = await open_editor(pilot)
        await pilot.press("tab")
        assert text.has_focus
        text.clear()
        await pilot.press("a", "enter", "b", key)
        await wait_for(pilot, lambda: live(pilot).session.recording.tracks.get("ar") is not None
                       and live(pilot).session.recording.tracks["ar"].started.prompt == "a\nb")  # fmt: skip
    assert app.preferences.current.prompt == "a\nb"


async def test_earlier_prompts_can_be_taken_again(make_app: MakeApp) -> None:
    """What was run before is in the list, newest first, shown on one line and harmless."""
    remember_prompt(places.history(), "older")
    remember_prompt(places.history(), "newer \x1b[31m\nsecond [line]")
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        text = await open_editor(pilot)
        listed = app.screen.query_one(OptionList)
        shown = [str(listed.get_option_at_index(i).prompt) for i in range(listed.option_count)]
        place = shown.index("EARLIER")
        assert [line.strip() for line in shown[place + 1 :]] == ["newer ␛[31m second [line]", "older"]
        listed.highlighted = place + 1
        await pilot.pause()
        assert text.text == "newer \x1b[31m\nsecond [line]"


async def test_a_file_can_be_opened(make_app: MakeApp, tmp_path: Path) -> None:
    """F3, a path, and its text is there to edit; one that is no text is one sentence."""
    (tmp_path / "good.txt").write_text("from a file")
    (tmp_path / "bad.txt").write_bytes(b"\xff\xff")
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        text = await open_editor(pilot)
        for name in ("good.txt", "bad.txt"):
            await pilot.press("f3")
            await wait_for(pilot, lambda: isinstance(app.screen, PickerScreen))
            app.screen._type(f"{tmp_path}/{name}")
            await wait_for(pilot, lambda name=name: [row.title for row in app.screen._rows] == [name])
            await pilot.press("enter")
            await wait_for(pilot, lambda: isinstance(app.screen, PromptScreen))
            await pilot.pause()
            assert text.text == "from a file"
        assert any("cannot be read as text" in note.message for note in app._notifications)


async def test_escape_keeps_the_prompt_and_nothing_is_no_prompt(make_app: MakeApp) -> None:
    """A look costs nothing; an empty prompt is refused with a word."""
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        text = await open_editor(pilot)
        text.text = " \n"
        await pilot.press("f5")
        await pilot.pause()
        assert isinstance(app.screen, PromptScreen)
        assert any("Write a prompt" in note.message for note in app._notifications)
        await pilot.press("escape")
        await pilot.pause()
        assert live(pilot).controller.settings.prompt == ""


@pytest.mark.parametrize(("size", "beside"), [((60, 16), False), ((80, 24), True), ((160, 48), True)])
async def test_list_and_text_fit_every_width(make_app: MakeApp, size: tuple[int, int], beside: bool) -> None:
    """On a narrow screen the list is above the text, else beside it; both can always be used."""
    app = make_app("--replay", str(RECORDING))
    async with app.run_test(size=size) as pilot:
        text = await open_editor(pilot)
        listed = app.screen.query_one(OptionList)
        assert (listed.region.right <= text.region.x) is beside
        for widget in (listed, text):
            assert app.screen.region.contains_region(widget.region)
            assert widget.size.height >= 3
