"""What ``fastdraft doctor`` finds, check by check, while a process of its own looks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from fastdraft_app.client.command import last_words, lines, spawn
from fastdraft_app.client.process import kill, read_lines
from fastdraft_core.events import Check, decode_message


def read_check(line: bytes) -> Check | None:
    """The check on one line of the array that ``fastdraft doctor --json`` prints; None for any other line."""
    try:
        found = decode_message(line.lstrip(b"[,"))
    except msgspec.MsgspecError:
        return None
    return found if isinstance(found, Check) else None


class Doctor:
    """One look at the machine at a time; ``found`` grows while it goes on."""

    def __init__(self) -> None:
        self.found: list[Check] = []
        self._whole = False

    async def look(self, changed: Callable[[], None]) -> str:
        """Have everything checked; ``changed`` is called when there is more. Returns why it broke off; empty where it did not.

        The process ends with this call, also when that is cancelled.

        Raises:
            OSError: the process cannot be started.
        """
        self.found, self._whole = [], False
        process = await spawn("doctor", "--json")
        assert process.stderr is not None
        try:
            _, talk = await asyncio.gather(read_lines(process, self._take, changed), process.stderr.read())
            code = await process.wait()
        finally:
            kill(process)
            await process.wait()
        return "" if self._whole else last_words(lines(talk), f"fastdraft doctor ended with exit code {code}.")

    def _take(self, line: bytes) -> None:
        check = read_check(line)
        if check is not None:
            self.found.append(check)
        # A failed check is exit code 1 as well; only the end of the array tells that all have come.
        self._whole = self._whole or line.strip() == b"]"
