"""What the design screen knows: the phase, the study so far, the progress. It draws nothing."""

from __future__ import annotations

from dataclasses import dataclass

from textual.content import Content

from fastdraft_app.client.sweep import SweepEnded
from fastdraft_app.result_view.lines import clock, state_line
from fastdraft_app.sweep.session import UNDER_WAY, SweepPhase
from fastdraft_app.theme.palette import Marks
from fastdraft_app.widgets.bars import bar
from fastdraft_app.widgets.line import fields
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import DesignProgress, DesignStarted, Message
from fastdraft_core.formatting import elide, one_line
from fastdraft_core.results import designs
from fastdraft_core.results.designs import Design

_BAR = 16


@dataclass
class DesignSession:
    """Takes the events of a study and answers what to show."""

    target: str
    phase: SweepPhase = SweepPhase.IDLE
    design: Design | None = None
    progress: DesignProgress | None = None
    error: str = ""
    """What went wrong and what to do, or nothing."""
    begun: float = 0.0

    def find_kept(self) -> None:
        """Show the newest kept study of the target, if there is one that can be read."""
        for name in reversed(designs.names()):
            try:
                found = designs.read(name)
            except FastdraftError:
                continue
            if found.plan.target.name == self.target:
                self.design = found
                self.phase = SweepPhase.ENDED
                return

    @property
    def under_way(self) -> bool:
        """Whether a process is at work."""
        return self.phase in UNDER_WAY

    @property
    def unfinished(self) -> bool:
        """Whether there is something to go on with."""
        found = self.design
        return found is not None and not self.under_way and bool(found.missing or found.untrained)

    def start(self, now: float, design: Design | None) -> None:
        """A study is being started, or goes on with ``design``."""
        self.phase, self.design, self.begun = SweepPhase.LOADING, design, now
        self.progress, self.error = None, ""

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
            case DesignStarted():
                self.design = Design(message)
            case DesignProgress():
                self.progress = message
                if self.phase is SweepPhase.LOADING:
                    self.phase = SweepPhase.MEASURING
            case _ if self.design is not None:
                self.design.add(message)

    def _ended(self, message: SweepEnded) -> None:
        told = self.design is not None and self.design.finished is not None
        if told or self.phase is SweepPhase.STOPPING:
            self.phase = SweepPhase.ENDED
            return
        how = f"signal {-message.code}" if message.code < 0 else f"exit code {message.code}"
        why = message.problem or f"The study ended without a result ({how})."
        kept = " What was measured is kept; press u to go on." if self.design and self.design.measured else ""
        self.phase, self.error = SweepPhase.FAILED, f"{why}{kept} Log: {message.log}"


def progress_line(session: DesignSession, now: float, beat: int, width: int, mark: Marks) -> Content:
    """What is going on, how far it is, and how long it takes."""
    spinner = mark.spinner[beat % len(mark.spinner)]
    match session.phase:
        case SweepPhase.IDLE:
            return state_line(mark.stop, "space starts the study, c changes it", "$muted", width, mark)
        case SweepPhase.LOADING:
            return state_line(spinner, f"loading the target, {now - session.begun:.0f} s", "$primary", width, mark)
        case SweepPhase.FAILED:
            return state_line(mark.stop, "the study ended too early; space tries again", "$error", width, mark)
        case SweepPhase.ENDED:
            return _end_line(session.design, width, mark)
        case _:
            return _measuring(session, now, spinner, width, mark)


def _end_line(design: Design | None, width: int, mark: Marks) -> Content:
    if design is None:
        return state_line(mark.stop, "stopped before anything was measured; space starts again", "$muted", width, mark)
    done = f"{len(design.measured)} of {len(design.plan.shapes)} shapes"
    name = one_line(design.plan.name, " ", " ")
    if design.missing or design.untrained:
        return state_line(mark.pause, f"stopped: {done}; u goes on. Kept as {name}", "$warning", width, mark)
    return state_line(mark.done, f"complete: {done}, kept as {name}", "$success", width, mark)


def _measuring(session: DesignSession, now: float, spinner: str, width: int, mark: Marks) -> Content:
    progress = session.progress
    if progress is None:
        return state_line(spinner, "stopping", "$primary", width, mark)
    share = progress.done / progress.total if progress.total else 0.0
    state = "stops after this shape" if session.phase is SweepPhase.STOPPING else clock(now - session.begun)
    tail = fields(
        Content(f"{progress.done}/{progress.total}"),
        bar([(share, "$primary")], _BAR, mark) if width >= 70 else None,
        Content.styled(state, "$muted"),
        gap=2,
    )
    what = elide(one_line(progress.what, " ", " "), max(width - tail.cell_length - 5, 8), mark.more)
    return fields(Content.assemble((f"{spinner} ", "$primary"), what), tail)
