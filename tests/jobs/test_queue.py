"""The queue, with real processes: one device runs one job, in order; whoever is killed, none is forgotten or doubled."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fastdraft_core import places
from fastdraft_core.errors import FastdraftError
from fastdraft_core.jobs import control, processes, queue
from fastdraft_core.jobs.record import Process, read_record
from tests.jobs.conftest import Submit
from tests.jobs.tiny import PATIENCE, record, state, tiny_recipe, wait_for, wait_for_state
from tests.jobs.worker import journal, works

ROOT = Path(__file__).resolve().parents[2]


def kill(folder: Path) -> None:
    """kill -9 the job's process and wait until it is gone."""
    process = record(folder).process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    wait_for(lambda: not processes.alive(process))


def began() -> list[str]:
    """The jobs that began, in order."""
    return [job for job, _, what in journal() if what == "begin"]


def waits(folder: Path) -> Callable[[], bool]:
    """Whether the job's process has looked up its device and waits."""
    return lambda: record(folder).state == "queued" and record(folder).device != "" and record(folder).starts == 0


def test_jobs_run_one_after_the_other_in_order(submit: Submit, end_all: Callable[[], None]) -> None:
    """One device runs one job; the others follow in the order in which they were asked for."""
    folders = [submit(name) for name in ("zebra", "ant", "mole")]
    wait_for_state(folders[0], "running")
    for folder in folders[1:]:
        wait_for(waits(folder))
    # Some turns of the waiting processes, in which they must leave the device alone.
    time.sleep(0.5)
    assert [state(folder) for folder in folders[1:]] == ["queued", "queued"]
    assert began() == ["zebra"]
    end_all()
    for folder in folders:
        wait_for_state(folder, "finished")
    assert [(job, what) for job, _, what in journal()] == [
        (job, what) for job in ("zebra", "ant", "mole") for what in ("begin", "end")
    ]


def test_another_device_does_not_wait(submit: Submit) -> None:
    """Two accelerators run two jobs."""
    first, second = submit("first", "cuda:0"), submit("second", "cuda:1")
    wait_for(lambda: works(first))
    wait_for_state(second, "running")


def test_a_killed_job_frees_its_device_and_is_lost_until_it_is_resumed(
    submit: Submit, end_all: Callable[[], None]
) -> None:
    """kill -9 of the running job: the next one starts by itself, and the lost one can be resumed, behind it."""
    first, second = submit("first"), submit("second")
    wait_for(lambda: works(first))
    wait_for(waits(second))
    kill(first)
    assert state(first) == "lost"
    wait_for_state(second, "running")
    control.resume(first)
    assert state(first) == "queued"
    end_all()
    wait_for_state(first, "finished")
    assert began() == ["first", "second", "first"]


def test_a_killed_waiting_job_keeps_its_place(submit: Submit, end_all: Callable[[], None]) -> None:
    """kill -9 of a waiting process: the one behind it starts it again, and does not overtake it."""
    first, second, third = submit("first"), submit("second"), submit("third")
    wait_for(lambda: works(first))
    wait_for(waits(second))
    wait_for(waits(third))
    kill(second)
    assert state(second) == "queued"
    wait_for(lambda: processes.alive(record(second).process))
    assert began() == ["first"]
    end_all()
    wait_for_state(third, "finished")
    assert began() == ["first", "second", "third"]


def test_the_job_that_ends_starts_a_killed_waiting_one(submit: Submit, end_all: Callable[[], None]) -> None:
    """Nobody else waits: then the running job sees to the one behind it when it ends."""
    first, second = submit("first"), submit("second")
    wait_for(lambda: works(first))
    wait_for(waits(second))
    kill(second)
    end_all()
    wait_for_state(second, "finished")


def test_all_killed_and_looked_at_again(submit: Submit, end_all: Callable[[], None]) -> None:
    """After a power cut nothing runs; opening the app or `fastdraft jobs` starts the queue again."""
    first, second = submit("first"), submit("second")
    wait_for(lambda: works(first))
    wait_for(waits(second))
    kill(second)
    kill(first)
    time.sleep(0.3)
    assert (state(first), state(second)) == ("lost", "queued")
    end_all()
    queue.look_after()
    wait_for_state(second, "finished")
    assert state(first) == "lost"


def test_many_starters_start_a_job_once(submit: Submit, end_all: Callable[[], None]) -> None:
    """Two apps, a command line and a person at once: one process runs the job, the others leave it alone."""
    first, folder = submit("first"), submit("only")
    wait_for(lambda: works(first))
    wait_for(waits(folder))
    by_hand = [subprocess.Popen([sys.executable, "-m", "tests.jobs.worker", str(folder)], cwd=ROOT) for _ in range(4)]
    looking = "from fastdraft_core.jobs.queue import look_after\nfor _ in range(30): look_after()"
    lookers = [subprocess.Popen([sys.executable, "-c", looking], cwd=ROOT) for _ in range(2)]
    assert [process.wait(PATIENCE) for process in by_hand] == [1] * 4
    assert [process.wait(PATIENCE) for process in lookers] == [0] * 2
    end_all()
    wait_for_state(folder, "finished")
    assert began() == ["first", "only"]


def test_a_process_that_never_gets_to_work_ends_as_a_failure(submit: Submit, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken installation is not started for ever: after three tries the job has failed, with the reason."""
    monkeypatch.setattr(processes, "COMMAND", (sys.executable, "-c", "raise SystemExit(3)"))
    folder = places.jobs() / "broken"
    queue.submit(tiny_recipe(name="broken"), folder, detach=True)

    def failed() -> bool:
        queue.look_after()
        return state(folder) == "failed"

    wait_for(failed)
    assert "3 times" in record(folder).error
    assert "log.txt" in record(folder).error


def test_a_working_folder_that_is_gone_is_named(
    submit: Submit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative paths of a recipe begin where the user stood; without that folder the job cannot start again."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    folder = submit("moved")
    wait_for(lambda: works(folder))
    control.pause(folder)
    wait_for_state(folder, "paused")
    (tmp_path / "project").rmdir()
    monkeypatch.chdir(tmp_path)
    control.resume(folder)
    assert state(folder) == "failed"
    assert str(tmp_path / "project") in record(folder).error


def test_a_reused_pid_is_not_the_job(submit: Submit) -> None:
    """The same number at a later start is another process: the job is lost, and nobody's process is ended."""
    folder = submit("first")
    wait_for(lambda: works(folder))
    mine = processes.this_process()
    assert processes.alive(mine)
    assert not processes.alive(Process(mine.pid, mine.start + "1", mine.host))
    assert not processes.alive(Process(1 << 22, mine.start, mine.host))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGHUP])
def test_a_job_outlives_whoever_started_it(how: signal.Signals, tmp_path: Path) -> None:
    """Killing the app with its whole process group, or losing the terminal, changes nothing for the job."""
    code = (
        "import time; from tests.jobs import worker; from tests.jobs.tiny import tiny_recipe\n"
        "from fastdraft_core import places; from fastdraft_core.jobs import processes, queue\n"
        "processes.COMMAND = worker.COMMAND\n"
        "queue.submit(tiny_recipe(name='kept'), places.jobs() / 'kept', detach=True, device='cpu')\n"
        "time.sleep(600)"
    )
    app = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, start_new_session=True)
    folder = places.jobs() / "kept"
    wait_for(lambda: read_record(folder) is not None)
    wait_for(lambda: works(folder))
    os.killpg(app.pid, how)
    app.wait()
    time.sleep(0.2)
    assert state(folder) == "running"
    (folder / "end").touch()
    wait_for_state(folder, "finished")


def test_a_second_submission_of_a_running_job_is_refused(submit: Submit) -> None:
    """The same command twice must not train the same folder twice."""
    folder = submit("first")
    with pytest.raises(FastdraftError, match=r"already.*jobs follow first"):
        submit("first")
    wait_for(lambda: works(folder))
    with pytest.raises(FastdraftError, match="running already"):
        submit("first")


def test_random_kills(submit: Submit, end_all: Callable[[], None]) -> None:
    """Whatever is killed, whenever: never two jobs at once on the device, and in the end all have run."""
    chance = random.Random(7)
    folders = [submit(f"job{number}") for number in range(4)]

    def settled() -> bool:
        queue.look_after()
        for folder in folders:
            # Killed three times before it could wait, a job has failed.
            if state(folder) in ("lost", "failed"):
                # Another job of the queue may have been quicker.
                with contextlib.suppress(FastdraftError):
                    control.retry(folder)
        return all(state(folder) == "finished" for folder in folders)

    for _ in range(12):
        time.sleep(chance.random() * 0.4)
        process = record(chance.choice(folders)).process
        if process is not None and processes.alive(process):
            os.kill(process.pid, signal.SIGKILL)
        settled()
    end_all()
    wait_for(settled)
    noted = journal()
    for index, (job, pid, what) in enumerate(noted):
        # Never two at once: whoever began was the next to end, or was killed.
        assert what == "begin" or noted[index - 1] == [job, pid, "begin"]
    assert sorted(job for job, _, what in noted if what == "end") == [folder.name for folder in folders]
