"""The charts of a result as pictures: matplotlib draws them, as SVG or PNG."""

from __future__ import annotations

import io
import logging
import os
import textwrap
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from fastdraft_core import places
from fastdraft_core.results.panels import Chart, Mark, Panel, Series

# Matplotlib brings numpy and takes a second: it is imported when something is drawn, not before.
if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

#: Colours of Okabe and Ito, which differ for every kind of colour vision; shapes differ as well.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
SHAPES = "os^D"
_NOTE = "Solid with shapes: measured, bars are 95 % intervals. Dashed: predicted from measured costs, not timed."
_INK, _FAINT = "#222222", "#555555"
#: Inches: a panel, a line of words above or below the panels, and a draft's shape before its name.
_WIDTH, _HEIGHT, _LINE, _SHAPE = 4.4, 3.5, 0.18, 0.5
#: Characters that fit into an inch, of usual words and of the title.
_SMALL, _LARGE = 14, 10
#: Twice as many as screens usually have; an SVG has no dots.
_DOTS_PER_INCH = 200
_MOST_GAMMAS = 16
_LOOK: dict[str, Any] = {
    "font.size": 9,
    "text.color": _INK,
    "axes.axisbelow": True,
    "axes.edgecolor": _FAINT,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelcolor": _FAINT,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "figure.constrained_layout.w_pad": 0.1,
    "figure.titlesize": 11,
    "figure.titleweight": "bold",
    "grid.color": "#dddddd",
    "legend.frameon": False,
    "legend.title_fontsize": 9,
    "lines.linewidth": 1.4,
    "lines.markersize": 5.5,
    "xtick.color": _FAINT,
    "ytick.color": _FAINT,
    "ytick.major.size": 0,
    # Names of models and files are data: a dollar sign in them is one.
    "text.parse_math": False,
    # Words can be searched for, and the same result makes the same file.
    "svg.fonttype": "none",
    "svg.hashsalt": "fastdraft",
}
_RULE = "rule"
Place = tuple[float, float, Literal["left", "center", "right"], Literal["bottom", "center", "top"]]
"""Where words stand from a point: so many points to the right and up, and how they are aligned there."""
#: Beside a mark, and at the ends of the rule; the first free one is taken.
_BESIDE: tuple[Place, ...] = (
    (7, 0, "left", "center"),
    (-7, 0, "right", "center"),
    (0, 7, "center", "bottom"),
    (0, -7, "center", "top"),
)
_ALONG: tuple[Place, ...] = (
    (0, 2, "right", "bottom"),
    (0, 2, "left", "bottom"),
    (0, -2, "right", "top"),
    (0, -2, "left", "top"),
)
#: Matplotlib's settings and fonts are the same ones for all threads.
_one_at_a_time = threading.Lock()


def draw(charts: Mapping[str, Chart], name: str, form: str) -> dict[str, bytes]:
    """Pictures as ``svg`` or ``png`` by file name, of those charts that show something; the result's ``name`` stands in each.

    Takes a second or more, and longer the first time on a machine, when matplotlib looks for fonts.
    """
    with drawing():
        return {
            f"{file}.{form}": _saved(figure(chart, name), form) for file, chart in charts.items() if not chart.empty
        }


@contextmanager
def drawing() -> Iterator[None]:
    """Matplotlib with its own defaults and our look, whatever the user's files of settings say; its cache lies in ours."""
    with _one_at_a_time:
        # Both before the import: it looks for fonts, and would say so on a screen that may be the app's.
        os.environ.setdefault("MPLCONFIGDIR", str(places.cache() / "matplotlib"))
        logging.getLogger("matplotlib").setLevel(logging.ERROR)
        from matplotlib import style

        with style.context(_LOOK, after_reset=True), warnings.catch_warnings():
            # Of a sign that the font lacks a PNG has a box, and an SVG the sign itself.
            warnings.filterwarnings("ignore", "Glyph .* missing")
            yield


def figure(chart: Chart, name: str) -> Figure:
    """All panels side by side below the title, with the note and one legend for all below them."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    width = _WIDTH * len(chart.panels)
    names = dict(sorted((series.number, series.name) for panel in chart.panels for series in panel.series))
    title = "\n".join(_wrapped(words, width * _LARGE) for words in (chart.title, name))
    note = _wrapped(_NOTE, width * _SMALL)
    labels = [_wrapped(draft, (width - _SHAPE) * _SMALL) for draft in names.values()]
    height = _HEIGHT + _LINE * sum(1 + words.count("\n") for words in (title, note, *labels))
    made = Figure(figsize=(width, height), layout="constrained")
    made.suptitle(title, x=0.15 / width, horizontalalignment="left")
    every = made.subplots(1, len(chart.panels), squeeze=False)[0]
    for axes, panel in zip(every, chart.panels, strict=True):
        _draw_panel(axes, panel)
    lines = [Line2D([], [], **_style(number)) for number in names]
    made.legend(lines, labels, title=note, loc="outside lower left", alignment="left")
    # Where words have room is known when all else has its place.
    made.draw_without_rendering()
    for axes, panel in zip(every, chart.panels, strict=True):
        _put_words(axes, panel)
    return made


def _saved(made: Figure, form: str) -> bytes:
    out = io.BytesIO()
    # Tight: words that are longer than thought make the picture larger, rather than being cut.
    how: dict[str, Any] = {"metadata": {"Date": None}} if form == "svg" else {"dpi": _DOTS_PER_INCH}
    made.savefig(out, format=form, bbox_inches="tight", **how)
    return out.getvalue()


def _draw_panel(axes: Axes, panel: Panel) -> None:
    axes.set_title(_wrapped(panel.title, _WIDTH * _LARGE))
    axes.set_xlabel(panel.x_label)
    axes.set_ylabel(panel.y_label)
    axes.locator_params(nbins=6, steps=(1, 2, 5, 10))
    if panel.rule:
        axes.axhline(panel.rule[0], color=_INK, linewidth=0.8, label=_RULE)
    for series in panel.series:
        (_draw_guess if series.guess else _draw_measured)(axes, series)
    _set_limits(axes, panel)


def _set_limits(axes: Axes, panel: Panel) -> None:
    """Gammas from the first to the last, and what is counted from zero; with room for words above and to the right."""
    marks = [mark for series in panel.series for mark in series.marks]
    ys = [0.0, *(y for mark in marks for y in (mark.y, mark.low, mark.high) if y is not None)]
    ys += [panel.rule[0]] if panel.rule else []
    axes.set_ylim(min(ys), max(ys) + 0.08 * ((max(ys) - min(ys)) or 1))
    if panel.gammas:
        first, last = min(panel.gammas), max(panel.gammas)
        room = (last - first) / 25 or 1
        axes.set_xlim(first - room, last + room)
        if len(panel.gammas) <= _MOST_GAMMAS:
            axes.set_xticks(panel.gammas)
    else:
        axes.set_xlim(0, 1.3 * max((mark.x for mark in marks), default=1))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")


def _draw_guess(axes: Axes, series: Series) -> None:
    marks = sorted(series.marks, key=lambda mark: mark.x)
    colour = _style(series.number)["color"]
    axes.plot([m.x for m in marks], [m.y for m in marks], color=colour, linestyle=(0, (4, 3)), alpha=0.8)


def _draw_measured(axes: Axes, series: Series) -> None:
    marks, style = sorted(series.marks, key=lambda mark: mark.x), _style(series.number)
    axes.plot([m.x for m in marks], [m.y for m in marks], **style)
    for mark in marks:
        if mark.low is not None and mark.high is not None:
            axes.plot([mark.x] * 2, [mark.low, mark.high], color=style["color"], linewidth=1, marker="_")


def _style(number: int) -> dict[str, Any]:
    return {"color": COLOURS[number % len(COLOURS)], "marker": SHAPES[number % len(SHAPES)]}


def _put_words(axes: Axes, panel: Panel) -> None:
    """The rule's name at one of its ends, and the words of marks beside them, where they lie over nothing."""
    marks = [mark for series in panel.series if not series.guess for mark in series.marks]
    taken = [_square(axes, mark) for mark in marks]
    if panel.rule:
        (left, right), (height, name) = axes.get_xlim(), panel.rule
        ends = {"left": (left, height), "right": (right, height)}
        taken.append(_put(axes, name, [(ends[place[2]], place) for place in _ALONG], taken))
    for mark in marks:
        if mark.words:
            taken.append(_put(axes, mark.words, [((mark.x, mark.y), place) for place in _BESIDE], taken))


def _square(axes: Axes, mark: Mark) -> Bbox:
    """What a mark's shape covers."""
    from matplotlib.transforms import Bbox

    x, y = axes.transData.transform((mark.x, mark.y))
    return Bbox.from_extents(x - 4, y - 4, x + 4, y + 4)


def _put(axes: Axes, words: str, wanted: Sequence[tuple[tuple[float, float], Place]], taken: Sequence[Bbox]) -> Bbox:
    """Put words into the first ``wanted`` place that is free, or else into the first; what they cover."""
    for at, place in wanted:
        put = _annotated(axes, words, at, place)
        box = put.get_window_extent()
        if _free(axes, box, taken):
            return box
        put.remove()
    return _annotated(axes, words, *wanted[0]).get_window_extent()


def _free(axes: Axes, box: Bbox, taken: Sequence[Bbox]) -> bool:
    """Whether a box is inside the panel, a dot aside, and covers nothing of what is there."""
    if box.x0 < axes.bbox.x0 - 1 or box.x1 > axes.bbox.x1 + 1 or box.count_overlaps(taken):
        return False
    lines = (line.get_path().transformed(line.get_transform()) for line in axes.lines if line.get_label() != _RULE)
    return not any(line.intersects_bbox(box, filled=False) for line in lines)


def _annotated(axes: Axes, words: str, at: tuple[float, float], place: Place) -> Annotation:
    right, up, across, along = place
    return axes.annotate(
        _plain(words),
        at,
        (right, up),
        textcoords="offset points",
        horizontalalignment=across,
        verticalalignment=along,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
    )


def _wrapped(text: str, characters: float) -> str:
    return textwrap.fill(_plain(text), round(characters))


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
