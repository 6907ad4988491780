"""Asking once more before something is lost."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Static

from fastdraft_app.dialogs.dialog import Dialog


class ConfirmScreen(Dialog[bool]):
    """A sentence and two ways on; nothing happens unless it is agreed to. Returns whether it was."""

    CSS_PATH = "confirm.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "dismiss(True)", "yes", id="confirm.yes", tooltip="do it"),
        Binding("escape,n,q", "dismiss(False)", "no", id="confirm.no", tooltip="change nothing"),
        Binding("left,right", "app.focus_next", "other", id="confirm.other", show=False, tooltip="the other button"),
    ]

    def __init__(self, title: str, sentence: str, yes: str) -> None:
        super().__init__()
        self._title = title
        self._sentence = sentence
        self._yes = yes

    def compose(self) -> ComposeResult:
        """The sentence over its buttons."""
        with Vertical(id="dialog"):
            yield Static(Content(self._sentence), id="sentence")
            with Horizontal(id="buttons"):
                yield Button(f"y {self._yes}", id="yes", variant="error", compact=True)
                yield Button("esc keep", id="no", compact=True)

    def on_mount(self) -> None:
        """The harmless way on is the one that enter takes."""
        self.query_one("#dialog").border_title = Content(self._title)
        self.query_one("#no").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Take the answer."""
        self.dismiss(event.button.id == "yes")
