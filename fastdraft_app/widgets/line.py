"""A line or a few of styled text that repaints only when it really changed."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static


class TextLine(Static):
    """Text given as ``Content``: never markup, never wrapped, never painted twice the same."""

    DEFAULT_CSS = """
    TextLine {
        height: 1;
        text-wrap: nowrap;
        text-overflow: clip;
        &.-grows { height: auto; max-height: 3; text-wrap: wrap; }
    }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None, grows: bool = False) -> None:  # noqa: A002  Textual's name
        """One that ``grows`` takes up to three lines for what does not fit the first."""
        super().__init__("", id=id, classes=classes, markup=False)
        self._grows = grows
        self.set_class(grows, "-grows")
        self._shown = Content("")

    def show(self, content: Content) -> None:
        """Show ``content`` from now on."""
        if not content.is_same(self._shown):
            self._shown = content
            self.update(content, layout=self._grows)

    @property
    def text(self) -> str:
        """What is shown, without its styles."""
        return self._shown.plain


def first_fitting(width: int, *choices: Content) -> Content:
    """The first of ``choices`` that fits ``width`` cells, else the last."""
    return next((choice for choice in choices if choice.cell_length <= width), choices[-1])


def fields(*parts: Content | None, gap: int = 3) -> Content:
    """Put ``parts`` in a row; absent ones leave no gap."""
    return Content(" " * gap).join([part for part in parts if part is not None])
