"""One kept result: the same picture as that of a sweep in progress, from the store."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from fastdraft_app.result_view.lines import end_line, plan_line
from fastdraft_app.result_view.point_screen import POINT_BINDINGS, PointScreen, resume
from fastdraft_app.result_view.surface import recommended
from fastdraft_app.result_view.sweep_view import SweepView
from fastdraft_app.results.compare_screen import choose_second
from fastdraft_app.settings.preferences import Preferences
from fastdraft_app.theme.palette import marks
from fastdraft_app.widgets.key_bar import KeyBar
from fastdraft_app.widgets.line import TextLine
from fastdraft_core.results.store import Result


class ResultScreen(PointScreen):
    """Opened from the list of results; the cursor begins at what the verdict recommends."""

    CSS_PATH = "../result_view/points.tcss"
    AUTO_FOCUS = None
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "back", id="result.back", tooltip="back to the list of results"),
        *POINT_BINDINGS,
        Binding("c", "compare", "compare", id="result.compare", tooltip="compare this result with another one"),
        Binding("u", "resume", "resume", id="result.resume", show=False, tooltip="go on with this sweep, if it is unfinished"),
    ]  # fmt: skip

    def __init__(self, result: Result, preferences: Preferences) -> None:
        super().__init__(preferences)
        self._result = result
        self._marks = marks(self._ascii)
        wanted = recommended(result)
        if wanted is not None:
            self.cursor = self.cursor.at(result, *wanted)

    @property
    def shown_result(self) -> Result:
        """The opened one."""
        return self._result

    def compose(self) -> ComposeResult:
        """How it was made, how it ended, and what was found."""
        yield TextLine(id="setup")
        yield TextLine(id="progress")
        yield SweepView(ascii_only=self._ascii, id="view")
        yield KeyBar(ascii_only=self._ascii, id="keys")

    def on_mount(self) -> None:
        """Draw once the sizes are known."""
        self.call_after_refresh(self.draw_result)

    def draw_result(self) -> None:
        """The lines on top as well."""
        width = self.size.width - 2
        self.query_one("#setup", TextLine).show(plan_line(self._result, width, self._marks))
        self.query_one("#progress", TextLine).show(end_line(self._result, width, self._marks))
        super().draw_result()

    def action_compare(self) -> None:
        """Choose a second result and show both side by side."""
        choose_second(self, self._result, self._preferences)

    def action_resume(self) -> None:
        """Go on with an unfinished sweep."""
        resume(self, self._result)
