"""The results screen: the sweeps that are kept; open one, compare two, export."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.screen import Screen
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from fastdraft_app.result_view.export_result import EXPORTED
from fastdraft_app.result_view.point_screen import resume, write_export
from fastdraft_app.result_view.sweep_view import plain_words
from fastdraft_app.results.compare_screen import choose_second
from fastdraft_app.results.stored_sweeps import StoredSweep, stored_sweeps
from fastdraft_app.settings.preferences import Preferences
from fastdraft_app.theme.palette import marks
from fastdraft_app.widgets.key_bar import KeyBar
from fastdraft_app.widgets.line import TextLine
from fastdraft_core.formatting import elide
from fastdraft_core.results.store import Result

EDGE = 3
"""Columns that a row leaves free at its right, where the scroll bar may be."""
NONE_YET = "There are no results yet. Press 2 and then space to measure the bundled pair: the answer takes minutes."


class ResultsScreen(Screen[None]):
    """A list, the newest first, each with the first sentence of its verdict."""

    @dataclass
    class SweepsRead(Message):
        """What is kept on disk."""

        entries: list[StoredSweep]

    CSS_PATH = "results.tcss"
    AUTO_FOCUS = "#kept"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "open", id="results.open", key_display="enter", priority=True, tooltip="show this result: verdict, table, charts"),
        Binding("c", "compare", "compare", id="results.compare", tooltip="compare this result with another one"),
        Binding("e", "export", "export", id="results.export", tooltip="write this result to a file: Markdown, CSV, JSON, charts as SVG or PNG"),
        Binding("u", "resume", "resume", id="results.resume", tooltip="go on with this sweep, if it is unfinished"),
        Binding("r", "read", "reread", id="results.read", show=False, tooltip="look again for what is kept"),
    ]  # fmt: skip

    def __init__(self, preferences: Preferences) -> None:
        super().__init__()
        self._preferences = preferences
        self._ascii = preferences.current.ascii
        self._marks = marks(self._ascii)
        self.entries: list[StoredSweep] = []

    def compose(self) -> ComposeResult:
        """A line on top, the list."""
        yield TextLine(id="setup")
        yield OptionList(id="kept", markup=False)
        yield KeyBar(ascii_only=self._ascii, id="keys")

    @on(events.ScreenResume)
    def action_read(self) -> None:
        """Read what is kept, outside the event loop."""
        self._read()

    @work(thread=True, exclusive=True)
    def _read(self) -> None:
        self.post_message(self.SweepsRead(stored_sweeps()))

    @on(SweepsRead)
    def _show(self, event: SweepsRead) -> None:
        self.entries = event.entries
        self._list()

    def on_resize(self) -> None:
        """Fit the rows to the new width."""
        self.call_after_refresh(self._list)

    def _list(self) -> None:
        listed, before = self.query_one("#kept", OptionList), self._highlighted()
        listed.clear_options()
        names = [entry.name for entry in self.entries]
        head = f"{len(names)} kept sweep{'s' if len(names) != 1 else ''}, the newest first" if names else "kept sweeps"
        self.query_one("#setup", TextLine).show(Content.styled(head, "$muted"))
        if not names:
            listed.add_option(Option(Content.styled(NONE_YET, "$muted"), disabled=True))
            return
        listed.add_options([Option(self._row(entry), id=str(place)) for place, entry in enumerate(self.entries)])
        listed.highlighted = names.index(before.name) if before is not None and before.name in names else 0

    def _row(self, entry: StoredSweep) -> Content:
        width = max(self.size.width - 2 - EDGE, 20)
        made, title, facts, verdict = (
            plain_words(text, self._ascii) for text in (entry.made, entry.title, entry.facts, entry.verdict)
        )
        title = elide(title, max(width // 3, 8), self._marks.more)
        facts = elide(facts, max(width - cell_len(made) - cell_len(title) - 4, 8), self._marks.more)
        gap = " " * max(width - cell_len(made) - cell_len(title) - cell_len(facts) - 2, 1)
        won = entry.result is not None and entry.result.verdict is not None and entry.result.verdict.draft
        style = "$success" if won else "$error" if entry.problem else "$muted"
        first = Content.assemble((made, "$muted"), "  " if made else "", (title, "bold"), gap, (facts, "$muted"))
        return first + "\n" + Content.styled("  " + elide(verdict, width - 2, self._marks.more), style)

    def _highlighted(self) -> StoredSweep | None:
        option = self.query_one("#kept", OptionList).highlighted_option
        place = int(option.id) if option is not None and option.id is not None else -1
        return self.entries[place] if 0 <= place < len(self.entries) else None

    def _chosen(self) -> Result | None:
        """The highlighted result; where it cannot be used, the reason is said."""
        entry = self._highlighted()
        if entry is None:
            self.notify("There is no result to choose. Press 2 to measure one.")
            return None
        if entry.result is None:
            self.notify(entry.problem, severity="error", markup=False, timeout=10)
        return entry.result

    @on(OptionList.OptionSelected)
    def action_open(self) -> None:
        """Show one result."""
        from fastdraft_app.results.result_screen import ResultScreen

        result = self._chosen()
        if result is not None:
            self.app.push_screen(ResultScreen(result, self._preferences))

    def action_compare(self) -> None:
        """Choose a second result and show both side by side."""
        first = self._chosen()
        if first is not None:
            choose_second(self, first, self._preferences)

    def action_resume(self) -> None:
        """Go on with an unfinished sweep."""
        result = self._chosen()
        if result is not None:
            resume(self, result)

    def action_export(self) -> None:
        """Ask for a format and write the file."""
        from fastdraft_app.dialogs.formats import ExportScreen

        result = self._chosen()
        if result is not None:
            self.app.push_screen(ExportScreen(EXPORTED), lambda kind: self._export(kind, result))

    def _export(self, kind: str | None, result: Result) -> None:
        if kind is not None:
            write_export(self, kind, result, self._preferences)
