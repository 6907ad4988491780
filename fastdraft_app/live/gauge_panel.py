"""All gauges in one place; the style sheet of the screen shows those that there is room for."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Container

from fastdraft_app.live.gauge_columns import acceptance_column, acceptance_width, block_column, speed_column
from fastdraft_app.theme.palette import marks
from fastdraft_app.widgets.figure_rows import FigureRows
from fastdraft_app.widgets.gauges import GaugeState, compact_rows, medium_rows, race_rows

_PARTS = {
    "race": race_rows,
    "speculation": compact_rows,
    "speed": speed_column,
    "acceptance": acceptance_column,
    "block": block_column,
}


class GaugePanel(Container):
    """``speculation`` is the small form, with ``race`` above it the middle one; the others are the large one."""

    DEFAULT_CSS = """
    GaugePanel {
        height: auto;
        #race, #speed, #acceptance, #block { display: none; }
    }
    """

    def __init__(self, *, ascii_only: bool, id: str) -> None:  # noqa: A002  Textual's name
        super().__init__(id=id)
        self._marks = marks(ascii_only)
        self._gamma = 0

    def compose(self) -> ComposeResult:
        """The rows of every form."""
        for name in _PARTS:
            yield FigureRows(id=name)

    def show(self, state: GaugeState) -> None:
        """Show ``state`` in the present form."""
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
