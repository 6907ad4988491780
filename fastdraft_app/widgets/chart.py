"""Curves over one axis, such as the losses of a job; a spark line each where there is no room for a chart."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.text import Text
from textual.content import Content

from fastdraft_app.theme.palette import SERIES, marks
from fastdraft_app.widgets.plot import Plot, put_ticks, round_numbers
from fastdraft_app.widgets.spark import spark
from fastdraft_core.formatting import count, elide, one_line

Point = tuple[float, float]
_CELLS_A_MARK = 10


@dataclass(frozen=True)
class Series:
    """A curve: its name and its points."""

    name: str
    points: tuple[Point, ...]


class Chart(Plot):
    """Curves of one unit; drawn again only when they changed."""

    DEFAULT_CSS = """
    Chart {
        border: round $border-blurred;
        border-title-style: bold;
        border-title-color: $foreground;
        border-subtitle-color: $muted;
        padding: 0;
        &:focus { border: round $primary; }
    }
    """
    can_focus = True

    def __init__(self, title: str, empty: str, *, ascii_only: bool, id: str) -> None:  # noqa: A002  Textual's name
        super().__init__(ascii_only=ascii_only, id=id)
        self.border_title = title
        self._empty = empty
        self._series: tuple[Series, ...] = ()
        self._log = False
        self._write: Callable[[float], str] = "{:.3g}".format

    def show(self, series: Sequence[Series], write: Callable[[float], str], *, log: bool = False) -> None:
        """Show these curves from now on; ``write`` writes a value of the upright axis."""
        drawn = tuple(one for one in series if one.points)
        self.border_subtitle = Content(" log scale " if log else "")
        if drawn != self._series or log != self._log:
            self._series, self._log, self._write = drawn, log, write
            self.refresh()

    @property
    def series(self) -> tuple[Series, ...]:
        """What is shown."""
        return self._series

    def render(self) -> Content | Text:
        """The chart, or what there is to say instead."""
        width, height = self.size
        if not self._series:
            return Content.styled(elide(self._empty, max(width, 8), self._marks.more), "$muted")
        if width < 24 or height < 5:
            return self._table()
        self._begin()
        scale = math.log10 if self._log else float
        drawn = [[(x, scale(y)) for x, y in one.points if y > 0 or not self._log] for one in self._series]
        self._draw_axes([point for points in drawn for point in points])
        for number, points in enumerate(drawn):
            self._draw(number, points)
        return self._built()

    def _draw_axes(self, points: Sequence[Point]) -> None:
        xs, ys = [x for x, _ in points], [y for _, y in points]
        if not points:
            return
        levels = round_numbers(min(ys), max(ys), max(3, self.size.height // 3))
        put_ticks(self.plt.yticks, levels, min(ys), max(ys), lambda y: self._write(10**y if self._log else y))
        put_ticks(
            self.plt.xticks, round_numbers(min(xs), max(xs), max(2, self.size.width // 16)), min(xs), max(xs), count
        )

    def _draw(self, number: int, points: Sequence[Point]) -> None:
        if len(points) > 1:
            line = "." if self._ascii else "braille"
            self.plt.plot([x for x, _ in points], [y for _, y in points], marker=line, color=self._ink(number))
        # All but the first have the legend's mark on their line, too far apart to cover it.
        if number or self._ascii or len(points) == 1:
            shown = _spread(points, max(self.size.width // _CELLS_A_MARK, 2), number)
            mark = self._marks.points[number % len(SERIES)]
            self.plt.scatter([x for x, _ in shown], [y for _, y in shown], marker=mark, color=self._ink(number))

    def _table(self) -> Content:
        """Where no curve can be drawn: each one as a spark line between its ends."""
        mark, lines = self._marks, []
        width, height = self.size
        for one in self._series[: max(height, 1)]:
            values = [y for _, y in one.points]
            low, high = min(values), max(values)
            words = f" {self._write(low)}{mark.dot * 2}{self._write(high)} {elide(one_line(one.name, ' ', ' '), 18)}"
            room = max(width - len(words), 4)
            shown = [values[min(round(n * (len(values) - 1) / max(room - 1, 1)), len(values) - 1)] for n in range(room)]
            lines.append(spark([value - low for value in shown], high - low, room, mark)[0] + words)
        return Content("\n".join(lines))


def legend(series: Sequence[Series], write: Callable[[float], str], *, ascii_only: bool) -> Content:
    """The mark, the name and the newest value of every curve, in its colour."""
    parts = [
        Content.assemble(
            (_mark(number, ascii_only), f"$token-{SERIES[number % len(SERIES)].name}"),
            f" {one_line(one.name, ' ', ' ')} {write(one.points[-1][1])}",
        )
        for number, one in enumerate(one for one in series if one.points)
    ]
    return Content("   ").join(parts)


def _spread(points: Sequence[Point], most: int, number: int) -> list[Point]:
    """About ``most`` of ``points`` at even distances along x, other ones for each curve, and the last."""
    low, high = points[0][0], points[-1][0]
    width = (high - low) / most
    if len(points) <= most or width <= 0:
        return list(points)
    first = {int((x - low) / width + number / len(SERIES)): (x, y) for x, y in reversed(points)}
    return [*sorted(first.values()), points[-1]]


def _mark(number: int, ascii_only: bool) -> str:
    return "━" if number == 0 and not ascii_only else marks(ascii_only).points[number % len(SERIES)]
