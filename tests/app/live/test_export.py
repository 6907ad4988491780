"""Exports: for people and for programs, complete, and with nothing of a model's text taken for markup."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from fastdraft_app.live.export import EXPORTS, export, export_folder, json_lines, markdown, plain_text
from fastdraft_app.settings.settings import Settings
from fastdraft_core import places
from fastdraft_core.events import Compared, FirstToken, RunFinished, Token
from fastdraft_core.recordings import Recorded, read_recording
from tests.app.conftest import MakeApp
from tests.app.helpers import RECORDING, live, wait_for


@pytest.fixture
def recorded() -> Recorded:
    return read_recording(RECORDING)


def speculative(recorded: Recorded) -> RunFinished:
    """The end of the speculative run."""
    return next(e for e in recorded.events if isinstance(e, RunFinished) and e.mode == "sd")


@pytest.mark.parametrize("make", [markdown, plain_text])
def test_a_report_has_the_measured_figures_with_their_baseline(recorded: Recorded, make: object) -> None:
    """What is pasted into a discussion says what was measured, how, on what, and against what."""
    assert callable(make)
    text = make(recorded)
    metrics = speculative(recorded).metrics
    compared = next(e for e in recorded.events if isinstance(e, Compared))
    for words in (
        f"{metrics.tokens_per_second:.1f} tokens/s",
        f"{compared.speedup:.2f} times the autoregressive",
        f"{metrics.acceptance:.3f}",
        "accepted/drafted",
        f"{metrics.tau:.2f}",
        "identical, token by token",
        "gamma 4, greedy, seed 1",
        "2 cores, 20",
        "torch 2.",
        "one after the other",
        recorded.header.run.prompt.splitlines()[-1],
    ):
        assert words in text, words
    assert text.count(" ms, verify ") == metrics.blocks


def test_json_lines_are_the_recording(recorded: Recorded, tmp_path: Path) -> None:
    """The export replays as the run did."""
    path = tmp_path / "copy.jsonl"
    path.write_text(json_lines(recorded), encoding="utf-8")
    assert read_recording(path) == recorded
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_nothing_of_the_text_is_markup_or_command(recorded: Recorded) -> None:
    """A model that writes fences, tables and escape sequences spoils neither the page nor a terminal."""
    hostile = "```\n# no heading\n````\x1b[31m | a | b |\u202e"
    first = next(i for i, e in enumerate(recorded.events) if isinstance(e, FirstToken) and e.mode == "sd")
    events = list(recorded.events)
    events[first] = msgspec.structs.replace(events[first], token=Token(id=1, text=hostile))
    load = msgspec.structs.replace(recorded.header.load, target="<b>*a*|b</b>")
    run = msgspec.structs.replace(recorded.header.run, prompt=hostile)
    changed = replace(recorded, header=msgspec.structs.replace(recorded.header, load=load, run=run), events=events)
    page = markdown(changed)
    assert "`````text\n```\n# no heading\n````␛[31m" in page
    assert r"\<b\>\*a\*\|b\</b\>" in page
    for text in (page, plain_text(changed)):
        assert "\x1b" not in text
        assert "\u202e" not in text


def test_a_run_that_never_ended_can_be_exported(recorded: Recorded) -> None:
    """A cancelled or cut run still gives a report of what there is."""
    cut = Recorded(recorded.header, recorded.events[:8], "It is cut short.")
    for make in (markdown, plain_text):
        assert "It is cut short." in make(cut)


def test_files_are_whole_new_and_where_the_setting_says(recorded: Recorded, tmp_path: Path) -> None:
    """Two exports in one second are two files; no half-written one is ever seen."""
    settings = replace(Settings(), exports=str(tmp_path / "mine"))
    paths = {export("md", recorded, settings, str) for _ in range(3)}
    assert len(paths) == 3
    assert {path.parent for path in paths} == {tmp_path / "mine"}
    assert sorted((tmp_path / "mine").iterdir()) == sorted(paths)
    assert export_folder(Settings()) == places.exports()


@pytest.mark.parametrize(("kind", "begin"), [("md", "# fastdraft"), ("jsonl", '{"type":"recording"'), ("svg", "<svg")])
async def test_e_writes_what_is_shown_and_names_the_file(make_app: MakeApp, kind: str, begin: str) -> None:
    """Three keys from a picture to a file; the toast says where it is."""
    app = make_app("--replay", str(RECORDING))
    async with app.run_test(size=(100, 30)) as pilot:
        await wait_for(pilot, lambda: live(pilot).session.phase.name == "DONE")
        await pilot.press("e", *["down"] * list(EXPORTS).index(kind), "enter")
        await wait_for(pilot, lambda: app._notifications)
        (note,) = app._notifications
        path = Path(note.message.removeprefix("Saved "))
        assert path.suffix == f".{kind}"
        content = path.read_text()
        assert content.startswith(begin)
        if kind == "svg":
            assert "Export" not in content, "the dialog is not in the picture"


async def test_a_folder_that_cannot_be_written_is_a_sentence(make_app: MakeApp, tmp_path: Path) -> None:
    """The user learns that nothing was written, and the app goes on."""
    (tmp_path / "file").write_text("")
    app = make_app("--replay", str(RECORDING), "--exports", str(tmp_path / "file"))
    async with app.run_test(size=(100, 30)) as pilot:
        await wait_for(pilot, lambda: live(pilot).session.phase.name == "DONE")
        await pilot.press("e", "enter", "f8")
        await wait_for(pilot, lambda: len(app._notifications) == 2)
        assert {note.severity for note in app._notifications} == {"error"}


async def test_nothing_to_export_yet(make_app: MakeApp) -> None:
    """Before the first run the key says what to do instead."""
    app = make_app(fake=("--load-seconds", "5"))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("e")
        await pilot.pause()
        assert any("nothing to export" in note.message for note in app._notifications)
