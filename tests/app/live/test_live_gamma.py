"""Whoever chooses no gamma gets the one that a kept sweep of the pair found to be the fastest here, and is told so."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from fastdraft_app.live.session import Phase
from fastdraft_app.settings.screen import SettingsScreen
from fastdraft_app.widgets.line import TextLine
from fastdraft_core.results import store
from tests.app.conftest import MakeApp
from tests.app.helpers import RECORDING, live, wait_for
from tests.app.sweeps import swept
from tests.bench.points import measured

SWEEP = "20260102-030405-demo"
WORDS = f"gamma 6, the fastest of the kept sweep {SWEEP} (1.80x, measured)"


@pytest.fixture
def _kept_sweep() -> None:
    """Of demo:S gamma 6 is the fastest, of demo:M gamma 2; nothing was measured above T 0.3."""
    warm = [measured("demo:S", gamma, "code", 1.5 - gamma / 10, temperature=0.3) for gamma in (2, 4)]
    greedy = [measured("demo:S", gamma, "code", 1.2 + gamma / 10) for gamma in (2, 4, 6)]
    swept(SWEEP, *greedy, *warm, measured("demo:M", 2, "code", 1.4))


pytestmark = pytest.mark.usefixtures("_kept_sweep")


async def ran(pilot: Pilot[None], gamma: int, temperature: float = 0.0) -> None:
    """Wait until a comparison with this gamma and temperature is shown to its end."""

    def shown() -> bool:
        track = live(pilot).session.track("sd")
        started = track.started if track is not None else None
        done = live(pilot).session.phase is Phase.DONE
        return done and started is not None and (started.gamma, started.temperature) == (gamma, temperature)

    await wait_for(pilot, shown)


def told(pilot: Pilot[None]) -> list[str]:
    """What was said of gamma so far."""
    return [note.message for note in pilot.app._notifications if note.message.startswith("gamma")]


async def test_the_first_run_takes_it_and_says_so_once(make_app: MakeApp) -> None:
    """Screen, settings and run agree on it; it is not remembered as a choice, and another load does not say it again."""
    app = make_app()
    async with app.run_test(size=(120, 36)) as pilot:
        await ran(pilot, 6)
        assert "γ 6" in live(pilot).query_one("#setup", TextLine).text
        assert app.preferences.current.gamma == 6
        before = live(pilot).session.recording
        await pilot.press("o")
        await wait_for(pilot, lambda: live(pilot).session.recording is not before)
        await ran(pilot, 6)
        assert told(pilot) == [WORDS]
    assert make_app().preferences.current.gamma == 4


async def test_a_chosen_gamma_stays(make_app: MakeApp) -> None:
    """By flag it holds for the session; by key also for the next one, and the usual 4 is a choice, too."""
    async with make_app("--gamma", "3").run_test(size=(80, 24)) as pilot:
        await ran(pilot, 3)
        assert told(pilot) == []
    async with make_app().run_test(size=(80, 24)) as pilot:
        await ran(pilot, 6)
        await pilot.press("left_square_bracket", "left_square_bracket")
        await ran(pilot, 4)
        before = live(pilot).session.recording
        await pilot.press("greater_than_sign")
        await wait_for(pilot, lambda: live(pilot).session.recording is not before)
        await ran(pilot, 4)
        await pilot.press("less_than_sign")
    async with make_app().run_test(size=(80, 24)) as pilot:
        await ran(pilot, 4)
        assert told(pilot) == []


async def test_it_follows_pair_and_temperature(make_app: MakeApp) -> None:
    """Another draft or temperature was measured with another best gamma; where none was measured it is the usual one."""
    async with make_app().run_test(size=(80, 24)) as pilot:
        await ran(pilot, 6)
        await pilot.press("equals_sign")
        await ran(pilot, 2, 0.3)
        await pilot.press("equals_sign")
        await ran(pilot, 4, 0.6)
        assert told(pilot)[-1].startswith("gamma 4, the usual one")
        await pilot.press("minus", "minus")
        await ran(pilot, 6)
        await pilot.press("greater_than_sign")
        await ran(pilot, 2)
        assert "1.40x" in told(pilot)[-1]


async def test_models_named_from_here_are_known(
    make_app: MakeApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep keeps the whole paths of folders; a path that starts where one is means the same models."""
    target, draft = str(tmp_path / "target"), str(tmp_path / "draft")
    for folder in (target, draft):
        Path(folder).mkdir()
    swept("20260103-030405-mine", measured(draft, 2, "code", 1.5), target=target, drafts=[draft])
    monkeypatch.chdir(tmp_path)
    async with make_app("--target", "./target", "--draft", "draft").run_test(size=(80, 24)) as pilot:
        await ran(pilot, 2)


async def test_a_choice_is_forgotten_with_the_defaults(make_app: MakeApp) -> None:
    """F9 sets everything back, so gamma is the measured one again once the settings are closed."""
    make_app().preferences.change({"gamma": 9})
    app = make_app()
    async with app.run_test(size=(100, 40)) as pilot:
        await ran(pilot, 9)
        await pilot.press("f2")
        await wait_for(pilot, lambda: isinstance(app.screen, SettingsScreen))
        await pilot.press("f9")
        await wait_for(pilot, lambda: app.preferences.current.gamma == 4)
        await pilot.press("escape")
        await wait_for(pilot, lambda: live(pilot).controller.settings.gamma == 6)


async def test_it_waits_while_the_settings_are_open(make_app: MakeApp) -> None:
    """A row of the settings never shows another gamma than the one in force."""
    app = make_app()
    async with app.run_test(size=(100, 40)) as pilot:
        await ran(pilot, 6)
        await pilot.press("f2")
        await wait_for(pilot, lambda: isinstance(app.screen, SettingsScreen))
        temperature = app.screen.query_one("#set-temperature", Input)
        temperature.focus()
        temperature.value = "0.3"
        await pilot.press("enter")
        await ran(pilot, 6, 0.3)
        assert app.screen.query_one("#set-gamma", Input).value == "6"
        assert app.preferences.current.gamma == 6
        await pilot.press("escape")
        await ran(pilot, 2, 0.3)
        assert app.preferences.current.gamma == 2


async def test_a_recording_brings_its_own(make_app: MakeApp) -> None:
    """Decoding on this machine what a recording shows means with its gamma."""
    async with make_app("--replay", str(RECORDING)).run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: live(pilot).session.phase is Phase.DONE)
        await pilot.press("r")
        await wait_for(pilot, lambda: live(pilot).controller.playback is None)
        await ran(pilot, 4)
        assert told(pilot) == []


async def test_sweeps_are_read_beside_the_screen(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first picture and the keys do not wait for the disk."""
    in_the_way: list[bool] = []
    read = store.read

    def watched(name: str) -> store.Result:
        in_the_way.append(threading.current_thread() is threading.main_thread())
        return read(name)

    monkeypatch.setattr("fastdraft_core.results.advice.read", watched)
    async with make_app().run_test(size=(80, 24)) as pilot:
        await ran(pilot, 6)
    assert in_the_way
    assert not any(in_the_way)
