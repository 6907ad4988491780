"""Choosing a target, a draft, a file: by a part of the name, by path, with the keyboard alone."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Event

import pytest
from textual.pilot import Pilot
from textual.widgets import OptionList

from fastdraft_app.dialogs import choices
from fastdraft_app.dialogs.choices import Choice, ChoiceGroup, file_source, model_source
from fastdraft_app.dialogs.picker import PickerScreen
from fastdraft_app.live.session import Phase
from fastdraft_core import places
from fastdraft_core.history import read_history, remember_models, remember_prompt
from fastdraft_core.models.draft_spec import OFFERED
from tests.app.conftest import MakeApp
from tests.app.helpers import live, wait_for


@pytest.fixture(autouse=True)
def _empty_hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "no-hub"))


def write_model(folder: Path, vocab_size: int = 4096) -> str:
    """A model as far as a list looks at it."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"], "vocab_size": vocab_size}))
    (folder / "model.safetensors").write_bytes(b"0123456789")
    return str(folder)


def rows(groups: list[choices.ChoiceGroup]) -> list[Choice]:
    """All rows of an answer."""
    return [row for group in groups for row in group.rows]


def test_targets_are_the_bundled_one_and_those_used_before_with_their_neighbours(tmp_path: Path) -> None:
    """Who keeps models in one folder gives one path once, and finds the others from then on."""
    used = write_model(tmp_path / "models" / "one")
    other = write_model(tmp_path / "models" / "two")
    remember_models(places.history(), [used])
    assert [row.value for row in rows(model_source(drafts=False)(""))] == ["demo", "smollm2", used, other]


def test_drafts_can_be_off_and_tell_another_vocabulary(tmp_path: Path) -> None:
    """What cannot fit is seen before it is loaded; the decision is the engine's."""
    remember_models(
        places.history(), [write_model(tmp_path / "m" / "fits"), write_model(tmp_path / "m" / "other", 32000)]
    )
    found = {row.title.rpartition("/")[2]: row for row in rows(model_source(drafts=True, vocab_size=4096)(""))}
    bundled = ["demo:XS", "demo:S", "demo:M", "smollm2:S", "smollm2:M"]
    assert list(found) == [*bundled, "fits", "other", *OFFERED, "off"]
    assert "the target has another" in found["other"].facts
    assert "another" not in found["fits"].facts


def test_typing_narrows_and_a_name_that_is_not_listed_can_be_taken(tmp_path: Path) -> None:
    """A hub id that nobody has downloaded yet is still a choice."""
    source = model_source(drafts=True)
    assert next(row.value for row in rows(source("demo:m"))) == "demo:M"
    assert [row.value for row in rows(source("owner/model"))] == ["owner/model"]


def test_a_path_leads_through_folders_to_the_models_in_it(tmp_path: Path) -> None:
    """A folder of models offers its models; half a path offers the folders that it may mean."""
    model = write_model(tmp_path / "store" / "llama")
    source = model_source(drafts=False)
    assert rows(source(f"{tmp_path}/sto"))[0] == Choice(f"{tmp_path}/store/", "store/", folder=True)
    assert rows(source(f"{tmp_path}/store"))[0].value == model
    assert rows(source(model))[0].value == model


def test_files_are_found_by_what_is_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative, absolute and home paths; hidden files only when asked for; no error for what cannot be read."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "Sub").mkdir()
    for name in ("note.txt", ".hidden", "Sub/inner.txt"):
        (tmp_path / name).write_text("x")
    assert [row.value for row in rows(file_source(""))] == ["./Sub/", "./note.txt"]
    assert [row.value for row in rows(file_source("no"))] == ["./note.txt"]
    assert [row.value for row in rows(file_source(".h"))] == ["./.hidden"]
    assert [row.value for row in rows(file_source("~/Sub/"))] == ["~/Sub/inner.txt"]
    assert [row.value for row in rows(file_source(f"{tmp_path}/Sub/i"))] == [f"{tmp_path}/Sub/inner.txt"]
    assert rows(file_source("/nowhere/at/all")) == []
    assert rows(file_source("~no-such-user/x")) == []


def test_history_is_bounded_and_survives_damage(tmp_path: Path) -> None:
    """Newest first, nothing twice, nothing bundled, no endless file, and a damaged file is an empty history."""
    path = tmp_path / "history.json"
    for number in range(70):
        remember_prompt(path, f"prompt {number}")
    remember_prompt(path, "prompt 5")
    remember_prompt(path, "  \n")
    remember_prompt(path, "x" * 100_000)
    remember_models(path, ["demo", "demo:S", "", "/models/a"])
    history = read_history(path)
    assert history.prompts[:2] == ["prompt 5", "prompt 69"]
    assert len(history.prompts) == len(set(history.prompts)) == 50
    assert history.models == ["/models/a"]
    path.write_bytes(b'{"prompts": 3')
    assert read_history(path).prompts == []


async def open_picker(pilot: Pilot[None], key: str) -> PickerScreen:
    """Press ``key`` and wait for the rows."""
    await wait_for(pilot, lambda: live(pilot).session.phase is Phase.DONE)
    await pilot.press(key)
    await wait_for(pilot, lambda: isinstance(pilot.app.screen, PickerScreen) and pilot.app.screen._rows)
    screen = pilot.app.screen
    assert isinstance(screen, PickerScreen)
    return screen


async def test_the_draft_in_use_is_marked_and_the_next_can_be_taken(make_app: MakeApp) -> None:
    """d, down, enter: another draft is loaded and run, and remembered."""
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        picker = await open_picker(pilot, "d")
        row = picker._highlighted()
        assert row is not None
        assert row.value == "demo:S"
        await pilot.press("down", "enter")
        await wait_for(pilot, lambda: live(pilot).session.pair is not None and live(pilot).session.pair.draft is not None
                       and live(pilot).session.pair.draft.name == "demo:M")  # fmt: skip
    assert app.preferences.current.draft == "demo:M"
    assert make_app().preferences.current.draft == "demo:M", "the next start begins with it"


async def test_a_target_that_does_not_load_is_a_banner(make_app: MakeApp) -> None:
    """A wrong name can be typed; the engine says what is wrong with it, and m is still there to repair it."""
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await open_picker(pilot, "m")
        await pilot.press(*"missing")
        await wait_for(pilot, lambda: [r.value for r in app.screen._rows] == ["missing"])
        await pilot.press("enter")
        await wait_for(pilot, lambda: "There is no model at missing" in live(pilot).session.error)
        await open_picker_again(pilot)
        await pilot.press("enter")
        await wait_for(pilot, lambda: live(pilot).session.phase is Phase.DONE)


async def open_picker_again(pilot: Pilot[None]) -> None:
    """The picker of targets after a failure."""
    await pilot.press("m")
    await wait_for(pilot, lambda: isinstance(pilot.app.screen, PickerScreen) and pilot.app.screen._rows)


async def test_what_cannot_be_read_is_no_crash(make_app: MakeApp, tmp_path: Path) -> None:
    """A name longer than the system takes and a dangling link: nothing to choose, and the picker goes on."""
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    assert [row.facts for row in rows(file_source(f"{tmp_path}/dang"))] == ["cannot be read"]
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        picker = await open_picker(pilot, "m")
        picker._type("x/" + "y" * 5000)
        await wait_for(pilot, lambda: [row.title[:3] for row in picker._rows] == ["x/y"])
        picker._type("demo")
        await wait_for(pilot, lambda: [row.value for row in picker._rows] == ["demo"])


async def test_escape_changes_nothing_and_tab_completes(make_app: MakeApp, tmp_path: Path) -> None:
    """A look costs nothing; a long path needs few letters; a folder is gone into."""
    write_model(tmp_path / "store" / "llama")
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        picker = await open_picker(pilot, "m")
        typed = f"{tmp_path}/sto"
        picker._type(typed)
        await wait_for(pilot, lambda: picker._rows and picker._rows[0].title == "store/")
        await pilot.press("tab")
        await wait_for(pilot, lambda: picker._rows and picker._rows[0].title.endswith("llama"))
        await pilot.press("escape")
        await pilot.pause()
        assert live(pilot).controller.settings.target == "demo"


async def test_enter_takes_what_was_typed_however_slowly_the_list_follows(make_app: MakeApp) -> None:
    """Quick keys on a busy machine: the rows of the text before are on screen, and none of them is taken."""
    slow = Event()

    def source(typed: str) -> list[ChoiceGroup]:
        if typed:
            slow.wait(10)
        return [ChoiceGroup("all", [Choice(one, one) for one in ("first", "second") if typed in one])]

    app = make_app()
    taken: list[str | None] = []
    async with app.run_test() as pilot:
        picker = PickerScreen("Which", source, hint="", empty="none")
        app.push_screen(picker, taken.append)
        await wait_for(pilot, lambda: picker.is_mounted and picker.query_one("#rows", OptionList).option_count == 3)
        await pilot.press(*"second", "enter")
        assert taken == []
        slow.set()
        await wait_for(pilot, lambda: taken)
        assert taken == ["second"]


async def test_an_answer_that_was_overtaken_changes_nothing(make_app: MakeApp) -> None:
    """The list to the text before arrives last, as on a busy machine: the rows stay, and enter takes what they say."""

    def source(typed: str) -> list[ChoiceGroup]:
        return [ChoiceGroup("all", [Choice(one, one) for one in ("first", "second") if typed in one])]

    app = make_app()
    taken: list[str | None] = []
    async with app.run_test() as pilot:
        picker = PickerScreen("Which", source, hint="", empty="none")
        app.push_screen(picker, taken.append)
        await wait_for(pilot, lambda: picker.is_mounted and picker.query_one("#rows", OptionList).option_count == 3)
        await pilot.press(*"second")
        await wait_for(pilot, lambda: picker.query_one("#rows", OptionList).option_count == 2)
        picker.post_message(PickerScreen.Answered("", source("")))
        await pilot.pause()
        assert picker.query_one("#rows", OptionList).option_count == 2
        await pilot.press("enter")
        await wait_for(pilot, lambda: taken)
        assert taken == ["second"]
