"""Downloading a model: ``fastdraft download`` in a process of its own, which tells how far it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from fastdraft_app.client.command import Outcome, last_words, lines, spawn
from fastdraft_app.client.process import kill, read_lines
from fastdraft_core.events import Progress, decode_message
from fastdraft_core.formatting import in_bytes, percent
from fastdraft_core.models.catalog import SMOLLM2


class Downloader:
    """One download at a time. ``told`` is what the process said last."""

    def __init__(self) -> None:
        self.name = ""
        """What is being downloaded; empty for nothing."""
        self.told = Progress(what="")
        self._process: asyncio.subprocess.Process | None = None
        self._stopped = False

    @property
    def words(self) -> str:
        """How far it is."""
        told = self.told
        if not told.total:
            return told.what
        return f"{told.what}: {in_bytes(told.done)} of {in_bytes(told.total)}, {percent(told.done / told.total)}"

    async def run(self, name: str, changed: Callable[[], None]) -> Outcome:
        """Download ``name``; ``changed`` is called when there is news. Says whether it came, or why not.

        Raises:
            OSError: the process cannot be started.
        """
        self.name, self.told, self._stopped = name, Progress(what=f"looking for {name}"), False
        try:
            return await self._run(changed)
        finally:
            kill(self._process)
            self.name, self._process = "", None

    async def _run(self, changed: Callable[[], None]) -> Outcome:
        self._process = process = await spawn("download", self.name, "--json")
        assert process.stderr is not None
        _, talk = await asyncio.gather(read_lines(process, self._take, changed), process.stderr.read())
        if await process.wait() == 0:
            where = "here" if self.name == SMOLLM2 else "in the Hugging Face cache"
            return Outcome(True, f"{self.name} is {where}.")
        if self._stopped:
            return Outcome(False, f"{self.name}: what has come is kept; the next download goes on from there.")
        return Outcome(False, last_words(lines(talk), "the process ended without a word"))

    def _take(self, line: bytes) -> None:
        try:
            event = decode_message(line)
        except msgspec.MsgspecError:
            return
        if isinstance(event, Progress):
            self.told = event

    def stop(self) -> None:
        """End it; what has come stays for the next time."""
        self._stopped = True
        kill(self._process)
