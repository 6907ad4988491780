"""``fastdraft sweep``: is it worth it on this machine, with which draft and which gamma?"""

from __future__ import annotations

import contextlib
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fastdraft_core.cli import app, options, print_json, talk
from fastdraft_core.cli.stopping import stopping
from fastdraft_core.engine.load_options import LoadOptions
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Event, PointMeasured, RepeatDropped, SweepProgress

if TYPE_CHECKING:
    from fastdraft_core.bench.drafts import Lineup
    from fastdraft_core.bench.tasks import Task
    from fastdraft_core.results.event_file import Writer
    from fastdraft_core.results.store import Result

#: As for ``fastdraft bench``: shorter runs have hardly a block in them.
_SHORTEST = 8
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}
#: The paper's setting; the rest of its conditions is unknown.
_PAPER = {"gamma": "3", "temperature": "0.6", "task": "cnn-dm,tinystories,dolly,humaneval"}
_DEFAULTS = {"gamma": "1-8", "temperature": "0", "task": "code,text"}


@app.command()
@options.loading
def sweep(
    target: Annotated[str, typer.Argument(help="Target: demo, a model folder, a .gguf file or a hub id.")] = "demo",
    draft: Annotated[
        list[str] | None,
        typer.Option(
            help="A draft, or a way to draft such as ngram:2-4; repeatable. Default: all that are bundled for the target."
        ),
    ] = None,
    gamma: Annotated[str, typer.Option(help="Block lengths: 4, 1-8 or 1,3,5. [default: 1-8]")] = "",
    temperature: Annotated[str, typer.Option(help="Temperatures: 0 (greedy), 0.6 or 0,0.6. [default: 0]")] = "",
    task: Annotated[
        str,
        typer.Option(
            help="Tasks: code,text (bundled), cnn-dm, tinystories, dolly, humaneval, mbpp, gsm8k, spec-bench; NAME=FILE reads "
            "a local file. [default: code,text]"
        ),
    ] = "",
    preset: Annotated[str, typer.Option(help="paper: gamma 3, T 0.6, sampled, on the paper's four tasks.")] = "",
    prompt_file: Annotated[
        Path | None, typer.Option(help="Prompts of your own instead: .jsonl by --field, else one text.")
    ] = None,
    field: options.Field = "prompt",
    prompts: Annotated[int, typer.Option(min=1, help="Prompts of each task.")] = 6,
    length: Annotated[int, typer.Option(min=0, help="New tokens of every run; 0: each task's own.")] = 0,
    within: Annotated[
        str, typer.Option(help="Repeat until the speed-up's 95 % interval is this narrow: 3% means ±3 %.")
    ] = "3%",
    budget: Annotated[str, typer.Option(help="Stop after this time: 90s, 5m or 1h.")] = "5m",
    top_k: options.TopK = 0,
    top_p: options.TopP = 1.0,
    verification: options.Verification = "token",
    seed: options.Seed = 1,
    ignore_stop: options.IgnoreStop = False,
    resume: Annotated[
        str, typer.Option(help="Go on with a result: its name, or last. The other options come from it.")
    ] = "",
    json: options.Json = False,
    *,
    load: LoadOptions,
) -> None:
    """Measure drafts by gamma and say what to use. Ctrl-C stops after the run in progress and keeps what was found."""
    from fastdraft_core.bench.drafts import choose_drafts
    from fastdraft_core.bench.setup import Settings, new_plan
    from fastdraft_core.bench.tasks import file_task, load_tasks
    from fastdraft_core.models.catalog import lasting
    from fastdraft_core.models.draft_spec import lasting_draft
    from fastdraft_core.results import store

    seconds = _duration(budget)
    if 0 < length < _SHORTEST:
        raise FastdraftError(
            f"--length {length} is too short to measure blocks of drafted tokens; use {_SHORTEST} or more, or 0 for each task's own."
        )
    if resume:
        # Before the result is read: from here on no other process adds to it.
        write = store.writer(store.find(resume))
        _run(*_resumed(write.name, trust=load.trust_remote_code), write, seconds, json=json)
        return
    options.refuse_both(task, prompt_file)
    chosen = _preset(preset, gamma=gamma, temperature=temperature, task=task)
    settings = Settings(
        gammas=options.gammas(chosen["gamma"]),
        temperatures=_temperatures(chosen["temperature"]),
        top_k=top_k,
        top_p=top_p,
        precision=_share(within),
        budget=seconds,
        seed=seed,
        ignore_stop=ignore_stop,
        verification=verification,
    )
    # As they are kept: a sweep goes on from any folder, and its points are opened from any.
    target, drafts = lasting(target), choose_drafts(target, [lasting_draft(name) for name in draft or []])
    if prompt_file:
        tasks = [file_task(prompt_file, field, prompts, length)]
    else:
        tasks = load_tasks(chosen["task"], prompts, length)
    lineup = _load(target, drafts, load)
    tasks = [t.fitted(list(lineup.values())) for t in tasks]
    plan = new_plan(lineup, load, tasks, settings, shlex.join(["fastdraft", *sys.argv[1:]]))
    _run(lineup, tasks, store.Result(plan), store.writer(plan.name), seconds, json=json, begins=[plan])


def _resumed(name: str, *, trust: bool) -> tuple[Lineup, list[Task], Result]:
    """What a kept result was measuring, loaded as then."""
    from fastdraft_core.bench.setup import check_same, tasks_of
    from fastdraft_core.results import store

    result = store.read(name)
    plan = result.plan
    load, unfitted = LoadOptions(**plan.load, trust_remote_code=trust), tasks_of(plan)
    lineup = _load(plan.target.name, [card.name for card in plan.drafts], load)
    tasks = [t.fitted(list(lineup.values())) for t in unfitted]
    check_same(plan, lineup, tasks)
    return lineup, tasks, result


def _load(target: str, drafts: list[str], load: LoadOptions) -> Lineup:
    from fastdraft_core.bench.drafts import load_lineup

    options.warn_of_code(load)
    with options.loading_steps() as report:
        lineup = load_lineup(target, drafts, load, report)
    pair = next(iter(lineup.values()))
    card = pair.target.card
    beside = ", ".join(options.sized(p.draft.card) for p in lineup.values() if p.draft)
    talk.print(
        f"target {options.sized(card)}, drafts {beside} · {pair.runtime} {card.precision} on "
        f"{card.device} · {pair.threads} threads"
    )
    options.say_runtime(pair)
    return lineup


def _run(
    lineup: Lineup,
    tasks: list[Task],
    result: Result,
    write: Writer,
    budget: float,
    *,
    json: bool,
    begins: Sequence[Event] = (),
) -> None:
    """Sweep, show and keep every event, those of ``begins`` first, and end with the verdict and the tables."""
    from fastdraft_core.bench.sweep import sweep as events
    from fastdraft_core.results import store
    from fastdraft_core.results.export import as_markdown

    talk.print(f"result {write.name} in {store.folder(write.name)}")
    with stopping() as stop, _display(json=json) as show:
        for event in chain(begins, events(lineup, tasks, result, budget, stop)):
            write(event)
            show(event)
    if not json:
        print(as_markdown(result), end="")
    assert result.finished is not None, "a sweep ends with this event"
    if result.finished.reason != "complete":
        why = "The budget is spent" if result.finished.reason == "budget" else "Stopped"
        talk.print(f"{why}. Go on with: fastdraft sweep --resume {write.name}")
    if result.finished.reason == "stopped":
        raise typer.Exit(130)


@contextlib.contextmanager
def _display(*, json: bool) -> Iterator[Callable[[Event], None]]:
    """What to do with each event: JSON lines on stdout, or a line of progress and points as they are measured on stderr."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    if json:
        yield print_json
        return
    columns = (BarColumn(20), MofNCompleteColumn(), TextColumn("points · {task.fields[left]} · {task.description}"))
    with Progress(*columns, console=talk, transient=True) as progress:
        bar = progress.add_task("", total=None, left="")

        def show(event: Event) -> None:
            if isinstance(event, SweepProgress):
                left = "" if event.eta is None else f"{_clock(event.eta)} left at most"
                progress.update(bar, description=event.what, completed=event.done, total=event.total, left=left)
            elif isinstance(event, PointMeasured | RepeatDropped):
                talk.print(describe(event))

        yield show


def describe(event: PointMeasured | RepeatDropped) -> str:
    """One line for a person."""
    if isinstance(event, RepeatDropped):
        return f"a repeat on {event.task} is run again: {event.reason}"
    more = "" if event.reached else ", more repeats wanted"
    rounds = f"{event.repeats} repeat{'s' if event.repeats > 1 else ''}"
    done = rounds if event.repeats else f"{len(event.turns)} prompts"
    return (
        f"measured {event.draft} gamma {event.gamma}, {event.task}, T {event.temperature:g}: {event.speedup:.2f}x "
        f"({event.low:.2f}–{event.high:.2f}) after {done}{more}"
    )


def _preset(name: str, **given: str) -> dict[str, str]:
    if name not in ("", "paper"):
        raise FastdraftError(f"There is no preset {name!r}; use paper.")
    return {key: value or (_PAPER if name else _DEFAULTS)[key] for key, value in given.items()}


def _temperatures(text: str) -> list[float]:
    try:
        found = sorted({float(part) for part in text.split(",")})
    except ValueError:
        found = []
    if not found or not all(0 <= t < float("inf") for t in found):
        raise FastdraftError(f"--temperature {text} is not understood; write for example 0, 0.6 or 0,0.6.")
    return found


def _share(text: str) -> float:
    try:
        value = float(text.rstrip("% ")) / 100
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise FastdraftError(f"--within {text} is not understood; write for example 3% for ±3 %.")
    return value


def _duration(text: str) -> float:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", text)
    if not match or float(match[1]) == 0:
        raise FastdraftError(f"--budget {text} is not understood; write for example 90s, 5m or 1h.")
    return float(match[1]) * _UNITS[match[2]]


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
