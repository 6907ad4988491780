"""Asking a training to leave: it writes a checkpoint first, and answers within seconds.

A signal only sets a flag, except inside work that may be dropped half done, such as a forward pass,
a shard in building or an evaluation: there it breaks the work off at once. Weights, optimizers and
files are therefore never left between two states.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Generator, Iterator
from types import FrameType
from typing import TypeVar

from fastdraft_core.events import Event

_T = TypeVar("_T")
#: Ctrl-C, a polite end, a lost terminal, Ctrl-Break; each where the system has it.
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")


class Interrupted(KeyboardInterrupt):
    """Somebody asked the training to leave; what was done so far is saved."""


class Stop:
    """Whether a training was asked to leave; ``request`` asks it."""

    def __init__(self) -> None:
        self.requested = False
        self._droppable = False

    def request(self) -> None:
        """Ask the training to leave: at once where its work may be dropped, else at the next such place."""
        self.requested = True
        if self._droppable:
            raise Interrupted

    @contextlib.contextmanager
    def droppable(self) -> Iterator[None]:
        """Around work that may be broken off anywhere.

        Raises:
            Interrupted: the training was asked to leave, before or meanwhile.
        """
        if self.requested:
            raise Interrupted
        self._droppable = True
        try:
            yield
        finally:
            self._droppable = False

    def drop(self, work: Generator[Event, None, _T]) -> Generator[Event, None, _T]:
        """``work`` as a generator that may be broken off anywhere. Returns what it returns."""
        while True:
            with self.droppable():
                try:
                    event = next(work)
                except StopIteration as end:
                    return end.value
            yield event

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """Let the system's signals ask; a second Ctrl-C leaves without a checkpoint. For the main thread."""
        before = {number: signal.signal(number, self._signalled) for number in _heard()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.request()


def _heard() -> list[int]:
    """The signals that ask; under ``nohup`` a lost terminal is none."""
    numbers = {name: number for name in _SIGNALS if (number := getattr(signal, name, None)) is not None}
    if "SIGHUP" in numbers and signal.getsignal(numbers["SIGHUP"]) is signal.SIG_IGN:
        del numbers["SIGHUP"]
    return list(numbers.values())
