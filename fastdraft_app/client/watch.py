"""Noticing that a job has ended, wherever one is in the app."""

from __future__ import annotations

import os
from pathlib import Path

from fastdraft_core import places
from fastdraft_core.jobs import processes
from fastdraft_core.jobs.folder import records
from fastdraft_core.jobs.record import ACTIVE, State
from fastdraft_core.jobs.view import JobReader, JobView

OVER: tuple[State, ...] = ("finished", "failed", "lost")
"""How a job ends by itself; whoever paused or cancelled one knows."""


class JobWatcher:
    """Looks at the records of all jobs while one is active; else only whether any folder of a job changed.

    It reads the disk, so a thread of its own should call it.
    """

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[State, float]] | None = None
        self._written: frozenset[tuple[str, int]] = frozenset()

    def poll(self) -> list[JobView]:
        """The jobs that have ended since the last poll, each once; the first one only looks around."""
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
