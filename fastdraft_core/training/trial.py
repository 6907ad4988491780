"""How fast this device trains a model: the loop's own step on random tokens, for some seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from fastdraft_core.devices import synchronize
from fastdraft_core.drafts.architecture import new_model
from fastdraft_core.runtimes.draft_vocab import DraftVocab
from fastdraft_core.training.batches import read_step
from fastdraft_core.training.flops import flops_per_token
from fastdraft_core.training.loop import StageRun, prepare_module
from fastdraft_core.training.matrix_peak import matrix_peak
from fastdraft_core.training.optimizers import make_optimizers
from fastdraft_core.training.recipe import Stage, tokens_per_step
from fastdraft_core.training.short_head import shorten_head
from fastdraft_core.training.step import gradients, update

#: Share of the matrix peak that a first guess assumes, to choose how much to measure.
_GUESS = 0.5
_SHORTEST = 64
#: Rounds that a measurement should have time for, the first to warm up.
_ROUNDS = 2
_RATE = 1e-6


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens/s of whole optimizer steps; ``measured_tokens`` of a micro-batch were timed, more is scaled by FLOPs."""

    tokens_per_second: float
    measured_tokens: int


class RandomRows:
    """Stands for a mixture: rows of random ids, all of which count."""

    shards = ()
    seed = 1

    def __init__(self, stage: Stage, vocab_size: int) -> None:
        self._length, self._top_k, self._vocab_size = stage.sequence_length + 1, stage.top_k, vocab_size
        self._random = np.random.default_rng(1)

    def rows(self, start: int, stop: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """As a mixture's."""
        shape = stop - start, self._length
        return self._random.integers(self._vocab_size, size=shape), np.ones(shape, dtype=bool)

    def positions(self, start: int, stop: int) -> npt.NDArray[np.int64]:
        """As a mixture's; every row is one document."""
        return np.tile(np.arange(self._length), (stop - start, 1))

    def probabilities(self, start: int, stop: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """As a mixture's; all alike."""
        k = min(self._top_k, self._vocab_size)
        ids = np.tile(np.arange(k), (stop - start, self._length, 1))
        return ids, np.full((*ids.shape[:2], k + 1), -np.log(k + 1), dtype=np.float32)


def measure(
    config: Any,
    stages: dict[str, Stage],
    accelerator: Any,
    attention: str,
    seconds: float,
    vocab: DraftVocab | None = None,
) -> dict[str, Speed]:
    """The speed of each stage, from about ``seconds`` of uncompiled training in all; stages alike are measured once.

    ``vocab`` is the draft vocabulary, where there is one.
    """
    model = new_model(config, seed=1, attention=attention)
    if vocab is not None:
        shorten_head(model, vocab)
    model = model.to(accelerator.device)
    alike = {"tokens": 1, "sources": {}, "learning_rate": _RATE, "warmup": 0.0, "decay": 0.0}
    keys = {name: msgspec.json.encode(msgspec.structs.replace(stage, **alike)) for name, stage in stages.items()}
    different = {key: stages[name] for name, key in keys.items()}
    found = {key: _speed(model, stage, accelerator, seconds / len(different)) for key, stage in different.items()}
    return {name: found[key] for name, key in keys.items()}


def _speed(model: Any, stage: Stage, accelerator: Any, seconds: float) -> Speed:
    small = _small_enough(model, stage, accelerator, seconds / _ROUNDS)
    run = StageRun(
        name="trial",
        stage=small,
        model=model,
        tokenizer=None,
        mixture=RandomRows(small, model.config.get_text_config().vocab_size),  # type: ignore[arg-type]
        held_out={},
        folder=Path(),
        accelerator=accelerator,
        compile=False,
        checkpoint_seconds=0.0,
    )
    module, optimizers = prepare_module(run), make_optimizers(model, small, _RATE)
    passes: list[float] = []
    updates: list[float] = []
    begin = time.perf_counter()
    # The first round warms up and does not count.
    while len(passes) < 2 or time.perf_counter() - begin < seconds:
        data = read_step(run, 0, small.micro_batch)
        passes.append(_timed(run, partial(gradients, run, module, data)))
        updates.append(_timed(run, partial(update, run, optimizers, 1.0, _RATE)))
    measured = tokens_per_step(small)
    one = sum(passes[1:]) / len(passes[1:]) / measured
    one *= flops_per_token(model, stage.sequence_length) / flops_per_token(model, small.sequence_length)
    whole = tokens_per_step(stage)
    return Speed(whole / (whole * one + sum(updates[1:]) / len(updates[1:])), measured)


def _small_enough(model: Any, stage: Stage, accelerator: Any, seconds: float) -> Stage:
    """``stage`` with one micro-batch a step, of so few and so short rows that it should take less than ``seconds``."""
    length = stage.sequence_length
    rows = min(stage.micro_batch, tokens_per_step(stage) // length)
    speed = _GUESS * matrix_peak(accelerator.device)
    while rows > 1 and rows * length * flops_per_token(model, length) / speed > seconds:
        rows //= 2
    while length > _SHORTEST and length * flops_per_token(model, length) / speed > seconds:
        length //= 2
    return msgspec.structs.replace(stage, micro_batch=rows, sequence_length=length, batch_tokens=rows * length)


def _timed(run: StageRun, work: Callable[[], object]) -> float:
    synchronize(run.accelerator.device)
    begin = time.perf_counter()
    work()
    synchronize(run.accelerator.device)
    return time.perf_counter() - begin
