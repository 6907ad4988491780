"""``fastdraft export``: a model for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fastdraft_core.cli import app, options, talk


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
    trust: options.Trust = False,
) -> None:
    """Write a model for OpenVINO GenAI, transformers, vLLM or llama.cpp, with a model card that says how to use it there."""
    from fastdraft_core.export.formats import ExportOptions
    from fastdraft_core.export.formats import export as write

    facts = write(model, output, ExportOptions(to, weights, target, bench, trust), talk.print)
    size = sum(file.stat().st_size for file in output.iterdir())
    talk.print(
        f"{facts.name} as {to}, weights {facts.weights}, {size / 1e6:.1f} MB; how to use it: {output / 'README.md'}"
    )
    print(output)
