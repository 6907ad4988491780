"""Writing files so that a reader sees the old one or the new one, never half of it; and what is remembered in such files."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TypeVar

import msgspec

_Value = TypeVar("_Value")


def write_atomic(path: Path, data: bytes) -> None:
    """Write ``data`` beside ``path`` and rename it; its folder is made, and it survives a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    building = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        building.replace(path)
    except BaseException:
        building.unlink(missing_ok=True)
        raise


def remember(path: Path, value: object) -> None:
    """Write ``value`` as JSON. A cache that cannot be written only costs finding the value out again."""
    with contextlib.suppress(OSError):
        write_atomic(path, msgspec.json.format(msgspec.json.encode(value)))


def remembered(path: Path, kind: type[_Value]) -> _Value | None:
    """What ``remember`` wrote; None where the file is missing, damaged, or holds something else."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
