"""``fastdraft train``: run a recipe, or go on with it where it stopped."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fastdraft_core import places
from fastdraft_core.cli import app, options, print_json, talk
from fastdraft_core.cli.plan import show_plan
from fastdraft_core.errors import FastdraftError

if TYPE_CHECKING:
    from fastdraft_core.training.recipe import Recipe


@app.command()
def train(
    recipe: Annotated[
        str, typer.Argument(help="A recipe file (.toml) or the name of a bundled recipe.", show_default=False)
    ],
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change a value: --set pt.tokens=2M. Repeatable.")
    ] = None,
    stage: Annotated[str, typer.Option(help="Run only this stage: pt, cp or ft.")] = "",
    again: Annotated[
        bool, typer.Option("--again", help="With --stage: repeat it from its start; later stages stay as they are.")
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with the job that was begun, by its own recipe with --set's changes; refuse if there is none.",
        ),
    ] = False,
    job: Annotated[Path | None, typer.Option(help="Job folder; default: one named after the recipe.")] = None,
    output: Annotated[Path | None, typer.Option(help="Write the finished model here, with its model card.")] = None,
    device: options.Device = "",
    trust_remote_code: options.Trust = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Train in the background; `fastdraft jobs` shows and steers it.")
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only print what it will take: parameters, tokens, disk, memory, time.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Train a draft (or a target) by a recipe. The same command goes on where an earlier one stopped.

    One device runs one job; a second one waits its turn. Ctrl-C writes a checkpoint first.
    """
    from fastdraft_core.jobs.queue import submit
    from fastdraft_core.training.recipe import load_recipe
    from fastdraft_core.training.trackers import check_trackers

    settings = options.with_trust(settings, trust_remote_code)
    loaded = load_recipe(recipe, settings)
    if plan:
        options.warn_of_target_code(loaded)
        show_plan(loaded, stage=stage, device=device, json=json)
        return
    folder = (job or places.jobs() / loaded.name).absolute()
    if resume:
        loaded = load_recipe(str(_kept_recipe(folder)), settings)
        stage, output, device = _as_before(folder, stage, output, device)
    if detach and folder.parent != places.jobs().absolute():
        raise FastdraftError(f"Jobs in the background are kept in {places.jobs()}. Leave out --job or --detach.")
    if ":" in device and int(os.environ.get("LOCAL_WORLD_SIZE", "1")) > 1:
        raise FastdraftError(
            f"--device {device} is one device, and each of several processes needs its own. Give the kind alone: --device "
            f"{device.partition(':')[0]}."
        )
    if int(os.environ.get("RANK", "0")) > 0:
        _help_to_train(loaded, folder, stage, device)
        return
    options.warn_of_target_code(loaded)
    check_trackers(loaded)
    try:
        submit(loaded, folder, detach=detach, device=device, stage=stage, again=again, output=output)
    except FastdraftError as error:
        _tell_the_others(error.message, device)
        raise
    if detach:
        talk.print(f"job {folder.name} is on its way; follow it with `fastdraft jobs follow {folder.name}`")
        print(folder.name)
        return
    talk.print(f"job {loaded.name} in {folder}")
    _train_here(folder, json)


def _kept_recipe(folder: Path) -> Path:
    from fastdraft_core.jobs.folder import RECIPE

    if not (folder / RECIPE).is_file():
        raise FastdraftError(f"There is no job in {folder} to go on with. Leave --resume out to begin one.")
    return folder / RECIPE


def _as_before(folder: Path, stage: str, output: Path | None, device: str) -> tuple[str, Path | None, str]:
    """What the job in ``folder`` was asked for when it was begun, where it is not asked otherwise now."""
    from fastdraft_core.jobs.record import read_record

    record = read_record(folder)
    if record is None:
        return stage, output, device
    return stage or record.stage, output or (Path(record.output) if record.output else None), device or record.asked


def _train_here(folder: Path, json: bool) -> None:
    from fastdraft_core.jobs.describe import describe
    from fastdraft_core.jobs.run import job_log, log_event, run_queued
    from fastdraft_core.training.stop import Interrupted, Stop

    stop = Stop()
    try:
        with stop.on_signals(), job_log(folder):
            for event in run_queued(folder, stop):
                log_event(event)
                if json:
                    print_json(event)
                else:
                    print(describe(event), flush=True)
    except Interrupted:
        talk.print("stopped at a checkpoint; the same command goes on from there")
        raise


def _help_to_train(recipe: Recipe, folder: Path, stage: str, device: str) -> None:
    """Take part as one of several processes of `accelerate launch` or `torchrun`; the first one keeps the account."""
    _take_own(device)
    from fastdraft_core.training.stages import run_recipe
    from fastdraft_core.training.stop import Stop

    stop = Stop()
    with stop.on_signals():
        for _ in run_recipe(recipe, folder, only=stage or None, stop=stop):
            pass


def _tell_the_others(problem: str, device: str) -> None:
    """Leave with the other processes, if there are any: on other machines they would wait for this one for days."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return
    _take_own(device)
    from fastdraft_core.training.processes import agree, make_accelerator

    agree(make_accelerator(), problem)


def _take_own(device: str) -> None:
    """See the device alone that this process is to train on; of a kind such as cuda each takes its own, by its local rank."""
    from fastdraft_core.jobs.device import look_up, occupy

    if device:
        named = look_up(device)
        if named == "cpu" or ":" in device:
            occupy(named, os.environ)
