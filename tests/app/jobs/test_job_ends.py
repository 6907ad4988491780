"""The end of a job is told once, on any screen; and what can be done with a job from its screens."""

from __future__ import annotations

import os
import signal
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from time import monotonic

import pytest
from msgspec.structs import replace

from fastdraft_app.app import FastdraftApp
from fastdraft_app.client import file_manager
from fastdraft_app.client.jobs import JobWatcher
from fastdraft_app.dialogs.confirm import ConfirmScreen
from fastdraft_app.dialogs.formats import ExportScreen
from fastdraft_app.jobs.job_list import JobList
from fastdraft_app.jobs.job_screen import JobScreen
from fastdraft_app.jobs.screen import JobsScreen
from fastdraft_app.live.screen import LiveScreen
from fastdraft_app.sweep.screen import SweepScreen
from fastdraft_app.sweep.setup import drafts_of
from fastdraft_app.terminal.notification import notification
from fastdraft_core import places
from fastdraft_core.jobs import control
from fastdraft_core.jobs.folder import records
from fastdraft_core.jobs.processes import this_process
from fastdraft_core.jobs.queue import locked
from fastdraft_core.jobs.record import Record, State, read_record, write_record
from fastdraft_core.jobs.view import JobView
from tests.app.conftest import MakeApp
from tests.app.helpers import RECORDING, wait_for
from tests.app.job_folders import every_state, job
from tests.app.jobs.test_jobs_screen import open_job, open_jobs
from tests.terminal import Session, alive


@pytest.fixture
def app(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> FastdraftApp:
    """An app whose live screen shows a recording."""
    monkeypatch.setattr("fastdraft_app.jobs.notices.WATCH_SECONDS", 0.2)
    return make_app("--replay", str(RECORDING))


def become(folder: Path, state: State, error: str = "") -> None:
    """What a job's process does at its end."""
    with locked():
        record = read_record(folder)
        assert record is not None
        write_record(folder, replace(record, state=state, error=error, changed=record.changed + 1))


def test_the_watcher_sees_each_end_once_and_reads_nothing_without_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs that ended before are no news; without an active one only the folders' times are looked at."""
    job("old", "finished", 10)
    folder = job("mine", "running", 20, process=this_process())
    watcher = JobWatcher()
    assert watcher.poll() == []
    assert watcher.poll() == []
    become(folder, "finished")
    assert [view.name for view in watcher.poll()] == ["mine"]
    with monkeypatch.context() as patch:
        patch.setattr("fastdraft_app.client.jobs.records", lambda: pytest.fail("no record has to be read"))
        assert watcher.poll() == []
    become(folder, "queued")
    assert watcher.poll() == []
    become(folder, "failed")
    assert [view.state for view in watcher.poll()] == ["failed"]


async def test_an_end_is_told_on_the_live_screen(app: FastdraftApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bell, toast and the desktop's notification, with the acceptance before and after; the list then shows that job."""
    folder = job("mine", "running", 240, process=this_process())
    (folder / "events.jsonl").write_bytes((job("other", "finished", 240) / "events.jsonl").read_bytes())
    bells: list[str] = []
    written: list[str] = []
    async with app.run_test(size=(120, 36)) as pilot:
        await wait_for(pilot, lambda: app.notices.watcher._seen)
        assert app._driver is not None
        monkeypatch.setattr(app, "bell", lambda: bells.append("bell"))
        monkeypatch.setattr(app._driver, "write", written.append)
        looks: list[int] = []
        poll = app.notices.watcher.poll

        def look() -> list[JobView]:
            found = poll()
            looks.append(len(found))
            return found

        monkeypatch.setattr(app.notices.watcher, "poll", look)
        become(folder, "finished")
        await wait_for(pilot, lambda: any(told.title == "Job mine finished" for told in app._notifications))
        assert isinstance(app.screen, LiveScreen)
        # It is told once, however often the jobs are looked at from then on.
        seen = len(looks)
        await wait_for(pilot, lambda: len(looks) >= seen + 3)
        await pilot.pause()
        told = [one for one in app._notifications if one.title.startswith("Job ")]
        assert len(told) == len(bells) == 1
        assert "acceptance after PT" in told[0].message
        assert any(text.startswith("\x1b]9;Job mine finished: acceptance") for text in written)
        screen = await open_jobs(pilot, 2)
        await wait_for(pilot, lambda: screen.chosen is not None and screen.chosen.name == "mine")


def test_looks_that_overlap_tell_an_end_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a slow disk the next look begins before the one under way has ended."""
    folder = job("mine", "running", 20, process=this_process())
    watcher, reading, go_on = JobWatcher(), Event(), Event()
    watcher.poll()
    become(folder, "finished")

    def slow() -> dict[Path, Record]:
        reading.set()
        assert go_on.wait(60)
        return records()

    monkeypatch.setattr("fastdraft_app.client.jobs.records", slow)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(watcher.poll)
        assert reading.wait(60)
        second = pool.submit(watcher.poll)
        go_on.set()
        assert sorted([len(first.result()), len(second.result())]) == [0, 1]


def test_a_notification_is_written_as_the_terminal_knows_it_and_carries_no_commands() -> None:
    """Each family has its own sequence; a job's words cannot end it and begin another."""
    nine = notification("Job a", "x\x1b]0;evil\x07\x9d9\ny", {"TERM": "xterm-256color"})
    assert nine == "\x1b]9;Job a: x ]0;evil  9 y\x1b\\"
    assert notification("a;b", "c", {"TERM": "foot"}) == "\x1b]777;notify;a,b;c\x1b\\"
    assert notification("a", "b", {"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}).startswith("\x1b]777;")
    assert notification("a", "b", {"TERM": "xterm-kitty"}).count("\x1b]99;") == 2
    assert notification("a", "", {"TERM": "screen", "TMUX": "1"}) == "\x1bPtmux;\x1b\x1b]9;a\x1b\x1b\\\x1b\\"
    assert notification("a", "b", {"TERM": "linux"}) == notification("a", "b", {}) == ""


async def test_a_finished_job_can_be_swept_and_exported(app: FastdraftApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """w: the sweep screen with its target and draft; x: exports of its own, told by toasts wherever one is by then."""
    every_state()
    model = places.jobs() / "demo-XS" / "checkpoints" / "ft" / "last"
    asked: list[tuple[str, ...]] = []

    async def convert(*arguments: str) -> tuple[int, list[str], list[str]]:
        asked.append(arguments)
        return 1, [], ["fastdraft: The disk is full."]

    monkeypatch.setattr("fastdraft_app.client.convert.fastdraft", convert)
    async with app.run_test(size=(120, 36)) as pilot:
        await open_job(pilot, "demo-XS", 5)
        for choose in (["enter"], ["down", "enter"]):
            await pilot.press("x")
            await wait_for(pilot, lambda: isinstance(app.screen, ExportScreen))
            await pilot.press(*choose)
            await wait_for(pilot, lambda: not isinstance(app.screen, ExportScreen))
        await pilot.press("w")
        await wait_for(pilot, lambda: isinstance(app.screen, SweepScreen))
        assert drafts_of(app.preferences.current) == [str(model)]
        assert app.preferences.current.target == "demo"
        await wait_for(pilot, lambda: sum(told.title == "Not exported" for told in app._notifications) == 2)
        assert "The disk is full." in [told.message for told in app._notifications]
        for arguments, ending, form in zip(asked, ("int8-ov", "q8_0-gguf"), ((), ("--to", "gguf")), strict=True):
            output = str(places.exports() / f"demo-XS-{ending}")
            assert arguments == ("export", str(model), "--output", output, *form, "--target", "demo")


async def test_enter_twice_stays_with_the_job(app: FastdraftApp) -> None:
    """The second press of a hasty enter must not start the live screen's engine."""
    every_state()
    async with app.run_test(size=(120, 36)) as pilot:
        await open_job(pilot, "demo-XS", 5)
        await pilot.press("enter", "enter")
        await pilot.pause(0.2)
        assert isinstance(app.screen, JobScreen)


async def test_deleting_from_the_jobs_own_screen_leaves_one_screen(app: FastdraftApp) -> None:
    """The deletion and the poll that misses the job both want to go back; the list must stay."""
    every_state()
    async with app.run_test(size=(120, 36)) as pilot:
        await open_job(pilot, "waits-for-me", 5)
        await pilot.press("D")
        await wait_for(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("y")
        await wait_for(pilot, lambda: isinstance(app.screen, JobsScreen))
        await pilot.pause(1.2)
        assert isinstance(app.screen, JobsScreen)
        assert app.screen.query_one("#jobs", JobList).option_count == 4


async def test_a_job_that_goes_while_a_question_is_open_leaves_when_it_is_answered(app: FastdraftApp) -> None:
    """The screen under the question cannot be taken away at once."""
    every_state()
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await open_job(pilot, "waits-for-me", 5)
        await pilot.press("D")
        await wait_for(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        control.delete(places.jobs() / "waits-for-me")
        screen.draw([])
        assert isinstance(app.screen, ConfirmScreen)
        await pilot.press("escape")
        await wait_for(pilot, lambda: isinstance(app.screen, JobsScreen))


async def test_a_frozen_view_ignores_what_is_under_way(app: FastdraftApp) -> None:
    """A poll that began before space was pressed, or coming back to the screen, changes nothing."""
    job("mine", "paused", 30)
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await open_job(pilot, "mine", 1)
        shown = screen.chosen
        await pilot.press("space")
        screen.post_message(screen.Polled([], ""))
        await pilot.press("1")
        await wait_for(pilot, lambda: isinstance(app.screen, LiveScreen))
        await pilot.press("4")
        await wait_for(pilot, lambda: app.screen is screen)
        await pilot.pause(0.3)
        assert screen.chosen is shown


def test_a_folder_opens_only_on_a_desktop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over SSH there is no window to open; the path is then shown and copied."""
    program = tmp_path / "xdg-open"
    program.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert file_manager.opener({}, "linux") == ""
    assert file_manager.opener({"DISPLAY": ":0"}, "linux") == str(program)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert not file_manager.open_folder(tmp_path)


async def test_a_queued_row_says_what_it_waits_for(app: FastdraftApp) -> None:
    """The waiting process has told it; the row shows it in place of a bar that stands at nothing."""
    from fastdraft_core.events import Progress, encode

    folder = job("later", "queued", 0, process=this_process())
    with (folder / "events.jsonl").open("ab") as file:
        file.write(encode(Progress(what="waiting for cpu: job sooner comes first")))
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_jobs(pilot, 1)
        assert "waiting for cpu: job sooner" in str(screen.query_one("#jobs", JobList).options[0].prompt)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals on Windows")
def test_the_terminal_is_asked_for_a_notification(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real program, on its live screen: bell and OSC 9 reach the terminal, and q still leaves it in order."""
    for name in ("TMUX", "TERM_PROGRAM"):
        monkeypatch.delenv(name, raising=False)
    folder = job("mine", "running", 240, process=this_process())
    session = Session("fastdraft_app.app", "--no-intro", "--replay", str(RECORDING))
    try:
        session.read_until(b"Speculative")
        # The first look takes the job as it is; whether it was taken cannot be seen from here.
        end = monotonic() + 60
        while b"\x1b]9;Job mine finished" not in session.output:
            assert monotonic() < end, session.output[-2000:]
            state = read_record(folder)
            assert state is not None
            become(folder, "queued" if state.state == "finished" else "finished")
            for _ in range(60):
                session.read()
        assert b"\x07" in session.output
        os.write(session.fd, b"q")
        assert session.ended() == 0
    finally:
        if alive(session.pid):
            os.kill(session.pid, signal.SIGKILL)
            os.waitpid(session.pid, 0)
