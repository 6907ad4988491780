"""Dialogs answer once: a key too many closes nothing but the dialog that it was for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Button

from fastdraft_app.dialogs.confirm import ConfirmScreen
from fastdraft_app.dialogs.dialog import Dialog
from fastdraft_app.dialogs.formats import ExportScreen
from fastdraft_app.live.prompt_screen import PromptScreen
from fastdraft_app.live.prompts import Asked, Preset
from tests.app.conftest import MakeApp
from tests.app.helpers import RECORDING, live, wait_for
from tests.app.wizard.test_wizard_turns import burst


def prompts() -> PromptScreen:
    """With one preset, which enter runs."""
    return PromptScreen(Asked("class Stack:"), [Preset("code", "stack", "class Stack:")])


async def enter_twice(pilot: Pilot[Any], answers: list[object]) -> None:
    """Two enters of quick keys, and time for both to be taken."""
    burst(pilot, "enter", "enter")
    await wait_for(pilot, lambda: answers)
    await pilot.pause(0.2)


@pytest.mark.parametrize(
    ("make", "answer"),
    [
        (lambda: ExportScreen({"svg": "a picture", "txt": "a text"}), "svg"),
        (prompts, Asked("class Stack:")),
        (lambda: ConfirmScreen("Sure?", "It is gone then.", "delete"), False),
    ],
    ids=["export", "prompt", "confirm"],
)
async def test_a_second_enter_closes_nothing_else(
    make_app: MakeApp, make: Callable[[], Dialog[Any]], answer: object
) -> None:
    """Two enters of quick keys are both the dialog's; one answer comes, and the screen below stays."""
    app = make_app("--replay", str(RECORDING))
    answers: list[object] = []
    async with app.run_test(size=(80, 24)) as pilot:
        await app.push_screen(make(), answers.append)
        await pilot.pause()
        await enter_twice(pilot, answers)
        assert app.screen is live(pilot)
        assert answers == [answer]


async def test_a_second_press_of_a_button_closes_nothing_else(make_app: MakeApp) -> None:
    """The way back of the prompt editor, pressed twice."""
    app = make_app("--replay", str(RECORDING))
    answers: list[object] = []
    async with app.run_test(size=(80, 24)) as pilot:
        dialog = prompts()
        await app.push_screen(dialog, answers.append)
        dialog.query_one("#back", Button).focus()
        await pilot.pause()
        await enter_twice(pilot, answers)
        assert app.screen is live(pilot)
        assert answers == [None]
