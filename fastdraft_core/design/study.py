"""Run a design study: measure every candidate, train those of the budget where asked, and choose.

``study`` is a generator of events, as a sweep is. Every measured candidate is an event, so a study that goes on begins where it ended.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict

import msgspec

from fastdraft_core.bench.acceptance import fate, probabilities
from fastdraft_core.bench.costs import Costs
from fastdraft_core.bench.surface import predicted
from fastdraft_core.bench.tasks import load_tasks
from fastdraft_core.decoding.records import Request, cut
from fastdraft_core.decoding.sampling import Sampling
from fastdraft_core.design.candidate import measure_shape, model_shape, with_draft
from fastdraft_core.design.shapes import NARROWEST, Grid, candidates, default_draft_vocabs
from fastdraft_core.design.training import train_shape
from fastdraft_core.engine.load_options import LoadOptions
from fastdraft_core.engine.pair import Pair
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import (
    DesignFinished,
    DesignProgress,
    DesignShape,
    DesignStarted,
    Event,
    ShapeTrained,
)
from fastdraft_core.machine import limits
from fastdraft_core.machine.devices import machine_card
from fastdraft_core.models.folders import local_folder
from fastdraft_core.models.identity import model_hash
from fastdraft_core.places import designs
from fastdraft_core.results.designs import SCHEMA, Design, folder, variant
from fastdraft_core.results.event_file import dated_name
from fastdraft_core.training.architecture import read_config

#: Prompts of each bundled task, and new tokens after each: blocks of every length come up several times.
_PROMPTS, _LENGTH = 2, 96
#: A random model is made in float32 and kept in bfloat16 beside it.
_MADE_BYTES = 6


def new_study(
    pair: Pair,
    load: LoadOptions,
    *,
    budget: int,
    layers: Sequence[int],
    widths: tuple[int, int] | None,
    draft_vocabs: Sequence[int] | None,
    weights: Sequence[str],
    gammas: Sequence[int],
    temperature: float,
    train: int,
    architecture: str,
    seed: int,
    command: str,
) -> DesignStarted:
    """The plan of a new study beside a target that was loaded so; ``widths`` and ``draft_vocabs`` are the default grid's where None.

    Raises:
        FastdraftError: nothing fits into the budget, or the memory.
    """
    target = pair.target.card
    vocabulary = target.vocab_size
    grid = Grid(
        layers,
        widths or (NARROWEST, max(NARROWEST, target.hidden_size // 32 * 32)),
        default_draft_vocabs(vocabulary) if draft_vocabs is None else draft_vocabs,
        weights,
    )
    shapes, skipped = candidates(budget, vocabulary, grid)
    _check_memory(max(shape.parameters for shape in shapes))
    return DesignStarted(
        schema=SCHEMA,
        name=dated_name(designs(), target.name),
        created=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        command=command,
        machine=msgspec.to_builtins(machine_card()),
        target=target,
        target_hash=model_hash(target.name),
        load={key: value for key, value in asdict(load).items() if key != "trust_remote_code"}
        | {"runtime": pair.runtime, "threads": pair.threads},
        runtime=pair.runtime,
        runtime_reason=pair.runtime_reason,
        threads=pair.threads,
        parameters=budget,
        architecture=architecture or str(read_config(target.name).get_text_config().model_type),
        tie=True,
        context=min(target.context_length, 2048),
        gammas=list(gammas),
        temperature=temperature,
        train=train,
        seed=seed,
        shapes=shapes,
        skipped=skipped,
    )


def _check_memory(parameters: int) -> None:
    free = limits.memory()[1]
    if parameters * _MADE_BYTES > free:
        raise FastdraftError(
            f"A candidate of {parameters:,} parameters needs {parameters * _MADE_BYTES / 1e9:.1f} GB to be made, and "
            f"{free / 1e9:.1f} GB are free. Give at most --params {free // _MADE_BYTES // 1_000_000}M."
        )


def check_same(plan: DesignStarted) -> None:
    """That the target is the one that the plan's figures belong to.

    Raises:
        FastdraftError: it changed.
    """
    local_folder(plan.target.name)
    if model_hash(plan.target.name) != plan.target_hash:
        raise FastdraftError(f"{plan.name} cannot go on: {plan.target.name} changed. Start a new study.")


def study(pair: Pair, design: Design, stop: Callable[[], bool]) -> Iterator[Event]:
    """What ``design`` does not know yet, until all candidates are measured and trained, or ``stop()``.

    Events are also taken into ``design``; the last is ``DesignFinished``.
    """
    for event in _steps(pair, design, stop):
        design.add(event)
        yield event


def _steps(pair: Pair, design: Design, stop: Callable[[], bool]) -> Iterator[Event]:
    begin, plan = time.monotonic(), design.plan
    requests, done, total = _requests(pair, plan), 0, len(design.missing) + len(design.untrained)
    for shape in design.missing:
        if stop():
            break
        yield DesignProgress(what=f"measuring {words(shape)}", done=done, total=total)
        yield measure_shape(shape, plan, pair, requests, lambda step: None)
        done += 1
    if design.untrained and not stop():
        yield from _train(pair, design, requests, stop, done, total)
    complete = not design.missing and not design.untrained
    yield DesignFinished(
        reason="complete" if complete else "stopped", chosen=design.best(), seconds=time.monotonic() - begin
    )


def _train(
    pair: Pair, design: Design, requests: Sequence[Request], stop: Callable[[], bool], done: int, total: int
) -> Iterator[Event]:
    yield DesignProgress(what="the target writes the texts that acceptance is read from", done=done, total=total)
    texts = [cut([t for r in pair.decode("ar", q, 0) for t in r.emitted], pair.stops) for q in requests]
    likely = [probabilities(pair.target, q.prompt, text, q.sampling) for q, text in zip(requests, texts, strict=True)]
    for shape in design.untrained:
        if stop():
            return
        what = f"training {words(shape)}"
        yield DesignProgress(what=what, done=done, total=total)
        begin, jobs = time.monotonic(), folder(design.plan.name) / "training"
        trained = yield from train_shape(model_shape(shape, design.plan), design.plan, jobs, what, done, total, stop)
        if trained is None:
            return
        beside = with_draft(pair, design.plan, trained, 0, shape.weights, lambda step: None)
        yield judged(shape, design, beside, requests, texts, likely, time.monotonic() - begin)
        done += 1


def judged(
    shape: DesignShape,
    design: Design,
    pair: Pair,
    requests: Sequence[Request],
    texts: Sequence[list[int]],
    likely: Sequence[list[float]],
    seconds: float,
) -> ShapeTrained:
    """The acceptance of a trained candidate on the target's own ``texts``, and what it predicts with its measured costs."""
    assert pair.draft is not None
    plan, fates = design.plan, []
    for request, text, p in zip(requests, texts, likely, strict=True):
        known = None if request.sampling.greedy else p
        found = fate(pair.draft, known, request.prompt, text, request.sampling, plan.gammas[-1])
        fates.append(found.chances)
    measured = design.measured[shape.key]
    costs = Costs(measured.step_seconds, design.verify, measured.draft, measured.overhead)
    points = [
        predicted([f for f in fates if f], costs, draft=words(shape), gamma=g, temperature=plan.temperature, task="")
        for g in plan.gammas
    ]
    return ShapeTrained(
        key=shape.key,
        tokens=plan.train,
        seconds=seconds,
        acceptance=[point.acceptance for point in points],
        tau=[point.tau for point in points],
        speedup=[point.speedup for point in points],
    )


def words(shape: DesignShape) -> str:
    """A candidate for people: ``2 x 320, whole head``."""
    return f"{shape.layers} x {shape.width}, {variant(shape)}"


def _requests(pair: Pair, plan: DesignStarted) -> list[Request]:
    """Bundled prompts, past where the model ends its text: costs are the same there."""
    sampling = Sampling(temperature=plan.temperature)
    tasks = [task.fitted([pair]) for task in load_tasks("code,text", _PROMPTS, _LENGTH)]
    return [
        pair.request(text, max_new_tokens=_LENGTH, sampling=sampling, seed=plan.seed, chat=False, ignore_stops=True)
        for task in tasks
        for text in task.texts
    ]
