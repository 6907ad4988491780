"""``fastdraft verify``: prove that a pair is lossless on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Annotated

import typer

from fastdraft_core.cli import app, options, print_json, talk
from fastdraft_core.engine.load_options import LoadOptions
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import GreedyChecked, LawChecked, Parting, RuntimeChecked, Verified

if TYPE_CHECKING:
    from fastdraft_core.decoding.losslessness import GreedyCheck
    from fastdraft_core.decoding.records import Request
    from fastdraft_core.decoding.speculative import Judge
    from fastdraft_core.engine.pair import Pair

_Check = RuntimeChecked | GreedyChecked | LawChecked
_INJECTIONS = ("", "accept-all")
_CALIBRATION_PROMPTS = 4
#: Formats of keys and values, and of computing, that ``--exact`` asks for.
_EXACT_KV, _EXACT = "f32", "float32"


@app.command()
@options.loading
def verify(
    target: options.Target,
    draft: options.Draft = "",
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
    json: options.Json = False,
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
    pair = options.load_pair(target, options.needed_draft(target, draft), load)
    if inject:
        talk.print("Every drafted token is being accepted on purpose: both checks below should FAIL.")
    requests = [pair.request(p.text, max_new_tokens=length, sampling=Sampling(), seed=seed) for p in prompts]
    sampled = [
        replace(r, sampling=Sampling(temperature, top_k, top_p)) for r in requests[:: max(1, len(requests) // 2)][:2]
    ]
    passed = True
    checks: Iterator[_Check] = chain(
        _runtime(target, load, pair, requests[:_CALIBRATION_PROMPTS], gamma),
        _greedy(pair, requests, gamma, judge, exact=exact),
        _law(pair, sampled, gamma, samples, judge),
    )
    for check in checks:
        passed &= check.passed
        _show(check, json=json)
    _show(Verified(passed=passed), json=json)
    raise typer.Exit(0 if passed else 1)


def _show(check: _Check | Verified, *, json: bool) -> None:
    if json:
        print_json(check)
    else:
        print("\n".join(_words(check)))


def _exactly(load: LoadOptions) -> LoadOptions:
    """``load`` with everything in float32.

    Raises:
        FastdraftError: another format was asked for.
    """
    if load.dtype not in ("", _EXACT) or load.kv_precision not in ("", _EXACT_KV):
        raise FastdraftError("--exact computes in float32; leave --dtype and --kv-precision out.")
    # On PyTorch keys and values have the dtype of the computation, and OpenVINO keeps them so where it is float32.
    return replace(load, dtype=_EXACT)


def _runtime(
    target: str, load: LoadOptions, pair: Pair, requests: list[Request], gamma: int
) -> Iterator[RuntimeChecked]:
    """The runtime's logits against the same model's in float32; a reference that does not fit compares nothing and fails nothing."""
    from fastdraft_core.decoding.rounding import check_runtime
    from fastdraft_core.engine.loading import Source, load_reference
    from fastdraft_core.models.folders import local_folder

    try:
        with talk.status("loading the float32 reference"):
            reference, name = load_reference(Source(target, local_folder(target)), pair.tokenizer, load)
    except FastdraftError as error:
        yield RuntimeChecked(passed=True, problem=error.message)
        return
    check = check_runtime(pair.target, reference, requests, gamma)
    yield RuntimeChecked(
        passed=check.passed,
        reference=name,
        error=check.error,
        explained=check.explained,
        single=check.single,
        many=check.many,
        pass_length=gamma + 1,
    )


def _greedy(pair: Pair, requests: list[Request], gamma: int, judge: Judge, *, exact: bool) -> Iterator[GreedyChecked]:
    from fastdraft_core.decoding.losslessness import check_greedy
    from fastdraft_core.decoding.rounding import measure_rounding, most_ties

    rounding = measure_rounding(pair.target, requests[:_CALIBRATION_PROMPTS], gamma)
    floor = 0.0 if exact else rounding.floor
    checks = [check_greedy(pair.target, pair.drafter(), r, gamma, floor, judge) for r in requests]
    ties = sum(c.parted is not None and c.passed for c in checks)
    expected = 0.0 if exact else rounding.expected_ties(margin for c in checks for margin in c.margins)
    yield GreedyChecked(
        passed=all(c.passed for c in checks) and rounding.credible and ties <= most_ties(expected),
        prompts=len(checks),
        equal=sum(c.parted is None for c in checks),
        tokens=sum(len(c.expected) for c in checks),
        parted=[parting for number, check in enumerate(checks, 1) for parting in _partings(pair, number, check)],
        near_ties=ties,
        expected_ties=expected,
        most_ties=most_ties(expected),
        floor=floor,
        rounding=rounding.largest,
        explained=rounding.most,
        exact=exact,
    )


def _partings(pair: Pair, prompt: int, check: GreedyCheck) -> Iterator[Parting]:
    """Where two greedy texts part, if they do."""
    parted = check.parted
    if parted is None:
        return
    at = parted.position - 1
    ours, theirs = (pair.tokenizer.decode(ids[at : at + 1]) for ids in (check.expected, check.emitted))
    yield Parting(
        prompt=prompt, position=parted.position, expected=ours, emitted=theirs, margin=parted.margin, tie=parted.tie
    )


def _law(pair: Pair, requests: list[Request], gamma: int, samples: int, judge: Judge) -> Iterator[LawChecked]:
    from fastdraft_core.decoding.losslessness import check_law

    for number, request in enumerate(requests, 1):
        for check in check_law(pair.target, pair.drafter(), request, gamma, samples, judge):
            yield LawChecked(
                passed=check.passed,
                prompt=number,
                position=check.position,
                samples=check.samples,
                total_variation=check.total_variation,
                noise=check.noise,
            )


# --- in words -------------------------------------------------------------------------------------


def _words(check: _Check | Verified) -> Iterator[str]:
    """What a check found, for people."""
    verdict = "PASS" if check.passed else "FAIL"
    if isinstance(check, RuntimeChecked):
        yield _runtime_words(check, verdict)
    elif isinstance(check, GreedyChecked):
        yield from map(_parting_words, check.parted)
        yield (
            f"greedy   {check.equal}/{check.prompts} prompts equal autoregressive decoding token by token, {check.tokens} tokens; "
            f"{_excuse(check)}  {verdict}"
        )
    elif isinstance(check, LawChecked):
        yield (
            f"sampled  prompt {check.prompt}, token {check.position}: total variation {check.total_variation:.4f} from the exact "
            f"law, noise level {check.noise:.4f} ({check.samples} draws, 99.9 %)  {verdict}"
        )
    else:
        yield verdict


def _runtime_words(check: RuntimeChecked, verdict: str) -> str:
    if check.problem:
        return f"runtime  not compared with float32: {check.problem}"
    return (
        f"runtime  logits at most {check.error:.2g} from {check.reference}, rounding explains {check.explained:.2g}; margins off "
        f"by {check.single:.2g} in passes over one token and {check.many:.2g} over {check.pass_length}  {verdict}"
    )


def _parting_words(parted: Parting) -> str:
    verdict = "near-tie, passes" if parted.tie else "differs"
    return (
        f"  prompt {parted.prompt}, token {parted.position}: {parted.expected!r} / {parted.emitted!r}, logit margin "
        f"{parted.margin:.4f}: {verdict}"
    )


def _excuse(check: GreedyChecked) -> str:
    """What may differ, in words, and whether that is rounding."""
    # Of logits that are no numbers nothing is explained.
    if not check.rounding <= check.explained:
        return (
            f"passes over several tokens differ by {check.rounding:.2g} from those over one, and rounding explains "
            f"{check.explained:.2g}"
        )
    if check.exact:
        return "no near-tie passes"
    return (
        f"near-ties {check.near_ties}, expected {check.expected_ties:.1f} and at most {check.most_ties}; floor {check.floor:.2g} "
        "(measured rounding between pass lengths)"
    )
