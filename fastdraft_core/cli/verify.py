"""``fastdraft verify``: prove that a pair is lossless on this machine."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from fastdraft_core.cli import app, options, talk
from fastdraft_core.engine.load_options import LoadOptions
from fastdraft_core.errors import FastdraftError

if TYPE_CHECKING:
    from fastdraft_core.decoding.losslessness import GreedyCheck
    from fastdraft_core.decoding.records import Request
    from fastdraft_core.decoding.speculative import Judge
    from fastdraft_core.engine.pair import Pair

_INJECTIONS = ("", "accept-all")
_CALIBRATION_PROMPTS = 4


@app.command()
@options.loading
def verify(
    target: options.Target,
    draft: options.Draft = "demo:S",
    gamma: Annotated[int, typer.Option(min=1, help="Drafted tokens a block.")] = 4,
    length: Annotated[int, typer.Option(min=2, help="New tokens of each greedy comparison.")] = 64,
    temperature: Annotated[float, typer.Option(min=0.01, help="Temperature of the sampled check.")] = 0.6,
    top_k: options.TopK = 0,
    top_p: options.TopP = 1.0,
    samples: Annotated[int, typer.Option(min=100, help="Draws of each sampled check.")] = 2000,
    seed: options.Seed = 1,
    task: options.Task = "",
    prompt_file: options.PromptFile = None,
    field: options.Field = "prompt",
    inject: Annotated[str, typer.Option(help="accept-all: break the rule on purpose; the check must then fail.")] = "",
    *,
    load: LoadOptions,
) -> None:
    """Check that speculative decoding changes nothing. Exit code 0: PASS, 1: FAIL."""
    from fastdraft_core.decoding.losslessness import accept_all
    from fastdraft_core.decoding.sampling import Sampling
    from fastdraft_core.decoding.speculative import lossless

    if inject not in _INJECTIONS:
        raise FastdraftError(f"There is nothing to inject called {inject!r}; use accept-all.")
    judge = accept_all if inject else lossless
    prompts = options.prompts(task, prompt_file, field)
    pair = options.load_pair(target, draft, load)
    if inject:
        talk.print("Every drafted token is being accepted on purpose: both checks below should FAIL.")
    requests = [pair.request(p.text, max_new_tokens=length, sampling=Sampling(), seed=seed) for p in prompts]
    greedy = _greedy(pair, requests, gamma, judge)
    sampled = [
        replace(r, sampling=Sampling(temperature, top_k, top_p)) for r in requests[:: max(1, len(requests) // 2)][:2]
    ]
    law = _law(pair, sampled, gamma, samples, judge)
    print("PASS" if greedy and law else "FAIL")
    raise typer.Exit(0 if greedy and law else 1)


def _greedy(pair: Pair, requests: list[Request], gamma: int, judge: Judge) -> bool:
    from fastdraft_core.decoding.losslessness import check_greedy, rounding_noise

    floor = max(rounding_noise(pair.target, r, gamma) for r in requests[:_CALIBRATION_PROMPTS])
    checks = [check_greedy(pair.target, pair.drafter(), r, gamma, floor, judge) for r in requests]
    equal = sum(c.parted is None for c in checks)
    for number, check in enumerate(checks, 1):
        if check.parted is not None:
            print(f"  prompt {number}, {_difference(pair, check)}")
    passed = all(c.passed for c in checks)
    print(
        f"greedy   {equal}/{len(checks)} prompts equal autoregressive decoding token by token, {sum(len(c.expected) for c in checks)} tokens; "
        f"near-tie floor {floor:.2g} (measured rounding between pass lengths)  {'PASS' if passed else 'FAIL'}"
    )
    return passed


def _difference(pair: Pair, check: GreedyCheck) -> str:
    """Where two greedy texts part, in words."""
    parted = check.parted
    assert parted is not None
    at = parted.position - 1
    ours, theirs = (pair.tokenizer.decode(ids[at : at + 1]) for ids in (check.expected, check.emitted))
    verdict = "near-tie, passes" if parted.tie else "differs"
    return f"token {parted.position}: {ours!r} / {theirs!r}, logit margin {parted.margin:.4f}: {verdict}"


def _law(pair: Pair, requests: list[Request], gamma: int, samples: int, judge: Judge) -> bool:
    from fastdraft_core.decoding.losslessness import check_law

    passed = True
    for number, request in enumerate(requests, 1):
        for check in check_law(pair.target, pair.drafter(), request, gamma, samples, judge):
            passed &= check.passed
            print(
                f"sampled  prompt {number}, token {check.position}: total variation {check.total_variation:.4f} from the exact law, "
                f"noise level {check.noise:.4f} ({check.samples} draws, 99.9 %)  {'PASS' if check.passed else 'FAIL'}"
            )
    return passed
