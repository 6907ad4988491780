"""The system screen: everything that `fastdraft doctor` tells, what the machine does now, and when not to ask."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import OptionList, Static

from fastdraft_app import navigation
from fastdraft_app.app import FastdraftApp
from fastdraft_app.client import command
from fastdraft_app.client.meters import Meters
from fastdraft_app.dialogs.formats import ExportScreen
from fastdraft_app.dialogs.help import HelpScreen
from fastdraft_app.live.session import Phase
from fastdraft_app.system.machine import Reading
from fastdraft_app.system.screen import SystemScreen
from fastdraft_app.widgets.banner import Banner
from fastdraft_app.widgets.figure_rows import FigureRows
from fastdraft_app.widgets.line import TextLine
from fastdraft_core import places
from fastdraft_core.events import Check
from fastdraft_core.jobs.processes import this_process
from fastdraft_core.jobs.record import Process
from tests.app.conftest import MakeApp
from tests.app.doctors import ABSENT, BROKEN, CPU, FINE, TWIN, StandIn
from tests.app.helpers import RECORDING, SLOW, gone, live, wait_for
from tests.app.job_folders import job

REAL = command.COMMAND


@pytest.fixture(autouse=True)
def doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """In place of the real one."""
    stand_in = StandIn(tmp_path / "doctor")
    monkeypatch.setenv("DOCTOR", str(stand_in.folder))
    monkeypatch.setattr(command, "COMMAND", (sys.executable, "-c", TWIN))
    return stand_in


@pytest.fixture
def app(make_app: MakeApp) -> FastdraftApp:
    """An app whose live screen shows a recording."""
    return make_app("--replay", str(RECORDING))


async def open_system(pilot: Pilot[None], found: int = 0) -> SystemScreen:
    """Press 7 and wait for so many checks."""
    await pilot.press("7")
    await wait_for(pilot, lambda: isinstance(pilot.app.screen, SystemScreen))
    screen = pilot.app.screen
    assert isinstance(screen, SystemScreen)
    await wait_for(pilot, lambda: len(screen.checks) == found)
    await pilot.pause()
    return screen


def title(screen: SystemScreen) -> str:
    """The line on top."""
    return screen.query_one("#title", TextLine).text


def rows(screen: SystemScreen) -> list[str]:
    """What the list says, the names of groups included."""
    return [str(option.prompt) for option in screen.query_one("#checks", OptionList).options]


def words(screen: SystemScreen) -> str:
    """What is said of the highlighted check."""
    return str(screen.query_one("#words", Static).render())


def meters(screen: SystemScreen) -> str:
    """What the machine does now."""
    return screen.query_one("#meters", FigureRows).text


# --- the checks --------------------------------------------------------------------------------------


async def test_checks_appear_as_they_come(app: FastdraftApp, doctor: StandIn) -> None:
    """The versions stand there while torch is still being loaded for the devices; groups have their names."""
    doctor.says([FINE, ABSENT, "WAIT", CPU])
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_system(pilot, 2)
        assert rows(screen)[0] == "versions"
        assert "✓ fastdraft" in rows(screen)[1]
        assert "! openvino" in rows(screen)[2]
        assert "2 found so far" in title(screen)
        doctor.go()
        await wait_for(pilot, lambda: "1 warning in 3 checks" in title(screen))
        assert [arguments for _, arguments in doctor.calls] == ["doctor --json"]


async def test_the_gravest_is_highlighted_with_its_advice(app: FastdraftApp, doctor: StandIn) -> None:
    """One sees at once what to do; failures and warnings are counted."""
    doctor.says([FINE, ABSENT, BROKEN, CPU])
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_system(pilot, 4)
        await wait_for(pilot, lambda: "1 failure 1 warning in 4 checks" in title(screen))
        await wait_for(pilot, lambda: BROKEN.advice in words(screen))
        assert "✗ broken" in words(screen)
        await pilot.press("k")
        await wait_for(pilot, lambda: ABSENT.advice in words(screen))


async def test_what_was_highlighted_by_hand_stays(app: FastdraftApp, doctor: StandIn) -> None:
    """Later checks do not take the cursor away, nor does the end."""
    doctor.says([FINE, ABSENT, "WAIT", BROKEN])
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_system(pilot, 2)
        await pilot.press("j")
        assert screen.chosen == ABSENT
        doctor.go()
        await wait_for(pilot, lambda: "in 3 checks" in title(screen))
        await pilot.pause()
        assert screen.chosen == ABSENT


async def test_r_checks_again_and_nothing_vanishes_meanwhile(app: FastdraftApp, doctor: StandIn) -> None:
    """What was found before stays until it is found again; what is not found again is gone at the end."""
    doctor.says([FINE, ABSENT, BROKEN])
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_system(pilot, 3)
        await wait_for(pilot, lambda: "just now" in title(screen))
        now_there = Check(name=ABSENT.name, value="2026.4", group=ABSENT.group)
        doctor.says([FINE, now_there, "WAIT", CPU])
        await pilot.press("r")
        await wait_for(pilot, lambda: now_there in screen.checks)
        assert BROKEN in screen.checks
        await pilot.press("r")
        assert len(doctor.calls) == 2, "they are under way"
        doctor.go()
        await wait_for(pilot, lambda: "all 3 checks are fine" in title(screen))
        assert screen.checks == [FINE, now_there, CPU]


async def test_checks_that_break_off_say_why(app: FastdraftApp, doctor: StandIn) -> None:
    """The sentence of the process, what to press, where the log is; what came stays, and r has another try."""
    doctor.says([FINE, "END fastdraft: unexpected OSError: the disk is gone."], whole=False)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_system(pilot, 1)
        banner = screen.query_one(Banner)
        await wait_for(pilot, lambda: "the disk is gone. Press r to run them again." in banner.text)
        assert str(places.log_file("fastdraft")) in banner.text
        assert title(screen).strip() == "System"
        doctor.says([FINE])
        await pilot.press("r")
        await wait_for(pilot, lambda: "all 1 checks are fine" in title(screen))
        assert not banner.text


async def test_a_doctor_that_cannot_be_started(app: FastdraftApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing to show is no blank page."""
    monkeypatch.setattr(command, "COMMAND", ("/nowhere/python",))
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_system(pilot)
        await wait_for(pilot, lambda: "could not be started" in screen.query_one(Banner).text)
        assert "Press r" in rows(screen)[0]
        await pilot.press("y", "e")
        await pilot.pause()
        assert app.screen is screen


async def test_the_real_doctor(app: FastdraftApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every group of the real thing comes through, the measured memory last."""
    monkeypatch.setattr(command, "COMMAND", REAL)
    async with app.run_test(size=(160, 48)) as pilot:
        await pilot.press("7")
        await wait_for(pilot, lambda: isinstance(app.screen, SystemScreen))
        screen = app.screen
        assert isinstance(screen, SystemScreen)
        await wait_for(pilot, lambda: "just now" in title(screen), 300)
        groups = list(dict.fromkeys(check.group for check in screen.checks))
        assert groups[0] == "versions"
        assert groups[-1] == "memory bandwidth"
        assert {"devices", "folders", "logs", "bundled pair", "processor and memory"} <= set(groups)
        assert any(str(places.log_file("engine")) in check.value for check in screen.checks)


# --- not while something is timed --------------------------------------------------------------------


async def test_no_checks_while_a_sweep_is_timed(app: FastdraftApp, doctor: StandIn) -> None:
    """Loading torch and measuring the memory would disturb it; they begin by themselves when it has ended."""
    app.sweeper._starting = True
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_system(pilot)
        await wait_for(pilot, lambda: "a sweep is being timed" in title(screen))
        assert "The checks wait" in rows(screen)[0]
        await wait_for(pilot, lambda: "not be comparable: a sweep is being timed" in meters(screen))
        await pilot.press("r")
        await wait_for(pilot, lambda: any("would disturb" in told.message for told in app._notifications))
        assert not doctor.calls
        app.sweeper._starting = False
        await wait_for(pilot, lambda: "all 1 checks are fine" in title(screen))


async def test_no_checks_while_a_live_run_is_timed(make_app: MakeApp, doctor: StandIn) -> None:
    """The same for the runs of the live screen."""
    app = make_app(fake=SLOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: live(pilot).controller.live.phase is Phase.TIMING)
        screen = await open_system(pilot)
        await wait_for(pilot, lambda: "a live run is being timed" in title(screen))
        assert not doctor.calls


async def test_the_end_of_a_live_run_is_noticed_from_here(make_app: MakeApp) -> None:
    """The live screen takes no messages while it is not shown; the checks need not wait until it is."""
    app = make_app(fake=("--speed", "2"))
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: live(pilot).controller.live.phase is Phase.TIMING)
        screen = await open_system(pilot, 1)
        await wait_for(pilot, lambda: "all 1 checks are fine" in title(screen))
        assert screen._engine.running


async def test_leaving_ends_the_checks_and_coming_back_begins_them(app: FastdraftApp, doctor: StandIn) -> None:
    """On another screen something may be timed next. Help over this one changes nothing."""
    doctor.says([FINE, "WAIT", CPU])
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_system(pilot, 1)
        await pilot.press("f1")
        await wait_for(pilot, lambda: isinstance(app.screen, HelpScreen))
        await pilot.press("escape")
        await wait_for(pilot, lambda: app.screen is screen)
        (first,) = doctor.calls
        await pilot.press("1")
        assert await gone(first[0])
        doctor.go()
        await pilot.press("7")
        await wait_for(pilot, lambda: "all 2 checks are fine" in title(screen))
        assert len(doctor.calls) == 2


async def test_quitting_ends_the_checks(app: FastdraftApp, doctor: StandIn) -> None:
    """No process stays behind."""
    doctor.says([FINE, "WAIT", CPU])
    async with app.run_test(size=(80, 24)) as pilot:
        await open_system(pilot, 1)
        await pilot.press("q")
    assert await gone(doctor.calls[0][0])


# --- what the machine does now -----------------------------------------------------------------------


async def test_meters_tell_of_this_machine(app: FastdraftApp) -> None:
    """Cores, memory and disk are measured here; no engine runs beside a recording."""
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_system(pilot, 1)
        await wait_for(pilot, lambda: "cores busy" in meters(screen))
        assert "used" in meters(screen)
        assert "free" in meters(screen)
        assert "none runs" in meters(screen)


async def test_a_job_that_runs_makes_measurements_incomparable(app: FastdraftApp) -> None:
    """And it is named; a paused one disturbs nothing."""
    job("busy-one", "running", 30, process=this_process())
    job("asleep", "paused", 30)
    job("far", "running", 30, process=Process(1, "another-boot 1.00", "node2", "another machine"))
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_system(pilot, 1)
        await wait_for(pilot, lambda: "would not be comparable: job busy-one is running" in meters(screen))


async def test_the_engine_is_measured(make_app: MakeApp) -> None:
    """Its resident memory, as on the live screen."""
    async with make_app().run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: live(pilot).controller.live.phase is Phase.PLAYING)
        screen = await open_system(pilot, 1)
        await wait_for(pilot, lambda: "MB resident" in meters(screen))


async def test_nothing_is_asked_while_another_screen_is_shown(
    app: FastdraftApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One clock, which stands still then."""
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_system(pilot, 1)
        await wait_for(pilot, lambda: "cores busy" in meters(screen))
        await pilot.press("1")
        await wait_for(pilot, lambda: not screen.is_current)
        assert screen._clock is not None
        assert not screen._clock._active.is_set()
        await pilot.press("7")
        await wait_for(pilot, lambda: screen._clock is not None and screen._clock._active.is_set())


# --- keys --------------------------------------------------------------------------------------------


async def test_7_leads_here_from_every_screen(app: FastdraftApp) -> None:
    """And the other numbers lead away."""
    async with app.run_test(size=(80, 24)) as pilot:
        for place in navigation.DESTINATIONS:
            await pilot.press(place.key)
            await wait_for(pilot, lambda place=place: app.current_mode == place.mode)  # type: ignore[misc]
            await pilot.press("7")
            await wait_for(pilot, lambda: isinstance(app.screen, SystemScreen))


async def test_the_report_is_copied_as_text(app: FastdraftApp, doctor: StandIn) -> None:
    """For a mail or an issue: groups, marks in words, advice."""
    doctor.says([FINE, ABSENT, BROKEN])
    async with app.run_test(size=(80, 24)) as pilot:
        await open_system(pilot, 3)
        await pilot.press("y")
        await wait_for(pilot, lambda: any("Copied the report" in told.message for told in app._notifications))
        text = (places.log_file("app").parent / "copied.txt").read_text()
        assert text.splitlines()[:2] == ["--- versions", "ok    fastdraft     1.0"]
        assert "WARN  openvino" in text
        assert "FAIL  bundled pair" in text
        assert ABSENT.advice in text
        assert app.clipboard == text


async def test_the_report_is_exported(app: FastdraftApp, doctor: StandIn) -> None:
    """As text, and as the very JSON of the command."""
    doctor.says([FINE, BROKEN])
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_system(pilot, 2)
        for downs in (0, 1):
            await pilot.press("e")
            await wait_for(pilot, lambda: isinstance(app.screen, ExportScreen))
            await pilot.press(*["down"] * downs, "enter")
            await wait_for(pilot, lambda: app.screen is screen)
            await pilot.pause()
    (text,) = places.exports().glob("system-*.txt")
    (exported,) = places.exports().glob("system-*.json")
    assert BROKEN.advice in text.read_text()
    assert exported.read_text().strip() == (doctor.folder / "says").read_text()
    assert [check["name"] for check in json.loads(exported.read_text())] == ["fastdraft", "bundled pair"]


# --- pictures ----------------------------------------------------------------------------------------

READING = Reading(
    cores=(0.12, 0.93, 0.4, 0.02), history=[0.05 + 0.9 * abs(40 - n) / 40 * (n % 17) / 17 for n in range(75)] + [0.05] * 5, memory_total=32 << 30,
    memory_available=19 << 30, disk_total=400 << 30, disk_free=120 << 30, engine=612 << 20, engine_cores=0.4,
)  # fmt: skip
REPORT = [
    Check(name="fastdraft", value="0.1.0", group="versions"),
    Check(name="python", value="3.12.3 on Linux-6.8.0-45-generic-x86_64-with-glibc2.39", group="versions"),
    Check(name="torch", value="2.13.0+cpu", group="versions"),
    Check(name="transformers", value="5.5.1", group="versions"),
    ABSENT,
    Check(name="tokenizers", value="0.22.1", group="versions"),
    Check(name="cpu", value="A Processor With a Long Name @ 2.60GHz", group="processor and memory"),
    Check(name="cores", value="2 physical, 4 logical, 2 threads used", group="processor and memory"),
    Check(name="last-level cache", value="32 MiB", group="processor and memory"),
    Check(name="memory", value="19.0 GiB available of 32.0 GiB", group="processor and memory"),
    Check(name="bf16", value="native; the CPU runs bfloat16", group="processor and memory"),
    Check(name="cache", value="/home/user/.cache/fastdraft (1.2 GiB)", group="folders"),
    Check(name="jobs", value="/home/user/.local/share/fastdraft/jobs (61.0 MiB)", group="folders"),
    Check(name="settings", value="/home/user/.config/fastdraft (0.0 MiB)", group="folders"),
    Check(name="Hugging Face cache", value="/home/user/.cache/huggingface/hub (15.3 GiB)", group="folders"),
    Check(name="disk", value="120.0 GiB free", group="folders"),
    Check(name="log of the app", value="/home/user/.local/state/fastdraft/app.log (0.1 MiB)", group="logs"),
    Check(name="log of the engine", value="/home/user/.local/state/fastdraft/engine.log (0.3 MiB)", group="logs"),
    Check(name="log of sweeps", value="/home/user/.local/state/fastdraft/sweep.log (not written yet)", group="logs"),
    BROKEN,
    CPU,
    Check(name="memory bandwidth, all threads", value="21.3 GB/s (2 threads, measured 2026-01-02)", status="warn",
          advice="The machine was 34% busy: a lower bound. Run doctor again when it is idle.", group="memory bandwidth"),
    Check(name="memory bandwidth, one thread", value="12.1 GB/s (1 threads, measured 2026-01-02)", group="memory bandwidth"),
]  # fmt: skip


@pytest.mark.parametrize("size", [(60, 16), (80, 24), (160, 48)], ids=["60x16", "80x24", "160x48"])
@pytest.mark.parametrize("what", ["report", "fine", "waiting", "broken-off", "no-colour", "ascii"])
def test_pictures(
    snap_compare: Any,
    make_app: MakeApp,
    doctor: StandIn,
    monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, int],
    what: str,
) -> None:
    """The screen as it looks."""
    monkeypatch.setattr(Meters, "read", lambda self, engine: READING)
    monkeypatch.setattr(places, "log_file", lambda program: Path(f"{program}.log"))
    doctor.says(REPORT)
    if what == "broken-off":
        doctor.says([*REPORT[:8], "END fastdraft: unexpected OSError: the disk is gone."], whole=False)
    elif what == "fine":
        doctor.says([check for check in REPORT if check.status == "ok"])
    elif what == "no-colour":
        monkeypatch.setenv("NO_COLOR", "1")
    looks = {"ascii": ("--theme", "16", "--ascii"), "fine": ("--theme", "light")}
    app = make_app("--replay", str(RECORDING), *looks.get(what, ("--theme", "dark")))
    app.sweeper._starting = what == "waiting"

    async def before(pilot: Pilot[None]) -> None:
        screen = await open_system(
            pilot, len((doctor.folder / "says").read_text().splitlines()) - 1 if what != "waiting" else 0
        )
        told = {"waiting": "the checks wait", "broken-off": "System"}.get(what, "just now")
        await wait_for(pilot, lambda: told in title(screen) and (what != "broken-off" or screen.query_one(Banner).text))
        await wait_for(pilot, lambda: "resident" in meters(screen))
        await pilot.pause(0.2)

    assert snap_compare(app, terminal_size=size, run_before=before)
