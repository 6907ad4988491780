"""A result as a picture: the verdict in words, the table of gamma and draft, the charts, and the point under the cursor."""

from __future__ import annotations

from textwrap import wrap

from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.content import Content
from textual.widgets import Static

from fastdraft_app.result_view.heat_table import heat_rows
from fastdraft_app.result_view.lines import point_line
from fastdraft_app.result_view.panel_chart import PanelChart
from fastdraft_app.result_view.surface import METRICS, Cursor, words
from fastdraft_app.theme.palette import Marks, look, marks
from fastdraft_app.widgets.figure_rows import FigureRows
from fastdraft_app.widgets.line import TextLine, first_fitting
from fastdraft_core.formatting import one_line
from fastdraft_core.results.panels import figures
from fastdraft_core.results.store import Result
from fastdraft_core.token_states import Look

MOST_LINES = (4, 5)
"""Of the verdict, in the small form and in the large one; the style sheet has the same numbers."""
QUESTION = "Is speculation worth it on this machine, with which draft and which gamma?"
HOW = (
    "A sweep measures what passes cost and how much is accepted, predicts every gamma of every draft from that, and "
    "then times the points that could be the answer, autoregressive and speculative runs in turn, until the interval of the "
    "speed-up is narrow enough or the budget is spent. Nothing else may use the processor meanwhile: the live engine is ended "
    "and starts again afterwards. Points are kept as they come, so a sweep can be stopped and go on later."
)
_PLAIN = str.maketrans({"–": "-", "²": "^2", "±": "+-", "×": "x", "τ": "tau", "γ": "gamma"})


class SweepView(Vertical):
    """Shows one result; the chart of the chosen figure alone, or all of them where there is room (class ``-all``)."""

    DEFAULT_CSS = """
    SweepView {
        height: 1fr;
        #verdict { height: auto; max-height: 4; padding: 0 1; background: $surface; }
        #heat { margin: 0 1; }
        #key, #point { padding: 0 1; }
        #charts { height: 1fr; margin: 0 1; }
        PanelChart { display: none; height: 1fr; width: 1fr; border-title-color: $muted; }
        PanelChart.-current { display: block; border-title-color: $foreground; }
        &.-empty #heat, &.-empty #key, &.-empty #charts, &.-empty #point { display: none; }
        &.-empty #verdict { padding: 1 2; max-height: 20; background: $background; }
        &.-all #verdict { max-height: 5; }
        &.-all #heat { margin: 1 1 0 1; }
        &.-all #charts { layout: grid; grid-size: 3 2; grid-gutter: 0 3; }
        &.-all PanelChart { display: block; }
        &.-all #speedup { column-span: 2; }
    }
    """

    def __init__(self, *, ascii_only: bool, id: str) -> None:  # noqa: A002  Textual's name
        super().__init__(id=id)
        self._ascii = ascii_only
        self._marks = marks(ascii_only)

    def compose(self) -> ComposeResult:
        """Words first."""
        yield Static("", id="verdict", markup=False)
        yield FigureRows(id="heat")
        yield TextLine(id="key")
        with Container(id="charts"):
            for name in ("speedup", "size", "acceptance", "tau", "bandwidth"):
                yield PanelChart(ascii_only=self._ascii, id=name)
        yield TextLine(id="point")

    def show(self, result: Result | None, cursor: Cursor) -> None:
        """Show ``result`` with the ``cursor``."""
        self.set_class(result is None, "-empty")
        self.query_one("#verdict", Static).update(self._verdict(result))
        self._charts(result, cursor)
        heat, point = self.query_one("#heat", FigureRows), self.query_one("#point", TextLine)
        if result is None:
            return
        plain = self._look == "16"
        heat.show(*heat_rows(result, cursor, heat.size.width or self.size.width - 2, self._marks, plain=plain))
        self.query_one("#key", TextLine).show(_key(result, cursor, self.size.width - 2, self._marks))
        point.show(point_line(result, cursor.key(result), self.size.width - 2, self._marks))

    @property
    def _look(self) -> Look:
        return look(self.app.current_theme)

    def _verdict(self, result: Result | None) -> Content:
        if result is None:
            return Content.assemble((f"{QUESTION}\n\n", "bold"), (plain_words(HOW, self._ascii), "$muted"))
        said = [plain_words(sentence, self._ascii) for sentence in words(result)]
        first, *others = fitting(said, self.size.width - 2, MOST_LINES[self.has_class("-all")])
        return Content.assemble((first, "bold"), (" " + " ".join(others), "$muted"))

    def _charts(self, result: Result | None, cursor: Cursor) -> None:
        found = figures(result) if result is not None else {}
        for metric in METRICS:
            chart = self.query_one(f"#{metric.figure}", PanelChart)
            chart.set_class(metric is METRICS[cursor.metric], "-current")
            if result is None:
                chart.show("", None)
                continue
            panel = found[metric.figure].panels[cursor.group]
            gamma = result.plan.gammas[cursor.gamma] if panel.gammas else None
            bound = ", cache-bound" if metric.figure == "bandwidth" and result.all_cached else ""
            chart.show(plain_words(f"{metric.caption}{bound}: {panel.title}", self._ascii), panel, gamma)


def fitting(sentences: list[str], width: int, lines: int) -> list[str]:
    """As many whole sentences as fit; the first, which is the answer, and the last, which is a caution, come before others."""
    kept = list(sentences)
    while len(kept) > 1 and len(wrap(" ".join(kept), max(width, 20))) > lines:
        del kept[-2 if len(kept) > 2 else -1]
    return kept


def plain_words(sentence: str, ascii_only: bool) -> str:
    """A sentence of a result, made safe to show."""
    flat = one_line(sentence, " ", " ", ascii_only)
    return flat.translate(_PLAIN) if ascii_only else flat


def _key(result: Result, cursor: Cursor, width: int, mark: Marks) -> Content:
    """What the table shows and how to read it."""
    metric = METRICS[cursor.metric]
    unit = f" in {metric.unit.replace('×', mark.times)}" if metric.unit else ""
    bound = ", cache-bound" if metric.figure == "bandwidth" and result.all_cached else ""
    name = Content.assemble((f"{metric.title}{unit}{bound}", "bold"))
    guess, dots = f"{mark.guess} predicted, not timed", f"{mark.unknown} unknown"
    full = f"   measured, {guess} (dashed), {dots}, [best], bars: 95 % intervals"
    short = f"  {guess} (dashed), {dots}, [best], bars 95 %"
    return first_fitting(width, name + Content.styled(full, "$muted"), name + Content.styled(short, "$muted"), name)
