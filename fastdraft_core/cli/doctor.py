"""``fastdraft doctor``: what this machine has, and what is missing."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import typer
from rich.table import Table

from fastdraft_core.cli import app, options, talk

if TYPE_CHECKING:
    from fastdraft_core.events import Check

_MARKS = {"ok": ("✔", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red")}


@app.command()
def doctor(json: options.Json = False) -> None:
    """Show versions, devices, memory, bandwidth, folders, logs and the bundled pair. Exit code 1 if something is broken."""
    from rich.console import Console
    from rich.text import Text

    from fastdraft_core.doctor import checks

    if json:
        found = list(_printed(checks()))
    else:
        with talk.status("measuring memory bandwidth …"):
            found = list(checks())
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for check in found:
            mark, style = _MARKS[check.status]
            value = Text(check.value)
            if check.advice:
                value.append(f"\n{check.advice}", style="dim")
            table.add_row(Text(mark, style=style), Text(check.name, style="bold"), value)
        Console().print(table)
    if any(check.status == "fail" for check in found):
        raise typer.Exit(1)


def _printed(found: Iterable[Check]) -> Iterator[Check]:
    """``found``, printed as one JSON array with a check a line, each at once: the slow ones come last."""
    from fastdraft_core.events import encode

    lead = b"["
    for check in found:
        sys.stdout.buffer.write(lead + encode(check))
        sys.stdout.buffer.flush()
        lead = b","
        yield check
    sys.stdout.buffer.write(b"]\n")
    sys.stdout.buffer.flush()
