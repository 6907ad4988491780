"""Small charts of text: a column of cells for each value."""

from __future__ import annotations

from collections.abc import Sequence

from fastdraft_app.theme.palette import Marks


def spark(values: Sequence[float | None], top: float, width: int, mark: Marks, rows: int = 1) -> list[str]:
    """``rows`` lines of ``width`` cells, the upper one first; 0 to ``top`` is the whole height.

    The last values are shown where there are more than ``width``. A value of 0 keeps the lowest mark, so that
    it differs from no value.
    """
    steps = len(mark.levels)
    shown = list(values)[-width:] if width > 0 else []
    heights = [0 if value is None else _height(value, top, steps * rows) for value in shown]
    lines = []
    for row in reversed(range(rows)):
        filled = [min(max(height - row * steps, 0), steps) for height in heights]
        lines.append("".join(mark.levels[cells - 1] if cells else " " for cells in filled).ljust(width))
    return lines


def _height(value: float, top: float, most: int) -> int:
    return min(max(round(value / top * most), 1), most) if top > 0 else 1


def peak(*series: Sequence[float | None]) -> float:
    """The greatest value of all ``series``, 0 where there is none."""
    return max((value for values in series for value in values if value is not None), default=0.0)
