"""``fastdraft bench``: autoregressive against speculative decoding, measured side by side."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastdraft_core.cli import app, options, print_json, talk
from fastdraft_core.engine.load_options import LoadOptions
from fastdraft_core.formatting import in_bytes

if TYPE_CHECKING:
    from fastdraft_core.bench.costs import Costs
    from fastdraft_core.bench.measure import Point
    from fastdraft_core.engine.pair import Pair

SCHEMA = "fastdraft.bench/3"


@app.command()
@options.loading
def bench(
    target: options.Target,
    draft: options.Draft = "",
    gamma: Annotated[str, typer.Option(help="Block lengths: 4, 1-8 or 1,3,5.")] = "1-8",
    temperature: options.Temperature = 0.0,
    top_k: options.TopK = 0,
    top_p: options.TopP = 1.0,
    verification: options.Verification = "token",
    length: Annotated[int, typer.Option(min=8, help="New tokens of every run, at most.")] = 128,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds over all prompts.")] = 3,
    task: options.Task = "",
    prompt_file: options.PromptFile = None,
    field: options.Field = "prompt",
    seed: options.Seed = 1,
    ignore_stop: options.IgnoreStop = False,
    *,
    load: LoadOptions,
) -> None:
    """Measure speed-up by gamma. A table, then one JSON object as the last line."""
    from rich.progress import track

    from fastdraft_core.bench.measure import costs_at, measure, points
    from fastdraft_core.decoding.sampling import Sampling

    wanted, prompts = options.gammas(gamma), options.prompts(task, prompt_file, field)
    pair = options.load_pair(target, options.needed_draft(target, draft), load)
    sampling = Sampling(temperature, top_k, top_p)
    costs = costs_at(pair, prompts, wanted, length, sampling)
    runs = measure(
        pair,
        prompts,
        wanted,
        sampling,
        length=length,
        repeats=repeats,
        seed=seed,
        ignore_stop=ignore_stop,
        verification=verification,
    )
    total = len(prompts) * (len(wanted) + 1) * repeats
    samples = list(track(runs, "measuring", total=total, console=talk, transient=True))
    found = points(pair, samples, costs, sampling)
    upto = "" if ignore_stop else "up to "
    _print_table(
        pair, found, f"{upto}{length} tokens, T {temperature:g}, {verification} verification", len(prompts), repeats
    )
    settings = {
        "command": shlex.join(["fastdraft", *sys.argv[1:]]),
        "length": length,
        "repeats": repeats,
        "prompts": len(prompts),
        "sampling": sampling,
        "verification": verification,
        "seed": seed,
        "ignore_stop": ignore_stop,
    }
    print_json(report(pair, found, costs, settings))


def report(pair: Pair, found: list[Point], costs: Costs, settings: dict[str, Any]) -> dict[str, Any]:
    """The JSON object of a benchmark; ``schema`` changes when a field changes its meaning."""
    from fastdraft_core.events import cache_bound
    from fastdraft_core.machine.cpu import last_level_cache
    from fastdraft_core.machine.devices import machine_card

    draft = pair.draft.card if pair.draft else None
    return {
        "schema": SCHEMA,
        "machine": machine_card(),
        "target": pair.target.card,
        "draft": draft,
        "runtime": pair.runtime,
        "runtime_reason": pair.runtime_reason,
        "threads": pair.threads,
        "cache_bound": cache_bound(pair.target.card, draft, last_level_cache()),
        **settings,
        "costs": costs,
        "points": found,
    }


def _print_table(pair: Pair, found: list[Point], test: str, prompts: int, repeats: int) -> None:
    """A table in llama-bench's manner: one row a test."""
    from fastdraft_core.machine.bandwidth import describe_rate

    assert pair.draft is not None
    card, draft = pair.target.card, pair.draft.card
    print(f"target {card.name} · {card.architecture} · {card.parameters / 1e6:.2f} M · {in_bytes(card.weight_bytes)}")
    size = f"{draft.parameters / 1e6:.2f} M · {in_bytes(draft.weight_bytes)}" if draft.is_model else "no model"
    print(
        f"draft  {draft.name} · {draft.architecture} · {size}"
        f"{f' · scores {draft.draft_vocab:,} of {draft.vocab_size:,} ids' if draft.draft_vocab else ''}"
    )
    print(
        f"{pair.runtime} {card.precision} on {card.device}, {pair.threads} threads · {test} · {prompts} prompts x {repeats}, interleaved\n"
    )
    print(
        "| test |    t/s | speed-up [95 %]     | predicted | accepted | tau  | MBSU |  GB/s | draft/verify/overhead |"
    )
    print(
        "| :--- | -----: | :------------------ | --------: | -------: | ---: | ---: | ----: | :-------------------- |"
    )
    for point in found:
        print(_row(point))
    print(
        "\nspeed-up: measured, decode tokens/s over ar; predicted: tau / (v(gamma+1) + gamma·c + overhead) from measured costs;"
    )
    print(
        "accepted: accepted/drafted, pooled; tau: tokens a target pass, bonus included; MBSU: tau / (c·gamma + 1), c by parameters;"
    )
    for reason in dict.fromkeys(point.fallback for point in found if point.fallback):
        print(f"not the fast way: {reason}.")
    fastest = max(found, key=lambda point: point.metrics.gigabytes_per_second).metrics.gigabytes_per_second
    what = describe_rate(fastest, card, draft, pair.threads)
    print(f"GB/s: bytes of weights and cache over decode time{f'; {fastest:.1f} is {what}' if what else ''}.\n")


def _bounds(point: Point) -> str:
    """The interval, or nothing where one prompt ran alone."""
    return "" if point.low is None else f"[{point.low:4.2f}, {point.high:4.2f}]"


def _row(point: Point) -> str:
    m = point.metrics
    if point.gamma == 0:
        return (
            f"| ar   | {point.tokens_per_second:6.1f} | {'1.00':19} | {'':9} | {'':8} | {1:4.2f} | {'':4} | "
            f"{m.gigabytes_per_second:5.1f} | {'':21} |"
        )
    return (
        f"| sd {point.gamma:<2}| {point.tokens_per_second:6.1f} | {point.speedup:4.2f} {_bounds(point):14} | "
        f"{point.predicted:9.2f} | {point.acceptance:8.3f} | {point.tau:4.2f} | {m.mbsu:4.2f} | "
        f"{m.gigabytes_per_second:5.1f} | "
        f"{f'{m.draft_share:.0%} / {m.verify_share:.0%} / {m.overhead_share:.0%}':21} |"
    )
