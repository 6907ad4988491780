"""What several jobs want of the cache: made by one of them, once."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import filelock

from fastdraft_core.data.locks import alone
from fastdraft_core.events import Event, Progress


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    """A finished file needs no lock: a job that only reads it waits for nobody."""
    result = tmp_path / "result"
    result.touch()
    with filelock.FileLock(f"{result}.lock"):
        assert not list(alone(result, "makes it", result.is_file, _make(result)))


def test_what_came_while_it_waited_is_not_made_again(tmp_path: Path) -> None:
    """The one that waits says so, and looks again when its turn comes."""
    result = tmp_path / "result"
    other = filelock.FileLock(f"{result}.lock")
    other.acquire()
    work = alone(result, "makes it", result.is_file, _make(result))
    assert next(work) == Progress(what="waiting for another process that makes it")
    result.touch()
    other.release()
    assert not list(work)


def test_the_lock_is_free_after_work_that_failed(tmp_path: Path) -> None:
    """A job that stops half way leaves its turn to the next one."""
    result = tmp_path / "folder" / "result"
    work = alone(result, "makes it", result.is_file, _make(result))
    assert next(work) == Progress(what="making it")
    work.close()
    assert len(list(alone(result, "makes it", result.is_file, _make(result)))) == 1
    assert result.is_file()


def _make(result: Path) -> Generator[Event, None, None]:
    yield Progress(what="making it")
    result.touch()
