"""Recordings on the live screen: the same picture as the run, without an engine, and clearly labelled."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot

from fastdraft_app.dialogs.picker import PickerScreen
from fastdraft_app.live import recordings
from fastdraft_app.live.block_strip import BlockStrip
from fastdraft_app.live.playback import Playback
from fastdraft_app.live.run_pane import RunPane
from fastdraft_app.live.session import Phase
from fastdraft_app.messages import SettingsChanged
from fastdraft_app.settings.settings import Settings
from fastdraft_app.widgets.line import TextLine
from fastdraft_core import places
from fastdraft_core.recordings import read_recording
from tests.app.conftest import MakeApp
from tests.app.helpers import RECORDING, live, wait_for


def picture(pilot: Pilot[None]) -> list[str]:
    """Every text of the screen but where it comes from and what the engine's process needs now."""
    screen = live(pilot)
    lines = [line.text for line in screen.query(TextLine).results() if line.id not in ("source", "keys", "machine")]
    panes = [pane for mode in ("ar", "sd") for pane in [screen.query_one(f"#{mode}", RunPane)]]
    strip = screen.query_one(BlockStrip)
    blocks = ["".join(segment.text for segment in strip.render_line(y)) for y in range(strip.size.height)]
    return [*lines, *blocks, *(text for pane in panes for text in (pane.head_text, pane.view.text))]


def source_line(pilot: Pilot[None]) -> str:
    """The label of a recording; empty while there is none on screen."""
    line = live(pilot).query_one("#source", TextLine)
    return line.text if line.display else ""


async def at_end(pilot: Pilot[None]) -> None:
    """Wait until all is shown."""
    await wait_for(pilot, lambda: live(pilot).session.phase is Phase.DONE)
    await pilot.pause()


async def test_a_replay_needs_no_engine_and_shows_the_same_picture(make_app: MakeApp) -> None:
    """What was seen live is seen again, widget by widget, from the file that the app wrote by itself."""
    app = make_app("--gamma", "5")
    async with app.run_test(size=(120, 36)) as pilot:
        await at_end(pilot)
        await pilot.press("space", "end")
        await at_end(pilot)
        seen = picture(pilot)
        assert source_line(pilot) == ""
    (path,) = places.recordings().glob("*.jsonl")
    replay = make_app("--replay", str(path))
    async with replay.run_test(size=(120, 36)) as pilot:
        await at_end(pilot)
        assert picture(pilot) == seen
        assert replay.engine.pid is None
        assert "Recording made on" in source_line(pilot)
        assert "at its true speed" in source_line(pilot)
        assert live(pilot)._clock is None, "a replay at its end takes no processor time"


@pytest.mark.parametrize("key", ["right_square_bracket", "equals_sign", "greater_than_sign", "o"])
async def test_a_replay_says_that_r_is_needed_first(make_app: MakeApp, key: str) -> None:
    """A key that asks for another run starts no engine behind the user's back, and tells what to press."""
    app = make_app("--replay", str(RECORDING))
    async with app.run_test(size=(80, 24)) as pilot:
        await at_end(pilot)
        await pilot.press(key)
        await pilot.pause(0.6)
        assert app.engine.pid is None
        assert any("Press r" in note.message for note in app._notifications)
        assert not (places.config() / "settings.toml").exists()


async def test_settings_changed_during_a_replay_wait_for_the_live_run(make_app: MakeApp) -> None:
    """F2 works on a replay too: the picture stays, and r decodes with what was set."""
    app = make_app("--replay", str(RECORDING))
    async with app.run_test(size=(80, 24)) as pilot:
        await at_end(pilot)
        seen = picture(pilot)
        app.take_settings(SettingsChanged({"gamma": 6}))
        await pilot.pause(0.6)
        assert picture(pilot) == seen
        await pilot.press("r")
        await wait_for(
            pilot, lambda: live(pilot).controller.playback is None and live(pilot).session.phase is Phase.DONE
        )
        assert live(pilot).session.recording.tracks["ar"].started.gamma == 6


async def test_r_on_a_replay_decodes_the_same_here(make_app: MakeApp) -> None:
    """From a picture somebody sent to one's own machine: same pair, prompt and settings, now live."""
    app = make_app("--replay", str(RECORDING))
    async with app.run_test(size=(80, 24)) as pilot:
        await at_end(pilot)
        await pilot.press("r")
        await wait_for(
            pilot, lambda: live(pilot).controller.playback is None and live(pilot).session.phase is Phase.DONE
        )
        started = live(pilot).session.recording.tracks["ar"].started
        assert started.prompt == read_recording(RECORDING).header.run.prompt
        assert app.engine.pid is not None
        assert source_line(pilot) == ""


async def test_a_recording_can_be_picked_and_left(make_app: MakeApp) -> None:
    """R lists what was run here and what came along; escape brings the own run back."""
    app = make_app()
    async with app.run_test(size=(120, 36)) as pilot:
        await at_end(pilot)
        own = picture(pilot)
        await pilot.press("R")
        await wait_for(pilot, lambda: isinstance(app.screen, PickerScreen))
        await wait_for(pilot, lambda: app.screen._rows)
        await pilot.press(*"stack:")
        await wait_for(pilot, lambda: [row.title for row in app.screen._rows if "class Stack:" not in row.title] == [])
        await pilot.press("enter")
        await wait_for(pilot, lambda: "Recording" in source_line(pilot))
        assert "class Stack:" in live(pilot).controller.shown_settings.prompt
        assert live(pilot).controller.settings.prompt == "", "what is chosen for the next run stays"
        await pilot.press("escape")
        await pilot.pause()
        assert picture(pilot) == own


async def test_a_picked_file_that_is_none_is_one_sentence(make_app: MakeApp, tmp_path: Path) -> None:
    """The screen stays as it is."""
    foreign = tmp_path / "foreign.jsonl"
    foreign.write_text("hello\n")
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await at_end(pilot)
        live(pilot)._play(str(foreign))
        await pilot.pause()
        assert live(pilot).controller.playback is None
        assert any("is no recording of fastdraft" in note.message for note in app._notifications)


async def test_recordings_play_until_the_models_are_loaded(make_app: MakeApp) -> None:
    """First start: something true to see at once, named as another machine's, replaced by the live run."""
    app = make_app("--intro", fake=("--load-seconds", "3", "--speed", "20"))
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: len(live(pilot).query_one("#sd", RunPane).view.pieces) > 3)
        assert live(pilot).controller.live.phase is Phase.LOADING
        assert "Recording" in source_line(pilot)
        assert "here: " in source_line(pilot)
        await wait_for(pilot, lambda: live(pilot).controller.playback is None)
        assert live(pilot).session is live(pilot).controller.live
        await at_end(pilot)
        assert source_line(pilot) == ""
        assert live(pilot).query_one("#sd", RunPane).view.has_focus


async def test_a_failed_load_ends_the_recordings(make_app: MakeApp) -> None:
    """The reason is not hidden behind a recording."""
    app = make_app("--intro", "--target", "missing")
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: live(pilot).session.phase is Phase.FAILED)
        await pilot.pause()
        assert live(pilot).controller.playback is None
        assert "There is no model at missing" in live(pilot).session.error


async def test_a_broken_bundled_recording_is_left_out(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged installation starts all the same."""
    monkeypatch.setattr(recordings, "bundled", lambda: [Path("/nowhere.jsonl")])
    async with make_app("--intro").run_test(size=(80, 24)) as pilot:
        await at_end(pilot)
        assert live(pilot).controller.playback is None


def test_a_cut_recording_plays_what_there_is(tmp_path: Path) -> None:
    """A crash report shows the run up to the crash, and says that the end is missing."""
    path = tmp_path / "cut.jsonl"
    whole = RECORDING.read_bytes()
    path.write_bytes(whole[: len(whole) * 3 // 4])
    playback = Playback(read_recording(path), Settings())
    assert playback.session.phase is Phase.PLAYING
    assert playback.session.recording.tracks["sd"].num_steps > 1
    assert "cut short" in playback.remark("")


async def test_every_run_is_recorded_by_itself(make_app: MakeApp) -> None:
    """Two runs, two files, with the settings of each; no key needed."""
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await at_end(pilot)
        await pilot.press("right_square_bracket")
        await wait_for(pilot, lambda: len(list(places.recordings().glob("*.jsonl"))) == 2)
        await at_end(pilot)
    gammas = [read_recording(path).header.run.gamma for path in sorted(places.recordings().glob("*.jsonl"))]
    assert gammas == [4, 5]
