"""``fastdraft verify``: prove that a pair is lossless on this machine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from fastdraft_core.cli import app, options, talk
from fastdraft_core.engine.load_options import LoadOptions
from fastdraft_core.errors import FastdraftError

if TYPE_CHECKING:
    from fastdraft_core.decoding.losslessness import GreedyCheck
    from fastdraft_core.decoding.records import Request
    from fastdraft_core.decoding.rounding import Rounding
    from fastdraft_core.decoding.speculative import Judge
    from fastdraft_core.engine.pair import Pair

_INJECTIONS = ("", "accept-all")
_CALIBRATION_PROMPTS = 4
#: Formats of keys and values, and of computing, that ``--exact`` asks for.
_EXACT_KV, _EXACT = "f32", "float32"


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
    verification: options.Verification = "token",
    samples: Annotated[int, typer.Option(min=100, help="Draws of each sampled check.")] = 2000,
    seed: options.Seed = 1,
    task: options.Task = "",
    prompt_file: options.PromptFile = None,
    field: options.Field = "prompt",
    exact: Annotated[
        bool, typer.Option("--exact", help="Compute in float32, and let no near-tie pass: every greedy token is equal.")
    ] = False,
    inject: Annotated[str, typer.Option(help="accept-all: break the rule on purpose; the check must then fail.")] = "",
    *,
    load: LoadOptions,
) -> None:
    """Check that speculative decoding changes nothing, and the runtime itself against float32. Exit code 0: PASS, 1: FAIL."""
    from fastdraft_core.decoding.losslessness import accept_all
    from fastdraft_core.decoding.sampling import Sampling
    from fastdraft_core.decoding.speculative import JUDGES

    if inject not in _INJECTIONS:
        raise FastdraftError(f"There is nothing to inject called {inject!r}; use accept-all.")
    if verification not in JUDGES:
        raise FastdraftError(f"There is no verification {verification!r}; use {' or '.join(JUDGES)}.")
    judge = accept_all if inject else JUDGES[verification]
    load = _exactly(load) if exact else load
    prompts = options.prompts(task, prompt_file, field)
    pair = options.load_pair(target, draft, load)
    if inject:
        talk.print("Every drafted token is being accepted on purpose: both checks below should FAIL.")
    requests = [pair.request(p.text, max_new_tokens=length, sampling=Sampling(), seed=seed) for p in prompts]
    runtime = _runtime(target, load, pair, requests[:_CALIBRATION_PROMPTS], gamma)
    greedy = _greedy(pair, requests, gamma, judge, exact=exact)
    sampled = [
        replace(r, sampling=Sampling(temperature, top_k, top_p)) for r in requests[:: max(1, len(requests) // 2)][:2]
    ]
    law = _law(pair, sampled, gamma, samples, judge)
    passed = runtime and greedy and law
    print("PASS" if passed else "FAIL")
    raise typer.Exit(0 if passed else 1)


def _exactly(load: LoadOptions) -> LoadOptions:
    """``load`` with everything in float32.

    Raises:
        FastdraftError: another format was asked for.
    """
    if load.dtype not in ("", _EXACT) or load.kv_precision not in ("", _EXACT_KV):
        raise FastdraftError("--exact computes in float32; leave --dtype and --kv-precision out.")
    # On PyTorch keys and values have the dtype of the computation, and OpenVINO keeps them so where it is float32.
    return replace(load, dtype=_EXACT)


def _runtime(target: str, load: LoadOptions, pair: Pair, requests: list[Request], gamma: int) -> bool:
    """The runtime's logits against the same model's in float32; a reference that does not fit compares nothing and fails nothing."""
    from fastdraft_core.decoding.rounding import check_runtime
    from fastdraft_core.engine.loading import Source, load_reference
    from fastdraft_core.models.folders import local_folder

    try:
        with talk.status("loading the float32 reference"):
            reference, name = load_reference(Source(target, local_folder(target)), pair.tokenizer, load)
    except FastdraftError as error:
        print(f"runtime  not compared with float32: {error.message}")
        return True
    check = check_runtime(pair.target, reference, requests, gamma)
    print(
        f"runtime  logits at most {check.error:.2g} from {name}, rounding explains {check.explained:.2g}; "
        f"margins off by {check.single:.2g} in passes over one token and {check.many:.2g} over {gamma + 1}  "
        f"{'PASS' if check.passed else 'FAIL'}"
    )
    return check.passed


def _greedy(pair: Pair, requests: list[Request], gamma: int, judge: Judge, *, exact: bool) -> bool:
    from fastdraft_core.decoding.losslessness import check_greedy
    from fastdraft_core.decoding.rounding import measure_rounding, most_ties

    rounding = measure_rounding(pair.target, requests[:_CALIBRATION_PROMPTS], gamma)
    floor = 0.0 if exact else rounding.floor
    checks = [check_greedy(pair.target, pair.drafter(), r, gamma, floor, judge) for r in requests]
    for number, check in enumerate(checks, 1):
        if check.parted is not None:
            print(f"  prompt {number}, {_difference(pair, check)}")
    equal = sum(c.parted is None for c in checks)
    ties = _Ties(
        seen=sum(c.parted is not None and c.passed for c in checks),
        expected=0.0 if exact else rounding.expected_ties(margin for c in checks for margin in c.margins),
    )
    passed = all(c.passed for c in checks) and rounding.credible and ties.seen <= most_ties(ties.expected)
    print(
        f"greedy   {equal}/{len(checks)} prompts equal autoregressive decoding token by token, {sum(len(c.expected) for c in checks)} tokens; "
        f"{_excuse(rounding, ties, exact=exact)}  {'PASS' if passed else 'FAIL'}"
    )
    return passed


@dataclass(frozen=True, slots=True)
class _Ties:
    """Near-ties that fell the other way, and how many rounding should make of the margins that were compared."""

    seen: int
    expected: float


def _excuse(rounding: Rounding, ties: _Ties, *, exact: bool) -> str:
    """What may differ, in words, and whether that is rounding."""
    from fastdraft_core.decoding.rounding import most_ties

    if not rounding.credible:
        return (
            f"passes over several tokens differ by {rounding.largest:.2g} from those over one, and rounding explains "
            f"{rounding.explained / (rounding.measured / rounding.largest):.2g}"
        )
    if exact:
        return "no near-tie passes"
    return (
        f"near-ties {ties.seen}, expected {ties.expected:.1f} and at most {most_ties(ties.expected)}; floor "
        f"{rounding.floor:.2g} (measured rounding between pass lengths)"
    )


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
