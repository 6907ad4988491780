"""A clock that stands still while somebody else looks at an event."""

from __future__ import annotations

import time
from collections.abc import Callable


class Stopwatch:
    """Seconds of decode time; a generator pauses it around each ``yield``."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._elapsed = 0.0
        self._since = clock()

    def read(self) -> float:
        """Seconds so far; only while the watch runs."""
        return self._elapsed + self._clock() - self._since

    def pause(self) -> None:
        """Stand still until ``resume``."""
        self._elapsed = self.read()

    def resume(self) -> None:
        """Go on from where ``pause`` stopped."""
        self._since = self._clock()
