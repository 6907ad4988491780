"""``fastdraft export``: a model for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fastdraft_core.cli import app, options, print_json, talk
from fastdraft_core.errors import FastdraftError

if TYPE_CHECKING:
    from fastdraft_core.export.formats import ExportOptions


@app.command()
def export(
    model: Annotated[
        str,
        typer.Argument(
            help="A draft or a target: demo, demo:S, a model folder, a .gguf file or a hub id.", show_default=False
        ),
    ],
    output: Annotated[Path, typer.Option(help="Folder to write; it must be new or empty.", show_default=False)],
    to: Annotated[
        str,
        typer.Option(
            help="openvino: an IR for OpenVINO GenAI; hf: safetensors for transformers and vLLM; gguf: a file for llama.cpp, "
            "LM Studio and Ollama."
        ),
    ] = "openvino",
    weights: Annotated[
        str,
        typer.Option(
            help="original, bf16, f16; openvino also int8, int8_sym, int4, int4:128:0.8 (group size, share of layers); gguf: f16, "
            "q8_0, q4_0, q4_1. Default: int8 for openvino, original for hf, q8_0 for gguf."
        ),
    ] = "",
    target: Annotated[
        str,
        typer.Option(
            help="The draft's target: the draft gets as many logits and, as GGUF, its tokenizer. Bundled drafts know theirs."
        ),
    ] = "",
    bench: Annotated[
        Path | None, typer.Option(help="Output of fastdraft bench with this model, for the model card.")
    ] = None,
    push: Annotated[
        str,
        typer.Option(
            help="Also upload it to this model of the hub (owner/name), private where it is new, with the token of hf auth login or "
            "HF_TOKEN."
        ),
    ] = "",
    public: Annotated[bool, typer.Option("--public", help="With --push: a new model is public.")] = False,
    trust: options.Trust = False,
    json: options.Json = False,
) -> None:
    """Write a model for OpenVINO GenAI, transformers, vLLM or llama.cpp, with a model card that says how to use it there."""
    from fastdraft_core.export.formats import ExportOptions
    from fastdraft_core.export.push import check_push

    if public and not push:
        raise FastdraftError("--public says who may see what --push uploads; give both or neither.")
    if push:
        check_push(push)
    write(model, output, ExportOptions(to, weights, target, bench, trust), json=json, push_to=push, public=public)


def write(
    model: str, output: Path, options: ExportOptions, *, json: bool, push_to: str = "", public: bool = False
) -> None:
    """Export ``model`` and say what was written: its folder on stdout, or with ``json`` all of it as one line.

    With ``push_to`` the folder is then uploaded to that model of the hub.
    """
    from fastdraft_core.export.formats import export as export_model
    from fastdraft_core.export.push import push
    from fastdraft_core.formatting import in_bytes

    facts = export_model(model, output, options, talk.print)
    size = sum(file.stat().st_size for file in output.iterdir())
    talk.print(
        f"{facts.name} as {options.form}, weights {facts.weights}, {in_bytes(size)}; how to use it: {output / 'README.md'}"
    )
    address = ""
    if push_to:
        talk.print(f"pushing {output} to {push_to}")
        address = push(output, push_to, public=public)
        talk.print(f"{push_to} is on the hub: {address}")
    if not json:
        print(output)
        return
    print_json(
        {
            "folder": str(output),
            "name": facts.name,
            "form": options.form,
            "weights": facts.weights,
            "parameters": facts.parameters,
            "logits": facts.width,
            "bytes": size,
            "pushed": address,
        }
    )
