"""A sweep as files: Markdown, CSV, JSON, or a folder of charts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fastdraft_app.exports import export_folder, free_name
from fastdraft_app.settings.settings import Settings
from fastdraft_core.files import write_atomic
from fastdraft_core.results.export import as_csv, as_json, as_markdown
from fastdraft_core.results.store import Result

EXPORTED = {
    "md": "Markdown: verdict, tables, how it was measured",
    "csv": "CSV: a row a point of the grid",
    "json": "JSON: everything, with the machine's card",
    "svg": "SVG: a folder with every chart",
    "png": "PNG: the same charts as pixels",
}
"""What a result can be exported as, by the ending of its files."""
CHARTS = ("svg", "png")
"""Those of them that are drawn, which takes seconds."""

_WRITERS = {"md": as_markdown, "csv": as_csv, "json": as_json}


def export_result(kind: str, result: Result, settings: Settings) -> Path:
    """Write ``result`` as ``kind``, which is no chart, and return the file; nothing that exists is replaced.

    Raises:
        OSError: the folder cannot be written.
    """
    path = free_name(export_folder(settings), kind, result.plan.name)
    write_atomic(path, _WRITERS[kind](result).encode())
    return path


def export_charts(pictures: Mapping[str, bytes], name: str, settings: Settings) -> Path:
    """Write the ``pictures`` of the result ``name`` and return their folder; nothing that exists is replaced.

    Raises:
        OSError: the folder cannot be written.
    """
    path = free_name(export_folder(settings), "charts", name)
    path.mkdir()
    for file, picture in pictures.items():
        write_atomic(path / file, picture)
    return path
