"""Job folders as the screens see them: read again only when something changed, and steered in one place."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from fastdraft_core.errors import FastdraftError
from fastdraft_core.jobs import control, processes
from fastdraft_core.jobs.folder import EVENTS, RECIPE, job_folders
from fastdraft_core.jobs.queue import look_after
from fastdraft_core.jobs.record import ACTIVE, read_record
from fastdraft_core.jobs.view import JobReader, JobView, in_order

POINTS = 400
"""Points of a curve: about two a column of a wide chart."""
LOOK_AFTER_EVERY = 5
"""Polls between looks at the queue, each under the lock of all jobs."""

ACTIONS: dict[str, tuple[Callable[[Path], object], str]] = {
    "pause": (control.pause, "{name} leaves at a checkpoint; u goes on from there"),
    "resume": (control.resume, "{name} is queued and goes on from its last checkpoint"),
    "cancel": (control.cancel, "{name} is cancelled; its folder stays, r takes it up again"),
    "retry": (control.retry, "{name} is queued and goes on from its last checkpoint"),
    "delete": (control.delete, "{name} is deleted"),
}
"""What can be done with a job, and what to say then."""

Key = tuple[object, ...]


class JobsClient:
    """Follows every job folder. It reads the disk, so a thread of its own should call it."""

    def __init__(self) -> None:
        self.wanted = ""
        """The job that the list shall highlight next."""
        self.compared = ""
        """The job whose curves stand beside those of any other."""
        self._readers: dict[Path, tuple[Key, JobReader, JobView]] = {}
        self._polls = 0
        self._lock = threading.Lock()

    def poll(self) -> list[JobView]:
        """All jobs in the order of the list; an unchanged one is the very same object as before."""
        with self._lock:
            return self._poll()

    def _poll(self) -> list[JobView]:
        if self._polls % LOOK_AFTER_EVERY == 0:
            # A jobs folder that cannot be written, or a lock that somebody holds, hides no job.
            with suppress(FastdraftError, OSError):
                look_after()
        self._polls += 1
        folders = job_folders()
        self._readers = {folder: self._read(folder) for folder in folders}
        return in_order(view for _, _, view in self._readers.values())

    def _read(self, folder: Path) -> tuple[Key, JobReader, JobView]:
        key, known = _key(folder), self._readers.get(folder)
        if known is not None and known[0] == key:
            return known
        # Whoever made the folder anew under an old name, or mended its recipe, is read from the start.
        again = known is None or known[0][:2] != key[:2]
        reader = JobReader(folder) if again or known is None else known[1]
        return key, reader, reader.view(POINTS)


def act(action: str, folder: Path) -> str:
    """Do one of ``ACTIONS``; returns what to say.

    Raises:
        FastdraftError: it is not possible in the job's state; the message says why.
    """
    what, said = ACTIONS[action]
    what(folder)
    return said.format(name=folder.name)


def _key(folder: Path) -> Key:
    """What changes when the job does: its files, and its state where a process may have vanished."""
    record = read_record(folder)
    state = processes.state(record) if record is not None and record.state in ACTIVE else None
    events, recipe, kept = (_stamp(folder / name) for name in (EVENTS, RECIPE, "job.json"))
    return (events[:1], recipe[1:], events[1:], kept[1:], state)


def _stamp(path: Path) -> tuple[int, ...]:
    """Inode, size and time of change; nothing where there is no such file."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns
