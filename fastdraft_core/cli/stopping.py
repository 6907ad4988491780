"""Ctrl-C for commands that measure: what is under way ends well, and what was found is kept."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def stopping() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed: the first time ends the work after the run in progress, the second at once."""
    asked: list[bool] = []

    def ask(number: int, frame: FrameType | None) -> None:
        del number, frame
        if asked:
            raise KeyboardInterrupt
        asked.append(True)

    # On Windows another process, such as the app, can send Ctrl-Break alone.
    numbers: set[int] = {signal.SIGINT, getattr(signal, "SIGBREAK", signal.SIGINT)}
    before = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
