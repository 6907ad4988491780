"""Choosing a format to export."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from fastdraft_app.dialogs.dialog import Dialog


class ExportScreen(Dialog[str | None]):
    """A short list. Returns the chosen key of ``formats``, or nothing."""

    CSS_PATH = "export.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,e", "dismiss(None)", "back", id="export.back", tooltip="write nothing"),
    ]

    def __init__(self, formats: Mapping[str, str], *, title: str = "Export what is shown") -> None:
        super().__init__()
        self._formats = formats
        self._title = title

    def compose(self) -> ComposeResult:
        """The formats and one line of help."""
        with Vertical(id="dialog"):
            yield OptionList(*(Option(Content(about), id=kind) for kind, about in self._formats.items()))
            yield Static("enter writes the file, esc goes back", id="hint", markup=False)

    def on_mount(self) -> None:
        """Title."""
        self.query_one("#dialog").border_title = Content(self._title)

    @on(OptionList.OptionSelected)
    def _take(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option_id)
