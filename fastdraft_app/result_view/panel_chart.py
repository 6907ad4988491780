"""Lines over two axes in a terminal: data in, colours of the theme in. Plotext draws behind this one widget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rich.text import Text
from textual.content import Content

from fastdraft_app.theme.palette import MUTED, SERIES
from fastdraft_app.widgets.plot import Plot, put_ticks, ticks
from fastdraft_core.formatting import short
from fastdraft_core.results.panels import Mark, Panel, Series

_ROWS_A_TICK = 3
_SMALLEST = 5
"""Rows and columns below which nothing could be read."""
_LEFT = 7
"""Columns for the numbers of the vertical axis, about."""


@dataclass(frozen=True)
class _Scale:
    """From values to places, for what has to keep clear of something else."""

    low: float
    high: float
    bottom: float
    top: float
    columns: int
    rows: int
    lines: bool
    """Whether each draft has a line of points, not one point."""

    @property
    def column(self) -> float:
        """The width of a cell in units of the horizontal axis."""
        return (self.high - self.low) / max(self.columns - 1, 1)

    @property
    def row(self) -> float:
        """The height of a cell in units of the vertical axis."""
        return (self.top - self.bottom) / max(self.rows - 1, 1)


class PanelChart(Plot):
    """A panel of a result. Measured points have their draft's mark, a line and their interval; predictions are dashed."""

    DEFAULT_CSS = """
    PanelChart {
        border-top: solid $border-blurred;
        border-title-color: $foreground;
        border-title-style: bold;
        border-title-background: $background;
    }
    """

    def __init__(self, *, ascii_only: bool, id: str) -> None:  # noqa: A002  Textual's name
        super().__init__(ascii_only=ascii_only, id=id)
        self._panel: Panel | None = None
        self._cursor: float | None = None
        self.can_focus = False

    def show(self, title: str, panel: Panel | None, cursor: float | None = None) -> None:
        """Draw ``panel`` from now on, with a line at ``cursor`` on the horizontal axis."""
        self.border_title = Content(title)
        if (panel, cursor) != (self._panel, self._cursor):
            self._panel, self._cursor = panel, cursor
            self.refresh()

    def render(self) -> Text:
        """The chart, or that there is nothing to draw yet."""
        panel = self._panel
        drawn = [series for series in panel.series if series.marks] if panel is not None else []
        if panel is None or not drawn:
            return Text(f"{self._marks.dot} nothing measured yet", style="dim")
        if min(self.size) < _SMALLEST:
            return Text(f"{self._marks.dot} no room for a chart; the table has its figures", style="dim")
        scale = self._frame(panel, drawn)
        self._draw_rule(panel, scale)
        self._draw_cursor(scale)
        of = len({series.number for series in drawn})
        # Marks come last, so that no line of another draft covers them.
        for draw in (self._draw_guess, self._draw_line, self._draw_intervals, self._draw_marks):
            for series in drawn:
                draw(series, scale, of)
        self._draw_names(drawn, scale)
        return self._built()

    # --- axes -------------------------------------------------------------------------------------

    def _frame(self, panel: Panel, drawn: Sequence[Series]) -> _Scale:
        scale = self._scale(panel, drawn)
        plot = self.plt
        self._begin()
        plot.xlim(scale.low, scale.high)
        plot.ylim(scale.bottom, scale.top)
        at = panel.gammas or ticks(scale.low, scale.high, max(scale.columns // 10, 2))
        put_ticks(plot.xticks, at, scale.low, scale.high, "{:g}".format)
        levels = ticks(scale.bottom, scale.top, max(scale.rows // _ROWS_A_TICK, 3))
        put_ticks(plot.yticks, levels, scale.bottom, scale.top, "{:g}".format)
        return scale

    def _scale(self, panel: Panel, drawn: Sequence[Series]) -> _Scale:
        columns, rows = max(self.size.width - _LEFT, 4), max(self.size.height - 2, 2)
        found = [mark for series in drawn for mark in series.marks]
        xs = [*(float(gamma) for gamma in panel.gammas), *(mark.x for mark in found)]
        ys = [y for mark in found for y in (mark.y, mark.low, mark.high) if y is not None]
        ys += [panel.rule[0]] if panel.rule else []
        # Both numbers count from zero: gigabytes a second, and the size of a draft.
        bottom = 0.0 if panel.y_label == "GB/s" else min(ys)
        # A little air, so that nothing lies on the frame.
        air = ((max(ys) - bottom) or 1.0) / 25
        first, last = (min(xs), max(xs)) if panel.gammas else (0.0, max(xs))
        reach = (last - first) or 2.0
        names = max(len(short(series.name)) for series in drawn) + max(len(m.words) for m in found) + 3
        names += 2 * (len({series.number for series in drawn}) > len(SERIES))
        right = reach * min(names / max(columns - names, 1), 0.5)
        return _Scale(first - reach / 40, last + right, bottom - air, max(ys) + air, columns, rows, bool(panel.gammas))

    # --- what is drawn ----------------------------------------------------------------------------

    def _draw_rule(self, panel: Panel, scale: _Scale) -> None:
        if panel.rule is None:
            return
        height, name = panel.rule
        self.plt.plot(
            [scale.low, scale.high], [height, height], marker="-" if self._ascii else "─", color=self._colour(MUTED)
        )
        over = height + scale.row if height + scale.row < scale.top else height - scale.row
        self.plt.text(name, scale.low + scale.column, over, color=self._colour(MUTED), alignment="left")

    def _draw_cursor(self, scale: _Scale) -> None:
        if self._cursor is not None:
            line = [self._cursor, self._cursor], [scale.bottom, scale.top]
            self.plt.plot(*line, marker=":" if self._ascii else "┊", color=self._colour(MUTED))

    def _draw_guess(self, series: Series, scale: _Scale, of: int) -> None:
        del of
        if series.guess:
            dots = list(_dashes(sorted(series.marks, key=lambda mark: mark.x), scale))
            dash = "'" if self._ascii else "braille"
            self.plt.scatter([x for x, _ in dots], [y for _, y in dots], marker=dash, color=self._ink(series.number))

    def _draw_line(self, series: Series, scale: _Scale, of: int) -> None:
        del scale, of
        if not series.guess and len(series.marks) > 1:
            found = sorted(series.marks, key=lambda mark: mark.x)
            line = "." if self._ascii else "braille"
            self.plt.plot([m.x for m in found], [m.y for m in found], marker=line, color=self._ink(series.number))

    def _draw_intervals(self, series: Series, scale: _Scale, of: int) -> None:
        bar = "|" if self._ascii else "│"
        for mark in () if series.guess else series.marks:
            if mark.low is not None and mark.high is not None:
                x = mark.x + self._aside(series, scale, of)
                self.plt.plot([x, x], [mark.low, mark.high], marker=bar, color=self._ink(series.number))

    def _draw_marks(self, series: Series, scale: _Scale, of: int) -> None:
        if not series.guess:
            xs = [mark.x + self._aside(series, scale, of) for mark in series.marks]
            ys = [mark.y for mark in series.marks]
            self.plt.scatter(xs, ys, marker=self._shape(series), color=self._ink(series.number))

    def _shape(self, series: Series) -> str:
        return self._marks.points[series.number % len(self._marks.points)]

    def _aside(self, series: Series, scale: _Scale, of: int) -> float:
        """Intervals of several drafts at one gamma stand side by side, a cell apart."""
        return (series.number - (of - 1) / 2) * scale.column if self._panel is not None and self._panel.gammas else 0.0

    def _draw_names(self, drawn: Sequence[Series], scale: _Scale) -> None:
        """Every draft's name at the end of its line, measured or else predicted; no name lies over another.

        A name that finds no free place is left out: the table has its mark.
        """
        ends = {series.number: (series, max(series.marks, key=lambda mark: mark.x)) for series in drawn}
        taken: list[tuple[float, float, float]] = []
        for series, mark in sorted(ends.values(), key=lambda end: -end[1].y):
            # Where colours come round again, the name of a line has its shape beside it.
            shape = self._shape(series) if len(ends) > len(SERIES) and scale.lines else ""
            words = " ".join(filter(None, [shape, short(series.name), mark.words.replace("gamma", self._marks.gamma)]))
            x = mark.x + 3 * scale.column
            end = x + (len(words) + 1) * scale.column
            y = next((level for level in _levels(mark.y, scale) if _free(x, end, level, scale.row, taken)), None)
            if y is not None:
                taken.append((x, end, y))
                self.plt.text(words, x, y, color=self._ink(series.number), alignment="left")


def _levels(wanted: float, scale: _Scale) -> Iterator[float]:
    """Heights by the row, the nearest to the ``wanted`` one first, inside the chart."""
    yield min(max(wanted, scale.bottom), scale.top)
    for rows in range(1, scale.rows):
        for level in (wanted - rows * scale.row, wanted + rows * scale.row):
            if scale.bottom <= level <= scale.top:
                yield level


def _free(first: float, last: float, height: float, row: float, taken: Sequence[tuple[float, float, float]]) -> bool:
    """Whether words from ``first`` to ``last`` would lie over none that stand there."""
    return not any(first < end and begin < last and abs(height - level) < 0.99 * row for begin, end, level in taken)


def _dashes(found: Sequence[Mark], scale: _Scale) -> Iterator[tuple[float, float]]:
    """Points along the lines between ``found``, two a column, with a gap after every second column."""
    step, number = scale.column / 2, 0
    for one, other in pairwise(found):
        x = one.x
        while x < other.x:
            if number // 3 % 2 == 0:
                yield x, one.y + (other.y - one.y) * (x - one.x) / (other.x - one.x)
            x, number = x + step, number + 1
    if found:
        yield found[-1].x, found[-1].y
