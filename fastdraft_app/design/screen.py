"""The design screen: at a fixed number of parameters, which depth and width is the fastest draft on this machine?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.screen import Screen
from textual.signal import Signal
from textual.timer import Timer

from fastdraft_app.client.sweep import SweepClient
from fastdraft_app.design.session import DesignSession, progress_line
from fastdraft_app.design.study_view import arguments, asked_line, choice_line, heading, legend, plan_line, row
from fastdraft_app.result_view.panel_chart import PanelChart
from fastdraft_app.settings.preferences import Preferences
from fastdraft_app.settings.settings import Changes
from fastdraft_app.theme.palette import marks
from fastdraft_app.widgets.banner import Banner
from fastdraft_app.widgets.figure_rows import FigureRows
from fastdraft_app.widgets.key_bar import KeyBar
from fastdraft_app.widgets.line import TextLine
from fastdraft_core.events import DesignShape
from fastdraft_core.results.designs import Design, figures

RATE = 3.0
"""Repaints a second while something is timed."""
CHOICES = (
    "design_params", "design_layers", "design_widths", "design_draft_vocab", "design_gamma", "design_train", "runtime", "threads",
)  # fmt: skip
"""Settings that a study is made with."""
_FIGURES = ("speedup", "depth", "width")


class DesignScreen(Screen[DesignShape | None]):
    """One study of one target; it answers with the shape that is to be used, or None."""

    CSS_PATH = "design.tcss"
    AUTO_FOCUS = None
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (120, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (20, "-normal")]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "run_or_stop", "run/stop", id="design.toggle", tooltip="start the study, or stop the one under way"),
        Binding("c", "choose", "choose", id="design.choose", tooltip="choose parameters, depths, widths, heads and training of the next study"),
        Binding("enter", "use", "use shape", id="design.use", tooltip="take the best shape into the wizard, for a draft of this target"),
        Binding("g", "figure", "chart", id="design.figure", tooltip="the next chart, where there is room for one alone"),
        Binding("u", "resume", "resume", id="design.resume", show=False, tooltip="go on with the study on screen"),
        Binding("escape", "leave", "back", id="design.back", tooltip="back to where you came from; a study under way is stopped first"),
    ]  # fmt: skip

    def __init__(
        self,
        target: str,
        client: SweepClient,
        preferences: Preferences,
        changed: Signal[Changes],
        *,
        rest: Callable[[], Awaitable[bool]],
        choose: Callable[[Sequence[str], str], None],
    ) -> None:
        """``rest`` ends the live engine; ``choose`` opens the settings of the names given, under a title."""
        super().__init__()
        self.session = DesignSession(target)
        self._client = client
        self._preferences = preferences
        self._changed = changed
        self._rest = rest
        self._choose = choose
        self._ascii = preferences.current.ascii
        self._marks = marks(self._ascii)
        self._figure = 0
        self._beat = 0
        self._clock: Timer | None = None

    def compose(self) -> ComposeResult:
        """What is asked, how far it is, what was found: in words, as charts, as a table."""
        yield TextLine(id="setup")
        yield TextLine(id="progress")
        yield TextLine(id="choice")
        yield Banner(id="banner")
        with Container(id="pictures"):
            for name in _FIGURES:
                yield PanelChart(ascii_only=self._ascii, id=name)
        with VerticalScroll(id="table"):
            yield FigureRows(id="rows")
        yield KeyBar(ascii_only=self._ascii, id="keys")

    def on_mount(self) -> None:
        """Show the target's newest study; nothing is started unasked."""
        self._changed.subscribe(self, lambda _: self._draw())
        self.session.find_kept()
        self._clock = self.set_interval(1 / RATE, self._tick, pause=True)
        self.call_after_refresh(self._draw)

    def on_resize(self) -> None:
        """Fit everything to the new size."""
        self.call_after_refresh(self._draw)

    # --- the clock --------------------------------------------------------------------------------

    def _wake(self) -> None:
        if self._clock is not None:
            self._clock.resume()

    def _tick(self) -> None:
        while self._client.incoming:
            self.session.receive(self._client.incoming.popleft())
        self._beat += 1
        self._draw()
        if self._clock is not None and not self.session.under_way:
            self._clock.pause()

    def _draw(self) -> None:
        session, width = self.session, self.size.width - 2
        design, settings = session.design, self._preferences.current
        if design is None:
            setup = asked_line(session.target, settings, width, self._marks)
        else:
            setup = plan_line(design.plan, width, self._marks)
        self.query_one("#setup", TextLine).show(setup)
        self.query_one("#progress", TextLine).show(progress_line(session, monotonic(), self._beat, width, self._marks))
        self.query_one("#choice", TextLine).show(choice_line(design, width, self._marks))
        self.query_one(Banner).show(session.error)
        self._draw_figures(design, width)

    def _draw_figures(self, design: Design | None, width: int) -> None:
        charts = figures(design) if design is not None and design.measured else {}
        for number, name in enumerate(_FIGURES):
            chart, widget = charts.get(name), self.query_one(f"#{name}", PanelChart)
            widget.set_class(number == self._figure, "-shown")
            title = f"{chart.title}: {chart.panels[0].title}" if chart is not None else name
            widget.show(title, chart.panels[0] if chart is not None else None)
        rows = [] if design is None else [row(design, shape, width, self._marks) for shape in design.plan.shapes]
        if design is not None:
            rows = [heading(design.plan.gammas[-1], width), *rows, legend(design)]
        self.query_one("#rows", FigureRows).show(*rows)

    # --- what keys do -----------------------------------------------------------------------------

    async def action_run_or_stop(self) -> None:
        """Start a study, or stop the one under way after its present shape."""
        if self.session.under_way:
            self._stop()
        else:
            await self._begin(None)

    async def action_resume(self) -> None:
        """Go on with the study on screen."""
        if self.session.unfinished:
            await self._begin(self.session.design)
        else:
            self.notify("There is no unfinished study here; space starts a new one.")

    def action_choose(self) -> None:
        """Change what the next study measures."""
        self._choose(CHOICES, "The next study")

    def action_figure(self) -> None:
        """The next chart."""
        self._figure = (self._figure + 1) % len(_FIGURES)
        self._draw()

    def action_use(self) -> None:
        """Answer with the best shape."""
        design = self.session.design
        best = design.best() if design is not None else None
        if design is None or best is None:
            self.notify("Nothing is measured yet. Space starts the study.")
        elif self.session.under_way:
            self.notify("The study is under way. Space stops it; then enter takes the best shape so far.")
        else:
            self.dismiss(design.measured[best].shape)

    def action_leave(self) -> None:
        """Go back; what is under way is stopped first."""
        if self.session.under_way:
            self._stop()
            self.notify("The study stops after its present shape; what was measured is kept.")
        else:
            self.dismiss(None)

    def _stop(self) -> None:
        self.session.stop()
        self._client.ask_to_stop()
        self._draw()

    async def _begin(self, design: Design | None) -> None:
        self.session.start(monotonic(), design)
        self._draw()
        if await self._rest():
            self.notify("The live run was cancelled: nothing else may use the processor while shapes are timed.")
        if design is not None:
            command = ["design", f"--resume={design.plan.name}", "--json"]
        else:
            command = arguments(self.session.target, self._preferences.current)
        try:
            await self._client.start(command, self._wake)
        except OSError as error:
            self.session.fail(f"The study could not be started ({error.strerror or error}). Space tries again.")
        self._wake()
