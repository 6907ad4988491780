"""A list of rows that are made for one width: it says when that has changed."""

from __future__ import annotations

from textual import events
from textual.message import Message
from textual.widgets import OptionList


class RowList(OptionList):
    """An option list whose rows are made anew for every width."""

    class Resized(Message):
        """The list has another width than before."""

    _width = 0

    def on_resize(self, event: events.Resize) -> None:
        """Tell of a new width, not of a new height."""
        if event.size.width != self._width:
            self._width = event.size.width
            self.post_message(self.Resized())
