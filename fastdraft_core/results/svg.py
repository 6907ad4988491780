"""Line charts as SVG, drawn without a library: panels side by side, each with its own axes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from fastdraft_core.results.panels import Panel, Series

#: Colours of Okabe and Ito, which differ for every kind of colour vision; shapes differ as well.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_WIDTH, _HEIGHT = 430, 330
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 46, 48
_HEAD, _LEGEND_ROW = 34, 18


def draw(heading: str, panels: Sequence[Panel], notes: Sequence[str] = ()) -> str:
    """An SVG document of all panels under a heading, with one legend for all of them."""
    names = {s.number: s.name for panel in panels for s in panel.series}
    rows = len(names) + len(notes)
    width, height = _WIDTH * len(panels), _HEAD + _HEIGHT + _LEGEND_ROW * rows + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="12" fill="#222222">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        _text(12, 22, heading, size=15, weight="bold"),
    ]
    for i, panel in enumerate(panels):
        parts.append(f'<g transform="translate({i * _WIDTH} {_HEAD})">')
        parts += _panel(panel)
        parts.append("</g>")
    y = _HEAD + _HEIGHT
    for number, name in sorted(names.items()):
        y += _LEGEND_ROW
        parts += _shape(24, y - 4, number)
        parts.append(_text(38, y, name))
    for note in notes:
        y += _LEGEND_ROW
        parts.append(_text(12, y, note, fill="#555555"))
    return "\n".join([*parts, "</svg>", ""])


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from at most ``low`` to at least ``high``."""
    if high <= low:
        high = low + 1
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(n * step, 10) for n in range(first, last + 1)]


def _panel(panel: Panel) -> Iterator[str]:
    axes = _axes(panel)
    (left, bottom), (right, _) = axes.at(axes.x_ticks[0], axes.y_ticks[0]), axes.at(axes.x_ticks[-1], axes.y_ticks[0])
    yield _text(_LEFT, 20, panel.title, weight="bold")
    for value in axes.y_ticks:
        _, y = axes.at(0, value)
        yield f'<line x1="{left}" y1="{y}" x2="{right}" y2="{y}" stroke="#dddddd"/>'
        yield _text(left - 6, y + 4, f"{value:g}", anchor="end")
    for value in axes.x_ticks:
        yield _text(axes.at(value, 0)[0], bottom + 16, f"{value:g}", anchor="middle")
    yield _text((left + right) / 2, bottom + 34, panel.x_label, anchor="middle")
    yield _text(_LEFT - 44, _TOP - 10, panel.y_label, fill="#555555")
    for series in panel.series:
        yield from _series(series, axes)
    if panel.rule:
        _, y = axes.at(0, panel.rule[0])
        yield f'<line x1="{left}" y1="{y}" x2="{right}" y2="{y}" stroke="#222222"/>'
        yield _text(right, y - 4, panel.rule[1], anchor="end", halo=True)


def _series(series: Series, axes: _Axes) -> Iterator[str]:
    colour = COLOURS[series.number % len(COLOURS)]
    marks = sorted(series.marks, key=lambda m: m.x)
    path = " ".join(f"{x},{y}" for x, y in (axes.at(m.x, m.y) for m in marks))
    dash = ' stroke-dasharray="5 4" stroke-opacity="0.8"' if series.guess else ""
    yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"{dash}/>'
    for mark in () if series.guess else marks:
        x, y = axes.at(mark.x, mark.y)
        if mark.low is not None and mark.high is not None:
            (_, below), (_, above) = axes.at(mark.x, mark.low), axes.at(mark.x, mark.high)
            yield f'<path d="M{x} {below}V{above}M{x - 3} {below}h6M{x - 3} {above}h6" stroke="{colour}" fill="none"/>'
        yield from _shape(x, y, series.number)
        if mark.words:
            beyond = x > _WIDTH - 90
            yield _text(x - 9 if beyond else x + 9, y + 4, mark.words, anchor="end" if beyond else "start", halo=True)


@dataclass(frozen=True, slots=True)
class _Axes:
    x_ticks: list[float]
    y_ticks: list[float]

    def at(self, x: float, y: float) -> tuple[float, float]:
        """A value's place in the panel."""
        across = (x - self.x_ticks[0]) / (self.x_ticks[-1] - self.x_ticks[0])
        up = (y - self.y_ticks[0]) / (self.y_ticks[-1] - self.y_ticks[0])
        return (
            round(_LEFT + across * (_WIDTH - _LEFT - _RIGHT), 1),
            round(_HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM), 1),
        )


def _axes(panel: Panel) -> _Axes:
    marks = [mark for series in panel.series for mark in series.marks]
    ys = [0.0, *(y for m in marks for y in (m.y, m.low, m.high) if y is not None)]
    ys += [panel.rule[0]] if panel.rule else []
    if panel.gammas:
        first, last = min(panel.gammas), max(panel.gammas)
        x_ticks = [float(x) for x in range(first, last + 1)] if last > first else [first - 1.0, first, first + 1.0]
    else:
        x_ticks = ticks(0.0, max((m.x for m in marks), default=1.0), 5)
    return _Axes(x_ticks, ticks(min(ys), max(ys)))


def _shape(x: float, y: float, number: int) -> Iterator[str]:
    """A circle, a square, a triangle, … in the colour of series ``number``."""
    colour = COLOURS[number % len(COLOURS)]
    shapes = (
        f'<circle cx="{x}" cy="{y}" r="4"',
        f'<rect x="{x - 3.5}" y="{y - 3.5}" width="7" height="7"',
        f'<path d="M{x} {y - 4.5}l4.5 8h-9z"',
        f'<path d="M{x} {y - 5}l5 5l-5 5l-5 -5z"',
    )
    yield f'{shapes[number % len(shapes)]} fill="{colour}"/>'


def _text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    size: int = 12,
    weight: str = "normal",
    fill: str = "#222222",
    halo: bool = False,
) -> str:
    plain = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    place = f'x="{x}" y="{y}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}"'
    # Drawn twice, since not every program knows paint-order.
    behind = f'<text {place} stroke="#ffffff" stroke-width="3">{escape(plain)}</text>' if halo else ""
    return f'{behind}<text {place} fill="{fill}">{escape(plain)}</text>'
