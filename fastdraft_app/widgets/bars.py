"""Pieces of a row: a bar of shares, the name of a row, a figure with its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual.content import Content

from fastdraft_app.theme.palette import Marks

LABEL_WIDTH = 15
"""Cells of the name of a row, where nothing else is said."""


def bar(parts: Sequence[tuple[float, str]], width: int, mark: Marks) -> Content:
    """Coloured shares of a whole, then the empty rest. Neighbours differ in their mark, too."""
    cells: list[tuple[str, str]] = []
    used, total = 0, 0.0
    for index, (share, style) in enumerate(parts):
        total += share
        end = min(round(total * width), width)
        cells.append((mark.bars[index % len(mark.bars)] * (end - used), style))
        used = end
    return Content.assemble(*cells, (mark.rail * (width - used), "$border-blurred"))


def label(name: str, width: int = LABEL_WIDTH) -> Content:
    """The name of a row."""
    return Content.styled(name.ljust(width), "$muted")


def figure(name: str, value: str) -> Content:
    """A figure with its name before it."""
    return Content.assemble((f"{name} ", "$muted"), value)


def or_dash(value: float | None, form: Callable[[float], str]) -> str:
    """``value`` in its form, or a dash."""
    return "-" if value is None else form(value)
