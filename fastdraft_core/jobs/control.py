"""What a person can do with a job: pause, resume, cancel, retry, delete. Safe from several programs at once.

A job that runs on another machine hears no signal from here, so it is left to that one. One that waits there reads its
record every second, and leaves the queue when it is asked to in that.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from msgspec.structs import replace

from fastdraft_core import places
from fastdraft_core.errors import FastdraftError
from fastdraft_core.jobs import processes
from fastdraft_core.jobs.folder import job_folders, size
from fastdraft_core.jobs.queue import device_here, if_gone, locked, requeue
from fastdraft_core.jobs.record import ACTIVE, Record, State, Wish, read_record, write_record

_ENDED: frozenset[State] = frozenset({"finished", "cancelled"})


def find(name: str) -> Path:
    """The folder of the job called ``name``.

    Raises:
        FastdraftError: there is none; the message lists those that exist.
    """
    known = {folder.name: folder for folder in job_folders()}
    if name in known:
        return known[name]
    listed = (
        f"Jobs here: {', '.join(known)}."
        if known
        else "There are no jobs yet; `fastdraft train RECIPE --detach` makes one."
    )
    raise FastdraftError(f"There is no job {name!r}. {listed}")


def pause(folder: Path) -> None:
    """Have the job write a checkpoint and leave, so that memory and cores are free; a queued one leaves the queue.

    Raises:
        FastdraftError: it is neither queued nor running, or runs on another machine.
    """
    with locked():
        record = _record(folder)
        state = processes.state(record)
        if state not in ACTIVE:
            raise FastdraftError(f"Job {folder.name} is {state}; only a queued or running job can be paused.")
        _refuse_elsewhere(folder, record, "pause")
        _ask(folder, record, "pause", "paused")


def cancel(folder: Path) -> None:
    """End the job for good; its folder stays. Asked again while it still runs, its process is killed.

    Raises:
        FastdraftError: it has ended already, or runs on another machine.
    """
    with locked():
        record = _record(folder)
        state = processes.state(record)
        if state in _ENDED:
            raise FastdraftError(f"Job {folder.name} is {state} already.")
        _refuse_elsewhere(folder, record, "cancel")
        if record.process is not None and state == "running" and record.wish == "cancel":
            processes.kill(record.process)
        _ask(folder, record, "cancel", "cancelled")


def resume(folder: Path, *, here: bool = False) -> None:
    """Queue a paused or lost job again; it goes on from its last checkpoint.

    With ``here`` also one of another machine, for which somebody knows that it does not run there any more.

    Raises:
        FastdraftError: it is in another state.
    """
    refusal = "Job {name} is {state}; only a paused or lost job can be resumed."
    requeue(folder, frozenset({"paused", "lost"}), refusal, take_over=here)


def retry(folder: Path) -> None:
    """Queue a failed, cancelled or lost job again; it goes on from its last good checkpoint.

    Raises:
        FastdraftError: it is in another state.
    """
    refusal = "Job {name} is {state}; only a failed, cancelled or lost job can be tried again."
    requeue(folder, frozenset({"failed", "cancelled", "lost"}), refusal)


def delete(folder: Path) -> int:
    """Delete the folder of a job that is neither queued nor running. Returns the bytes that it held.

    Raises:
        FastdraftError: it is queued or running, no job's folder, or cannot be deleted.
    """
    doomed = folder.with_name(f".deleted-{folder.name}-{os.getpid()}")
    with locked():
        if folder not in job_folders() or folder.is_symlink():
            raise FastdraftError(f"{folder} is no job in {places.jobs()}; delete it by hand.")
        record = read_record(folder)
        state = processes.state(record) if record else None
        if record is not None:
            _refuse_elsewhere(folder, record, "cancel")
        if state in ACTIVE:
            raise FastdraftError(
                f"Job {folder.name} is {state}. Cancel it first: `fastdraft jobs cancel {folder.name}`."
            )
        freed = size(folder)
        try:
            # At once and whole: nobody sees half a job while its files go.
            folder.rename(doomed)
        except OSError as error:
            raise FastdraftError(f"{folder} cannot be deleted ({error.strerror or error}).") from error
    # Also what a killed deletion left behind.
    for path in places.jobs().glob(".deleted-*"):
        shutil.rmtree(path, ignore_errors=True)
    return freed


def _ask(folder: Path, record: Record, wish: Wish, at_once: State) -> None:
    """Write the wish down and wake the process; a job that does not run takes its new state ``at_once``."""
    running = processes.state(record) == "running"
    state = record.state if running else at_once
    error = "" if at_once == "paused" else record.error
    process = record.process if running else None
    now, device = time.time(), device_here(record)
    write_record(
        folder, replace(record, state=state, wish=wish, error=error, device=device, process=process, changed=now)
    )
    if record.process is not None:
        processes.ask_to_stop(record.process)


def _refuse_elsewhere(folder: Path, record: Record, what: str) -> None:
    """No signal reaches a job that runs on another machine."""
    other = processes.place(record)
    if other and record.state == "running":
        raise FastdraftError(
            f"Job {folder.name} runs on {other}, and only there can be told to end: `fastdraft jobs {what} {folder.name}` on "
            f"{other}. {if_gone(folder, other)}"
        )


def _record(folder: Path) -> Record:
    record = read_record(folder)
    if record is None:
        raise FastdraftError(f"Job {folder.name} has no readable job.json, so no process can be found for it.")
    return record
