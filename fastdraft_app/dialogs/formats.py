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
    """A short list. Returns the ending of the file, or nothing."""

    CSS_PATH = "export.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,e", "dismiss(None)", "back", id="export.back", tooltip="write nothing"),
    ]

    def __init__(self, formats: Mapping[str, str]) -> None:
        super().__init__()
        self._formats = formats

    def compose(self) -> ComposeResult:
        """The formats and one line of help."""
        with Vertical(id="dialog"):
            yield OptionList(*(Option(Content(about), id=kind) for kind, about in self._formats.items()))
            yield Static("enter writes the file, esc goes back", id="hint", markup=False)

    def on_mount(self) -> None:
        """Title."""
        self.query_one("#dialog").border_title = Content("Export what is shown")

    @on(OptionList.OptionSelected)
    def _take(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option_id)
