"""What the sweep screen knows: the phase, the result so far, the progress. It draws nothing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from fastdraft_app.client.sweep import SweepEnded
from fastdraft_app.result_view.surface import complete
from fastdraft_core.events import Message, SweepProgress, SweepStarted
from fastdraft_core.results.store import Result


class SweepPhase(Enum):
    """What is going on."""

    IDLE = "idle"
    LOADING = "loading"
    MEASURING = "measuring"
    STOPPING = "stopping"
    ENDED = "ended"
    FAILED = "failed"


UNDER_WAY = (SweepPhase.LOADING, SweepPhase.MEASURING, SweepPhase.STOPPING)
"""Phases with a process."""


@dataclass
class SweepSession:
    """Takes the events of a sweep and answers what to show."""

    phase: SweepPhase = SweepPhase.IDLE
    result: Result | None = None
    progress: SweepProgress | None = None
    error: str = ""
    """What went wrong and what to do, or nothing."""
    begun: float = 0.0

    @property
    def under_way(self) -> bool:
        """Whether a process is at work."""
        return self.phase in UNDER_WAY

    @property
    def unfinished(self) -> bool:
        """Whether there is something to go on with."""
        return self.result is not None and not self.under_way and not complete(self.result)

    def start(self, now: float, result: Result | None = None) -> None:
        """A sweep is being started, or goes on with ``result``."""
        self.phase, self.result, self.begun = SweepPhase.LOADING, result, now
        self.progress, self.error = None, ""
        if result is not None:
            result.verdict, result.finished = None, None

    def stop(self) -> None:
        """It was asked to end."""
        if self.under_way:
            self.phase = SweepPhase.STOPPING

    def fail(self, message: str) -> None:
        """It could not be started."""
        self.phase, self.error = SweepPhase.FAILED, message

    def receive(self, message: Message | SweepEnded) -> None:
        """Take one message."""
        match message:
            case SweepEnded():
                self._ended(message)
            case SweepStarted():
                self.result = Result(message)
            case SweepProgress():
                self.progress = message
                if self.phase is SweepPhase.LOADING:
                    self.phase = SweepPhase.MEASURING
            case _ if self.result is not None:
                self.result.add(message)

    def _ended(self, message: SweepEnded) -> None:
        told = self.result is not None and self.result.finished is not None
        if told or self.phase is SweepPhase.STOPPING:
            self.phase = SweepPhase.ENDED
            return
        how = f"signal {-message.code}" if message.code < 0 else f"exit code {message.code}"
        why = message.problem or f"The sweep ended without a result ({how})."
        kept = " What was measured is kept; press u to go on." if self.result and self.result.measured else ""
        self.phase, self.error = SweepPhase.FAILED, f"{why}{kept} Log: {message.log}"
