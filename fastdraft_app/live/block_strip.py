"""The last blocks of the speculative run, a glyph a token, and the legend of the glyphs.

While a token is inspected the strip shows its block instead of the last one. A click picks a token.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.content import Content
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from fastdraft_app.live.replay import Place
from fastdraft_app.theme.palette import glyph, glyph_style, look
from fastdraft_core.events import Block
from fastdraft_core.token_states import JUDGED, PENDING

GAP = 2
_REVERSE = Style(reverse=True, bold=True)


class BlockStrip(Widget):
    """Blocks from left to right, row by row; the oldest leave when there is no room."""

    COMPONENT_CLASSES = {"block-strip--inspected"}
    DEFAULT_CSS = """
    BlockStrip {
        height: 1;
        width: 1fr;
        & > .block-strip--inspected { background: $primary 30%; }
        &:ansi > .block-strip--inspected { background: ansi_default; }
    }
    """

    class BlockPicked(Message):
        """A token was clicked."""

        def __init__(self, place: Place) -> None:
            super().__init__()
            self.place = place

    def __init__(self, *, ascii_only: bool, id: str) -> None:  # noqa: A002  Textual's name
        super().__init__(id=id)
        self._ascii = ascii_only
        self._blocks: Sequence[Block] = ()
        self._count = 0
        self._pending = 0
        self._gamma = 1
        self._place: Place | None = None

    def show(
        self, blocks: Sequence[Block], count: int, gamma: int, pending: int = 0, place: Place | None = None
    ) -> None:
        """Show the first ``count`` of ``blocks``, and of the next one the first ``pending`` tokens.

        The block of ``place`` is kept in sight and marked.
        """
        new = (count, gamma, pending, place)
        if blocks is not self._blocks or new != (self._count, self._gamma, self._pending, self._place):
            self._blocks = blocks
            self._count, self._gamma, self._pending, self._place = new
            self.refresh()

    def rows(self) -> list[range]:
        """Indices of the visible blocks, row by row."""
        count = self._count + (self._pending > 0)
        fit, height = max((self.size.width + GAP) // self._slot, 1), max(self.size.height, 1)
        inspected = count - 1 if self._place is None else min(max(self._place.step - 1, 0), count - 1)
        if height == 1:
            start = min(max(count - fit, 0), max(inspected, 0))
            return [range(start, min(start + fit, count))]
        starts = range(0, count, fit)
        first = min(max(len(starts) - height, 0), max(inspected, 0) // fit)
        return [range(start, min(start + fit, count)) for start in starts[first : first + height]]

    def render_line(self, y: int) -> Strip:
        """One row of blocks."""
        rows = self.rows()
        segments: list[Segment] = []
        for index in rows[y] if y < len(rows) else ():
            segments.extend(self._segments(index))
        return Strip(segments).crop_extend(0, self.size.width, self.rich_style)

    def on_click(self, event: events.Click) -> None:
        """Pick the token under the mouse."""
        rows = self.rows()
        column, position = divmod(event.x, self._slot)
        if event.y >= len(rows) or column >= len(rows[event.y]):
            return
        index = rows[event.y][column]
        self.post_message(self.BlockPicked(Place(index + 1, min(position, len(self._states(index)) - 1))))

    @property
    def _slot(self) -> int:
        return self._gamma + 1 + GAP

    def _states(self, index: int) -> list[str]:
        block = self._blocks[index]
        if index >= self._count:
            return [PENDING.name] * self._pending
        return [token.state for token in (*block.drafted, block.extra) if token is not None]

    def _segments(self, index: int) -> list[Segment]:
        colours, states, base = look(self.app.current_theme), self._states(index), self.rich_style
        place = self._place if self._place is not None and self._place.step == index + 1 else None
        ground = base if place is None else self.get_component_rich_style("block-strip--inspected")
        styles = [ground + glyph_style(state, colours) for state in states]
        if place is not None and place.position < len(styles):
            styles[place.position] = base + glyph_style(states[place.position], colours) + _REVERSE
        shown = [Segment(glyph(state, self._ascii), style) for state, style in zip(states, styles, strict=True)]
        return [*shown, Segment(" " * (self._slot - len(states)), base)]


def legend(ascii_only: bool, width: int) -> Content:
    """Every glyph with its word in the attribute of the state."""
    gap = "   " if width >= 64 else "  "
    entries = [
        Content.assemble(
            (state.glyph if not ascii_only else state.ascii_glyph, f"$token-{state.name}"),
            " ",
            (state.name, f"{state.attribute.replace('dim ', '')} $token-{state.name}"),
        )
        for state in JUDGED
    ]
    return Content(gap).join(entries)
