"""The jobs screens: every state is there, what is asked for happens, and damage is shown, not fatal."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from textual.pilot import Pilot
from textual.widgets import Input, OptionList

from fastdraft_app.app import FastdraftApp
from fastdraft_app.dialogs.confirm import ConfirmScreen
from fastdraft_app.jobs.job_list import JobList
from fastdraft_app.jobs.job_screen import VIEWS, JobScreen
from fastdraft_app.jobs.log_pane import LogPane
from fastdraft_app.jobs.screen import JobsScreen
from fastdraft_app.live.screen import LiveScreen
from fastdraft_app.widgets.banner import Banner
from fastdraft_app.widgets.chart import Chart
from fastdraft_app.widgets.line import TextLine
from fastdraft_app.widgets.plot import round_numbers
from fastdraft_core import places
from fastdraft_core.events import encode
from fastdraft_core.jobs import control
from fastdraft_core.jobs.folder import EVENTS
from fastdraft_core.jobs.record import Process, State
from tests.app.conftest import MakeApp
from tests.app.helpers import RECORDING, wait_for
from tests.app.job_folders import every_state, job
from tests.jobs import tiny
from tests.jobs.conftest import Submit, _no_job_survives, submit  # noqa: F401  fixtures
from tests.jobs.test_history import step

Size = tuple[int, int]


@pytest.fixture
def app(make_app: MakeApp) -> FastdraftApp:
    """An app whose live screen shows a recording."""
    return make_app("--replay", str(RECORDING))


async def open_jobs(pilot: Pilot[None], number: int) -> JobsScreen:
    """Press 4 and wait for so many jobs."""
    await pilot.press("4")
    await wait_for(pilot, lambda: isinstance(pilot.app.screen, JobsScreen))
    screen = pilot.app.screen
    assert isinstance(screen, JobsScreen)
    listed = screen.query_one("#jobs", JobList)
    await wait_for(pilot, lambda: listed.option_count == number and screen.query_one("#title", TextLine).text)
    return screen


async def open_job(pilot: Pilot[None], name: str, number: int) -> JobScreen:
    """Press enter on the job called ``name``."""
    jobs = await open_jobs(pilot, number)
    jobs.query_one("#jobs", JobList).choose(name)
    await pilot.pause()
    await pilot.press("enter")
    await wait_for(pilot, lambda: isinstance(pilot.app.screen, JobScreen) and pilot.app.screen.chosen)
    screen = pilot.app.screen
    assert isinstance(screen, JobScreen)
    return screen


def rows(screen: JobsScreen) -> str:
    """All rows as text."""
    listed = screen.query_one("#jobs", OptionList)
    return "\n".join(str(option.prompt) for option in listed.options)


async def test_without_jobs_it_says_what_to_press(app: FastdraftApp) -> None:
    """An empty state is an invitation; keys that mean a job say that there is none."""
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("4")
        await wait_for(pilot, lambda: isinstance(app.screen, JobsScreen) and app.screen.has_class("-empty"))
        assert app.screen.query_one("#empty").display
        for key in ("enter", "P", "D", "g", "y"):
            await pilot.press(key)
        assert isinstance(app.screen, JobsScreen)


async def test_every_state_is_listed_and_damage_is_shown(app: FastdraftApp) -> None:
    """Five jobs, one cut short and one spoilt: all are there, each with what is known of it."""
    every_state()
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await open_jobs(pilot, 5)
        for state in ("finished", "failed", "lost", "paused"):
            assert state in rows(screen)
        screen.query_one("#jobs", JobList).choose("gone")
        await wait_for(pilot, lambda: "vanished" in screen.query_one("#banner", Banner).text)
        screen.query_one("#jobs", JobList).choose("spoilt")
        await wait_for(pilot, lambda: "recipe" in screen.query_one("#banner", Banner).text)
        await pilot.press("enter")
        await wait_for(pilot, lambda: isinstance(app.screen, JobScreen) and app.screen.chosen)
        await pilot.press(*"vvvvvvvsL")
        assert isinstance(app.screen, JobScreen)


async def test_a_job_shows_all_it_knows(app: FastdraftApp) -> None:
    """Stages, curves, evaluations by stage beside the paper's, samples as text, and the log with search."""
    every_state()
    async with app.run_test(size=(160, 48)) as pilot:
        screen = await open_job(pilot, "demo-XS", 5)
        assert "100 %" in screen.query_one("#stages", TextLine).text
        loss = screen.query_one("#loss", Chart)
        assert [one.name for one in loss.series] == ["training, smoothed", "held out: code", "held out: text"]
        await pilot.press("s")
        assert loss.series[0].name == "training"
        await pilot.press("L")
        assert "log scale" in str(loss.border_subtitle)
        table = str(screen.query_one("#table").render())
        assert "PT→CP→FT" in table
        assert "0.510" in table
        assert "the paper: Phi-3-mini" in table
        texts = str(screen.query_one("#texts").render())
        assert "␛[31mfox" in texts
        assert "[bold]dog" in texts
        log = screen.query_one("#log", LogPane)
        await wait_for(pilot, lambda: log.line_count >= 90)
        await pilot.press("slash", *"step 7")
        await wait_for(pilot, lambda: "11 lines" in str(log.border_subtitle))
        await pilot.press("escape")
        await wait_for(pilot, lambda: not log.border_subtitle)
        assert app.screen is screen
        await pilot.press("escape")
        await wait_for(pilot, lambda: isinstance(app.screen, JobsScreen))


async def test_new_steps_appear_and_a_frozen_view_stands_still(app: FastdraftApp) -> None:
    """What a job appends is drawn by itself; space holds the view and says how old it is."""
    folder = job("mine", "paused", 30)
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await open_job(pilot, "mine", 1)
        chart = screen.query_one("#loss", Chart)
        before = chart.series
        await pilot.press("space")
        await wait_for(pilot, lambda: "frozen" in screen.query_one("#title", TextLine).text)
        with (folder / EVENTS).open("ab") as file:
            file.write(encode(step(31, loss=1.25, steps=60)))
        await pilot.pause(1.5)
        assert chart.series == before
        await pilot.press("space")
        await wait_for(pilot, lambda: chart.series != before)
        assert "1.25" in screen.query_one("#figures", TextLine).text


async def test_a_narrow_list_still_tells_the_acceptance_before_and_after(app: FastdraftApp) -> None:
    """It is what the job was for; when it was made may be left out."""
    job("a-draft-of-mine", "finished", 240)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_jobs(pilot, 1)
        await wait_for(pilot, lambda: "a-draft-of-mine" in screen.query_one("#name", TextLine).text)
        assert screen.query_one("#name", TextLine).text.endswith("acceptance after PT 0.235, after FT 0.435")
        assert cell_len(screen.query_one("#name", TextLine).text) <= 76


async def test_a_small_screen_shows_one_part_at_a_time(app: FastdraftApp) -> None:
    """v goes through the parts; each fits."""
    every_state()
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_job(pilot, "demo-XS", 5)
        for name in VIEWS:
            await pilot.pause()
            shown = [part.id for part in screen.query_one("#parts").children if part.display]
            assert shown == [name]
            assert screen.region.contains_region(screen.query_one(f"#{name}").region)
            await pilot.press("v")


async def test_the_draft_of_a_job_opens_in_the_live_screen(app: FastdraftApp) -> None:
    """One key from a finished job to its draft at work; without a checkpoint the reason is given."""
    every_state()
    async with app.run_test(size=(120, 36)) as pilot:
        await open_job(pilot, "waits-for-me", 5)
        await pilot.press("g")
        await pilot.pause()
        assert isinstance(app.screen, JobScreen)
        await pilot.press("escape")
        await open_job(pilot, "demo-XS", 5)
        await pilot.press("g")
        await wait_for(pilot, lambda: isinstance(app.screen, LiveScreen))
        model = places.jobs() / "demo-XS" / "checkpoints" / "ft" / "last"
        assert (app.preferences.current.target, app.preferences.current.draft) == ("demo", str(model))


async def test_delete_asks_with_the_size_and_can_be_declined(app: FastdraftApp) -> None:
    """Escape and enter keep the job; y deletes it, and the list goes on with the others."""
    every_state()
    folder = places.jobs() / "over-the-weekend"
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_jobs(pilot, 5)
        screen.query_one("#jobs", JobList).choose("over-the-weekend")
        for keys in (("escape",), ("enter",)):
            await pilot.press("D")
            await wait_for(pilot, lambda: isinstance(app.screen, ConfirmScreen))
            assert "kB" in str(app.screen.query_one("#sentence").render())
            await pilot.press(*keys)
            await wait_for(pilot, lambda: isinstance(app.screen, JobsScreen))
        assert folder.is_dir()
        await pilot.press("D")
        await wait_for(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("y")
        await wait_for(pilot, lambda: screen.query_one("#jobs", JobList).option_count == 4)
        assert not folder.exists()


async def test_what_cannot_be_done_says_why(app: FastdraftApp) -> None:
    """A finished job cannot be paused, resumed, cancelled or retried; nothing changes."""
    every_state()
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await open_jobs(pilot, 5)
        screen.query_one("#jobs", JobList).choose("demo-XS")
        for key in ("P", "u", "X", "r"):
            await pilot.press(key)
        await wait_for(pilot, lambda: len(app._notifications) >= 4)
        assert all("finished" in told.message for told in app._notifications)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
async def test_a_real_job_is_steered(app: FastdraftApp, submit: Submit) -> None:  # noqa: F811
    """Pause, resume, kill -9, resume, cancel, retry, the end: each seen on screen within its time."""
    folder = submit("real")

    async def becomes(state: State) -> None:
        await wait_for(pilot, lambda: tiny.state(folder) == state, 60)
        await wait_for(pilot, lambda: f" {state}" in rows(screen), 60)

    async with app.run_test(size=(120, 36)) as pilot:
        screen = await open_jobs(pilot, 1)
        await becomes("running")
        await pilot.press("P")
        await becomes("paused")
        await pilot.press("u")
        await becomes("running")
        process = tiny.record(folder).process
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        await becomes("lost")
        await pilot.press("u")
        await becomes("running")
        await pilot.press("X")
        await becomes("cancelled")
        await pilot.press("r")
        await becomes("running")
        (folder / "end").touch()
        await becomes("finished")
        await wait_for(pilot, lambda: any("finished" in told.title for told in app._notifications))


async def test_a_job_of_another_machine_says_where_it_runs(app: FastdraftApp) -> None:
    """Machines may share the folder: the list and the job's screen name the other one, and its keys say what to do there."""
    job("far", "running", 30, process=Process(1, "another-boot 1.00", "node2", "another machine"))
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await open_jobs(pilot, 1)
        assert "running on node2" in rows(screen)
        await pilot.press("P")
        await wait_for(pilot, lambda: any("runs on node2" in told.message for told in app._notifications))
        job_screen = await open_job(pilot, "far", 1)
        title = job_screen.query_one("#title", TextLine).text
        assert "running on node2" in title
        assert "as of its last event" in title
        assert "process 1" not in title


async def test_a_job_deleted_elsewhere_leaves_its_screen(app: FastdraftApp) -> None:
    """Somebody deletes the job on the command line while one looks at it."""
    every_state()
    async with app.run_test(size=(120, 36)) as pilot:
        await open_job(pilot, "waits-for-me", 5)
        control.delete(places.jobs() / "waits-for-me")
        await wait_for(pilot, lambda: isinstance(app.screen, JobsScreen))


def test_ticks_are_round_and_inside() -> None:
    """An axis is labelled with numbers that people use."""
    assert round_numbers(0.24, 0.61, 3) == pytest.approx([0.4, 0.6])
    assert round_numbers(2.0, 2.0, 4) == [2.0]
    assert round_numbers(0, 7.4e6, 5) == pytest.approx([0, 2e6, 4e6, 6e6])


@pytest.mark.parametrize("size", [(80, 24), (160, 48)], ids=["80x24", "160x48"])
@pytest.mark.parametrize("what", ["list", "empty", "detail", "detail-evaluations", "delete", "ascii"])
def test_pictures(
    snap_compare: Any, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, size: Size, what: str
) -> None:
    """The list, a job and its parts as they look."""
    # Nothing in a picture may depend on the machine: no clock, no path, no size of files that hold both.
    monkeypatch.setattr("fastdraft_app.jobs.screen.when", lambda at: "2026-01-01 12:00")
    monkeypatch.setattr("fastdraft_core.jobs.view.size", lambda folder: 12_345_678)
    monkeypatch.setattr(places, "jobs", lambda: Path("jobs"))
    monkeypatch.chdir(tmp_path)
    arguments = ("--theme", "16", "--ascii") if what == "ascii" else ("--theme", "dark")

    async def before(pilot: Pilot[None]) -> None:
        number = 0 if what == "empty" else 5
        if number == 0:
            await pilot.press("4")
            await wait_for(pilot, lambda: pilot.app.screen.has_class("-empty"))
        elif what in ("list", "delete"):
            await open_jobs(pilot, number)
            await pilot.press(*(["D"] if what == "delete" else []))
        else:
            await open_job(pilot, "demo-XS", number)
            await pilot.press(*(["v", "v"] if what == "detail-evaluations" else []))
        await pilot.pause(0.3)
        for editor in pilot.app.screen.query(Input):
            editor.cursor_blink = False
        await pilot.pause()

    if what != "empty":
        every_state()
    assert snap_compare(make_app("--replay", str(RECORDING), *arguments), terminal_size=size, run_before=before)
