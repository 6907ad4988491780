"""``fastdraft sources``: whether the sources of a recipe can be read, before anything is spent."""

from __future__ import annotations

from typing import Annotated

import typer

from fastdraft_core.cli import app, options, print_json, talk
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Glanced
from fastdraft_core.formatting import safe


@app.command()
def sources(
    recipe: Annotated[
        str, typer.Argument(help="A recipe file (.toml) or the name of a bundled recipe.", show_default=False)
    ],
    source: Annotated[
        list[str] | None, typer.Option(help="A source that the recipe describes; default: all of them.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Check that the files and data sets of a recipe can be read and have documents on both sides of the split."""
    from fastdraft_core.data.source_check import glance
    from fastdraft_core.training.recipe import load_recipe

    loaded = load_recipe(recipe)
    asked = loaded.synthesis.instructions if loaded.synthesis else {}
    if not (source or loaded.sources):
        talk.print("The recipe describes no source of its own; code and text are built in.")
    for name in source or list(loaded.sources):
        if name not in loaded.sources:
            known = ", ".join(loaded.sources) or "none"
            raise FastdraftError(f"The recipe describes no source {name!r}; those that it does: {known}.")
        with talk.status(f"reading {name} …"):
            found = glance(name, loaded.sources[name], instructions=name in asked)
        if json:
            print_json(found)
        else:
            _show(found)


def _show(found: Glanced) -> None:
    files = "data set of the hub" if found.files is None else f"{found.files:,} files"
    print(safe(f"{found.source}: {files}; one document in {found.held_out} can be held out. The first begins:"))
    print(safe(found.first))
    print()
