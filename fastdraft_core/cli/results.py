"""``fastdraft results``: list, show, compare and export what sweeps found."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fastdraft_core.cli import app, options, print_json, talk
from fastdraft_core.errors import FastdraftError
from fastdraft_core.formatting import safe

results = typer.Typer(
    name="results",
    help="List, show, compare and export what sweeps found.",
    invoke_without_command=True,
    rich_markup_mode=None,
)
app.add_typer(results)

Name = Annotated[str, typer.Argument(help="A result: its name, the beginning of it, or last.", show_default=False)]


class Format(StrEnum):
    """How a result is exported."""

    MD = "md"
    CSV = "csv"
    JSON = "json"
    SVG = "svg"
    PNG = "png"


@results.callback()
def alone(context: typer.Context, json: options.Json = False) -> None:
    """List, show, compare and export what sweeps found; without a command: list."""
    if context.invoked_subcommand is None:
        list_results(json=json)


@results.command("list")
def list_results(json: options.Json = False) -> None:
    """Every result, the newest last, with the first sentence of its verdict."""
    from fastdraft_core.results import store

    names = store.names()
    if not names:
        talk.print("There are no results yet; run fastdraft sweep first.")
    for name in names:
        try:
            result = store.read(name)
        except FastdraftError as error:
            talk.print(error.message)
            continue
        words = result.verdict.words[0] if result.verdict else "no verdict yet"
        state = result.finished.reason if result.finished else "unfinished"
        if json:
            row = {
                "name": name,
                "state": state,
                "measured": len(result.measured),
                "points": result.total,
                "verdict": words,
            }
            print_json(row)
        else:
            print(safe(f"{name}  {len(result.measured)}/{result.total} {state}  {words}"))


@results.command()
def show(name: Name = "last", json: options.Json = False) -> None:
    """A result as Markdown: the verdict, the surface, every measured point, and how it was measured."""
    from fastdraft_core.results import store
    from fastdraft_core.results.export import as_markdown, parts

    result = store.read(store.find(name))
    if json:
        print_json(parts(result))
    else:
        print(as_markdown(result), end="")


@results.command()
def compare(first: Name, second: Name, json: options.Json = False) -> None:
    """Two results side by side; differences beyond the noise of both are marked."""
    from fastdraft_core.results import store
    from fastdraft_core.results.compare import compare as differences
    from fastdraft_core.results.compare import conditions, uncompared
    from fastdraft_core.results.export import table

    a, b = (store.read(store.find(name)) for name in (first, second))
    found, lacking = differences(a, b), uncompared(a, b)
    if not json:
        print(safe(f"A {a.plan.name}\nB {b.plan.name}\n"))
        for line in conditions(a.plan, b.plan):
            print(safe(f"differs, {line}"))
    if not found:
        none = "The two results have no measured point in common (gamma, temperature and task)."
        raise FastdraftError(f"{none} {lacking}".rstrip())
    if json:
        for d in found:
            print_json({"first": d.first, "second": d.second, "ratio": d.ratio, "noise": d.noise, "difference": d.mark})
        return
    rows = [
        [
            f"{d.first.draft} gamma {d.first.gamma}, {d.first.task}, T {d.first.temperature:g}",
            f"{d.first.speedup:.2f} ({d.first.low:.2f}–{d.first.high:.2f})",
            f"{d.second.speedup:.2f} ({d.second.low:.2f}–{d.second.high:.2f})",
            f"{d.ratio - 1:+.1%}",
            f"{d.mark} in B" if d.mark else "within noise",
        ]
        for d in found
    ]
    print("\n" + table(["point", "speed-up A (95 %)", "speed-up B (95 %)", "B against A", "difference"], rows))
    beyond = sum(bool(d.mark) for d in found)
    print(f"\n{beyond} of {len(found)} common points differ beyond noise.")
    if lacking:
        print(lacking)


@results.command()
def export(
    name: Name,
    form: Annotated[Format, typer.Option("--format", help="md, csv, json, or svg or png for the charts.")] = Format.MD,
    output: Annotated[
        Path | None,
        typer.Option(help="A file, for charts a folder. [default: standard output, for charts NAME-charts]"),
    ] = None,
) -> None:
    """Write a result in another form: a page, a table, all of it, or its charts as pictures."""
    from fastdraft_core.results import store
    from fastdraft_core.results.charts import draw
    from fastdraft_core.results.export import as_csv, as_json, as_markdown
    from fastdraft_core.results.panels import figures

    result = store.read(store.find(name))
    if form in (Format.SVG, Format.PNG):
        folder = output or Path(f"{result.plan.name}-charts")
        for file, picture in draw(figures(result), result.plan.name, form.value).items():
            _write(folder / file, picture)
        return
    text = {Format.MD: as_markdown, Format.CSV: as_csv, Format.JSON: as_json}[form](result)
    if output is None:
        # The bytes that a file would have, for whoever redirects them into one.
        sys.stdout.buffer.write(text.encode("utf-8"))
    else:
        _write(output, text.encode("utf-8"))


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise FastdraftError(f"{path} cannot be written ({error.strerror or error}).") from error
    talk.print(f"wrote {path}")
