"""``fastdraft models``: the models screen's twin: what is here, what fits what, convert, delete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastdraft_core.cli import app, options, print_json, talk

if TYPE_CHECKING:
    from fastdraft_core.jobs.partners import Pair
    from fastdraft_core.models.local_models import ShelfModel

models = typer.Typer(
    help="List the models of this machine, say what fits what, convert and delete them. Without a command: list them."
)
app.add_typer(models, name="models")

Name = Annotated[
    str, typer.Argument(help="The model, as `fastdraft models` lists it, or its folder.", show_default=False)
]
Checkpoints = Annotated[bool, typer.Option("--checkpoints", help="All checkpoints of jobs, not the newest of each.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@models.callback(invoke_without_command=True)
def alone(context: typer.Context, json: options.Json = False) -> None:
    """List the models of this machine, say what fits what, convert and delete them; without a command: list."""
    if context.invoked_subcommand is None:
        list_models(checkpoints=False, published=False, json=json)


@models.command("list")
def list_models(
    checkpoints: Checkpoints = False,
    published: Annotated[
        bool, typer.Option("--published", help="Drafts that others published, and their targets, in their place.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Every model on this machine by where it comes from: the same list as on the models screen."""
    found = _shelf(checkpoints=checkpoints)
    if published:
        _list_published({model.name for model in found}, json=json)
        return
    if json:
        for model in found:
            print_json(_data(model))
        return
    from fastdraft_core.formatting import count, in_bytes

    rows = [
        (
            model.name,
            model.place,
            f"{model.entry.architecture.removesuffix('ForCausalLM')} {model.entry.quantization}".rstrip(),
            count(model.parameters) if model.parameters else "?",
            str(model.entry.vocab_size or "?"),
            in_bytes(model.entry.weight_bytes),
        )
        for model in found
    ]
    _print_table(("model", "place", "architecture", "parameters", "vocabulary", "on disk"), rows, numbers=3)


def _list_published(here: set[str], *, json: bool) -> None:
    from fastdraft_core.models.published import PUBLISHED

    rows = [
        {
            "draft": one.draft,
            "draft_here": one.draft in here,
            "target": one.target,
            "target_here": one.target in here,
            "target_ir": one.target_ir,
            "gated": one.gated,
            "note": one.note,
        }
        for one in PUBLISHED
    ]
    if json:
        for row in rows:
            print_json(row)
        return
    told = [
        (
            f"{row['draft']}{' (here)' if row['draft_here'] else ''}",
            f"{row['target']}{' (gated)' if row['gated'] else ''}",
        )
        for row in rows
    ]
    _print_table(("draft", "target"), told)
    talk.print("`fastdraft download NAME` brings one into the Hugging Face cache.")


@models.command()
def fit(name: Name, json: options.Json = False) -> None:
    """Say which drafts fit a model, which targets it fits, and which pair is known to be the best, as enter on the screen takes it."""
    from fastdraft_core.jobs.partners import known_acceptance, pair
    from fastdraft_core.jobs.view import list_jobs
    from fastdraft_core.models.local_models import drafts_for, find_model, targets_for

    found = _shelf()
    model = find_model(name, found)
    drafts, targets = drafts_for(model, found), targets_for(model, found)
    best = pair(model, found, known_acceptance(list_jobs()))
    if json:
        print_json(_fit_data(model, drafts, targets, best))
        return
    if not model.tokenizer:
        talk.print(f"{model.name} has no readable tokenizer, so what fits it cannot be checked.")
    _say_partners(f"drafts that fit {model.name}", drafts)
    _say_partners(f"targets that {model.name} fits", targets)
    together = f"{best.target} with {best.draft}" if best.draft else f"{best.target} alone"
    print(f"best: {together} ({best.why})")


def _fit_data(model: ShelfModel, drafts: list[ShelfModel], targets: list[ShelfModel], best: Pair) -> dict[str, Any]:
    return {
        "name": model.name,
        "checked": bool(model.tokenizer),
        "drafts": [_data(one) for one in drafts],
        "targets": [_data(one) for one in targets],
        "best": {"target": best.target, "draft": best.draft, "why": best.why},
    }


def _say_partners(title: str, found: list[ShelfModel]) -> None:
    from fastdraft_core.formatting import count, safe

    print(f"{title}: {'' if found else 'none here'}".rstrip())
    for one in found:
        print(f"  {safe(one.name)}  {count(one.parameters or 0)}")


@models.command()
def convert(
    name: Name,
    to: Annotated[str, typer.Option(help="openvino, gguf or hf, as for fastdraft export.")] = "openvino",
    weights: Annotated[str, typer.Option(help="As for fastdraft export.")] = "",
    target: Annotated[str, typer.Option(help="A draft's target: the draft gets as many logits.")] = "",
    trust: options.Trust = False,
    json: options.Json = False,
) -> None:
    """Export a model into fastdraft's own folder of exports, as c on the models screen does."""
    from fastdraft_core.cli.export import write
    from fastdraft_core.export.formats import FORMS, ExportOptions
    from fastdraft_core.models.local_models import export_folder, find_model

    model = find_model(name, _shelf(checkpoints=True))
    # As the screen names them: model-int8-ov, model-q8_0-gguf, model-hf.
    kind = weights or FORMS.get(to, "")
    ending = "-".join(part for part in (kind if kind != "original" else "", "ov" if to == "openvino" else to) if part)
    output = export_folder(model.name, ending)
    output.parent.mkdir(parents=True, exist_ok=True)
    write(model.name, output, ExportOptions(to, weights, target, trust_remote_code=trust), json=json)


@models.command()
def delete(name: Name, yes: Yes = False, json: options.Json = False) -> None:
    """Delete a model that fastdraft made (exported, imported or converted), which cannot be undone; refuses any other."""
    from fastdraft_core.formatting import in_bytes
    from fastdraft_core.jobs.folder import size
    from fastdraft_core.models import local_models

    model = local_models.find_model(name, _shelf())
    folder = local_models.doomed(model)
    freed = size(folder)
    if not yes:
        typer.confirm(f"Delete {folder} with {in_bytes(freed)}?", abort=True, err=True)
    local_models.delete(model)
    talk.print(f"{model.name} is deleted, {in_bytes(freed)} are free")
    if json:
        print_json({"name": model.name, "folder": str(folder), "bytes": freed})


def _shelf(*, checkpoints: bool = False) -> list[ShelfModel]:
    from fastdraft_core.history import model_folders
    from fastdraft_core.models.local_models import shelf

    return shelf(model_folders(), checkpoints=checkpoints)


def _data(model: ShelfModel) -> dict[str, Any]:
    """A model for programs. ``tokenizer`` is equal where the tokens are; ``memory`` is modelled, in bytes."""
    from fastdraft_core.models.local_models import memory

    return {
        "name": model.name,
        "place": model.place,
        "folder": str(model.folder),
        "architecture": model.entry.architecture,
        "quantization": model.entry.quantization,
        "parameters": model.parameters,
        "vocabulary": model.entry.vocab_size,
        "context": model.entry.context,
        "tokenizer": model.tokenizer,
        "tokens": model.num_tokens,
        "bytes": model.entry.weight_bytes,
        "memory": memory(model),
    }


def _print_table(titles: tuple[str, ...], rows: Sequence[tuple[str, ...]], numbers: int = 0) -> None:
    """``rows`` under ``titles``, the last ``numbers`` columns to the right. Nothing is cut: a name is there to be typed."""
    from rich.cells import cell_len

    from fastdraft_core.formatting import safe

    table = [titles, *(tuple(map(safe, row)) for row in rows)]
    widths = [max(map(cell_len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = []
        for place, (cell, width) in enumerate(zip(row, widths, strict=True)):
            room = " " * (width - cell_len(cell))
            cells.append(f"{room}{cell}" if place >= len(titles) - numbers else f"{cell}{room}")
        print("  ".join(cells).rstrip())
