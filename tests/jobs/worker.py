"""The real process of a job around work that takes no time: ``python -m tests.jobs.worker FOLDER``.

Everything is as in ``fastdraft_core.jobs.run`` except the training: the work notes its beginning in a
journal, waits until the file ``end`` lies in the job folder, and notes its end. Whoever this process
starts is such a worker too.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from fastdraft_core import places
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Event, Progress
from fastdraft_core.jobs import device, processes, queue, run
from fastdraft_core.jobs.folder import written
from fastdraft_core.jobs.record import Record, read_record
from fastdraft_core.training.recipe import Recipe
from fastdraft_core.training.stop import Stop

COMMAND = (sys.executable, "-m", "tests.jobs.worker")


def journal() -> list[list[str]]:
    """What the workers noted: [job, pid, begin or end] in the order of time."""
    path = places.jobs() / ".journal"
    return [line.split() for line in path.read_text().splitlines()] if path.is_file() else []


def works(folder: Path) -> bool:
    """Whether the job's present process has begun its work."""
    found = read_record(folder)
    return (
        found is not None and found.process is not None and [folder.name, str(found.process.pid), "begin"] in journal()
    )


def work(recipe: Recipe, folder: Path, record: Record, stop: Stop) -> Iterator[Event]:
    """Until the file ``end`` is there; ``fail``, ``break`` and ``fill`` there end it otherwise."""
    yield from written(_work(folder, stop), folder)


def _work(folder: Path, stop: Stop) -> Iterator[Event]:
    _note(folder, "begin")
    while not (folder / "end").exists():
        if (folder / "fail").exists():
            raise FastdraftError("It was told to fail.")
        if (folder / "fill").exists():
            _fill(folder)
        if (folder / "break").exists():
            raise ValueError("something unforeseen")
        yield Progress(what="working")
        with stop.droppable():
            time.sleep(0.02)
    _note(folder, "end")


def _fill(folder: Path) -> None:
    """Write until the disk has not one byte left."""
    with contextlib.suppress(OSError), (folder / "ballast").open("ab", buffering=0) as ballast:
        while ballast.write(b"x" * 512):
            pass


def _note(folder: Path, what: str) -> None:
    with (places.jobs() / ".journal").open("a") as file:
        file.write(f"{folder.name} {os.getpid()} {what}\n")


if __name__ == "__main__":
    processes.COMMAND = COMMAND
    queue.POLL_SECONDS = 0.1
    # Every name is a device here.
    device.look_up = lambda asked: asked or "cpu"
    run.main(work)
