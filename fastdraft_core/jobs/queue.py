"""The queue of jobs: one device runs one job, in the order of their tickets, without a daemon.

A queued job is a small process of its own that waits: it looks once a second whether a job with a
lower ticket waits for its device or a living one runs on it, and else becomes the running process
itself. Nobody has to hand anything over, so a job that is killed with ``kill -9`` frees its device
like any other. A waiting process that is killed is started again by whoever looks next: another
waiting job, a job that ends, the app, the command line. Everything here happens under one lock and
is written down in the jobs' records, so no job starts twice.

Several machines may share the folder. Each has a queue of its own for its devices, and leaves alone
what waits or runs on another one.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Container, Iterator
from pathlib import Path
from typing import get_args

import filelock
import psutil
from msgspec.structs import replace

from fastdraft_core import places
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import JobEnded
from fastdraft_core.jobs import processes
from fastdraft_core.jobs.folder import EventFile, claim, job_recipe, records
from fastdraft_core.jobs.record import ACTIVE, Record, State, read_record, write_record
from fastdraft_core.training.folders import last_checkpoint, set_aside
from fastdraft_core.training.output import check_output
from fastdraft_core.training.recipe import Recipe, check_stage

POLL_SECONDS = 1.0
#: So many processes may die before their first step; then the job has failed.
_MAX_STARTS = 3
_LOCK_SECONDS = 20.0


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Hold the lock of all jobs; for milliseconds.

    Raises:
        FastdraftError: somebody else does not let go of it, or the jobs folder cannot be written.
    """
    folder = places.jobs()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder / ".lock", timeout=_LOCK_SECONDS):
            yield
    except filelock.Timeout as error:
        raise FastdraftError(
            f"Another fastdraft program holds {folder / '.lock'}. End that program, or try again."
        ) from error
    except OSError as error:
        raise FastdraftError(f"The jobs folder {folder} cannot be written ({error.strerror or error}).") from error


def submit(
    recipe: Recipe,
    folder: Path,
    *,
    detach: bool,
    device: str = "",
    stage: str = "",
    again: bool = False,
    output: Path | None = None,
) -> None:
    """Put the job of ``recipe`` at the end of the queue, with a process of its own, or with this one.

    ``device`` as ``--device``: empty for the best one. ``stage`` runs that one alone, and with ``again`` from its
    beginning. ``output`` is where the finished model is written, with its card.

    Raises:
        FastdraftError: the folder belongs to another recipe or to a job that is queued or running, or the model cannot be
            written to ``output``.
    """
    check_stage(recipe, stage)
    if again and not stage:
        raise FastdraftError("--again repeats one stage; name it: --stage cp --again.")
    if output is not None:
        _check_publishing(recipe, folder, stage, output)
    with locked():
        known = read_record(folder)
        if known is not None and processes.state(known) in ACTIVE:
            raise FastdraftError(
                f"Job {folder.name} is {processes.state_words(known)} already. See it with `fastdraft jobs follow {folder.name}`."
            )
        claim(recipe, folder, stage if again else "")
        if again:
            set_aside(folder, stage)
        now = time.time()
        record = Record(
            state="queued",
            ticket=_next_ticket(),
            created=known.created if known else now,
            changed=now,
            folder=str(Path.cwd()),
            asked=device,
            stage=stage,
            output=str(output.absolute()) if output else "",
            process=None if detach else processes.this_process(),
        )
        _begin(folder, record)


def requeue(
    folder: Path, allowed: Container[State], refusal: str, *, detach: bool = True, take_over: bool = False
) -> None:
    """Put a job that is in an ``allowed`` state at the end of the queue again; ``refusal`` has room for its state.

    With ``take_over`` also one that waits or runs on another machine, as far as can be told from here.
    """
    with locked():
        record = read_record(folder)
        if record is None:
            raise FastdraftError(
                f"Job {folder.name} has no readable job.json. Run `fastdraft train {folder}/recipe.toml --detach`; it goes "
                "on from the last checkpoint."
            )
        other = processes.place(record)
        if processes.state(record) not in allowed and not (take_over and other):
            refused = refusal.format(name=folder.name, state=processes.state_words(record))
            raise FastdraftError(f"{refused} {if_gone(folder, other)}" if other else refused)
        process = None if detach else processes.this_process()
        fresh = dict(wish="", error="", process=process, starts=0, changed=time.time())
        known = device_here(record)
        _begin(folder, replace(record, state="queued", ticket=_next_ticket(), device=known, **fresh))


def adopt(folder: Path) -> None:
    """Have the job in ``folder`` queued, for a process that somebody started for it by hand.

    Raises:
        FastdraftError: there is no recipe, or another process works for the job.
    """
    record = read_record(folder)
    if record is None:
        submit(job_recipe(folder), folder, detach=False)
    elif record.state != "queued":
        rest = frozenset(get_args(State)) - ACTIVE
        requeue(folder, rest, "Job {name} is {state} already.", detach=False)


def look_after() -> None:
    """Start a process for every queued job that has none."""
    with locked():
        _look_after(records())


def device_here(record: Record) -> str:
    """The device that a job occupies or waits for; where that is one of another machine, it is to be looked up here."""
    return "" if processes.elsewhere(record.process) else record.device


def if_gone(folder: Path, machine: str) -> str:
    """What to do with a job of another machine that does not come back."""
    return f"If {machine} is gone for good, `fastdraft jobs resume {folder.name} --here` goes on with it here."


def enter(folder: Path) -> Record:
    """Make this process the one of the queued job in ``folder``.

    Raises:
        FastdraftError: another process works for it, or it is not queued.
    """
    with locked():
        record = read_record(folder)
        if record is None or record.state != "queued":
            state = processes.state_words(record) if record else "not queued"
            raise FastdraftError(
                f"Job {folder.name} is {state}. Start it with `fastdraft train` or `fastdraft jobs resume`."
            )
        others = processes.alive(record.process) or bool(processes.elsewhere(record.process))
        if others and not processes.is_this(record.process):
            raise FastdraftError(f"Job {folder.name} is {processes.state_words(record)} already, by another process.")
        record = replace(record, process=processes.this_process())
        write_record(folder, record)
        return record


def take_turn(folder: Path, device: str) -> str:
    """Become the running job of ``device`` if it is this one's turn. Returns the job to wait for, or nothing.

    Raises:
        FastdraftError: the job is no longer this process's own.
    """
    with locked():
        record = read_record(folder)
        if record is None or record.state != "queued" or not processes.is_this(record.process):
            raise FastdraftError(f"Job {folder.name} was taken out of the queue.")
        others = {path: other for path, other in records().items() if path != folder}
        _look_after(others)
        ahead = _ahead(record, device, others)
        if not ahead:
            now = time.time()
            record = replace(record, state="running", device=device, starts=0, changed=now)
            write_record(folder, record)
        elif record.device != device or record.starts:
            # It waits as it should: if it is killed from now on, it is simply started again.
            write_record(folder, replace(record, device=device, starts=0))
        return ahead


def leave(folder: Path, state: State, error: str = "") -> None:
    """End this process's part in the job, in the events and in the record; a wish to cancel makes a pause an end."""
    with locked():
        record = read_record(folder)
        if record is None or not processes.is_this(record.process) or record.state not in ACTIVE:
            return
        if state == "paused" and record.wish == "cancel":
            state = "cancelled"
        # The event first: whoever sees the new state finds all events. A full disk may still have room for one of both.
        with contextlib.suppress(OSError, FastdraftError), EventFile(folder) as events:
            events.write(JobEnded(at=time.time(), state=state, message=error))
        write_record(folder, replace(record, state=state, error=error, changed=time.time()))


def _check_publishing(recipe: Recipe, folder: Path, stage: str, output: Path) -> None:
    """Whether the model can be written when the training is through; told before hours are spent."""
    missing = [n for n in recipe.stages if n != stage and last_checkpoint(folder, n) is None]
    if stage and missing:
        raise FastdraftError(
            f"--output writes the finished model after all stages of the recipe, and {', '.join(missing)} would not have run. "
            f"Leave --output out while --stage {stage} runs alone, or leave --stage out."
        )
    check_output(output, folder)


def _begin(folder: Path, record: Record) -> None:
    write_record(folder, record)
    _look_after({folder: record})


def _ahead(mine: Record, device: str, others: dict[Path, Record]) -> str:
    """The job that runs on ``device``, or waits for it (or for a device not yet looked up) with a lower ticket."""
    for path, other in others.items():
        # Also a job that has ended holds its device until its process is gone.
        holds = other.state != "queued" and other.device == device and not processes.is_this(other.process)
        if holds and processes.alive(other.process):
            return path.name
    before = [
        (other.ticket, path.name)
        for path, other in others.items()
        if other.state == "queued"
        and other.device in (device, "")
        and other.ticket < mine.ticket
        # Each machine has its own cpu and its own cuda:0.
        and not processes.elsewhere(other.process)
    ]
    return min(before)[1] if before else ""


def _look_after(known: dict[Path, Record]) -> None:
    for folder, record in known.items():
        if record.state != "queued" or processes.alive(record.process) or processes.elsewhere(record.process):
            continue
        try:
            if record.starts >= _MAX_STARTS:
                raise FastdraftError(f"The job's process ended {record.starts} times before it ran; see log.txt.")
            process = processes.start(folder, record.folder)
            record = replace(record, process=process, starts=record.starts + 1)
        except (OSError, psutil.Error, FastdraftError) as error:
            reason = error.message if isinstance(error, FastdraftError) else f"The job could not be started: {error}."
            record = replace(record, state="failed", error=reason, process=None, changed=time.time())
        with contextlib.suppress(OSError):
            write_record(folder, record)


def _next_ticket() -> int:
    return 1 + max((record.ticket for record in records().values()), default=0)
