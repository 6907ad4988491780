"""Rows of figures and small charts that repaint only the cells that changed."""

from __future__ import annotations

from textual.content import Content
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.visual import Visual
from textual.widget import Widget


class FigureRows(Widget):
    """Text and charts given as ``Content``. While a chart grows, one cell a row goes to the terminal."""

    DEFAULT_CSS = """
    FigureRows { height: auto; width: 1fr; text-wrap: nowrap; text-overflow: clip; }
    """

    def __init__(self, *, id: str) -> None:  # noqa: A002  Textual's name
        super().__init__(id=id)
        self._shown = Content("")
        self._strips: list[Strip] = []
        self._stale = True

    def show(self, *rows: Content) -> None:
        """Show ``rows`` from now on."""
        content = Content("\n").join(rows)
        if content.is_same(self._shown):
            return
        resized = len(rows) != self._shown.plain.count("\n") + 1
        self._shown = content
        if resized or self._stale or not self.size:
            self._stale = True
            self.refresh(layout=resized)
        else:
            self._repaint()

    @property
    def text(self) -> str:
        """What is shown, without its styles."""
        return self._shown.plain

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """A line for each row."""
        del container, viewport, width
        return self._shown.plain.count("\n") + 1

    def on_resize(self) -> None:
        """Lay the rows out anew."""
        self._stale = True

    def notify_style_update(self) -> None:
        """The theme changed: every strip is stale."""
        self._stale = True
        super().notify_style_update()

    def render_line(self, y: int) -> Strip:
        """One row."""
        if self._stale:
            self._strips, self._stale = self._draw(), False
        return self._strips[y] if y < len(self._strips) else Strip.blank(self.size.width, self.rich_style)

    def _draw(self) -> list[Strip]:
        return Visual.to_strips(self, self._shown, self.size.width, None, self.visual_style, pad=True)

    def _repaint(self) -> None:
        before, self._strips = self._strips, self._draw()
        changed = [
            Region(first, y, last - first, 1)
            for y, (old, new) in enumerate(zip(before, self._strips, strict=False))
            for first, last in [_difference(old, new)]
            if first < last
        ]
        if changed:
            self.refresh(*changed)


def _difference(old: Strip, new: Strip) -> tuple[int, int]:
    """The cells from the first to the last one that differ; equal numbers where none does."""
    before, after = (_cells(strip) for strip in (old, new))
    if len(before) != len(after):
        return 0, max(len(before), len(after))
    differing = [index for index, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    return (differing[0], differing[-1] + 1) if differing else (0, 0)


def _cells(strip: Strip) -> list[tuple[str, object]]:
    """Every cell with its style; figures hold no wide characters."""
    return [(character, segment.style) for segment in strip for character in segment.text]
