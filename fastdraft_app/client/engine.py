"""The engine process: commands go in, messages come out, one line of JSON each.

The engine runs in a session of its own, so that signals of the terminal do not reach it; it ends
when its input closes, which happens however the app ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from fastdraft_app.client.process import Watched, shorten
from fastdraft_core.events import Command, Message, decode_message, encode
from fastdraft_core.jobs.processes import python_environment
from fastdraft_core.recordings import Recorded

ENGINE_COMMAND = (sys.executable, "-P", "-m", "fastdraft_core.engine.process")
"""``-P``: a ``random.py`` in the user's folder is not ours to import."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineStopped:
    """The engine ended without being asked to; ``code`` is negative for a signal."""

    code: int
    log: Path

    @property
    def reason(self) -> str:
        """How it ended, in words."""
        return f"signal {-self.code}" if self.code < 0 else f"exit code {self.code}"


class EngineRecorder(Protocol):
    """Whoever keeps what goes to the engine and what comes back."""

    @property
    def recorded(self) -> Recorded | None:
        """The run in progress or the last one."""

    def sent(self, command: Command) -> None:
        """A command goes to the engine."""

    def received(self, message: Message) -> None:
        """A message came from the engine."""

    def end(self) -> None:
        """There will be no more of this run."""


class EngineClient(Watched):
    """Starts, feeds, watches and ends one engine process at a time.

    Messages wait in ``incoming`` until the screen's clock takes them; ``wake`` is called when the
    first of a batch arrives, for a clock that is asleep.
    """

    def __init__(self, log: Path, command: Sequence[str] = ENGINE_COMMAND) -> None:
        super().__init__()
        self.log = log
        self.incoming: deque[Message | EngineStopped] = deque()
        self.recorder: EngineRecorder | None = None
        """Sees every command and message, and when there will be no more."""
        self._command = tuple(command)

    @property
    def pid(self) -> int | None:
        """Process id of the engine, while there is one."""
        return self._process.pid if self._process is not None else None

    async def start(self, wake: Callable[[], None]) -> None:
        """End the engine that may be there and start a fresh one."""
        await self.stop()
        self.incoming.clear()
        shorten(self.log)
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=python_environment(),
                start_new_session=True,
            )
        logger.info("engine started, pid %d", process.pid)
        self._follow(process, wake, "engine-reader")

    def send(self, command: Command) -> None:
        """Write one command. A dead engine takes none; its end is reported by the reader."""
        if not self.running:
            return
        assert self._process is not None
        assert self._process.stdin is not None
        if self.recorder is not None:
            self.recorder.sent(command)
        with contextlib.suppress(OSError, RuntimeError):
            self._process.stdin.write(encode(command))

    def _ended(self, code: int) -> None:
        """The engine ended without being asked to."""
        logger.warning("engine stopped, code %d", code)
        if self.recorder is not None:
            self.recorder.end()
        self.incoming.append(EngineStopped(code, self.log))

    def _take(self, line: bytes) -> None:
        """A message of the engine."""
        try:
            message = decode_message(line)
        except msgspec.MsgspecError as error:
            logger.warning("line of the engine ignored (%s): %.200r", error, line)
            return
        if self.recorder is not None:
            self.recorder.received(message)
        self.incoming.append(message)
