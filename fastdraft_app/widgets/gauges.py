"""What rows of figures are made of: the name before the figures, and a bar of shares."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from fastdraft_app.theme.palette import Marks

LABEL_WIDTH = 15


def label(name: str, width: int = LABEL_WIDTH) -> Content:
    """The name of a row."""
    return Content.styled(name.ljust(width), "$muted")


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
