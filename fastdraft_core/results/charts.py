"""The charts of a result as SVG files."""

from __future__ import annotations

from fastdraft_core.results.panels import figures
from fastdraft_core.results.store import Result
from fastdraft_core.results.svg import draw

_NOTE = "Solid with shapes: measured, bars are 95 % intervals. Dashed: predicted from measured costs, not timed."


def charts(result: Result) -> dict[str, str]:
    """SVG documents by file name, those that the result has figures for."""
    return {
        f"{name}.svg": draw(f"{chart.title} · {result.plan.name}", chart.panels, [_NOTE])
        for name, chart in figures(result).items()
        if not chart.empty
    }
