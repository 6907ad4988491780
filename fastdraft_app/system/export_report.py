"""What the checks of this machine found, as text for a person or as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path

from fastdraft_app.exports import export_folder, free_name
from fastdraft_app.settings.settings import Settings
from fastdraft_core.events import Check, encode
from fastdraft_core.files import write_atomic
from fastdraft_core.formatting import safe

EXPORTED = {
    "txt": "plain text: every check with its advice",
    "json": "JSON: the same as `fastdraft doctor --json`",
}
"""What a report can be exported as, by the ending of its file."""

_SIGNS = {"ok": "ok", "warn": "WARN", "fail": "FAIL"}


def export_report(kind: str, checks: Sequence[Check], settings: Settings) -> Path:
    """Write ``checks`` as ``kind`` and return the file; nothing that exists is replaced.

    Raises:
        OSError: the folder cannot be written.
    """
    path = free_name(export_folder(settings), kind, f"system-{datetime.now():%Y%m%d-%H%M%S}")
    write_atomic(path, {"txt": as_text, "json": as_json}[kind](checks).encode())
    return path


def as_text(checks: Sequence[Check]) -> str:
    """Group by group, with the advice below each line that has some."""
    width = max((len(check.name) for check in checks), default=0)
    lines = []
    for group, found in groupby(checks, lambda check: check.group):
        lines.append(f"--- {group}")
        for check in found:
            lines.append(f"{_SIGNS[check.status]:<4}  {check.name:<{width}}  {_flat(check.value)}")
            if check.advice:
                lines.append(f"{'':<{width + 8}}{_flat(check.advice)}")
    return "\n".join(lines) + "\n"


def as_json(checks: Sequence[Check]) -> str:
    """One array, a check a line."""
    return "[" + ",".join(encode(check).decode() for check in checks) + "]\n"


def _flat(text: str) -> str:
    return " ".join(safe(text).split())
