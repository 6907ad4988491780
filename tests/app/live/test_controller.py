"""The live session without a screen: the engine, quick changes, recordings, sweeps, the calibrated gamma."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from fastdraft_app.client.engine import EngineClient
from fastdraft_app.live.controller import BUSY_RATE, WAITING, LiveController
from fastdraft_app.live.session import REPLAY, Phase
from fastdraft_core import places
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Cancel, Load, Run
from fastdraft_core.history import read_history
from fastdraft_core.recordings import read_recording
from tests.app.helpers import RECORDING, SLOW
from tests.app.sweeps import swept
from tests.bench.points import measured

from .bench import FAST, MakeBench, begun


async def test_from_start_to_end(make_bench: MakeBench) -> None:
    """The pair is loaded and run without being asked; the clock sleeps when all has been shown."""
    bench = await begun(make_bench("--load-seconds", "0.2", *FAST))
    controller = bench.controller
    assert controller.session.phase is Phase.LOADING
    assert controller.timed == "models are being loaded"
    assert controller.pace == BUSY_RATE
    await bench.at(Phase.PLAYING)
    assert controller.pace == controller.settings.fps
    assert controller.timed == ""
    await bench.at(Phase.DONE)
    assert controller.pace == 0
    assert set(controller.session.recording.tracks) == {"ar", "sd"}
    assert [type(command) for command in bench.engine.sent] == [Load, Run]
    assert controller.shown_settings.prompt == controller.presets[0].text


async def test_several_quick_changes_are_one_run(make_bench: MakeBench) -> None:
    """Each is remembered at once; the run waits for the last of them."""
    bench = await begun(make_bench())
    await bench.at(Phase.DONE)
    for gamma in (5, 6, 7):
        bench.change(gamma=gamma)
    bench.change(temperature=0.3)
    assert bench.view.remembered == [{"gamma": 5}, {"gamma": 6}, {"gamma": 7}, {"temperature": 0.3}]
    await bench.until(lambda: bench.controller.session.recording.tracks["ar"].started.gamma == 7)
    await bench.at(Phase.DONE)
    runs = [command for command in bench.engine.sent if isinstance(command, Run)]
    assert [(run.gamma, run.temperature) for run in runs] == [(4, 0.0), (7, 0.3)]
    assert len(bench.engine.commands(Load)) == 1


async def test_a_change_of_the_pair_loads_it_once(make_bench: MakeBench) -> None:
    """Going through drafts loads the one that is left; what was chosen with it is run."""
    bench = await begun(make_bench())
    await bench.at(Phase.DONE)
    drafts = bench.controller.drafts()
    assert drafts[-1] == "off"
    for draft in drafts:
        bench.change(draft=draft)
    bench.change(gamma=2)
    await bench.until(lambda: bench.controller.session.pair is not None and not bench.controller.session.speculating)
    await bench.at(Phase.DONE)
    loads = [command for command in bench.engine.sent if isinstance(command, Load)]
    assert [load.draft for load in loads] == ["demo:S", ""]
    assert [run.gamma for run in bench.engine.sent if isinstance(run, Run)] == [4, 2]


async def test_a_change_calls_the_run_in_progress_off(make_bench: MakeBench) -> None:
    """What was decoded stays until the next run; a change elsewhere does the same; what no run needs does not."""
    bench = await begun(make_bench(*SLOW))
    await bench.until(lambda: bench.controller.session.recording.tracks)
    assert bench.controller.timed == "a live run is being timed"
    bench.controller.follow({"fps": 10.0})
    assert bench.controller.session.phase is Phase.TIMING
    bench.controller.follow({"gamma": 3})
    assert bench.controller.session.phase is Phase.CANCELLED
    assert bench.controller.session.recording.tracks
    assert bench.view.remembered == [], "who changed it elsewhere has remembered it"
    await bench.until(lambda: len(bench.engine.commands(Run)) == 2)
    assert [type(command) for command in bench.engine.sent] == [Load, Run, Cancel, Run]


async def test_a_prompt_runs_again_and_is_remembered(make_bench: MakeBench) -> None:
    """A prompt is run also where it is the same; one of the user's own is offered later, a preset is not."""
    bench = await begun(make_bench())
    await bench.at(Phase.DONE)
    own = replace(bench.controller.settings, prompt="mine")
    for times in (2, 3):
        bench.controller.change(own, at_once=True)
        bench.controller.remember_prompt()
        await bench.until(lambda times=times: len(bench.engine.commands(Run)) == times)
    assert bench.view.remembered == [{"prompt": "mine"}]
    assert read_history(places.history()).prompts == ["mine"]


async def test_run_pause_cancel(make_bench: MakeBench) -> None:
    """One key for what is next in each phase; the time that the replay stood still is not played."""
    bench = await begun(make_bench(length=500))
    controller = bench.controller
    await bench.at(Phase.PLAYING)
    controller.run_or_pause()
    held = controller.session.player.position
    controller.tick()
    await asyncio.sleep(0.05)
    controller.run_or_pause()
    controller.tick()
    assert controller.session.phase is Phase.PLAYING
    assert controller.session.player.position < held + 0.05
    controller.session.player.position = controller.session.player.seconds
    await bench.at(Phase.DONE)
    controller.run_or_pause()
    assert controller.session.phase is Phase.PLAYING
    await controller.restart()
    assert controller.session.phase is Phase.TIMING
    await controller.cancel()
    assert controller.session.phase is Phase.CANCELLED
    controller.run_or_pause()
    await bench.at(*REPLAY)


async def test_loading_is_called_off_at_once(make_bench: MakeBench) -> None:
    """Whatever the library is at, the engine is gone; r loads again, and a run in between says what to press."""
    bench = await begun(make_bench("--load-seconds", "600"))
    controller = bench.controller
    await controller.cancel()
    assert controller.session.phase is Phase.CANCELLED
    assert not bench.engine.running
    controller.tick()
    controller.run_or_pause()
    assert bench.view.told == ["No models are loaded. Press r to load them."]
    await controller.restart()
    assert controller.session.phase is Phase.LOADING


async def test_what_needs_a_run_says_so(make_bench: MakeBench) -> None:
    """Nothing of it can be done at first, and all of it at the end."""
    bench = await begun(make_bench(*SLOW))
    assert all(bench.controller.hindrance(action) for action in WAITING)
    await bench.until(lambda: bench.controller.session.recording.tracks)
    assert "timed at its true speed first" in bench.controller.hindrance("slow")
    assert bench.controller.hindrance("copy") == ""
    await bench.controller.cancel()
    bench = await begun(make_bench("--chat", *FAST))
    await bench.at(Phase.DONE)
    assert not any(bench.controller.hindrance(action) for action in WAITING)


async def test_a_recording_needs_no_engine(make_bench: MakeBench) -> None:
    """Keys that ask for another run say what to press; r decodes here what the recording shows."""
    bench = make_bench(replay=RECORDING)
    controller = bench.controller
    assert not controller.open()
    await bench.at(Phase.DONE)
    bench.change(gamma=9)
    assert bench.view.told == ["This is a recording. Press r to decode on this machine first."]
    assert bench.view.remembered == []
    assert not bench.engine.running
    controller.follow({"gamma": 6})
    assert controller.playback is not None
    assert controller.shown_settings.gamma == 4
    await controller.restart()
    assert controller.playback is None
    await bench.at(Phase.DONE)
    started = controller.session.recording.tracks["ar"].started
    assert (started.prompt, started.gamma) == (read_recording(RECORDING).header.run.prompt, 6)


async def test_a_recording_in_place_of_a_run(make_bench: MakeBench, tmp_path: Path) -> None:
    """It calls the run off; leaving it brings the own run back; a file that is none changes nothing."""
    bench = await begun(make_bench(*SLOW))
    controller = bench.controller
    await bench.until(lambda: controller.live.recording.tracks)
    foreign = tmp_path / "foreign.jsonl"
    foreign.write_text("hello\n")
    with pytest.raises(FastdraftError, match="is no recording of fastdraft"):
        controller.play(foreign)
    assert controller.session is controller.live
    controller.play(RECORDING)
    assert bench.engine.commands(Cancel)
    assert controller.session is not controller.live
    assert controller.shown_recording is not None
    assert controller.shown_recording.header == read_recording(RECORDING).header
    await controller.cancel()
    assert controller.session is controller.live
    assert controller.live.phase is Phase.CANCELLED


async def test_recordings_fill_the_time_of_loading(make_bench: MakeBench) -> None:
    """The first picture moves, more slowly than a run that is looked at, and gives way to the run."""
    bench = await begun(make_bench("--load-seconds", "1", *FAST, intro=True))
    controller = bench.controller
    assert controller.playback is not None
    assert controller.playback.intro
    assert BUSY_RATE < controller.pace < controller.settings.fps
    await bench.until(lambda: controller.playback is None)
    await bench.at(Phase.DONE)
    assert controller.live.recording.tracks["ar"].started.prompt == controller.presets[0].text


async def test_one_recording_follows_the_other(make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large model takes minutes to load: the three recordings go round."""
    monkeypatch.setattr("fastdraft_app.live.playback.PAUSE_SECONDS", 0.01)
    bench = await begun(make_bench("--load-seconds", "600", intro=True))
    seen = []
    for _ in range(4):
        playback = bench.controller.playback
        assert playback is not None
        seen.append(playback.recorded.header)
        playback.session.player.position = playback.session.player.seconds
        # At most one recording ends at a tick.
        await bench.until(lambda shown=playback: bench.controller.playback is not shown)
    assert seen[0] == seen[3]
    assert len({header.run.prompt for header in seen}) == 3


async def test_a_sweep_has_the_machine_for_itself(make_bench: MakeBench) -> None:
    """The engine ends and comes back; meanwhile r says who is in the way, and a recording is drawn rarely."""
    bench = await begun(make_bench(*SLOW))
    controller = bench.controller
    await bench.until(lambda: controller.live.recording.tracks)
    bench.sweeping = True
    assert await controller.rest()
    assert not bench.engine.running
    assert controller.timed == "a sweep is being timed"
    await controller.restart()
    assert bench.view.told == ["A sweep is being timed. Press 2 for it; x stops it."]
    assert not bench.engine.running
    controller.play(RECORDING)
    assert controller.pace == BUSY_RATE
    assert not controller.rested
    bench.sweeping = False
    assert controller.rested
    await controller.start()
    assert bench.engine.running
    assert not controller.rested


async def test_an_engine_that_does_not_start_is_one_sentence(make_bench: MakeBench, tmp_path: Path) -> None:
    """The reason, and what to press."""
    bench = make_bench()
    engine = EngineClient(tmp_path / "engine.log", ["/nowhere/engine"])
    controller = LiveController(engine, bench.preferences, bench.view)
    assert controller.open()
    await controller.start()
    assert controller.session.phase is Phase.FAILED
    assert "The engine could not be started" in controller.session.error
    assert controller.session.error.endswith("Press r to try again.")


# --- the calibrated gamma ---------------------------------------------------------------------------------

SWEEP = "20260102-030405-demo"


def keep_sweep() -> None:
    """Of demo:S gamma 6 is the fastest, of demo:M gamma 2."""
    points = [measured("demo:S", gamma, "code", 1.2 + gamma / 10) for gamma in (2, 4, 6)]
    swept(SWEEP, *points, measured("demo:M", 2, "code", 1.4))


async def test_the_fastest_gamma_of_a_kept_sweep(make_bench: MakeBench) -> None:
    """It is used, said once, and remembered by nobody."""
    keep_sweep()
    bench = await begun(make_bench())
    controller = bench.controller
    await bench.until(lambda: controller.settings.gamma == 6)
    await bench.until(lambda: "sd" in controller.live.recording.tracks and controller.live.phase is Phase.DONE)
    assert controller.live.recording.tracks["sd"].started.gamma == 6
    assert bench.view.told == [f"gamma 6, the fastest of the kept sweep {SWEEP} (1.80x, measured)"]
    assert bench.preferences.current.gamma == 6
    assert bench.view.remembered == []
    assert not bench.preferences.path.exists()


async def test_advice_waits_under_a_dialog(make_bench: MakeBench) -> None:
    """Until the session is in front again the gamma is the one that every row of the settings shows."""
    keep_sweep()
    bench = make_bench()
    bench.view.in_front = False
    await begun(bench)
    await bench.at(Phase.DONE)
    assert bench.controller.settings.gamma == 4
    assert bench.view.told == []
    bench.view.in_front = True
    await bench.until(lambda: bench.controller.settings.gamma == 6)


async def test_advice_for_another_question_is_dropped(make_bench: MakeBench) -> None:
    """While the answer waited, another draft was chosen; the last question is the one that is answered."""
    keep_sweep()
    bench = make_bench()
    bench.view.in_front = False
    await begun(bench)
    await bench.at(Phase.DONE)
    bench.change(draft="demo:M")
    bench.view.in_front = True
    await bench.until(lambda: bench.controller.settings.gamma != 4)
    assert bench.controller.settings.gamma == 2
    assert bench.view.told == [f"gamma 2, the fastest of the kept sweep {SWEEP} (1.40x, measured)"]


async def test_a_chosen_gamma_gets_no_advice(make_bench: MakeBench) -> None:
    """By flag or with a recording, it is somebody's choice."""
    keep_sweep()
    bench = await begun(make_bench(gamma=3))
    await bench.at(Phase.DONE)
    assert bench.controller.settings.gamma == 3
    bench = make_bench(replay=RECORDING)
    await bench.controller.restart()
    await bench.at(Phase.DONE)
    assert bench.controller.settings.gamma == 4
    assert bench.view.told == []
