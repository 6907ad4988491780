"""A strip over the panes that says what went wrong, why, and what to do."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from fastdraft_core.formatting import one_line


class Banner(Static):
    """Shown only while there is something to say."""

    DEFAULT_CSS = """
    Banner {
        height: auto;
        max-height: 4;
        display: none;
        padding: 0 1;
        color: $foreground;
        border-left: outer $error;
        background: $error 18%;
        &.-warning { background: $warning 16%; border-left: outer $warning; }
        &.-hint { background: $surface; border-left: outer $muted; }
        &:ansi { background: ansi_default; }
        &.-shown { display: block; }
    }
    """

    def __init__(self, *, id: str) -> None:  # noqa: A002  Textual's name
        super().__init__("", id=id, markup=False)
        self.text = ""

    def show(self, error: str, warning: str = "", hint: str = "") -> None:
        """Say the gravest of the three, or nothing."""
        text = one_line(error or warning or hint, " ", " ")
        if text == self.text:
            return
        self.text = text
        self.set_class(bool(warning and not error), "-warning")
        self.set_class(not (error or warning), "-hint")
        self.set_class(bool(text), "-shown")
        self.update(Content(text))
