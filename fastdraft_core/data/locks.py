"""Work on a file of the cache that several jobs may ask for at once: one does it, the others wait and find it done."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path

import filelock

from fastdraft_core.events import Event, Progress


def alone(
    result: Path, what: str, there: Callable[[], bool], work: Generator[Event, None, None]
) -> Generator[Event, None, None]:
    """``work``, which makes ``result``, by one process at a time; nothing where all of it is ``there``.

    ``what`` ends the sentence "waiting for another process that …".
    """
    if there():
        return
    result.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(f"{result}.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        yield Progress(what=f"waiting for another process that {what}")
        lock.acquire()
    try:
        # Another process may have made it meanwhile.
        if not there():
            yield from work
    finally:
        lock.release()
