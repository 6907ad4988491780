"""Exports as a user makes them, and what stands in their cards."""

from __future__ import annotations

import re
from pathlib import Path

from fastdraft_core.export.formats import ExportOptions, export
from fastdraft_core.models.folders import local_folder


def exported(model: str, folder: Path, form: str, weights: str = "original", target: str = "") -> Path:
    """``model`` written to ``folder``."""
    export(model, folder, ExportOptions(form, weights, target), lambda step: None)
    return folder


def source_of(name: str) -> Path:
    """The folder of a bundled model."""
    return local_folder(name)


def code(folder: Path, language: str) -> str:
    """The first block in ``language`` of a folder's card."""
    found = re.search(rf"```{language}\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def section(text: str, title: str) -> str:
    """What stands under a heading of a card."""
    return text.partition(f"## {title}\n")[2].partition("\n## ")[0].strip()
