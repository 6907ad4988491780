"""Job folders as the screens see them: read again only when something changed, steered in one place, their ends noticed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

from fastdraft_core import places
from fastdraft_core.errors import FastdraftError
from fastdraft_core.jobs import control, processes
from fastdraft_core.jobs.folder import EVENTS, RECIPE, job_folders, records
from fastdraft_core.jobs.queue import look_after
from fastdraft_core.jobs.record import ACTIVE, State, read_record
from fastdraft_core.jobs.view import JobReader, JobView, in_order

POINTS = 400
"""Points of a curve: about two a column of a wide chart."""
LOOK_AFTER_EVERY = 5
"""Polls between looks at the queue, each under the lock of all jobs."""

Action = Literal["pause", "resume", "cancel", "retry", "delete"]
ACTIONS: dict[Action, tuple[Callable[[Path], object], str]] = {
    "pause": (control.pause, "{name} leaves at a checkpoint; u goes on from there"),
    "resume": (control.resume, "{name} is queued and goes on from its last checkpoint"),
    "cancel": (control.cancel, "{name} is cancelled; its folder stays, r takes it up again"),
    "retry": (control.retry, "{name} is queued and goes on from its last checkpoint"),
    "delete": (control.delete, "{name} is deleted"),
}
"""What can be done with a job, and what to say then."""


class _Stamp(NamedTuple):
    """A file at a moment; another ``inode`` is another file of that name."""

    inode: int
    size: int
    changed: int


class _Key(NamedTuple):
    """What changes when the job does: its files, and its state where a process may have vanished."""

    events: _Stamp | None
    recipe: _Stamp | None
    record: _Stamp | None
    state: State | None

    @property
    def begun(self) -> tuple[int | None, object]:
        """What stays while a job goes on; other for a folder made anew under an old name, or a recipe that was mended."""
        return self.events.inode if self.events else None, self.recipe[1:] if self.recipe else None


class _Known(NamedTuple):
    """A job as it was read last."""

    key: _Key
    reader: JobReader
    view: JobView


class JobsClient:
    """Follows every job folder. It reads the disk, so a thread of its own should call it."""

    def __init__(self) -> None:
        self.wanted = ""
        """The job that the list shall highlight next."""
        self.compared = ""
        """The job whose curves stand beside those of any other."""
        self._readers: dict[Path, _Known] = {}
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
        return in_order(known.view for known in self._readers.values())

    def _read(self, folder: Path) -> _Known:
        key, known = _key(folder), self._readers.get(folder)
        if known is not None and known.key == key:
            return known
        reader = known.reader if known is not None and known.key.begun == key.begun else JobReader(folder)
        return _Known(key, reader, reader.view(POINTS))


def act(action: Action, folder: Path) -> str:
    """Do one of ``ACTIONS``; returns what to say.

    Raises:
        FastdraftError: it is not possible in the job's state; the message says why.
    """
    what, said = ACTIONS[action]
    what(folder)
    return said.format(name=folder.name)


def _key(folder: Path) -> _Key:
    record = read_record(folder)
    state = processes.state(record) if record is not None and record.state in ACTIVE else None
    return _Key(_stamp(folder / EVENTS), _stamp(folder / RECIPE), _stamp(folder / "job.json"), state)


def _stamp(path: Path) -> _Stamp | None:
    """The file at this moment; nothing where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return _Stamp(status.st_ino, status.st_size, status.st_mtime_ns)


OVER: tuple[State, ...] = ("finished", "failed", "lost")
"""How a job ends by itself; whoever paused or cancelled one knows."""


class JobWatcher:
    """Looks at the records of all jobs while one is active; else only whether any folder of a job changed.

    It reads the disk, so a thread of its own should call it.
    """

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[State, float]] | None = None
        self._written: frozenset[tuple[str, int]] = frozenset()
        self._lock = threading.Lock()

    def poll(self) -> list[JobView]:
        """The jobs that have ended since the last poll, each once; the first one only looks around."""
        # On a slow disk the next look begins before this one has ended: both would tell of the same end.
        with self._lock:
            return self._poll()

    def _poll(self) -> list[JobView]:
        # A record is written beside and renamed, which changes the time of its folder.
        written = _times(places.jobs())
        before = self._seen
        if before is not None and written == self._written and not any(s in ACTIVE for s, _ in before.values()):
            return []
        self._written = written
        now = {folder: (processes.state(record), record.changed) for folder, record in records().items()}
        self._seen = now
        if before is None:
            return []
        ended = [folder for folder, seen in now.items() if seen[0] in OVER and before.get(folder) != seen]
        return [JobReader(folder).view(points=2) for folder in ended]


def _times(folder: Path) -> frozenset[tuple[str, int]]:
    """The folders in ``folder`` with their times of change; none where it cannot be read."""
    try:
        with os.scandir(folder) as found:
            return frozenset((entry.name, entry.stat().st_mtime_ns) for entry in found)
    except OSError:
        return frozenset()
