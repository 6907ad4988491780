"""Gamma against draft as a table of one figure: measured in full, predicted told apart, the best in brackets."""

from __future__ import annotations

from typing import NamedTuple

from textual.content import Content

from fastdraft_app.result_view.surface import METRICS, Cursor, MetricValue, best, recommended
from fastdraft_app.theme.palette import SERIES, Marks
from fastdraft_core.events import ModelCard
from fastdraft_core.events.sweeping import PointKey, Setting
from fastdraft_core.formatting import count, elide, one_line, short
from fastdraft_core.results.store import Result

CELL = 7
NAME = 16
GAP = 4
_SHADES = (8, 18, 30, 42)
"""Percent of the theme's colour behind a cell, weakest first."""


def heat_rows(result: Result, cursor: Cursor, width: int, mark: Marks, *, plain: bool) -> list[Content]:
    """The group of ``cursor``, and beside it as many others as fit ``width``.

    ``plain`` is without shades, where a terminal has 16 colours.
    """
    one = NAME + CELL * len(result.plan.gammas)
    groups = len(result.groups)
    beside = min(max((width + GAP) // (one + GAP), 1), groups)
    tables = [
        _HeatTable(result, cursor, (cursor.group + number) % groups, mark, plain).rows(width if beside == 1 else one)
        for number in range(beside)
    ]
    return [Content(" " * GAP).join(row) for row in zip(*tables, strict=True)]


class _Range(NamedTuple):
    """The least and the greatest value of a figure."""

    low: float
    high: float


class _HeatTable:
    """The table of one group."""

    def __init__(self, result: Result, cursor: Cursor, group: int, mark: Marks, plain: bool) -> None:
        self._result = result
        self._cursor = cursor
        self._group = group
        self._mark = mark
        self._plain = plain
        self._task, self._temperature = result.groups[group]
        self._metric = METRICS[cursor.metric]
        self._active = group == cursor.group
        top = best(result, group)
        self._wanted = recommended(result) or (top.key.setting if top and top.measured else None)
        self._range = self._values()

    def rows(self, width: int) -> list[Content]:
        """A head, then a row a draft, with the columns that fit ``width``."""
        plan = self._result.plan
        columns = _columns(len(plan.gammas), self._cursor.gamma, width)
        gammas = [plan.gammas[column] for column in columns]
        rows = [self._head(gammas)]
        for number, card in enumerate(plan.drafts):
            cells = [
                self._cell(Setting(card.name, gamma), here=self._is_here(number, column))
                for column, gamma in zip(columns, gammas, strict=True)
            ]
            rows.append(Content("").join([_name(number, card, self._mark), *cells]))
        return rows

    def _is_here(self, draft: int, column: int) -> bool:
        return self._active and (draft, column) == (self._cursor.draft, self._cursor.gamma)

    def _head(self, gammas: list[int]) -> Content:
        mark = self._mark
        text = one_line(f"{self._task}, T {self._temperature:g}", " ", " ")
        label = elide(text, NAME - len(mark.gamma) - 2, mark.more)
        head = Content.assemble(
            (label, "bold" if self._active else "$muted"), (f"{mark.gamma:>{NAME - len(label) - 1}} ", "$muted")
        )
        return head + Content.styled("".join(f"{gamma:>{CELL - 1}} " for gamma in gammas), "$muted")

    def _value(self, setting: Setting) -> MetricValue | None:
        return self._metric.value(self._result, PointKey(*setting, self._temperature, self._task))

    def _values(self) -> _Range:
        settings = {
            key.setting
            for key in {*self._result.measured, *self._result.predicted}
            if key.is_of(self._task, self._temperature)
        }
        found = [value.number for setting in settings if (value := self._value(setting)) is not None]
        return _Range(min(found, default=0.0), max(found, default=0.0))

    def _cell(self, setting: Setting, *, here: bool) -> Content:
        value, wanted = self._value(setting), setting == self._wanted
        if value is None:
            text, style = self._mark.unknown, "$muted"
        else:
            text = f"{'' if value.measured else self._mark.guess}{value.number:.{self._metric.digits}f}"
            style = f"{'$foreground' if value.measured else '$muted'}{'' if self._plain else self._shade(value.number)}"
        framed = f"[{text}]" if wanted and value is not None else f"{text} "
        weight = " bold" if wanted else ""
        return Content.styled(framed.rjust(CELL), f"{style}{weight}{' reverse' if here else ''}")

    def _shade(self, value: float) -> str:
        """Stronger the nearer to the best; a speed-up below 1 is a loss."""
        if self._metric.unit == "×" and value < 1:
            return " on $error 20%"
        low, high = self._range
        share = (value - low) / (high - low) if high > low else 0.0
        return f" on $success {_SHADES[min(int(share * len(_SHADES)), len(_SHADES) - 1)]}%"


def _columns(columns: int, cursor: int, width: int) -> range:
    """The columns that fit, with the cursor's among them."""
    room = max((width - NAME) // CELL, 1)
    first = min(max(cursor - room + 1, 0), max(columns - room, 0)) if columns > room else 0
    return range(first, min(first + room, columns))


def _name(number: int, card: ModelCard, mark: Marks) -> Content:
    colour = f"$token-{SERIES[number % len(SERIES)].name}"
    size = count(card.parameters) if card.is_model else ""
    name = elide(one_line(short(card.name), " ", " "), NAME - len(size) - 4, mark.more)
    return Content.assemble(
        (f"{mark.points[number % len(mark.points)]} ", colour), name, (f" {size}".ljust(NAME - 2 - len(name)), "$muted")
    )
