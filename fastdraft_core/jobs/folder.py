"""The job folder: ``recipe.toml``, ``job.json``, ``events.jsonl``, ``log.txt`` and ``checkpoints/``."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import msgspec

from fastdraft_core import places
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Event, RecipeChanged, encode
from fastdraft_core.files import write_atomic
from fastdraft_core.jobs.changes import take_changes
from fastdraft_core.jobs.record import Record, read_record
from fastdraft_core.training.folders import last_checkpoint
from fastdraft_core.training.recipe import STAGES, Recipe, dump_recipe, load_recipe

RECIPE = "recipe.toml"
EVENTS = "events.jsonl"
#: What makes a folder a job, be it a damaged one.
_MARKS = (RECIPE, "job.json", EVENTS)
#: As a recipe's name; a folder that is called otherwise was not made by fastdraft.
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
#: Kept aside so that the reason of a failure can be written to a full disk.
_RESERVE = ".reserve"
_RESERVE_BYTES = 64 << 10


def claim(recipe: Recipe, folder: Path, again: str = "") -> None:
    """Make ``folder`` the job of ``recipe``, or have the job that it is take the recipe's safe changes.

    ``again`` is a stage that is about to begin anew.

    Raises:
        FastdraftError: it is the job of another recipe (see ``jobs/changes.py``), or cannot be written.
    """
    kept = folder / RECIPE
    try:
        if kept.is_file():
            # Compared as read, not as written: a later fastdraft may write more fields with the same meaning.
            changes = take_changes(job_recipe(folder), recipe, folder, again)
            if not changes:
                return
            with EventFile(folder) as events:
                events.write(RecipeChanged(at=time.time(), changes=changes))
        write_atomic(kept, msgspec.toml.encode(dump_recipe(recipe)))
    except OSError as error:
        raise FastdraftError(f"The job folder {folder} cannot be written ({error.strerror or error}).") from error


def job_recipe(folder: Path) -> Recipe:
    """The recipe of a job.

    Raises:
        FastdraftError: it is missing or damaged.
    """
    return load_recipe(str(folder / RECIPE))


def job_folders() -> list[Path]:
    """Every folder that is a job, damaged ones included, by name."""
    try:
        found = [path for path in places.jobs().iterdir() if _NAME.fullmatch(path.name)]
    except OSError:
        return []
    return sorted(path for path in found if any((path / mark).is_file() for mark in _MARKS))


def records() -> dict[Path, Record]:
    """The records of all jobs that have a readable one."""
    found = {folder: read_record(folder) for folder in job_folders()}
    return {folder: record for folder, record in found.items() if record is not None}


def size(folder: Path) -> int:
    """Bytes of all files in ``folder``; what vanishes meanwhile counts nothing."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.lstat().st_size if not path.is_dir() else 0
    return total


def reserve(folder: Path) -> None:
    """Set some bytes aside for the words that a full disk would not take."""
    path = folder / _RESERVE
    if not path.is_file() or path.stat().st_size < _RESERVE_BYTES:
        # Not zeros: a file system may keep those as a hole.
        path.write_bytes(b"reserve " * (_RESERVE_BYTES // 8))


def use_reserve(folder: Path) -> None:
    """Free the bytes that were set aside."""
    (folder / _RESERVE).unlink(missing_ok=True)


def trained_model(folder: Path, record: Record | None) -> Path | None:
    """The newest whole model of a job: the one it published, else the last checkpoint of its latest stage."""
    if record and record.output and (Path(record.output) / "config.json").is_file():
        return Path(record.output)
    return next((saved for stage in reversed(STAGES) if (saved := last_checkpoint(folder, stage))), None)


class EventFile:
    """``events.jsonl``, open for appending: one whole line a call, after whatever a crash left behind."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / EVENTS).open("ab+", buffering=0)
        if self._file.seek(0, 2):
            self._file.seek(-1, 2)
            if self._file.read(1) != b"\n":
                self._file.write(b"\n")

    def __enter__(self) -> EventFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, event: Event) -> None:
        """Append one event.

        Raises:
            FastdraftError: the disk is full or not writable.
        """
        line = encode(event)
        try:
            # A disk that is nearly full takes the beginning of a line without a word.
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise FastdraftError(
                f"{self._file.name} cannot be written ({error.strerror or error}). Free some space and run the same "
                "job again; it goes on from the last checkpoint."
            ) from error


def written(events: Iterator[Event], folder: Path) -> Iterator[Event]:
    """Pass ``events`` on, each after it was appended to ``events.jsonl``."""
    with EventFile(folder) as file:
        for event in events:
            file.write(event)
            yield event
