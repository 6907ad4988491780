"""The gauges of the live screen: from the session to what they show, and what the engine takes of the machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual.app import ComposeResult
from textual.containers import Container
from textual.timer import Timer

from fastdraft_app.client.system import Usage, UsageMonitor
from fastdraft_app.live.gauge_rows import (
    EngineLoad,
    FirstTokens,
    GaugeState,
    Memory,
    acceptance_column,
    acceptance_width,
    block_column,
    compact_rows,
    medium_rows,
    race_rows,
    speed_column,
)
from fastdraft_app.live.replay import MODES, Mode
from fastdraft_app.live.session import Session
from fastdraft_app.theme.palette import marks
from fastdraft_app.widgets.figure_rows import FigureRows

POLL_SECONDS = 1.0
"""Between two looks at the engine process."""

_PARTS = {
    "race": race_rows,
    "speculation": compact_rows,
    "speed": speed_column,
    "acceptance": acceptance_column,
    "block": block_column,
}


class GaugePanel(Container):
    """All gauges in one place; the style sheet of the screen shows those that there is room for.

    ``speculation`` is the small form, with ``race`` above it the middle one; the others are the large one. The
    engine process is asked after only while the gauges can be seen.
    """

    DEFAULT_CSS = """
    GaugePanel {
        height: auto;
        #race, #speed, #acceptance, #block { display: none; }
    }
    """

    def __init__(self, engine: Callable[[], int | None], *, ascii_only: bool, id: str) -> None:  # noqa: A002  Textual's name
        """``engine`` gives the id of the engine's process, while there is one."""
        super().__init__(id=id)
        self._engine = engine
        self._usage = UsageMonitor()
        self._poll_timer: Timer | None = None
        self._marks = marks(ascii_only)
        self._gamma = 0
        self._session = Session()
        self._next_gamma = 1
        self._recorded = False

    def compose(self) -> ComposeResult:
        """The rows of every form."""
        for name in _PARTS:
            yield FigureRows(id=name)

    def on_mount(self) -> None:
        """Begin to look at the engine."""
        self._poll_timer = self.set_interval(POLL_SECONDS, self._poll)

    def watch_engine(self, watched: bool) -> None:
        """Look at the engine or not."""
        if self._poll_timer is not None:
            (self._poll_timer.resume if watched else self._poll_timer.pause)()

    def follow(self, session: Session, gamma: int, *, recorded: bool) -> None:
        """Show ``session`` from now on.

        ``gamma`` is that of the next run, shown until there is one. What was ``recorded`` has nothing to do with the
        engine here.
        """
        self._session, self._next_gamma, self._recorded = session, gamma, recorded
        self._draw()

    def _poll(self) -> None:
        self._usage.poll(self._engine())
        self._draw()

    def _draw(self) -> None:
        if self.display:
            samples = () if self._recorded else tuple(self._usage.samples)
            self._show(gauge_state(self._session, self._next_gamma, samples))

    def _show(self, state: GaugeState) -> None:
        if state.gamma != self._gamma:
            self._gamma = state.gamma
            self._part("acceptance").styles.width = acceptance_width(state.gamma)
        race = self._part("race").display
        for name, rows in _PARTS.items():
            part = self._part(name)
            if part.display:
                draw = medium_rows if race and rows is compact_rows else rows
                part.show(*draw(state, part.size.width, self._marks))

    def _part(self, name: str) -> FigureRows:
        return self.query_one(f"#{name}", FigureRows)


def gauge_state(session: Session, gamma: int, samples: Sequence[Usage]) -> GaugeState:
    """The gauges at this moment; ``gamma`` is that of the next run, shown until there is one."""
    track, peak, compared = session.track("sd"), session.peak, session.recording.compared
    joint, conditional = session.by_position()
    return GaugeState(
        slow=session.figures("ar"),
        fast=session.figures("sd"),
        gamma=track.started.gamma if track is not None else gamma,
        speculating=session.pair is None or session.speculating,
        first=FirstTokens(*(_first_seconds(session, mode) for mode in MODES)),
        seconds=session.recording.seconds,
        history=session.history,
        joint=joint,
        conditional=conditional,
        cost=compared.cost if compared is not None else None,
        memory=None
        if peak is None
        else Memory(peak.gigabytes_per_second, peak.lower_bound, cache_bound=session.cache_bound()),
        load=EngineLoad([sample.memory for sample in samples], [sample.cpu for sample in samples]),
    )


def _first_seconds(session: Session, mode: Mode) -> float | None:
    track = session.track(mode)
    return track.first.prefill_seconds if track is not None and track.first is not None else None
