"""``fastdraft record``: the live screen without a screen; both ways of decoding, kept in a file."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from fastdraft_core.bench.tasks import bundled_prompts
from fastdraft_core.cli import app, options, print_json, talk
from fastdraft_core.cli.generate import DEFAULT_PROMPT, read_prompt
from fastdraft_core.engine.load_options import LoadOptions
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Compared, Event, Load, Machine, Message, PairLoaded, Progress, Run, RunFinished


@app.command()
@options.loading
def record(
    target: options.Target,
    output: Annotated[Path, typer.Option(help="The file to write, such as run.jsonl.", show_default=False)],
    draft: options.Draft = "",
    prompt: Annotated[str, typer.Option(help="Text to continue.")] = DEFAULT_PROMPT,
    prompt_file: Annotated[Path | None, typer.Option(help="Read the prompt from a file; - is stdin.")] = None,
    preset: Annotated[str, typer.Option(help="Take the bundled prompt of this name, such as 'unit test'.")] = "",
    gamma: Annotated[int, typer.Option(min=1, help="Drafted tokens a block.")] = 4,
    length: options.Length = 128,
    temperature: options.Temperature = 0.0,
    top_k: options.TopK = 0,
    top_p: options.TopP = 1.0,
    verification: options.Verification = "token",
    seed: options.Seed = 1,
    json: options.Json = False,
    *,
    load: LoadOptions,
) -> None:
    """Decode a prompt both ways, one after the other, and write a recording for `fastdraft-app --replay`."""
    from fastdraft_core.engine.process import Engine
    from fastdraft_core.machine.devices import this_machine
    from fastdraft_core.recordings import Recorded, begin, write_recording

    run = Run(
        prompt=_preset(preset) if preset else read_prompt(prompt_file) if prompt_file else prompt,
        gamma=gamma,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        verification=verification,
        seed=seed,
        max_new_tokens=length,
    )
    loading = Load(target=target, draft=draft, **asdict(load))
    recorded = Recorded(begin(loading, run, this_machine(), datetime.now().astimezone()), [])
    engine = Engine(lambda event: _take(event, recorded.events, json=json))
    engine.carry_out(loading)
    engine.carry_out(run)
    write_recording(output, recorded)
    talk.print(f"wrote {output} ({output.stat().st_size / 1e3:.0f} kB)")


def _preset(name: str) -> str:
    texts = {prompt.name: prompt.text for prompt in bundled_prompts()}
    if name not in texts:
        raise FastdraftError(f"There is no bundled prompt {name!r}; there are: {', '.join(texts)}.")
    return texts[name]


def _take(event: Event, events: list[Message], *, json: bool) -> None:
    """Keep ``event`` where it belongs to a recording, and say what it tells; with ``json`` as a line of stdout as well."""
    if isinstance(event, PairLoaded) and event.draft_problem:
        raise FastdraftError(event.draft_problem)
    if isinstance(event, RunFinished):
        talk.print(f"{event.mode}: {event.metrics.tokens_per_second:.1f} tokens/s over {event.metrics.tokens} tokens")
    if isinstance(event, Compared):
        talk.print(f"speed-up {event.speedup:.2f}x over autoregressive decoding")
    if isinstance(event, Message) and not isinstance(event, Progress | Machine):
        events.append(event)
        if json:
            print_json(event)
