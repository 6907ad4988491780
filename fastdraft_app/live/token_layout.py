"""Breaking a stream of tokens into lines, token by token; only the open last line ever changes.

Words are kept whole where they fit. Wide characters take two cells, combining ones join the cell
before them. Every span of a line knows the token that it came from.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal, NamedTuple

from rich.cells import cell_len

from fastdraft_app.live.replay import Piece, Place

TAB_WIDTH = 4
NO_PIECE = -1
"""The piece of cells that only indent a continued line."""

FIRST = Place(0, 0)
"""The first token after the prompt."""
TokenMove = Literal["left", "right", "up", "down", "page_up", "page_down", "home", "end", "stay"]
"""Ways from one token to another."""

_DOTTED_CIRCLE = "◌"
_MOST_JOINED = 16
"""Characters in one cell: the longest emoji and every script need fewer; a broken model may emit thousands."""

wide = lru_cache(maxsize=16384)(cell_len)


class Cell(NamedTuple):
    """One character with what combines with it, its width and its place in ``Layout.pieces``."""

    text: str
    width: int
    piece: int


class Span(NamedTuple):
    """Neighbouring cells of one token."""

    text: str
    piece: int


@dataclass
class Line:
    """A laid-out line. ``joint`` stood before it in the text: a line end, or where it was broken nothing or a space.

    ``first`` is the piece that its first cell came from, or in an empty line would come from.
    """

    cells: list[Cell] = field(default_factory=list)
    width: int = 0
    joint: str = "\n"
    first: int = 0

    def spans(self) -> list[Span]:
        """The line as runs of one token each."""
        spans: list[Span] = []
        for text, _, piece in self.cells:
            if spans and spans[-1].piece == piece:
                spans[-1] = Span(spans[-1].text + text, piece)
            else:
                spans.append(Span(text, piece))
        return spans

    @property
    def text(self) -> str:
        """What the line shows."""
        return "".join(cell.text for cell in self.cells)

    def copy(self) -> Line:
        """A line that can change while this one stays."""
        return replace(self, cells=list(self.cells))

    def piece_at(self, column: int) -> int:
        """The piece under ``column``, or the nearest one on the line; ``NO_PIECE`` where there is none."""
        nearest, at = NO_PIECE, 0
        for _, width, piece in self.cells:
            nearest = nearest if piece == NO_PIECE else piece
            at += width
            if at > column and nearest != NO_PIECE:
                break
        return nearest

    def column(self, piece: int) -> int | None:
        """Where ``piece`` begins on this line."""
        at = 0
        for _, width, own in self.cells:
            if own == piece:
                return at
            at += width
        return None

    def cut(self, start: int, stop: int | None) -> str:
        """Characters ``start`` to ``stop`` of the line, without the indent of a continued one."""
        kept, at = [], 0
        for text, _, piece in self.cells:
            inside = at >= start and (stop is None or at < stop)
            if inside and piece != NO_PIECE:
                kept.append(text)
            at += len(text)
        return "".join(kept)

    def _break(self) -> int:
        """Index after the last space with something before it; 0 where the line is one word."""
        solid = False
        place = 0
        for index, cell in enumerate(self.cells):
            if cell.text != " ":
                solid = True
            elif solid:
                place = index + 1
        return place

    def split(self) -> Line:
        """Cut the unfinished word off and return it as the next line."""
        place = self._break() or len(self.cells)
        tail = self.cells[place:]
        self.cells = self.cells[:place]
        self.width -= sum(cell.width for cell in tail)
        return Line(tail, sum(cell.width for cell in tail), "")

    @property
    def indent(self) -> int:
        """Spaces that the line begins with."""
        return len(self.text) - len(self.text.lstrip(" "))


@dataclass(frozen=True)
class LayoutState:
    """A state of a layout that it can go back to."""

    pieces: int
    lines: int
    last: Line


class TextPosition(NamedTuple):
    """A character of a laid-out line; None is where the line ends."""

    line: int
    character: int | None


class Layout:
    """Lines of a given width, and the pieces that they were made of."""

    def __init__(self, width: int) -> None:
        self.width = max(width, 2)
        self.pieces: list[Piece] = []
        self.lines: list[Line] = [Line()]

    def add(self, piece: Piece) -> int:
        """Append one safe piece; returns the index of the first line that changed."""
        first = len(self.lines) - 1
        self.pieces.append(piece)
        index = len(self.pieces) - 1
        for character in piece.text:
            if character == "\n":
                self.lines.append(Line(first=index))
            elif character == "\t":
                self._tab(index)
            else:
                self._put(character, index)
        return first

    def mark(self) -> LayoutState:
        """The present state. It stays good while pieces are only added."""
        return LayoutState(len(self.pieces), len(self.lines), self.lines[-1].copy())

    def restore(self, mark: LayoutState) -> int:
        """Go back to ``mark``; returns the index of the first line that changed."""
        del self.pieces[mark.pieces :]
        del self.lines[mark.lines :]
        self.lines[-1] = mark.last.copy()
        return mark.lines - 1

    def lines_of(self, piece: int) -> range:
        """The lines that show ``piece``; where nothing of it shows (a line end), the line that it ends."""
        after = bisect_left(self.lines, piece, key=lambda line: line.first)
        start = stop = max(after - 1, 0)
        for index in range(start, len(self.lines)):
            if self.lines[index].first > piece:
                break
            if self.lines[index].column(piece) is not None:
                start, stop = (index if stop == start else start), index + 1
        return range(start, max(stop, start + 1))

    def text_between(self, start: TextPosition, stop: TextPosition) -> str:
        """The text from ``start`` to ``stop``, as it was before lines were broken."""
        parts = []
        for index in range(start.line, min(stop.line + 1, len(self.lines))):
            line = self.lines[index]
            if index > start.line:
                parts.append(line.joint)
            first = start.character or 0 if index == start.line else 0
            parts.append(line.cut(first, stop.character if index == stop.line else None))
        return "".join(parts)

    def _tab(self, piece: int) -> None:
        for _ in range(TAB_WIDTH - self.lines[-1].width % TAB_WIDTH):
            self._put(" ", piece)

    def _put(self, character: str, piece: int) -> None:
        line = self.lines[-1]
        if not character.isascii() and self._joins(line, character):
            return
        width = 1 if character.isascii() else wide(character)
        if width == 0:
            character, width = _DOTTED_CIRCLE + character, 1
        if line.width + width > self.width:
            line = self._continue(line, Line(joint=" ") if character == " " else line.split(), piece)
            if character == " ":
                return
        line.cells.append(Cell(character, width, piece))
        line.width += width

    def _continue(self, line: Line, tail: Line, piece: int) -> Line:
        """Open the next line with ``tail`` under the same indent, where that leaves room enough."""
        tail.first = tail.cells[0].piece if tail.cells else piece
        indent = line.indent if line.indent <= self.width // 2 else 0
        if tail.width + indent + 2 <= self.width:
            tail.cells[:0] = [Cell(" ", 1, NO_PIECE)] * indent
            tail.width += indent
        self.lines.append(tail)
        return tail

    def _joins(self, line: Line, character: str) -> bool:
        """Add a combining character to the cell before it, as the terminal will."""
        if not line.cells:
            return False
        last = line.cells[-1]
        if len(last.text) >= _MOST_JOINED:
            return False
        joined = wide(last.text + character)
        if joined > last.width:
            return False
        line.cells[-1] = Cell(last.text + character, last.width, last.piece)
        return True


# --- from token to token -----------------------------------------------------------------------------


def index_of(layout: Layout, place: Place | None) -> int | None:
    """The piece at ``place``; None where the layout does not show it."""
    if place is None:
        return None
    index = _at_or_after(layout, place)
    return index if index < len(layout.pieces) and layout.pieces[index].place == place else None


def picked(layout: Layout, row: int, column: int) -> Place | None:
    """The token at a point, or the nearest one on its line; None for the prompt and beyond the text."""
    piece = layout.lines[row].piece_at(column) if row < len(layout.lines) else NO_PIECE
    place = layout.pieces[piece].place if piece != NO_PIECE else None
    return place if place is not None and place >= FIRST else None


def moved(layout: Layout, place: Place, move: TokenMove, page: int) -> Place | None:
    """The token that ``move`` leads to; ``page`` is a number of lines.

    A ``place`` that is not shown counts as just before the next one that is. None without any token.
    """
    first, last = _at_or_after(layout, FIRST), len(layout.pieces) - 1
    if last < first:
        return None
    index = min(_at_or_after(layout, place), last)
    hidden = layout.pieces[index].place != place
    tokens = {"left": index - 1, "right": index if hidden else index + 1, "home": first, "end": last, "stay": index}
    lines = {"up": -1, "down": 1, "page_up": -page, "page_down": page}
    target = tokens[move] if move in tokens else _row_moved(layout, index, lines[move])
    return layout.pieces[min(max(target, first), last)].place


def _at_or_after(layout: Layout, place: Place) -> int:
    return bisect_left(layout.pieces, place, key=lambda piece: piece.place)


def _row_moved(layout: Layout, index: int, rows: int) -> int:
    lines, start = layout.lines, layout.lines_of(index).start
    column = lines[start].column(index)
    row, way = min(max(start + rows, 0), len(lines) - 1), 1 if rows > 0 else -1
    while 0 <= row < len(lines) and row != start:
        piece = lines[row].piece_at(lines[start].width if column is None else column)
        if piece not in (NO_PIECE, index):
            return piece
        row += way
    return index
