"""A pane of streaming tokens: lays out only what is new and paints only what changed.

Tokens wait in a deque until the screen's clock calls :meth:`TokenView.flush`. The view follows the
end only while it is there; whoever scrolled up stays where they read. Text can be selected with the
mouse; a click picks a token.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Offset, Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip

from fastdraft_app.live.replay import Piece, Place
from fastdraft_app.live.token_layout import (
    NO_PIECE,
    Layout,
    LayoutState,
    Line,
    TextPosition,
    TokenMove,
    index_of,
    moved,
    picked,
)
from fastdraft_app.theme.palette import look, marks
from fastdraft_core.formatting import safe
from fastdraft_core.token_states import token_style

INLINE = ("rejected", "discarded", "pending")
"""Kinds whose line ends are shown as signs: they are not, or not yet, part of the text."""

_CONTEXT = 2
"""Lines kept in sight above and below the inspected token."""


class TokenView(ScrollView, can_focus=True):
    """Tokens as running text, each in the look of its state."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("k", "scroll_up", "up", id="tokens.up", show=False, tooltip="scroll up, as the arrow does"),
        Binding("j", "scroll_down", "down", id="tokens.down", show=False, tooltip="scroll down, as the arrow does"),
    ]
    DEFAULT_CSS = """
    TokenView {
        overflow-x: hidden;
        overflow-y: auto;
        scrollbar-gutter: stable;
        scrollbar-size-vertical: 1;
        background: $background;
        scrollbar-background: $background;
        scrollbar-background-hover: $background;
        scrollbar-background-active: $background;
        scrollbar-color: $border-blurred;
        scrollbar-color-hover: $muted;
        scrollbar-color-active: $primary;
    }
    """

    class TokenPicked(Message):
        """A token was clicked."""

        def __init__(self, view: TokenView, place: Place) -> None:
            super().__init__()
            self.view = view
            self.place = place

        @property
        def control(self) -> TokenView:
            """The view that was clicked."""
            return self.view

    def __init__(self, *, ascii_only: bool = False, id: str | None = None) -> None:  # noqa: A002  Textual's name
        super().__init__(id=id)
        self._ascii = ascii_only
        self._marks = marks(ascii_only)
        self._layout = Layout(2)
        self._waiting: deque[Piece] = deque()
        self._tail: list[Piece] = []
        self._before_tail: LayoutState | None = None
        self._strips: dict[int, Strip] = {}
        self._placeholder = ""
        self._cursor = False
        self._inspected: Place | None = None
        self._seeking = False
        self._painting = False
        self._selection: Selection | None = None
        self._following = True
        self._styles_of: dict[tuple[str, bool], Style] = {}

    @property
    def text(self) -> str:
        """Everything laid out, one line of the view a line."""
        return "\n".join(line.text for line in self._layout.lines)

    @property
    def pieces(self) -> list[Piece]:
        """The pieces laid out, in order."""
        return self._layout.pieces

    def clear(self) -> None:
        """Forget all tokens."""
        self._waiting.clear()
        self._tail, self._before_tail = [], None
        self._layout = Layout(self._layout.width)
        if self._selection is not None:
            self.screen.clear_selection()
        self._strips.clear()
        self._set_virtual_size(Size(0, 0))
        self.scroll_to(y=0, animate=False, force=True)
        self._following = self._seeking = True
        self.refresh()

    def write(self, pieces: Iterable[Piece]) -> None:
        """Queue tokens for the next flush."""
        self._waiting.extend(pieces)

    def show_tail(self, pieces: list[Piece]) -> None:
        """Show ``pieces`` after all others until the next call: tokens that are not judged yet."""
        if pieces != self._tail:
            self._tail = pieces
            self._drop_tail()

    def show_cursor(self, shown: bool) -> None:
        """Draw or remove the block at the end that says more is coming."""
        if shown != self._cursor:
            self._cursor = shown
            self._repaint_from(len(self._layout.lines) - 1)

    def set_placeholder(self, text: str) -> None:
        """What an empty pane says."""
        if text != self._placeholder:
            self._placeholder = text
            self.refresh()

    def flush(self) -> None:
        """Lay out and paint what was written since the last time."""
        if not self._waiting and (self._before_tail is not None or not self._tail):
            return
        self._drop_tail()
        changed = len(self._layout.lines) - 1
        while self._waiting:
            self._layout.add(self._visible(self._waiting.popleft()))
        self._add_tail()
        self._resized_content()
        self._repaint_from(changed)
        self._show_inspected()

    def _add_tail(self) -> None:
        if self._tail:
            self._before_tail = self._layout.mark()
            for piece in self._tail:
                self._layout.add(self._visible(piece))

    def _drop_tail(self) -> None:
        if self._before_tail is not None:
            changed = self._layout.restore(self._before_tail)
            self._before_tail = None
            self._resized_content()
            self._repaint_from(changed)

    def _visible(self, piece: Piece) -> Piece:
        text = safe(piece.text, self._ascii)
        if piece.kind in INLINE:
            text = text.replace("\n", self._marks.newline).replace("\t", self._marks.tab)
        return piece._replace(text=text)

    def _resized_content(self) -> None:
        following = self._following
        self._set_virtual_size(Size(self._layout.width, len(self._layout.lines)))
        if following:
            self.scroll_to(y=self.max_scroll_y, animate=False, force=True)

    def _set_virtual_size(self, size: Size) -> None:
        """Tell the scroll bar. Setting the reactive would lay out and repaint the whole screen for a line."""
        if size != self.virtual_size:
            self.set_reactive(TokenView.virtual_size, size)
            self._scroll_update(size)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Follow the end from here on only if this is the end."""
        super().watch_scroll_y(old_value, new_value)
        self._following = self.is_vertical_scroll_end

    def _repaint_from(self, first: int) -> None:
        for index in range(max(first - 1, 0), len(self._layout.lines)):
            self._strips.pop(index, None)
        self.refresh_lines(max(first - 1, 0), len(self._layout.lines) - first + 2)

    def on_resize(self, event: events.Resize) -> None:
        """Break the lines anew where the width changed."""
        del event
        width = self.scrollable_content_region.width
        if width != self._layout.width and width > 0:
            self._break_anew(width)
            self._seeking = True
        self._resized_content()
        self._show_inspected()

    def _break_anew(self, width: int) -> None:
        self._drop_tail()
        pieces = self._layout.pieces
        self._layout = Layout(width)
        for piece in pieces:
            self._layout.add(piece)
        self._add_tail()
        self._strips.clear()
        self.refresh()

    def notify_style_update(self) -> None:
        """The theme changed: every cached strip is stale."""
        self._strips.clear()
        self._styles_of.clear()
        super().notify_style_update()

    def render_lines(self, crop: Region) -> list[Strip]:
        """The visible part, to be painted."""
        self._painting = True
        try:
            return super().render_lines(crop)
        finally:
            self._painting = False

    def render_line(self, y: int) -> Strip:
        """One line of the visible part."""
        index = self.scroll_offset.y + y
        width = self.size.width
        if not self._layout.pieces and not index and self._placeholder:
            return self._placeholder_strip(width)
        if index >= len(self._layout.lines):
            return Strip.blank(width, self._look())
        strip = self._strips.get(index)
        if strip is None:
            strip = self._strips[index] = self._strip(self._layout.lines[index], index)
        strip = self._selected(strip, index)
        if not self._painting:
            # Somebody asks what is under the mouse; for painting this would be half of the cost.
            strip = strip.apply_offsets(0, index)
        return strip.crop_extend(0, width, self._look())

    def _strip(self, line: Line, index: int) -> Strip:
        inspected = index_of(self._layout, self._inspected)
        segments = [
            Segment(span.text, self._look(self._kind(span.piece), inspected=span.piece == inspected))
            for span in line.spans()
        ]
        if inspected is not None and self._ends_with(inspected, line, index):
            segments.append(Segment(self._marks.newline[0], self._look(self._kind(inspected), inspected=True)))
        elif self._cursor and index == len(self._layout.lines) - 1 and line.width < self._layout.width:
            segments.append(Segment(self._marks.cursor, self._look("prompt")))
        return Strip(segments)

    def _ends_with(self, piece: int, line: Line, index: int) -> bool:
        """Whether ``piece`` shows nothing itself, and ``line`` is where it would be."""
        return line.column(piece) is None and self._layout.lines_of(piece) == range(index, index + 1)

    # --- the inspected token ------------------------------------------------------------------

    def inspect(self, place: Place | None) -> None:
        """Mark the token at ``place``, or none, and keep it in sight."""
        if place == self._inspected:
            return
        before, self._inspected, self._seeking = self._inspected, place, True
        for index in (index_of(self._layout, before), index_of(self._layout, place)):
            if index is not None:
                rows = self._layout.lines_of(index)
                for row in rows:
                    self._strips.pop(row, None)
                self.refresh_lines(rows.start, len(rows))
        self._show_inspected()

    def _show_inspected(self) -> None:
        index = index_of(self._layout, self._inspected)
        if index is None or not self._seeking:
            return
        self._seeking = False
        row, height = self._layout.lines_of(index).start, self.size.height
        context = min(_CONTEXT, max(height - 1, 0) // 2)
        if row < self.scroll_y + context:
            self.scroll_to(y=row - context, animate=False)
        elif row >= self.scroll_y + height - context:
            self.scroll_to(y=row - height + context + 1, animate=False)

    def moved(self, place: Place, move: TokenMove) -> Place | None:
        """The token that ``move`` leads to over the lines as they are laid out now."""
        return moved(self._layout, place, move, max(self.size.height - 1, 1))

    def on_click(self, event: events.Click) -> None:
        """Pick the token under the mouse, unless the click ended a selection."""
        place = picked(self._layout, self.scroll_offset.y + event.y, event.x)
        if self._selection is None and place is not None:
            self.post_message(self.TokenPicked(self, place))

    # --- selected text ------------------------------------------------------------------------

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The selected text as it was before lines were broken."""
        start = selection.start or Offset(0, 0)
        stop = selection.end or Offset(-1, len(self._layout.lines) - 1)
        end = TextPosition(stop.y, stop.x if stop.x >= 0 else None)
        return self._layout.text_between(TextPosition(start.y, start.x), end), "\n"

    def selection_updated(self, selection: Selection | None) -> None:
        """Paint the selection anew."""
        self._selection = selection
        self.refresh()

    def _selected(self, strip: Strip, index: int) -> Strip:
        # Not `text_selection`: it looks for the screen, which a line cannot afford.
        span = self._selection.get_span(index) if self._selection is not None else None
        if span is None:
            return strip
        start, end = span
        style = self.screen.get_component_rich_style("screen--selection")
        segments, at = [], 0
        for text, own, _ in strip:
            low = min(max(start - at, 0), len(text))
            high = len(text) if end == -1 else min(max(end - at, low), len(text))
            pieces = ((text[:low], own), (text[low:high], (own or style) + style), (text[high:], own))
            segments += [Segment(part, look) for part, look in pieces if part]
            at += len(text)
        return Strip(segments)

    # --- looks --------------------------------------------------------------------------------

    def _placeholder_strip(self, width: int) -> Strip:
        return Strip([Segment(self._placeholder, self._look("prompt"))]).crop_extend(0, width, self._look())

    def _kind(self, piece: int) -> str:
        return "plain" if piece == NO_PIECE else self._layout.pieces[piece].kind

    def _look(self, kind: str = "plain", *, inspected: bool = False) -> Style:
        """The style of ``kind`` on this ground, kept until the theme changes."""
        style = self._styles_of.get((kind, inspected))
        if style is None:
            state = token_style(kind, look(self.app.current_theme), dim=self.app.no_color)
            reverse = Style(reverse=True, strike=False) if inspected else Style()
            style = self._styles_of[kind, inspected] = self.rich_style + state + reverse
        return style
