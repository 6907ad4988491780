"""``fastdraft doctor``: what this machine has, and what is missing."""

from __future__ import annotations

import typer
from rich.table import Table

from fastdraft_core.cli import app, options, print_json, talk

_MARKS = {"ok": ("✔", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red")}


@app.command()
def doctor(json: options.Json = False) -> None:
    """Show versions, devices, memory, bandwidth, caches and the bundled pair. Exit code 1 if something is broken."""
    from rich.console import Console
    from rich.text import Text

    from fastdraft_core.doctor import checks

    with talk.status("measuring memory bandwidth …"):
        found = list(checks())
    if json:
        print_json(found)
    else:
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
