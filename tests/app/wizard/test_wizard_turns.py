"""Quick keys on a busy machine: each acts on what was typed before it, and on a page that is there."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input

from fastdraft_app.app import FastdraftApp
from fastdraft_app.client.train import saved_recipes
from fastdraft_app.dialogs.confirm import ConfirmScreen
from fastdraft_app.dialogs.picker import PickerScreen
from fastdraft_app.jobs.screen import JobsScreen
from fastdraft_app.wizard.questions import QUESTIONS, STEPS
from fastdraft_app.wizard.screen import REVIEW, WizardScreen
from fastdraft_app.wizard.slider import _Number
from fastdraft_core.training.recipe import load_recipe
from tests.app.helpers import wait_for
from tests.app.wizard.test_wizard import about, app, calls, editor, go_to, open_wizard  # noqa: F401  fixtures

SCHEDULE = REVIEW - 1


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which a typed key takes a while to arrive in its field."""
    type_key = Input._on_key

    async def slowly(self: Input, event: events.Key) -> None:
        await asyncio.sleep(0.1)
        await type_key(self, event)

    monkeypatch.setattr(Input, "_on_key", slowly)


def burst(pilot: Pilot[None], *keys: str) -> None:
    """All keys at once, as they come from a terminal whose program was busy."""
    for key in keys:
        pilot.app.post_message(events.Key(key, key if len(key) == 1 else None))


async def type_into(pilot: Pilot[None], field: Input) -> None:
    """Go to the end of the field."""
    field.focus()
    await pilot.pause()
    await pilot.press("end")


async def test_a_launch_takes_what_was_typed_just_before(
    app: FastdraftApp,  # noqa: F811
    calls: Path,  # noqa: F811
    busy: None,
) -> None:
    """A name, enter, enter: the job has the whole name."""
    del busy
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await go_to(pilot, SCHEDULE)
        await type_into(pilot, editor(screen, "name"))
        burst(pilot, "-", "x", "enter", "enter")
        await wait_for(pilot, lambda: isinstance(app.screen, JobsScreen))
    launched = [line for line in calls.read_text().splitlines() if "--detach" in line]
    assert len(launched) == 1
    assert launched[0].split()[1].endswith("my-draft-x.toml")


async def test_nonsense_typed_just_before_is_not_gone_past(
    app: FastdraftApp,  # noqa: F811
    busy: None,
) -> None:
    """Enter stays on the page, which says what is wrong; a recipe is not saved with the number from before."""
    del busy
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await go_to(pilot, 3)
        await type_into(pilot, editor(screen, "pt.tokens"))
        burst(pilot, "x", "f5", "enter")
        await wait_for(pilot, lambda: any("tokens" in told.message for told in app._notifications))
        await wait_for(pilot, lambda: not screen.turns.busy)
        assert screen.step == 3
        assert screen.answers.text(QUESTIONS["pt.tokens"]) == "120Kx"
        assert screen.query_one("#about-field-pt-tokens").has_class("-wrong")
        assert saved_recipes() == []


async def test_a_step_of_a_slider_counts_at_once(app: FastdraftApp) -> None:  # noqa: F811
    """A step that is on its way from the number to the bar and back, and F5: the saved recipe has the new shape."""
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await go_to(pilot, 2)
        number = editor(screen, "model.num_layers")
        assert isinstance(number, _Number)
        before = int(number.value)
        await type_into(pilot, number)
        number.action_step(1)
        burst(pilot, "f5")
        await wait_for(pilot, lambda: saved_recipes())
    assert load_recipe(str(saved_recipes()[0])).model.num_layers == before + 1


async def test_keys_after_f3_are_the_pickers(app: FastdraftApp) -> None:  # noqa: F811
    """The name of a recipe typed before its picker is on screen."""
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await open_wizard(pilot)
        burst(pilot, "f3", *"mini-50m", "enter")
        await wait_for(pilot, lambda: screen.answers.text(QUESTIONS["model.num_layers"]) == "6")


async def test_a_second_enter_in_the_picker_closes_nothing_else(app: FastdraftApp) -> None:  # noqa: F811
    """A key too many is no crash."""
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await open_wizard(pilot)
        await pilot.press("f3", *"mini-50m")
        picker = app.screen
        assert isinstance(picker, PickerScreen)
        await wait_for(pilot, lambda: picker._answered == "mini-50m")
        burst(pilot, "enter", "enter", "enter")
        await wait_for(pilot, lambda: screen.answers.text(QUESTIONS["model.num_layers"]) == "6")
        await wait_for(pilot, lambda: app.screen is screen)


async def test_a_second_enter_on_a_question_closes_nothing_else(app: FastdraftApp) -> None:  # noqa: F811
    """F9, and enter on the harmless answer, three times."""
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await open_wizard(pilot)
        await pilot.press("f9")
        assert isinstance(app.screen, ConfirmScreen)
        burst(pilot, "enter", "enter", "enter")
        await wait_for(pilot, lambda: app.screen is screen)


async def test_an_enter_after_the_picker_waits_for_its_recipe(
    app: FastdraftApp,  # noqa: F811
    calls: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On the last page: the recipe from before is not launched while another one is opened."""
    opened = WizardScreen._open

    async def slowly(self: WizardScreen, name: str | None) -> None:
        await asyncio.sleep(0.5)
        await opened(self, name)

    monkeypatch.setattr(WizardScreen, "_open", slowly)
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await go_to(pilot, REVIEW)
        await pilot.press("f3", *"mini-50m")
        picker = app.screen
        assert isinstance(picker, PickerScreen)
        await wait_for(pilot, lambda: picker._answered == "mini-50m")
        burst(pilot, "enter")
        await wait_for(pilot, lambda: app.screen is screen)
        burst(pilot, "enter")
        await wait_for(pilot, lambda: screen.step == 1)
        assert screen.answers.text(QUESTIONS["model.num_layers"]) == "6"
        assert STEPS[screen.step].title == "Device"
    assert "--detach" not in calls.read_text()


async def test_what_an_old_page_says_does_not_reach_new_answers(app: FastdraftApp) -> None:  # noqa: F811
    """A late word of a field that is gone changes nothing."""
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await go_to(pilot, 3)
        old: Any = editor(screen, "pt.tokens")
        await pilot.press("enter")
        await wait_for(pilot, lambda: screen.step == 4 and not screen.turns.busy)
        screen.post_message(Input.Changed(old, "7M"))
        await pilot.pause()
        assert screen.answers.text(QUESTIONS["pt.tokens"]) == "120K"
        assert "tokens" in about(screen, "cp.tokens").lower()
