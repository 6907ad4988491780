"""Two results side by side; what differs beyond the noise of both is marked."""

from __future__ import annotations

from functools import cache
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from fastdraft_app.dialogs.picker import PickerScreen
from fastdraft_app.result_view.panel_chart import PanelChart
from fastdraft_app.results.compare_rows import compare_rows, condition_rows, counted, heading
from fastdraft_app.results.stored_sweeps import StoredSweep, stored_sweeps, sweep_source
from fastdraft_app.settings.preferences import Preferences
from fastdraft_app.theme.palette import marks
from fastdraft_app.widgets.figure_rows import FigureRows
from fastdraft_app.widgets.key_bar import KeyBar
from fastdraft_core.results.compare import compare, conditions, uncompared
from fastdraft_core.results.panels import figures
from fastdraft_core.results.store import Result


class CompareScreen(Screen[None]):
    """A is the one that was chosen first. The points of both, the largest difference first, then what differs around them."""

    CSS_PATH = "results.tcss"
    AUTO_FOCUS = "#table"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (140, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (20, "-normal"), (40, "-roomy")]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "back", id="compare.back", tooltip="back to where you came from"),
        Binding("g", "group", "task", id="compare.group", tooltip="charts of the next task or temperature"),
    ]

    def __init__(self, first: Result, second: Result, preferences: Preferences) -> None:
        super().__init__()
        self._both = (first, second)
        self._found = compare(first, second)
        self._ascii = preferences.current.ascii
        self._marks = marks(self._ascii)
        self._group = 0

    def compose(self) -> ComposeResult:
        """Which two, their charts where there is room, the table, the conditions."""
        yield Static("", id="both", markup=False)
        with Container(id="pictures"):
            for letter in "ab":
                yield PanelChart(ascii_only=self._ascii, id=f"speedup-{letter}")
        with VerticalScroll(id="table"):
            yield FigureRows(id="rows")
            yield Static("", id="conditions", markup=False)
        yield KeyBar(ascii_only=self._ascii, id="keys")

    def on_mount(self) -> None:
        """Draw once the sizes are known."""
        self.call_after_refresh(self._draw)

    def on_resize(self) -> None:
        """Fit everything to the new size."""
        self.call_after_refresh(self._draw)

    def action_group(self) -> None:
        """Charts of the next task or temperature."""
        self._group += 1
        self._draw()

    def _draw(self) -> None:
        first, second = self._both
        width = self.size.width - 3
        lines = [heading("A", first, width, self._marks), heading("B", second, width, self._marks)]
        self.query_one("#both", Static).update(Content("\n").join([*lines, counted(self._found, self._marks)]))
        self.query_one("#rows", FigureRows).show(*compare_rows(self._found, width, self._marks))
        around = condition_rows(list(conditions(first.plan, second.plan)), self._ascii)
        lacking = [Content(line) for line in (uncompared(first, second),) if line]
        self.query_one("#conditions", Static).update(Content("\n").join([*lacking, around]))
        for letter, result in zip("ab", self._both, strict=True):
            figure = figures(result)["speedup"]
            panel = figure.panels[self._group % len(figure.panels)]
            chart = self.query_one(f"#speedup-{letter}", PanelChart)
            chart.show(f"{letter.upper()}: {figure.title}, {panel.title}", panel)


def choose_second(screen: Screen[None], first: Result, preferences: Preferences) -> None:
    """Ask for the result to compare ``first`` with, and show both."""

    @cache
    def others() -> list[StoredSweep]:
        return [entry for entry in stored_sweeps() if entry.name != first.plan.name]

    def take(name: str | None) -> None:
        # Only what the picker has listed can be taken, so it is read already.
        second = next((entry.result for entry in others() if entry.name == name), None) if name is not None else None
        if second is not None:
            screen.app.push_screen(CompareScreen(first, second, preferences))

    source, hint = sweep_source(others), "part of a name: the date, the target, a draft"
    screen.app.push_screen(PickerScreen("Compare with", source, hint=hint, empty="there is no other result yet"), take)
