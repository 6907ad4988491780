"""Texts that are kept in the cache once they were read: a job that goes on reads the same, and needs no network for it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, TypeVar

import filelock
import msgspec

from fastdraft_core import places
from fastdraft_core.files import remembered, write_atomic

_T = TypeVar("_T")


def pinned(name: str, key: Any, read: Callable[[], _T], kind: type[_T]) -> _T:
    """What ``read`` gave when it was first asked for ``key``, of the JSON type ``kind``; ``name`` is for people.

    A newer version of the source is not looked for: delete the file to have it read again.
    """
    digest = hashlib.sha256(msgspec.json.encode(key)).hexdigest()[:16]
    path = places.cache() / "pinned" / f"{name}-{digest}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    # The other processes of a training wait here, and then find the file.
    with filelock.FileLock(f"{path}.lock"):
        kept = remembered(path, kind)
        if kept is not None:
            return kept
        found = read()
        write_atomic(path, msgspec.json.encode(found))
        return found
