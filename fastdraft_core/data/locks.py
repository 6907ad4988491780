"""Work on a file of the cache that several jobs may ask for at once: one does it, the others wait and find it done."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TypeVar

import filelock

from fastdraft_core.events import Event, Progress

_T = TypeVar("_T")


def alone(result: Path, what: str, work: Generator[Event, None, _T]) -> Generator[Event, None, _T]:
    """``work``, begun when nobody else works on ``result``; it must look itself whether that is there by then.

    ``what`` ends the sentence "waiting for another process that …". Returns what ``work`` returns.
    """
    result.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(f"{result}.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        yield Progress(what=f"waiting for another process that {what}")
        lock.acquire()
    try:
        return (yield from work)
    finally:
        lock.release()
