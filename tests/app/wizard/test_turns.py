"""The parts of the wizard that need no screen: keys take turns, and a plan belongs to one recipe on one device."""

from __future__ import annotations

import asyncio

import pytest

from fastdraft_app.wizard import looks
from fastdraft_app.wizard.answers import Answers
from fastdraft_app.wizard.looks import MEASURING, Looks, look_of, sampled_sources
from fastdraft_app.wizard.questions import STEPS
from fastdraft_app.wizard.turns import Turns
from fastdraft_core.training.recipe import TARGET_SOURCE, Recipe


async def test_a_key_waits_for_the_one_before_and_what_was_typed_is_taken_first() -> None:
    """The second action begins when the first has ended, each after the fields have settled."""
    told: list[str] = []

    async def settle() -> None:
        told.append("settled")

    turns, go_on = Turns(settle), asyncio.Event()

    async def first() -> None:
        async with turns.take():
            told.append("first")
            await go_on.wait()
            told.append("first ended")

    async def second() -> None:
        async with turns.take():
            told.append("second")

    under_way = [asyncio.create_task(first()), asyncio.create_task(second())]
    while "first" not in told:
        await asyncio.sleep(0)
    assert turns.busy
    go_on.set()
    await asyncio.gather(*under_way)
    assert told == ["settled", "first", "first ended", "settled", "second"]
    assert not turns.busy


async def test_an_action_that_fails_ends_its_turn() -> None:
    """The next key is not lost."""

    async def settle() -> None:
        return

    turns = Turns(settle)
    with pytest.raises(ZeroDivisionError):
        async with turns.take():
            raise ZeroDivisionError
    assert not turns.busy


async def test_a_plan_belongs_to_its_recipe_and_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured is said at once; the plan of one device is none of another; a plan that failed is made again."""
    recipe, shown = Answers.fresh().recipe(), list[list[str]]()

    async def made(recipe: Recipe, device: str) -> tuple[bool, list[str]]:
        del recipe
        return device != "xpu", [f"all 1 min on {device}"]

    monkeypatch.setattr(looks, "plan", made)
    found = Looks()
    await found.measure(recipe, "cpu", lambda: shown.append(found.plan))
    assert shown == [[MEASURING], ["all 1 min on cpu"]]
    assert found.is_planned(recipe, "cpu")
    assert not found.is_planned(recipe, "cuda")
    await found.measure(recipe, "xpu", lambda: None)
    assert not found.is_planned(recipe, "xpu")


def test_pages_about_data_show_samples_of_their_own_sources() -> None:
    """F6 reads what the stage reads; on the page of FT it has the target write; where nothing can be seen it does nothing."""
    recipe, pages = Answers.fresh().recipe(), {step.title: number for number, step in enumerate(STEPS)}
    assert [look_of(pages[title]) for title in ("Target", "Device", "FT", "Review")] == [None, "speed", "samples", None]
    assert recipe.cp is not None
    assert sampled_sources(pages["CP mixture"], recipe) == list(recipe.cp.sources)
    assert sampled_sources(pages["FT"], recipe) == [TARGET_SOURCE]
