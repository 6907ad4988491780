"""``job.json``: what the last program that acted on a job wrote down, and the state that follows from it.

The file is written whole and renamed, under the lock of the jobs folder. It says what should be; the
process table says what is; ``job_state`` puts both together.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from fastdraft_core.files import write_atomic

State = Literal["queued", "running", "paused", "finished", "failed", "lost", "cancelled"]
Wish = Literal["", "pause", "cancel"]

#: States in which a process works for the job, or should.
ACTIVE: frozenset[State] = frozenset({"queued", "running"})
_FILE = "job.json"


class Process(msgspec.Struct, frozen=True):
    """A process that cannot be mistaken for a later one with the same ``pid``.

    ``start`` is its start time as the system counts it; ``host`` is the name of the machine that it runs on, and
    ``machine`` what that is known by where names change; empty in records of earlier versions.
    """

    pid: int
    start: str
    host: str
    machine: str = ""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What is written down about a job.

    ``ticket`` is its place in the queue. ``device`` is the device it occupies, such as ``cuda:1`` counted over the whole
    machine, empty until the ``asked`` one was looked up. ``stage`` and ``output`` are those of ``fastdraft train``.
    ``folder`` is where relative paths of the recipe begin. ``process`` is the newest one; ``starts`` counts those that
    ended before they could wait or run. Times are Unix times.
    """

    state: State
    ticket: int
    created: float
    changed: float
    folder: str
    asked: str = ""
    device: str = ""
    stage: str = ""
    output: str = ""
    wish: Wish = ""
    process: Process | None = None
    starts: int = 0
    error: str = ""


def job_state(record: Record, alive: bool) -> State:
    """The state of a job whose process is ``alive``, or cannot be seen from here; or is gone.

    A queued job without a process stays queued: whoever looks after the queue starts it again.
    """
    if record.state != "running" or alive:
        return record.state
    wished: dict[Wish, State] = {"pause": "paused", "cancel": "cancelled"}
    return wished.get(record.wish, "lost")


def read_record(folder: Path) -> Record | None:
    """The record of a job; None where there is none, or a damaged one."""
    try:
        return msgspec.json.decode((folder / _FILE).read_bytes(), type=Record)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def write_record(folder: Path, record: Record) -> None:
    """Put ``record`` in the place of the old one; only under the lock of the jobs folder."""
    write_atomic(folder / _FILE, msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")
