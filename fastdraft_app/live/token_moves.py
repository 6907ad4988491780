"""From token to token over a layout: where a place is, and where a key leads."""

from __future__ import annotations

from bisect import bisect_left

from fastdraft_app.live.replay import Place
from fastdraft_app.live.token_layout import NO_PIECE, Layout

FIRST = Place(0, 0)
"""The first token after the prompt."""


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


def moved(layout: Layout, place: Place, move: str, page: int) -> Place | None:
    """The token that ``move`` leads to: left, right, up, down, page_up, page_down, home, end or stay.

    A ``place`` that is not shown counts as just before the next one that is. None without any token.
    """
    first, last = _at_or_after(layout, FIRST), len(layout.pieces) - 1
    if last < first:
        return None
    index = min(_at_or_after(layout, place), last)
    hidden = layout.pieces[index].place != place
    tokens = {"left": index - 1, "right": index if hidden else index + 1, "home": first, "end": last, "stay": index}
    rows = {"up": -1, "down": 1, "page_up": -page, "page_down": page}
    target = tokens[move] if move in tokens else _row_moved(layout, index, rows[move])
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
