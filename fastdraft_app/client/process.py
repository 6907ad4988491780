"""What the clients of all processes share: read lines, see a process off, keep a log short."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

GRACE_SECONDS = 1.0
_CHUNK = 1 << 16
_LOG_LIMIT = 1 << 20


class Watched:
    """One process at a time whose output is read line by line; both its clients go on from here."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """Whether there is a process that has not ended."""
        return self._process is not None and self._process.returncode is None

    def _follow(self, process: asyncio.subprocess.Process, wake: Callable[[], None], name: str) -> None:
        """Read ``process`` from now on in a task of this ``name``; ``wake`` after each batch of lines and at the end."""
        self._process = process
        self._reader = asyncio.create_task(self._read(process, wake), name=name)

    async def stop(self) -> None:
        """End it: terminate, and after a short grace kill. Nothing is reported."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reader
        process, self._process = self._process, None
        if process is not None:
            await see_off(process)

    def kill(self) -> None:
        """End it at once, from any place, also after the event loop is gone."""
        kill(self._process)

    def _take(self, line: bytes) -> None:
        """A line that it wrote."""
        raise NotImplementedError

    def _ended(self, code: int) -> None:
        """It ended without being stopped; ``code`` is negative for a signal."""
        raise NotImplementedError

    async def _read(self, process: asyncio.subprocess.Process, wake: Callable[[], None]) -> None:
        await read_lines(process, self._take, wake)
        self._ended(await see_off(process, patience=GRACE_SECONDS))
        wake()


async def read_lines(
    process: asyncio.subprocess.Process, take: Callable[[bytes], None], wake: Callable[[], None]
) -> None:
    """Give every line of the process's output to ``take`` until it ends; ``wake`` after each batch of them."""
    assert process.stdout is not None
    # A line may be megabytes long, so its parts are joined once.
    parts: list[bytes] = []
    while chunk := await process.stdout.read(_CHUNK):
        first, *others = chunk.split(b"\n")
        parts.append(first)
        for start in others:
            if (line := b"".join(parts)).strip():
                take(line)
            parts = [start]
        wake()


async def see_off(process: asyncio.subprocess.Process, patience: float = 0.0) -> int:
    """See a process off: after ``patience`` it is terminated, after a short grace killed. Its exit code."""
    if process.stdin is not None:
        process.stdin.close()
    for end, seconds in ((None, patience), (process.terminate, GRACE_SECONDS), (process.kill, GRACE_SECONDS)):
        with contextlib.suppress(ProcessLookupError):
            if end is not None:
                end()
        with contextlib.suppress(asyncio.TimeoutError):
            return await asyncio.wait_for(process.wait(), seconds)
    return -int(signal.SIGTERM)


def kill(process: asyncio.subprocess.Process | None) -> None:
    """End a process at once, from any place, also after the event loop is gone."""
    if process is not None and process.returncode is None:
        with contextlib.suppress(OSError):
            os.kill(process.pid, getattr(signal, "SIGKILL", signal.SIGTERM))


def shorten(log: Path) -> None:
    """Keep the log small: an old long one steps aside."""
    with contextlib.suppress(OSError):
        if log.stat().st_size > _LOG_LIMIT:
            log.replace(log.with_suffix(".log.1"))
