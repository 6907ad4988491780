"""Leaving in good order: whatever ends the app, the terminal is restored and no engine stays."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

from rich.console import Console, RenderableType
from rich.text import Text
from textual.app import App

from fastdraft_core import places

GRACE_SECONDS = 1.5

logger = logging.getLogger(__name__)


class GuardedApp(App[None]):
    """An app that writes its crashes to the log and says one sentence instead of a traceback."""

    def _fatal_error(self) -> None:
        logger.critical("unhandled error", exc_info=sys.exc_info()[1] or self._exception)
        self._say_sorry()

    def panic(self, *renderables: RenderableType) -> None:
        """Log what Textual would have shown."""
        console = Console(file=io.StringIO(), width=120, color_system=None)
        console.print(*renderables)
        logger.critical("panic: %s", console.file.getvalue())  # type: ignore[attr-defined]
        self._return_code = 1
        self._say_sorry()

    def _say_sorry(self) -> None:
        if not self._exit_renderables:
            sentence = f"fastdraft-app met an unexpected error and ended. The log is {places.log_file('app')}"
            self._exit_renderables.append(Text(sentence))
        self._close_messages_no_wait()


def end_on_signals(app: App[None], release: Callable[[], None]) -> None:
    """On a closed terminal or a polite kill: ``release`` what the app holds, then leave.

    A terminal that is gone can block the last writes, so a watchdog ends the process for certain.
    """

    def end(number: int, frame: FrameType | None) -> None:
        del frame
        release()
        watchdog = threading.Timer(GRACE_SECONDS, os._exit, (128 + number,))
        watchdog.daemon = True
        watchdog.start()
        app.call_later(app.exit, None, 128 + number)

    for name in ("SIGHUP", "SIGTERM"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), end)
