"""A sweep as files: Markdown, CSV, JSON, or a folder of SVG charts."""

from __future__ import annotations

from pathlib import Path

from fastdraft_app.export import export_folder, free_name
from fastdraft_app.settings import Settings
from fastdraft_core.files import write_atomic
from fastdraft_core.results.charts import charts
from fastdraft_core.results.export import as_csv, as_json, as_markdown
from fastdraft_core.results.store import Result

EXPORTED = {
    "md": "Markdown: verdict, tables, how it was measured",
    "csv": "CSV: a row a point of the grid",
    "json": "JSON: everything, with the machine's card",
    "svg": "SVG: a folder with every chart",
}
"""What a result can be exported as, by the ending of its files."""

_WRITERS = {"md": as_markdown, "csv": as_csv, "json": as_json}


def export_result(kind: str, result: Result, settings: Settings) -> Path:
    """Write ``result`` as ``kind`` and return the file or folder; nothing that exists is replaced.

    Raises:
        OSError: the folder cannot be written.
    """
    folder, name = export_folder(settings), result.plan.name
    if kind != "svg":
        path = free_name(folder, kind, name)
        write_atomic(path, _WRITERS[kind](result).encode())
        return path
    path = free_name(folder, "charts", name)
    path.mkdir()
    for file, text in charts(result).items():
        write_atomic(path / file, text.encode())
    return path
