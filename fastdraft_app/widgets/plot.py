"""What every chart of the app shares: plotext in the size of the widget, the theme's colours, ASCII where wanted."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from rich.color import Color
from rich.text import Text
from textual_plotext import PlotextPlot

from fastdraft_app.theme.palette import MUTED, SERIES, look, marks
from fastdraft_core.token_states import TokenState, colour

_FRAME = str.maketrans({"─": "-", "│": "|", "└": "+", "┘": "+", "┌": "+", "┐": "+", "┤": "+", "├": "+", "┬": "+", "┴": "+", "┼": "+"})  # fmt: skip
PlotColour = int | tuple[int, int, int]


class Plot(PlotextPlot):
    """Axes with round numbers, and the colours of the lines."""

    def __init__(self, *, ascii_only: bool, id: str) -> None:  # noqa: A002  Textual's name
        super().__init__(id=id)
        self._ascii = ascii_only
        self._marks = marks(ascii_only)

    def _begin(self) -> None:
        """An empty picture of the widget's size, without colours of plotext's own."""
        plot = self.plt
        plot.clear_figure()
        plot.plotsize(*self.size)
        # A plot does not take another size without this (textual-plotext issue 5).
        plot._set_size(*self.size)
        plot.theme("clear")
        plot.ticks_color(self._colour(MUTED))
        plot.xaxes(True, False)
        plot.yaxes(True, False)

    def _built(self) -> Text:
        """The picture."""
        text = self.plt.build()
        return Text.from_ansi(text.translate(_FRAME) if self._ascii else text)

    def _ink(self, number: int) -> PlotColour:
        """The colour of line ``number``."""
        return self._colour(SERIES[number % len(SERIES)])

    def _colour(self, state: TokenState) -> PlotColour:
        parsed = Color.parse(colour(state, look(self.app.current_theme)))
        return tuple(parsed.triplet) if parsed.triplet is not None else parsed.number or 0  # type: ignore[return-value]


def put_ticks(
    put: Callable[..., object], at: Sequence[float], low: float, high: float, write: Callable[[float], str]
) -> None:
    """Have ``put``, one of plotext's two, mark those of ``at`` that lie on the axis."""
    inside = [value for value in at if low <= value <= high]
    put(inside, [write(value) for value in inside])


def round_numbers(low: float, high: float, most: int) -> list[float]:
    """About ``most`` round numbers from ``low`` to ``high``; the one number where they are equal."""
    return [value for value in ticks(low, high, most) if low <= value <= high] if high > low else [low]


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from at most ``low`` to at least ``high``."""
    if high <= low:
        high = low + 1
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(n * step, 10) for n in range(first, last + 1)]
