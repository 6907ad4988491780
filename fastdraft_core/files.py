"""Writing files and folders so that a reader sees the old one or the new one, never half; what is remembered in such files."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec
import psutil

from fastdraft_core.errors import FastdraftError

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


@contextlib.contextmanager
def building(output: Path, *, needed: int) -> Iterator[Path]:
    """A folder beside ``output`` that becomes it at the end, or disappears.

    Raises:
        FastdraftError: ``output`` holds something already, or the disk lacks ``needed`` bytes or cannot be written.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise FastdraftError(f"{output} exists and is not empty. Give another folder, or remove it first.")
    folder = output.with_name(f"{output.name}.building-{os.getpid()}")
    try:
        _remove_left_over(output)
        folder.mkdir(parents=True)
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise FastdraftError(
                f"{output} needs about {needed / 1e9:.1f} GB while it is written and {free / 1e9:.1f} GB are free. "
                "Free some space, or give a folder on another disk."
            )
        yield folder
        if output.is_dir():
            output.rmdir()
        folder.rename(output)
    except OSError as error:
        raise FastdraftError(
            f"{output} cannot be written ({error.strerror or error}). Free some space or give another folder."
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_left_over(output: Path) -> None:
    """What a process that was killed left beside ``output``; one that lives may still be at work."""
    for folder in output.parent.glob(f"{output.name}.building-*"):
        number = folder.name.rpartition("-")[2]
        if number.isdecimal() and (int(number) == os.getpid() or not psutil.pid_exists(int(number))):
            shutil.rmtree(folder, ignore_errors=True)
