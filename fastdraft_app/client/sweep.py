"""A sweep as a process of its own: ``fastdraft sweep … --json``, its events line by line.

It runs in a session of its own, so that signals of the terminal do not reach it. Finished points are on disk as they
come, so whatever ends it, it can go on later. It ends when nobody reads its output any more.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from fastdraft_app.client.command import COMMAND, SENTENCE, STOP, spawn
from fastdraft_app.client.process import Watched
from fastdraft_core.events import Message, decode_message

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SweepEnded:
    """The process ended. ``code`` is negative for a signal; ``problem`` is its own last sentence, or nothing."""

    code: int
    problem: str
    log: Path


class SweepClient(Watched):
    """Starts, watches and ends one sweep at a time; messages wait in ``incoming`` until the screen takes them."""

    def __init__(self, log: Path, command: Sequence[str] = COMMAND) -> None:
        super().__init__()
        self.log = log
        self.incoming: deque[Message | SweepEnded] = deque()
        self._command = tuple(command)
        self._starting = False

    @property
    def running(self) -> bool:
        """Whether something is being timed, or will be in a moment."""
        return self._starting or super().running

    async def start(self, arguments: Sequence[str], wake: Callable[[], None]) -> None:
        """End the sweep that may be there and start one with the ``arguments`` of ``fastdraft``.

        Raises:
            OSError: the process cannot be started.
        """
        await self.stop()
        self.incoming.clear()
        self._starting = True
        try:
            with self.log.open("wb") as log:
                process = await spawn(*arguments, command=self._command, talk=log)
            self._follow(process, wake, "sweep-reader")
        finally:
            self._starting = False
        logger.info("sweep started, pid %d: %s", process.pid, arguments)

    def ask_to_stop(self) -> None:
        """Let it end after the run in progress, with a verdict on what it has; asked twice, it ends at once."""
        if self._process is not None and self.running:
            try:
                self._process.send_signal(STOP)
            except ValueError:
                # No such signal here: what was measured is on disk already.
                self._process.terminate()
            except OSError as error:
                logger.warning("the sweep could not be asked to stop: %s", error)

    def _ended(self, code: int) -> None:
        """The sweep ended, by itself or since it was asked to."""
        logger.info("sweep ended, code %d", code)
        self.incoming.append(SweepEnded(code, self._problem(), self.log))

    def _take(self, line: bytes) -> None:
        """A message of the sweep."""
        try:
            self.incoming.append(decode_message(line))
        except msgspec.MsgspecError as error:
            logger.warning("line of the sweep ignored (%s): %.200r", error, line)

    def _problem(self) -> str:
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        return next((line.removeprefix(SENTENCE) for line in reversed(lines) if line.startswith(SENTENCE)), "")
