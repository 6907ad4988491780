"""``fastdraft design``: at a fixed number of parameters, which shape of draft is the fastest on this machine?"""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fastdraft_core.cli import app, options, print_json, talk
from fastdraft_core.cli.stopping import stopping
from fastdraft_core.engine.load_options import LoadOptions
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import DesignProgress, Event, ShapeMeasured, ShapeTrained
from fastdraft_core.formatting import count, parse_count, safe

if TYPE_CHECKING:
    from fastdraft_core.engine.pair import Pair
    from fastdraft_core.results.designs import Design
    from fastdraft_core.results.event_file import Writer


@app.command()
@options.loading
def design(
    target: options.Target = "demo",
    params: Annotated[
        str,
        typer.Option(
            help="Parameters of every candidate, embedding included, such as 10M. [default: a tenth of the target's]"
        ),
    ] = "",
    layers: Annotated[str, typer.Option(help="Depths: 1-6 or 1,2,4.")] = "1-6",
    widths: Annotated[str, typer.Option(help="Narrowest and widest width. [default: 64 to the target's own]")] = "",
    draft_vocab: Annotated[
        str,
        typer.Option(help="Ids that heads score: 8k, or 2k,8k,all. [default: all, and 8k beside it from 16k ids on]"),
    ] = "",
    gamma: Annotated[int, typer.Option(min=1, max=16, help="Longest block that is timed.")] = 5,
    temperature: options.Temperature = 0.0,
    train: Annotated[
        str,
        typer.Option(
            help="Also train every candidate by this many tokens, such as 2M, and use its measured acceptance."
        ),
    ] = "",
    architecture: Annotated[
        str, typer.Option(help="transformers model type of the drafts; default: the target's own.")
    ] = "",
    seed: options.Seed = 1,
    into: Annotated[
        Path | None,
        typer.Option(help="Write the chosen shape into this recipe; a new file becomes a recipe for the target."),
    ] = None,
    charts: Annotated[Path | None, typer.Option(help="Write the charts into this folder, as SVG.")] = None,
    resume: Annotated[str, typer.Option(help="Go on with a study: its name, or last. The grid comes from it.")] = "",
    show: Annotated[str, typer.Option(help="Show a kept study: its name, or last.")] = "",
    listed: Annotated[bool, typer.Option("--list", help="List kept studies.")] = False,
    json: options.Json = False,
    *,
    load: LoadOptions,
) -> None:
    """Measure draft shapes with random weights beside the target. Ctrl-C stops after the shape in progress and keeps the others."""
    from fastdraft_core.results import designs

    if listed:
        _list()
        return
    if show:
        _tell(designs.read(designs.find(show)), into, charts, json=json)
        return
    if resume:
        write = designs.writer(designs.find(resume))
        found = designs.read(write.name)
        pair = _again(found, trust=load.trust_remote_code)
        _run(pair, found, write, into, charts, json=json, begins=[])
        return
    from fastdraft_core.design import shapes, study

    # Whatever can be wrong is told before the target is loaded.
    depths = shapes.parse_range(layers, "--layers")
    limits = shapes.parse_widths(widths) if widths else None
    heads = shapes.parse_draft_vocabs(draft_vocab) if draft_vocab else None
    tokens, budget = parse_count(train) if train else 0, parse_count(params) if params else 0
    formats = [part.strip() for part in load.draft_weights.split(",")]
    pair = _load(target, load)
    plan = study.new_study(
        pair,
        load,
        budget=budget or round(pair.target.card.parameters / 10),
        layers=depths,
        widths=limits,
        draft_vocabs=heads,
        weights=formats,
        gammas=list(range(1, gamma + 1)),
        temperature=temperature,
        train=tokens,
        architecture=architecture,
        seed=seed,
        command=shlex.join(["fastdraft", *sys.argv[1:]]),
    )
    _run(pair, designs.Design(plan), designs.writer(plan.name), into, charts, json=json, begins=[plan])


def _load(target: str, load: LoadOptions) -> Pair:
    import dataclasses

    from fastdraft_core.models.catalog import lasting

    # The formats are the candidates', one after the other.
    return options.load_pair(lasting(target), "", dataclasses.replace(load, draft_weights=""))


def _again(found: Design, *, trust: bool) -> Pair:
    from fastdraft_core.design.study import check_same

    check_same(found.plan)
    kept = {key: value for key, value in found.plan.load.items() if key != "draft_weights"}
    return options.load_pair(found.plan.target.name, "", LoadOptions(**kept, trust_remote_code=trust))


def _run(
    pair: Pair,
    found: Design,
    write: Writer,
    into: Path | None,
    charts: Path | None,
    *,
    json: bool,
    begins: list[Event],
) -> None:
    from fastdraft_core.design.study import study

    for event in begins:
        write(event)
        if json:
            print_json(event)
    with stopping() as stop, _display(json=json) as shown:
        for event in study(pair, found, stop):
            write(event)
            shown(event)
    _tell(found, into, charts, json=json)
    assert found.finished is not None, "a study ends with this event"
    if found.finished.reason == "stopped":
        talk.print(f"Stopped. Go on with: fastdraft design --resume {write.name}")
        raise typer.Exit(130)


def _tell(found: Design, into: Path | None, charts: Path | None, *, json: bool) -> None:
    from fastdraft_core.results.design_page import as_markdown
    from fastdraft_core.results.designs import figures

    if not json:
        print(as_markdown(found), end="")
    if charts is not None:
        from fastdraft_core.results.charts import draw

        charts.mkdir(parents=True, exist_ok=True)
        for file, picture in draw(figures(found), found.plan.name, "svg").items():
            (charts / file).write_bytes(picture)
    best = found.best()
    if into is not None and best is not None:
        from fastdraft_core.design.recipe import write_shape

        write_shape(found.measured[best].shape, found.plan, into)
        talk.print(f"{best.layers} x {best.width} is now [model] of {into}")


def _list() -> None:
    from fastdraft_core.results import designs
    from fastdraft_core.results.design_page import choice

    names = designs.names()
    if not names:
        talk.print("There are no design studies yet; run fastdraft design first.")
    for name in names:
        try:
            found = designs.read(name)
        except FastdraftError as error:
            talk.print(error.message)
            continue
        state = found.finished.reason if found.finished else "unfinished"
        print(safe(f"{name}  {len(found.measured)}/{len(found.plan.shapes)} {state}  {choice(found)}"))


@contextlib.contextmanager
def _display(*, json: bool) -> Iterator[Callable[[Event], None]]:
    """What to do with each event: JSON lines on stdout, or progress and shapes as they are measured on stderr."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    if json:
        yield print_json
        return
    with Progress(
        BarColumn(20), MofNCompleteColumn(), TextColumn("{task.description}"), console=talk, transient=True
    ) as progress:
        bar = progress.add_task("", total=None)

        def show(event: Event) -> None:
            if isinstance(event, DesignProgress):
                progress.update(bar, description=event.what, completed=event.done, total=event.total)
            elif isinstance(event, ShapeMeasured | ShapeTrained):
                talk.print(describe(event))

        yield show


def describe(event: ShapeMeasured | ShapeTrained) -> str:
    """One line for a person."""
    from fastdraft_core.results.designs import variant

    if isinstance(event, ShapeTrained):
        return (
            f"trained {event.key.layers} x {event.key.width}, {variant(event.key)}: acceptance {max(event.acceptance):.3f}, predicted "
            f"{max(event.speedup):.2f}x"
        )
    block = event.block_seconds[-1]
    return (
        f"measured {event.shape.layers} x {event.shape.width}, {variant(event.shape)}, {count(event.shape.parameters)}: block of "
        f"{len(event.block_seconds)} in {block.mean * 1e3:.2f} ms, c {event.draft[-1]:.3f}"
    )
