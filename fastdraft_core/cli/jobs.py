"""``fastdraft jobs``: list, show, follow and steer the jobs that train in the background."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastdraft_core.cli import app, options, print_json, talk
from fastdraft_core.errors import FastdraftError

if TYPE_CHECKING:
    from pathlib import Path

    from fastdraft_core.jobs.view import JobView

jobs = typer.Typer(help="List, show, follow and steer training jobs. Without a command: list them.")
app.add_typer(jobs, name="jobs")

Name = Annotated[str, typer.Argument(help="The job, as `fastdraft jobs` lists it.", show_default=False)]
_FOLLOW_SECONDS = 0.5


@jobs.callback(invoke_without_command=True)
def listing(context: typer.Context, json: options.Json = False) -> None:
    """List all jobs: running ones, the queue in its order, then the others, the newest first."""
    if context.invoked_subcommand is not None:
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from fastdraft_core.formatting import in_bytes
    from fastdraft_core.jobs.describe import state_words
    from fastdraft_core.jobs.queue import look_after
    from fastdraft_core.jobs.view import list_jobs

    look_after()
    views = list_jobs()
    if json:
        for view in views:
            print_json(_data(view))
        return
    if not views:
        talk.print("There are no jobs yet; `fastdraft train RECIPE --detach` makes one.")
        return
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for title in ("job", "state", "stage", "done", "time left", "device", "size"):
        table.add_column(title, justify="right" if title in ("done", "time left", "size") else "left", no_wrap=True)
    for view in views:
        left = view.left.short if view.left else ""
        done = f"{view.aside.short} {view.aside.share:.0%}" if view.aside else f"{view.share:.0%}"
        row = (view.name, state_words(view), view.stage, done, left, view.device, in_bytes(view.size))
        table.add_row(*map(Text, row))
    Console(soft_wrap=True).print(table)


@jobs.command()
def show(name: Name, json: options.Json = False) -> None:
    """Show one job: state, stages, losses, acceptance, errors and its folder."""
    from fastdraft_core.jobs.control import find
    from fastdraft_core.jobs.describe import summary
    from fastdraft_core.jobs.view import JobReader

    view = JobReader(find(name)).view(points=48)
    if json:
        print_json(_data(view))
    else:
        print("\n".join(summary(view)))


@jobs.command()
def follow(
    name: Name,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Begin with so many of the last lines.")] = 10,
    json: options.Json = False,
) -> None:
    """Print what a job does, line by line, until it ends. Ctrl-C leaves it running; exit code 1 if it failed."""
    from fastdraft_core.jobs.control import find
    from fastdraft_core.jobs.describe import describe
    from fastdraft_core.jobs.folder import EVENTS
    from fastdraft_core.jobs.history import EventLog
    from fastdraft_core.jobs.queue import look_after
    from fastdraft_core.jobs.record import ACTIVE

    folder, first, told = find(name), True, ""
    log = EventLog(folder / EVENTS)
    while True:
        look_after()
        state, words, error = _now(folder)
        events = log.read()
        for event in events[-lines:] if first and lines else () if first else events:
            if json:
                print_json(event)
            else:
                print(describe(event), flush=True)
        if state != told:
            talk.print(f"job {name} is {words}{': ' if error else ''}{error}")
        if state not in ACTIVE:
            raise typer.Exit(1 if state in ("failed", "lost") else 0)
        first, told = False, state
        time.sleep(_FOLLOW_SECONDS)


@jobs.command()
def pause(name: Name) -> None:
    """Write a checkpoint and leave: memory and cores are free, `resume` goes on exactly."""
    from fastdraft_core.jobs import control

    _act(name, control.pause, "leaves at a checkpoint; `fastdraft jobs resume` goes on from there")


@jobs.command()
def resume(
    name: Name,
    here: Annotated[
        bool,
        typer.Option(
            "--here",
            help="Also a job of another machine that is gone for good; if it still runs, both spoil each other's work.",
        ),
    ] = False,
) -> None:
    """Queue a paused or lost job again; it goes on from its last checkpoint."""
    from functools import partial

    from fastdraft_core.jobs import control

    _act(name, partial(control.resume, here=here), "is queued and goes on from its last checkpoint")


@jobs.command()
def cancel(name: Name) -> None:
    """End a job; its folder stays. A second time, a process that does not leave is killed."""
    from fastdraft_core.jobs import control

    _act(name, control.cancel, "is cancelled; its folder stays until `fastdraft jobs delete`")


@jobs.command()
def retry(name: Name) -> None:
    """Queue a failed, cancelled or lost job again; it goes on from its last good checkpoint."""
    from fastdraft_core.jobs import control

    _act(name, control.retry, "is queued and goes on from its last checkpoint")


@jobs.command()
def delete(name: Name, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """Delete a job's folder with its checkpoints, which cannot be undone; refuses one that runs or waits."""
    from fastdraft_core.formatting import in_bytes
    from fastdraft_core.jobs import control
    from fastdraft_core.jobs.folder import size

    folder = control.find(name)
    if not yes:
        typer.confirm(f"Delete {folder} with {in_bytes(size(folder))}?", abort=True, err=True)
    talk.print(f"job {name} is deleted, {in_bytes(control.delete(folder))} are free")


def _act(name: str, what: Callable[[Path], None], done: str) -> None:
    from fastdraft_core.jobs.control import find

    what(find(name))
    talk.print(f"job {name} {done}")


def _now(folder: Path) -> tuple[str, str, str]:
    """The state of a job without its history, the same in words, and the reason of a failure.

    Raises:
        FastdraftError: there is no readable record.
    """
    from fastdraft_core.jobs import processes
    from fastdraft_core.jobs.record import read_record

    record = read_record(folder)
    if record is None:
        raise FastdraftError(
            f"Job {folder.name} has no readable job.json; `fastdraft jobs show {folder.name}` tells more."
        )
    return processes.state(record), processes.state_words(record), record.error


def _data(view: JobView) -> dict[str, Any]:
    """A view for programs: its fields and the share that is done."""
    plain: dict[str, Any] = {field.name: getattr(view, field.name) for field in fields(view)}
    return {**plain, "folder": str(view.folder), "share": view.share}
