"""What the engine process takes of the machine, asked now and then."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

KEPT = 120
"""Samples that are remembered: two minutes at one a second."""


@dataclass(frozen=True)
class Usage:
    """Resident bytes, and processor time since the sample before as a share of one core (2.0 is two whole cores)."""

    memory: int
    cpu: float


class UsageMonitor:
    """Asks the operating system about one process; a sample costs well under a millisecond."""

    def __init__(self) -> None:
        self.samples: deque[Usage] = deque(maxlen=KEPT)
        self._process: psutil.Process | None = None

    def poll(self, pid: int | None) -> None:
        """Take a sample of process ``pid``. A new process begins a new history; one that is gone ends it."""
        import psutil

        try:
            if pid is None:
                self._process = None
            elif self._process is None or self._process.pid != pid:
                self._process = psutil.Process(pid)
                # The first answer has no time before it; only the next one is a share.
                self._process.cpu_percent()
                self.samples.clear()
            else:
                with self._process.oneshot():
                    cpu = self._process.cpu_percent() / 100
                    self.samples.append(Usage(self._process.memory_info().rss, cpu))
        except psutil.Error:
            self._process = None
        if self._process is None:
            self.samples.clear()
