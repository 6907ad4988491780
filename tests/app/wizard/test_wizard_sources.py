"""Own files and data sets in the wizard: described, looked at, mixed in, taken off, and in the recipe that is written."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Select, Static

from fastdraft_app.app import FastdraftApp
from fastdraft_app.client import command
from fastdraft_app.client.train import recipe_text
from fastdraft_app.dialogs.confirm import ConfirmScreen
from fastdraft_app.dialogs.picker import PickerScreen
from fastdraft_app.wizard.answers import Answers
from fastdraft_app.wizard.questions import QUESTIONS
from fastdraft_app.wizard.screen import WizardScreen
from fastdraft_app.wizard.source_dialog import SourceScreen
from fastdraft_app.wizard.sources import described, free_source_name, put, read_place, take_off
from fastdraft_core.errors import FastdraftError
from fastdraft_core.text_sources import TextSource
from fastdraft_core.training.recipe import Recipe, load_recipe
from tests.app.conftest import MakeApp
from tests.app.helpers import RECORDING, wait_for
from tests.app.wizard.test_wizard import editor, go_to
from tests.app.wizard.test_wizard_turns import burst

PT, CP, FT = 3, 4, 5
PATIENCE = 120.0
#: ``fastdraft`` that looks at sources for real, and has nothing to say of devices.
SOURCES_ALONE = "import sys; from fastdraft_core.cli import main; sys.argv[1] == 'sources' and main()"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with notes, rows and instructions."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "no-hub"))
    monkeypatch.setattr(command, "COMMAND", (sys.executable, "-P", "-c", SOURCES_ALONE))
    world = tmp_path / "world"
    (world / "notes").mkdir(parents=True)
    for number in range(60):
        (world / "notes" / f"{number:02}.md").write_text(f"# Note {number}\n\nTea is made of leaves and hot water.\n")
    lines = [json.dumps({"title": f"Row {n}", "body": f"The body of row {n}."}) for n in range(60)]
    (world / "rows.jsonl").write_text("\n".join(lines))
    lines = [json.dumps({"instruction": f"Add {n} and 2.", "output": str(n + 2)}) for n in range(60)]
    (world / "asked.jsonl").write_text("\n".join(lines))
    monkeypatch.chdir(world)
    return world


@pytest.fixture
def app(make_app: MakeApp, world: Path) -> FastdraftApp:
    """An app whose live screen shows a recording."""
    del world
    return make_app("--replay", str(RECORDING))


def found(dialog: SourceScreen) -> str:
    """What the dialog says of the source."""
    return str(dialog.query_one("#found", Static).render())


def typed(dialog: SourceScreen, name: str) -> Input:
    """A field of the dialog."""
    return dialog.query_one(f"#{name}", Input)


async def ask(pilot: Pilot[None]) -> PickerScreen:
    """F7, and the picker with its rows."""
    await pilot.press("f7")
    await wait_for(pilot, lambda: isinstance(pilot.app.screen, PickerScreen) and pilot.app.screen._answered == "")
    picker = pilot.app.screen
    assert isinstance(picker, PickerScreen)
    return picker


async def describe(pilot: Pilot[None], place: str) -> SourceScreen:
    """F7, the place typed, enter: the dialog with what it found."""
    await ask(pilot)
    await pilot.press(*place, "enter")
    await wait_for(pilot, lambda: isinstance(pilot.app.screen, SourceScreen))
    dialog = pilot.app.screen
    assert isinstance(dialog, SourceScreen)
    await wait_for(pilot, lambda: typed(dialog, "place").value and dialog._seen, PATIENCE)
    return dialog


async def enter(pilot: Pilot[None]) -> WizardScreen:
    """Take it, and see the page again."""
    await pilot.press("enter")
    await wait_for(pilot, lambda: isinstance(pilot.app.screen, WizardScreen) and not pilot.app.screen.turns.busy)
    screen = pilot.app.screen
    assert isinstance(screen, WizardScreen)
    return screen


def written(screen: WizardScreen, tmp_path: Path) -> Recipe:
    """The recipe as a file of it is read again."""
    path = tmp_path / "written.toml"
    path.write_text(recipe_text(screen.answers.recipe()))
    return load_recipe(str(path))


async def test_a_folder_is_added_and_is_in_the_recipe(app: FastdraftApp, world: Path, tmp_path: Path) -> None:
    """F7, the path, two enters: named after its folder, looked at, mixed in by the mean of the weights, and in the TOML."""
    async with app.run_test(size=(80, 24)) as pilot:
        await go_to(pilot, CP)
        dialog = await describe(pilot, "./notes")
        assert "60 files" in found(dialog)
        assert "Note 0" in found(dialog)
        screen = await enter(pilot)
        assert editor(screen, "cp.sources").value == "code=0.65, text=0.35, notes=0.5"
        assert str(world / "notes") in str(screen.query_one("#facts", Static).render())
        recipe = written(screen, tmp_path)
    assert recipe.sources["notes"].path == str(world / "notes")
    assert recipe.cp is not None
    assert recipe.cp.sources == {"code": 0.65, "text": 0.35, "notes": 0.5}
    assert recipe.pt is not None
    assert "notes" not in recipe.pt.sources


async def test_keys_typed_ahead_add_it_too(app: FastdraftApp) -> None:
    """F7, the path, enter, and the enter that adds it, before picker and dialog are on screen."""
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await go_to(pilot, PT)
        burst(pilot, "f7", *"./notes", "enter")
        await wait_for(pilot, lambda: isinstance(app.screen, SourceScreen))
        burst(pilot, "enter")
        await wait_for(pilot, lambda: app.screen is screen and not screen.turns.busy, PATIENCE)
        assert editor(screen, "pt.sources").value == "text=1, notes=1"


async def test_a_wrong_path_is_said_and_can_be_mended(app: FastdraftApp) -> None:
    """The core's own sentence stands in the dialog, enter does not take it, and typing on looks again."""
    async with app.run_test(size=(80, 24)) as pilot:
        await go_to(pilot, PT)
        dialog = await describe(pilot, "./notes")
        typed(dialog, "place").value = "./nots"
        await wait_for(pilot, lambda: "There is no file or folder" in found(dialog), PATIENCE)
        await pilot.press("enter")
        await pilot.pause()
        assert app.screen is dialog
        typed(dialog, "called").value = "a b"
        await wait_for(pilot, lambda: "needs another name" in found(dialog), PATIENCE)
        typed(dialog, "called").value = "text"
        await wait_for(pilot, lambda: "code, text and target are taken" in found(dialog), PATIENCE)
        typed(dialog, "called").value = "mine"
        typed(dialog, "place").value = "./notes"
        # Enter does not wait for the look; the look is waited for.
        screen = await enter(pilot)
        assert editor(screen, "pt.sources").value == "text=1, mine=1"


async def test_rows_need_their_column(app: FastdraftApp, tmp_path: Path) -> None:
    """Without it the columns that there are are named; with it the source is taken."""
    async with app.run_test(size=(80, 24)) as pilot:
        await go_to(pilot, PT)
        dialog = await describe(pilot, "./rows.jsonl")
        assert "no text in the field 'text'; it has title, body" in found(dialog)
        typed(dialog, "field").value = "body"
        await wait_for(pilot, lambda: "The body of row 0." in found(dialog), PATIENCE)
        screen = await enter(pilot)
        assert written(screen, tmp_path).sources["rows"].field == "body"


async def test_a_data_set_out_of_reach_can_be_added_all_the_same(app: FastdraftApp, tmp_path: Path) -> None:
    """The recipe may be run where there is a network; its configuration and split are asked for."""
    async with app.run_test(size=(80, 24)) as pilot:
        await go_to(pilot, PT)
        dialog = await describe(pilot, "owner/stories")
        assert "cannot be read from the hub" in found(dialog)
        assert dialog.query_one("#row-config").display
        typed(dialog, "config").value = "small"
        await wait_for(pilot, lambda: dialog._seen and dialog._seen[0].source.config == "small", PATIENCE)
        screen = await enter(pilot)
        source = written(screen, tmp_path).sources["stories"]
    assert (source.path, source.hub, source.config, source.split) == (None, "owner/stories", "small", "train")


async def test_instructions_are_added_for_ft(app: FastdraftApp, tmp_path: Path) -> None:
    """The same dialog on FT, which asks whether the rows are prefixes or instructions."""
    async with app.run_test(size=(80, 24)) as pilot:
        await go_to(pilot, FT)
        dialog = await describe(pilot, "./asked.jsonl")
        dialog.query_one("#use", Select).value = "instructions"
        await wait_for(pilot, lambda: "Add 0 and 2." in found(dialog), PATIENCE)
        typed(dialog, "place").focus()
        screen = await enter(pilot)
        assert editor(screen, "synthesis.instructions").value == "asked=1"
        section = written(screen, tmp_path).synthesis
    assert section is not None
    assert section.instructions == {"asked": 1.0}
    assert "asked" not in section.sources


async def test_it_survives_reopening_and_is_taken_off(make_app: MakeApp, app: FastdraftApp) -> None:
    """Back and forth and another start keep it; F9 in its dialog takes it out of every mixture."""
    async with app.run_test(size=(80, 24)) as pilot:
        await go_to(pilot, PT)
        await describe(pilot, "./notes")
        screen = await enter(pilot)
        await pilot.press("escape", "enter", "enter")
        await wait_for(pilot, lambda: screen.step == CP and screen.query("#field-cp-sources"))
        await describe(pilot, "notes")
        await enter(pilot)
        assert "notes" in editor(screen, "cp.sources").value
        await pilot.press("1")
        await pilot.pause()
    again = make_app("--replay", str(RECORDING))
    async with again.run_test(size=(80, 24)) as pilot:
        screen = await go_to(pilot, PT)
        assert editor(screen, "pt.sources").value == "text=1, notes=1"
        await describe(pilot, "notes")
        await pilot.press("f9")
        await wait_for(pilot, lambda: again.screen is screen and not screen.turns.busy)
        assert editor(screen, "pt.sources").value == "text=1"
        assert screen.answers.text(QUESTIONS["cp.sources"]) == "code=0.65, text=0.35"
        assert screen.answers.recipe().sources == {}


async def test_f9_begins_without_it_and_escape_changes_nothing(app: FastdraftApp) -> None:
    """Escape leaves picker and dialog; the defaults have no sources of their own."""
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await go_to(pilot, PT)
        await ask(pilot)
        await pilot.press("escape")
        await wait_for(pilot, lambda: app.screen is screen)
        await describe(pilot, "./notes")
        await pilot.press("escape")
        await wait_for(pilot, lambda: app.screen is screen and not screen.turns.busy)
        assert described(screen.answers) == {}
        await describe(pilot, "./notes")
        await enter(pilot)
        assert list(described(screen.answers)) == ["notes"]
        await pilot.press("f9")
        await wait_for(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("y")
        await wait_for(pilot, lambda: screen.step == 0 and not screen.turns.busy)
        assert described(screen.answers) == {}


@pytest.mark.parametrize("size", [(60, 16), (80, 24), (120, 36), (160, 48)])
async def test_nothing_of_the_dialog_shows_beside_the_picker(app: FastdraftApp, size: tuple[int, int]) -> None:
    """The empty fields would be a riddle before anything is chosen; without colour nothing but the picker hides them."""
    async with app.run_test(size=size) as pilot:
        await go_to(pilot, FT)
        picker = await ask(pilot)
        below = app.screen_stack[-2]
        assert isinstance(below, SourceScreen)
        assert picker.query_one("#dialog").region.contains_region(below.query_one("#dialog").region)


async def test_a_look_that_ends_late_closes_no_other_dialog(app: FastdraftApp) -> None:
    """Enter while the source is read, and F3: the picker stays, and the dialog under it."""
    async with app.run_test(size=(80, 24)) as pilot:
        await go_to(pilot, PT)
        dialog = await describe(pilot, "./notes")
        typed(dialog, "called").value = "mine"
        await wait_for(pilot, lambda: not dialog._seen)
        await pilot.press("enter", "f3")
        await wait_for(pilot, lambda: dialog._seen, PATIENCE)
        await pilot.pause()
        assert isinstance(app.screen, PickerScreen)
        await pilot.press("escape")
        await wait_for(pilot, lambda: app.screen is dialog)


async def test_sources_belong_to_the_pages_about_data(app: FastdraftApp) -> None:
    """On the other pages F7 does nothing."""
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await go_to(pilot, 2)
        await pilot.press("f7")
        await pilot.pause()
        assert app.screen is screen


def test_names_are_free_and_fit_a_recipe() -> None:
    """Whatever a path is called, its source can be written down and typed in a mixture."""
    answers = Answers.fresh()
    names = {
        place: free_source_name(place, answers)
        for place in ("~/my notes, 2024/", "rows.jsonl.gz", "owner/Tiny_Stories", "code", "/", "", "ärger=1", ".env")
    }
    assert names["~/my notes, 2024/"] == "my-notes-2024"
    assert names["rows.jsonl.gz"] == "rows"
    assert names["owner/Tiny_Stories"] == "Tiny_Stories"
    assert names["code"] == "code-2"
    for name in names.values():
        put(answers, name, TextSource(path="/x"), "pt.sources")
        assert free_source_name(name, answers) != name
    assert set(answers.recipe().pt.sources) == {"text", *names.values()}  # type: ignore[union-attr]


def test_what_is_typed_is_a_path_or_a_data_set(world: Path) -> None:
    """What lies here wins; what looks like a file is none of the hub's."""
    assert read_place("notes")["path"] == str(world / "notes")
    assert read_place("owner/name") == {"path": None, "hub": "owner/name"}
    assert read_place("imdb")["hub"] == "imdb"
    for path in ("gone/rows.jsonl", "./gone", "/gone", "~/gone", "a/b/c", "~no-such-user/x", "a\0b", "x" * 5000):
        assert read_place(path)["hub"] is None


def test_a_mixture_that_makes_no_sense_keeps_what_was_typed() -> None:
    """Adding and taking off leave the rest alone, and a stage is never left without a source."""
    answers = Answers.fresh()
    answers.set(QUESTIONS["pt.sources"], "text=, what")
    put(answers, "notes", TextSource(path="/notes"), "pt.sources")
    assert answers.text(QUESTIONS["pt.sources"]) == "text=, what, notes=1"
    take_off(answers, "notes")
    assert answers.text(QUESTIONS["pt.sources"]) == "text=, what"
    put(answers, "notes", TextSource(path="/notes"), "cp.sources")
    answers.set(QUESTIONS["cp.sources"], "notes=1")
    alone = Answers.of(Answers(answers.base, {"cp.sources": "notes=1"}).recipe())
    for one in (answers, alone):
        take_off(one, "notes")
        assert one.text(QUESTIONS["cp.sources"]) == "code=0.65, text=0.35"
    put(alone, "notes", TextSource(path="/notes"), "synthesis.sources")
    alone.set(QUESTIONS["synthesis.sources"], "notes=1")
    take_off(alone, "notes")
    assert alone.recipe().synthesis.sources == {"code": 0.5, "text": 0.5}  # type: ignore[union-attr]
    with pytest.raises(FastdraftError, match="not a number"):
        answers.recipe()


@pytest.mark.parametrize("size", [(80, 24), (160, 48)], ids=["80x24", "160x48"])
@pytest.mark.parametrize("shown", ["picker", "found", "column", "hub", "known"])
def test_pictures(
    snap_compare: Any,
    app: FastdraftApp,
    world: Path,
    monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, int],
    shown: str,
) -> None:
    """The dialog as it looks: choosing, a folder, rows without their column on the page of FT, a data set, and a source of the recipe."""
    monkeypatch.setenv("HOME", "home-of-nobody")
    places = {"found": "./notes", "column": "./rows.jsonl", "hub": "owner/stories", "known": "letters"}

    async def before(pilot: Pilot[None]) -> None:
        screen = await go_to(pilot, FT if shown == "column" else CP)
        await wait_for(pilot, lambda: screen.looks.known.models is not None)
        put(screen.answers, "letters", TextSource(path="notes"), "pt.sources")
        if shown == "picker":
            await ask(pilot)
            await pilot.press(*"./")
            await wait_for(pilot, lambda: pilot.app.screen._answered == "./")  # type: ignore[attr-defined]
        else:
            dialog = await describe(pilot, places[shown])
            told = dialog._seen[1] if dialog._seen else ""
            if shown == "hub":
                # The reason is the library's own, which may change its words.
                told = "The data set owner/stories cannot be read from the hub (offline). Check the network and the id."
            dialog._show(told.replace(str(world), "/home/me") if isinstance(told, str) else told)
        for one in pilot.app.screen.query(Input):
            one.cursor_blink = False
        await pilot.pause(0.3)

    assert snap_compare(app, terminal_size=size, run_before=before)
