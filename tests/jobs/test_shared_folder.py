"""Several machines with one folder of jobs: each looks after its own, and leaves those of the others alone."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from fastdraft_core import places
from fastdraft_core.errors import FastdraftError
from fastdraft_core.jobs import control, processes, queue
from fastdraft_core.jobs.folder import claim
from fastdraft_core.jobs.record import Process, Record, write_record
from fastdraft_core.jobs.view import JobReader
from fastdraft_core.machine import machine_id
from tests.commands import Cli
from tests.jobs.conftest import Submit
from tests.jobs.test_queue import kill, waits
from tests.jobs.tiny import record, state, tiny_recipe, wait_for, wait_for_state
from tests.jobs.worker import works

#: A process of another machine; its number is also that of one here, which must not be taken for it.
THEIRS = Process(os.getpid(), "another-boot 12.00", "node2", "another machine")
GONE = 1 << 22


def job(name: str, **values: Any) -> Path:
    """A job that another machine works for, unless told otherwise."""
    folder = places.jobs() / name
    claim(tiny_recipe(name=name), folder)
    told: dict[str, Any] = dict(state="running", ticket=1, created=1.0, changed=1.0, folder="/", device="cpu")
    write_record(folder, Record(**{**told, "process": THEIRS, **values}))
    return folder


def called(folder: Path, name: str) -> None:
    """The machine was called ``name`` when the job's process was written down."""
    with queue.locked():
        known = record(folder)
        assert known.process is not None
        process = Process(known.process.pid, known.process.start, name, known.process.machine)
        write_record(folder, replace(known, process=process))


def test_a_job_that_runs_elsewhere_is_not_lost(cli: Cli) -> None:
    """It is listed as running, with its machine and how old its last sign is; no process of this machine is its own."""
    folder = job("far", changed=time.time() - 600)
    assert state(folder) == "running"
    view = JobReader(folder).view()
    assert (view.state, view.host, view.pid, view.error) == ("running", "node2", None, "")
    assert "running on node2" in cli("jobs")[1]
    (listed,) = cli("jobs", "--json")[1].splitlines()
    assert (json.loads(listed)["state"], json.loads(listed)["host"]) == ("running", "node2")
    shown = cli("jobs", "show", "far")[1]
    assert "far: running on node2, cpu" in shown
    assert "as of its last event, 10 min ago" in shown


@pytest.mark.parametrize("what", ["pause", "cancel", "delete"])
def test_what_needs_a_signal_is_done_where_the_job_runs(what: str) -> None:
    """Nothing here reaches its process, so nothing is pretended: the sentence names the machine."""
    folder = job("far")
    before = record(folder)
    for _ in range(2):
        with pytest.raises(FastdraftError, match=r"runs on node2.*`fastdraft jobs \w+ far` on node2"):
            getattr(control, what)(folder)
    assert record(folder) == before


@pytest.mark.parametrize("what", [control.resume, control.retry])
def test_it_is_not_begun_a_second_time(what: Callable[[Path], None]) -> None:
    """Two machines that train in one folder would spoil each other's checkpoints."""
    folder = job("far")
    with pytest.raises(FastdraftError, match=r"is running on node2; only .*jobs resume far --here"):
        what(folder)
    with pytest.raises(FastdraftError, match="is running on node2 already"):
        queue.submit(tiny_recipe(name="far"), folder, detach=True)
    with pytest.raises(FastdraftError, match="is running on node2 already"):
        queue.adopt(folder)
    assert record(folder).process == THEIRS


def test_what_waits_elsewhere_is_left_to_that_machine(submit: Submit) -> None:
    """Its waiting process cannot be seen from here: it is not started again, and it hears of a pause by its record."""
    del submit  # nothing is to be started; if it were, it would be quick
    folder = job("far", state="queued")
    queue.look_after()
    assert record(folder).process == THEIRS
    assert JobReader(folder).view(2).host == "node2"
    with pytest.raises(FastdraftError, match=r"queued on node2 already, by another process"):
        queue.enter(folder)
    control.pause(folder)
    assert (state(folder), record(folder).process) == ("paused", None)


def test_each_machine_has_devices_of_its_own(submit: Submit) -> None:
    """The other machine's cpu is not this one's: a job of ours does not wait for theirs."""
    job("runs-there", ticket=1)
    job("waits-there", ticket=2, state="queued")
    job("ended-there", ticket=3, state="finished")
    wait_for_state(submit("ours"), "running")


def test_a_job_of_a_machine_that_is_gone_is_taken_over_by_name(
    cli: Cli, submit: Submit, end_all: Callable[[], None]
) -> None:
    """Rented machines do not come back; what they began goes on elsewhere, when somebody says so."""
    del submit
    theirs: dict[str, Any] = dict(device="cuda:3", asked="cpu")
    folders = [job("runs-there", **theirs), job("waits-there", state="queued", **theirs)]
    for folder in folders:
        assert cli("jobs", "resume", folder.name)[0] == 1
        assert cli("jobs", "resume", folder.name, "--here")[0] == 0
        assert not processes.elsewhere(record(folder).process)
    end_all()
    for folder in folders:
        wait_for_state(folder, "finished")
        assert record(folder).device == "cpu"


def test_a_job_that_was_paused_there_goes_on_here(submit: Submit) -> None:
    """So a job is moved: pause it on the one machine, resume it on the other, which has devices of its own."""
    del submit
    paused = job("paused-there", state="paused", device="cuda:3", asked="cpu")
    waited = job("waited-there", state="queued", device="cuda:3", asked="cpu")
    control.pause(waited)
    for folder in (paused, waited):
        control.resume(folder)
        assert not processes.elsewhere(record(folder).process)
        wait_for(lambda folder=folder: record(folder).device == "cpu")  # type: ignore[misc]


def test_a_renamed_machine_knows_its_jobs(submit: Submit, end_all: Callable[[], None]) -> None:
    """Laptops change their names with the network: what runs still runs, what waits still waits, what was killed is lost."""
    first, second, third = submit("first"), submit("second"), submit("third")
    wait_for(lambda: works(first))
    wait_for(waits(second))
    wait_for(waits(third))
    for folder in (first, second, third):
        called(folder, "old-name.office")
    kill(third)
    assert (state(first), JobReader(first).view(2).host) == ("running", "")
    kill(first)
    assert state(first) == "lost"
    wait_for_state(second, "running")
    end_all()
    queue.look_after()
    for folder in (second, third):
        wait_for_state(folder, "finished")


def test_an_earlier_boot_of_this_machine_is_no_other_one() -> None:
    """After a power cut a job is lost, also where the machine is called otherwise since."""
    before = Process(GONE, "the-boot-before 3.00", "old-name", machine_id.machine_id())
    assert state(job("cut-off", process=before)) == "lost"


@pytest.mark.parametrize(
    ("start", "host", "expected"),
    [
        ("another-boot 3.00", "", "lost"),
        ("another-boot 3.00", "node2", "running"),
        ("{boot} 3.00", "old-name", "lost"),
    ],
)
def test_records_of_earlier_versions_tell_a_machine_by_its_name(start: str, host: str, expected: str) -> None:
    """They hold no id: the name decides, or that the process began since this machine was started."""
    me = processes.this_process()
    boot = me.start.rpartition(" ")[0]
    if "{boot}" in start and not boot:
        pytest.skip("this system does not number its boots")
    assert state(job("old", process=Process(GONE, start.format(boot=boot), host or me.host))) == expected


def test_a_machine_is_known_by_what_was_installed_and_a_container_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All containers of an image may hold one /etc/machine-id; what is not for others to read is not written down."""
    installed, namespace = tmp_path / "machine-id", tmp_path / "pid"
    installed.write_text("0123456789abcdef0123456789abcdef\n")
    namespace.symlink_to("pid:[4026531836]")
    monkeypatch.setattr(machine_id, "_INSTALLED", installed)
    monkeypatch.setattr(machine_id, "_NAMESPACE", namespace)
    monkeypatch.setattr(machine_id.platform, "node", lambda: "pod-3")
    found = machine_id.machine_id.__wrapped__()
    assert found == machine_id.machine_id.__wrapped__()
    assert found not in ("pod-3", installed.read_text().strip())
    namespace.unlink()
    namespace.symlink_to("pid:[4026532999]")
    assert machine_id.machine_id.__wrapped__() == "pod-3"
    namespace.unlink()
    assert machine_id.machine_id.__wrapped__() == "pod-3"
