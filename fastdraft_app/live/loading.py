"""The steps of loading, shown where the tokens will be until there are some."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widgets import Static

from fastdraft_app.live.session import LoadStep
from fastdraft_app.theme.palette import Marks
from fastdraft_core.formatting import elide, one_line, percent

WIDTH = 58


class LoadingCard(Static):
    """A small card: each step with its mark and its seconds."""

    DEFAULT_CSS = """
    LoadingCard {
        width: 66;
        max-width: 100%;
        height: auto;
        border: round $primary;
        border-title-color: $foreground;
        border-title-style: bold;
        padding: 1 3;
        background: $surface;
    }
    """

    def __init__(self, *, id: str) -> None:  # noqa: A002  Textual's name
        super().__init__("", id=id, markup=False)
        self.border_title = Content("Loading the models")
        self._shown = Content("")

    def show(self, steps: Sequence[LoadStep], now: float, beat: int, mark: Marks) -> None:
        """Show ``steps`` as they stand ``now``."""
        content = Content("\n").join([_row(step, now, beat, mark) for step in steps])
        if not content.is_same(self._shown):
            grown = content.plain.count("\n") != self._shown.plain.count("\n")
            self._shown = content
            self.update(content, layout=grown)


def _row(step: LoadStep, now: float, beat: int, mark: Marks) -> Content:
    done = step.ended is not None
    sign = (mark.done, "$success") if done else (mark.spinner[beat % len(mark.spinner)], "$primary")
    share = f" {percent(step.share)}" if step.share is not None and not done else ""
    seconds = f"{(step.ended if step.ended is not None else now) - step.begun:.1f} s"
    words = elide(one_line(step.what, " ", " "), WIDTH - 12 - len(share), mark.more) + share
    return Content.assemble(
        (f"{sign[0]} ", sign[1]),
        (words.ljust(WIDTH - 10), "$muted" if done else "$foreground"),
        (seconds.rjust(7), "$muted"),
    )
