"""Pause, resume, cancel, retry, delete: what each does in every state, and how a job's end is written down."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fastdraft_core import places
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import JobEnded, JobStarted
from fastdraft_core.jobs import control, processes
from fastdraft_core.jobs.folder import EVENTS, job_folders, size
from fastdraft_core.jobs.history import EventLog
from tests.jobs.conftest import Submit
from tests.jobs.tiny import record, state, wait_for, wait_for_state
from tests.jobs.worker import journal, works


def ends(folder: Path) -> list[str]:
    """How the job's processes ended, in order."""
    return [event.state for event in EventLog(folder / EVENTS).read() if isinstance(event, JobEnded)]


def test_pause_frees_the_device_and_resume_goes_on(submit: Submit, end_all: Callable[[], None]) -> None:
    """A paused job has no process, so it holds neither memory nor cores; the next job takes its device."""
    first, second = submit("first"), submit("second")
    wait_for(lambda: works(first))
    process = record(first).process
    control.pause(first)
    wait_for_state(first, "paused")
    wait_for(lambda: not processes.alive(process))
    wait_for_state(second, "running")
    control.resume(first)
    assert state(first) == "queued"
    end_all()
    wait_for_state(first, "finished")
    assert ends(first) == ["paused", "finished"]


def test_a_queued_job_leaves_the_queue_at_once(submit: Submit, end_all: Callable[[], None]) -> None:
    """Pausing or cancelling a job that waits takes it out, and it never begins."""
    first, second, third = submit("first"), submit("second"), submit("third")
    wait_for(lambda: works(first))
    waiting = [record(folder).process for folder in (second, third)]
    control.pause(second)
    control.cancel(third)
    assert (state(second), state(third)) == ("paused", "cancelled")
    wait_for(lambda: not any(map(processes.alive, waiting)))
    assert (state(second), state(third)) == ("paused", "cancelled")
    end_all()
    wait_for_state(first, "finished")
    assert {job for job, *_ in journal()} == {"first"}


def test_cancel_keeps_the_folder_and_retry_takes_it_up(submit: Submit, end_all: Callable[[], None]) -> None:
    """A cancelled job can be tried again, but not resumed: its owner had given it up."""
    folder = submit("first")
    wait_for(lambda: works(folder))
    control.cancel(folder)
    wait_for_state(folder, "cancelled")
    with pytest.raises(FastdraftError, match="cancelled already"):
        control.cancel(folder)
    with pytest.raises(FastdraftError, match="only a paused or lost job"):
        control.resume(folder)
    control.retry(folder)
    end_all()
    wait_for_state(folder, "finished")


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs SIGSTOP")
def test_a_second_cancel_kills_what_does_not_leave(submit: Submit) -> None:
    """A process that hangs in its device's driver answers no signal; it must not hold the device for ever."""
    folder = submit("first")
    wait_for(lambda: works(folder))
    process = record(folder).process
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)
    control.cancel(folder)
    assert (state(folder), record(folder).wish) == ("running", "cancel")
    control.cancel(folder)
    wait_for(lambda: not processes.alive(process))
    assert state(folder) == "cancelled"


@pytest.mark.parametrize(
    ("told", "reason"),
    [("fail", "It was told to fail."), ("break", "ValueError: something unforeseen. The details are in log.txt.")],
)
def test_a_failure_stands_in_the_folder(submit: Submit, told: str, reason: str) -> None:
    """The reason is in the record and in the events, the traceback of what nobody foresaw in the log; retry works."""
    folder = submit("first")
    (folder / told).touch()
    wait_for_state(folder, "failed")
    assert record(folder).error == reason
    last = EventLog(folder / EVENTS).read()[-1]
    assert isinstance(last, JobEnded)
    assert (last.state, last.message) == ("failed", reason)
    assert ("Traceback" in (folder / "log.txt").read_text()) == (told == "break")
    with pytest.raises(FastdraftError, match="only a paused or lost job"):
        control.resume(folder)
    (folder / told).unlink()
    (folder / "end").touch()
    control.retry(folder)
    wait_for_state(folder, "finished")
    assert record(folder).error == ""


def test_the_reason_is_written_to_a_disk_without_a_free_byte(submit: Submit, tmp_path: Path) -> None:
    """Space was set aside for it: a full disk must not turn a failure with a reason into a riddle."""
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no right to mount a small disk here")
    try:
        (tmp_path / "home").mkdir(exist_ok=True)
        (tmp_path / "home" / "data").symlink_to(small)
        folder = submit("first")
        wait_for(lambda: works(folder))
        (folder / "fill").touch()
        wait_for_state(folder, "failed")
        assert "No space left on device" in record(folder).error
        wait_for(lambda: not processes.alive(record(folder).process))
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_polite_end_is_a_pause(submit: Submit, how: str) -> None:
    """A machine that shuts down ends its processes politely: afterwards the job is paused, not lost."""
    folder = submit("first")
    wait_for(lambda: works(folder))
    process = record(folder).process
    assert process is not None
    os.kill(process.pid, getattr(signal, how))
    wait_for_state(folder, "paused")


def test_delete_refuses_a_running_job_and_says_what_it_freed(submit: Submit, end_all: Callable[[], None]) -> None:
    """Deleting cannot be undone, so it never takes a job that runs or waits, nor a folder that is none."""
    first, second = submit("first"), submit("second")
    wait_for(lambda: works(first))
    for folder, word in ((first, "running"), (second, "queued")):
        with pytest.raises(FastdraftError, match=f"is {word}. Cancel it first"):
            control.delete(folder)
    end_all()
    wait_for_state(second, "finished")
    held = size(first)
    assert held > 0
    assert control.delete(first) == held
    assert job_folders() == [second]
    assert not list(places.jobs().glob(".deleted*"))
    (places.jobs() / "notes").mkdir()
    with pytest.raises(FastdraftError, match="no job in"):
        control.delete(places.jobs() / "notes")
    assert (places.jobs() / "notes").is_dir()


def test_a_link_to_a_folder_elsewhere_is_not_followed_when_deleting(submit: Submit, tmp_path: Path) -> None:
    """What a link points to is somebody else's."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "recipe.toml").write_text("")
    places.jobs().mkdir(parents=True)
    (places.jobs() / "link").symlink_to(precious)
    with pytest.raises(FastdraftError, match="delete it by hand"):
        control.delete(places.jobs() / "link")
    assert (precious / "recipe.toml").is_file()


def test_the_events_tell_when_it_ran_and_where(submit: Submit, end_all: Callable[[], None]) -> None:
    """The job screen needs no other source for when a job began, on what, and how it went."""
    folder = submit("first")
    end_all()
    wait_for_state(folder, "finished")
    first, *_, last = EventLog(folder / EVENTS).read()
    assert isinstance(first, JobStarted)
    assert isinstance(last, JobEnded)
    assert first.device == "cpu"
    assert first.at <= last.at


def test_a_name_that_nobody_has(submit: Submit) -> None:
    """A typing error lists what is there."""
    with pytest.raises(FastdraftError, match="no jobs yet"):
        control.find("first")
    submit("first")
    with pytest.raises(FastdraftError, match=r"no job 'frist'. Jobs here: first."):
        control.find("frist")
    assert control.find("first") == places.jobs() / "first"


def test_a_job_runs_at_a_low_priority_in_a_session_of_its_own(submit: Submit) -> None:
    """The user's machine stays quick, and the terminal's signals do not reach the job."""
    folder = submit("first")
    wait_for(lambda: works(folder))
    process = record(folder).process
    assert process is not None
    assert os.getpriority(os.PRIO_PROCESS, process.pid) >= 10
    assert os.getsid(process.pid) == process.pid
