"""``fastdraft preview``: documents of a recipe's sources with their tokens, and what the target writes."""

from __future__ import annotations

from typing import Annotated

import typer

from fastdraft_core.cli import app, options, print_json, talk
from fastdraft_core.events import Previewed
from fastdraft_core.formatting import safe


@app.command()
def preview(
    recipe: Annotated[
        str, typer.Argument(help="A recipe file (.toml) or the name of a bundled recipe.", show_default=False)
    ],
    source: Annotated[
        list[str] | None, typer.Option(help="A source, or 'target' for what it writes; default: all that are used.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Samples of each source.")] = 2,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change a value: --set synthesis.magpie=1. Repeatable.")
    ] = None,
    trust_remote_code: options.Trust = False,
    json: options.Json = False,
) -> None:
    """Show what a recipe would train on: sample documents, their tokens, and what the target writes. Nothing is trained."""
    from fastdraft_core.training.preview import preview as look
    from fastdraft_core.training.recipe import load_recipe

    loaded = load_recipe(recipe, options.with_trust(settings, trust_remote_code))
    options.warn_of_target_code(loaded)
    used = dict.fromkeys(name for stage in loaded.stages.values() for name in stage.sources)
    with talk.status("reading …"):
        for sample in look(loaded, source or list(used), count):
            if json:
                print_json(sample)
            else:
                _show(sample)


def _show(sample: Previewed) -> None:
    print(safe(sample.title))
    print(safe("|".join(sample.tokens)))
    print()
