"""``fastdraft download``: a model from the hub into its cache."""

from __future__ import annotations

from typing import Annotated

import typer

from fastdraft_core.cli import app, options, print_json, talk


@app.command()
def download(
    name: Annotated[
        str, typer.Argument(help="A hub id, such as microsoft/Phi-3-mini-4k-instruct.", show_default=False)
    ],
    json: options.Json = False,
) -> None:
    """Download a model into the Hugging Face cache. Broken off, the same command goes on where it stopped."""
    from fastdraft_core.models.download import download as fetch

    work = fetch(name)
    with talk.status(f"asking the hub for {name} …") as status:
        while True:
            try:
                told = next(work)
            except StopIteration as end:
                folder = end.value
                break
            if json:
                print_json(told)
            else:
                status.update(f"{told.what}: {told.done / 1e9:.2f} of {told.total / 1e9:.2f} GB")
    talk.print(f"{name} is in the Hugging Face cache")
    if not json:
        print(folder)
