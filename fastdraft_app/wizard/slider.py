"""A number that can be typed, stepped with the arrow keys, or set on a bar with the mouse."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult, RenderResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input

from fastdraft_app.theme.palette import Marks

BAR = 21
"""Cells of the bar."""


class _Number(Input):
    """The input; up and down belong to the slider around it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "step(1)", "more", id="slider.more", show=False, tooltip="the next larger number of the slider"),
        Binding("down", "step(-1)", "less", id="slider.less", show=False, tooltip="the next smaller number of the slider"),
    ]  # fmt: skip

    class Stepped(Message):
        """An arrow key."""

        def __init__(self, change: int) -> None:
            super().__init__()
            self.change = change

    def action_step(self, change: int) -> None:
        """Tell the slider."""
        self.post_message(self.Stepped(change))


class _Bar(Widget):
    """Where the number lies among its stops; a click goes there."""

    class Clicked(Message):
        """A place on the bar, from 0 to 1."""

        def __init__(self, share: float) -> None:
            super().__init__()
            self.share = share

    def __init__(self, marks: Marks) -> None:
        super().__init__()
        self._marks = marks
        self.share: float | None = None

    def render(self) -> RenderResult:
        """The part before the knob in colour; no knob where the text is no number."""
        rail, room = self._marks.rail, max(self.size.width, 2)
        if self.share is None:
            return Content.styled(rail * room, "$border-blurred")
        before = round(self.share * (room - 1))
        knob, done = self._marks.points[0], self._marks.bars[0]
        return Content.assemble((done * before + knob, "$primary"), (rail * (room - 1 - before), "$border-blurred"))

    def on_click(self, event: events.Click) -> None:
        """Go to the place."""
        self.post_message(self.Clicked(event.x / max(self.size.width - 1, 1)))


class Slider(Horizontal):
    """``stops`` are where the bar and the arrow keys lead; any other number can be typed."""

    DEFAULT_CSS = f"""
    Slider {{ width: 34; height: 1; }}
    Slider _Number {{ width: 1fr; }}
    Slider _Bar {{ width: {BAR}; height: 1; margin-left: 1; }}
    """

    def __init__(self, value: str, stops: Sequence[int], marks: Marks, *, id: str) -> None:  # noqa: A002  Textual's name
        super().__init__()
        self._input = _Number(value, id=id, compact=True)
        self._bar = _Bar(marks)
        self._stops = stops
        self._place()

    def compose(self) -> ComposeResult:
        """The number, the bar."""
        yield self._input
        yield self._bar

    @on(Input.Changed)
    def _place(self) -> None:
        self._bar.share = None
        if (number := _number(self._input.value)) is not None:
            at = bisect_left(self._stops, number)
            self._bar.share = min(at, len(self._stops) - 1) / (len(self._stops) - 1)
        self._bar.refresh()

    @on(_Number.Stepped)
    def _step(self, event: _Number.Stepped) -> None:
        now = _number(self._input.value)
        if now is None:
            return
        at = bisect_right(self._stops, now) if event.change > 0 else bisect_left(self._stops, now) - 1
        if 0 <= at < len(self._stops):
            self._input.value = str(self._stops[at])

    @on(_Bar.Clicked)
    def _go(self, event: _Bar.Clicked) -> None:
        self._input.focus()
        self._input.value = str(self._stops[round(event.share * (len(self._stops) - 1))])


def _number(text: str) -> int | None:
    """The number that is typed; None where it is none, or none that a slider could show."""
    text = text.strip()
    return int(text) if text.isdecimal() and len(text) < 12 else None
