"""Choosing one thing of many by typing a part of it, or a path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option
from textual.worker import get_current_worker

from fastdraft_app.dialogs.choices import Choice, ChoiceGroup, Source
from fastdraft_app.dialogs.dialog import Dialog
from fastdraft_app.theme.palette import marks
from fastdraft_core.formatting import elide, one_line

EDGE = 2
"""Columns that a row leaves free at its right, where the scroll bar may be."""


class PickerScreen(Dialog[str | None]):
    """An input over a list: typing narrows the list, the arrows move in it, enter takes. Returns a value or nothing."""

    @dataclass
    class Answered(Message):
        """What the source has answered to the text ``typed``."""

        typed: str
        groups: list[ChoiceGroup]

    CSS_PATH = "picker.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "back", id="picker.back", tooltip="change nothing"),
        Binding("down", "move('down')", "down", id="picker.down", show=False, tooltip="next row"),
        Binding("up", "move('up')", "up", id="picker.up", show=False, tooltip="row before"),
        Binding("pagedown", "move('page_down')", "page down", id="picker.page-down", show=False, tooltip="a page on"),
        Binding("pageup", "move('page_up')", "page up", id="picker.page-up", show=False, tooltip="a page back"),
        Binding("tab", "complete", "complete", id="picker.complete", tooltip="complete a path with the row"),
    ]

    def __init__(self, title: str, source: Source, *, current: str = "", hint: str, empty: str) -> None:
        super().__init__()
        self._title = title
        self._source = source
        self._current = current
        self._hint = hint
        self._empty = empty
        self._rows: list[Choice] = []
        #: What the list answers, and whether enter waits for the answer to what is typed now.
        self._answered: str | None = None
        self._entered = False

    def compose(self) -> ComposeResult:
        """Input, list, one line of help."""
        with Vertical(id="dialog"):
            yield Input(placeholder=self._hint, id="typed", compact=True)
            yield OptionList(id="rows", markup=False)
            yield Static("enter takes the row, tab completes a path, esc goes back", id="hint", markup=False)

    def on_mount(self) -> None:
        """Show everything at first."""
        self.query_one("#dialog").border_title = Content(self._title)
        self.query_one("#rows").can_focus = False
        self._ask("")

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        self._entered = False
        self._ask(event.value)

    @work(thread=True, exclusive=True)
    def _ask(self, typed: str) -> None:
        try:
            groups = self._source(typed)
        except (OSError, ValueError):
            # A name too long, a folder nobody may enter: there is nothing to choose there.
            groups = []
        if not get_current_worker().is_cancelled:
            self.post_message(self.Answered(typed, groups))

    @on(Answered)
    def _show(self, event: Answered) -> None:
        typed = self.query_one("#typed", Input).value
        if event.typed != typed:
            # Slower than the answer to what was typed since, or soon overtaken by it: enter would wait for ever.
            return
        listed = self.query_one("#rows", OptionList)
        listed.clear_options()
        self._rows = []
        self._answered = typed
        for group in event.groups:
            if group.rows:
                listed.add_option(Option(Content.styled(one_line(group.title, " ", " "), "bold $muted"), disabled=True))
            for row in group.rows:
                listed.add_option(Option(self._line(row), id=str(len(self._rows))))
                self._rows.append(row)
        entered, self._entered = self._entered, False
        if not self._rows:
            listed.add_option(Option(Content.styled(self._empty, "$muted"), disabled=True))
            return
        values = [row.value for row in self._rows]
        place = values.index(self._current) if self._current in values and not typed else 0
        listed.highlighted = listed.get_option_index(str(place))
        if entered:
            self._take()

    def _line(self, row: Choice) -> Content:
        """The row on one line: facts at the right edge, the title in what is left."""
        width = max(self.query_one("#rows").size.width - EDGE, 20)
        mark = marks(ascii_only := self.app.has_class("-ascii"))
        facts = elide(one_line(row.facts, " ", " ", ascii_only), width // 2, mark.more)
        title = elide(one_line(row.title, " ", " ", ascii_only), width - cell_len(facts) - 4, mark.more)
        chosen = mark.play if row.value == self._current else " "
        room = width - 2 - cell_len(title) - cell_len(facts)
        return Content.assemble((f"{chosen} ", "$primary"), title, " " * max(room, 1), (facts, "$muted"))

    def on_resize(self, event: events.Resize) -> None:
        """Fit the rows to the new width."""
        del event
        self._ask(self.query_one("#typed", Input).value)

    def action_move(self, how: str) -> None:
        """Move in the list while the input keeps the focus."""
        getattr(self.query_one("#rows", OptionList), f"action_{'cursor_' if how in ('up', 'down') else ''}{how}")()

    def action_complete(self) -> None:
        """Put the row into the input."""
        row = self._highlighted()
        if row is not None:
            self._type(row.value)

    @on(Input.Submitted)
    def _enter(self, event: Input.Submitted) -> None:
        event.stop()
        # Quick keys: the rows of the text before are not what the user means.
        self._entered = event.value != self._answered
        if not self._entered:
            self._take()

    @on(OptionList.OptionSelected)
    def _take(self) -> None:
        row = self._highlighted()
        if row is None:
            return
        if row.folder:
            self._type(row.value)
        else:
            self.dismiss(row.value)

    def _type(self, text: str) -> None:
        typed = self.query_one("#typed", Input)
        typed.value = text
        typed.cursor_position = len(text)

    def _highlighted(self) -> Choice | None:
        option = self.query_one("#rows", OptionList).highlighted_option
        return self._rows[int(option.id)] if option is not None and option.id is not None else None
