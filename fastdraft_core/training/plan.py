"""What a recipe will take, before anything is spent: parameters, steps, disk, memory, time.

Parameters and memory come from the model's configuration alone: its tensors are made without storage. Speed is
measured: the loop itself trains untrained weights on random tokens for ten seconds on this device, and where the target is
to write for FT and its weights are here, it writes for five.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from fastdraft_core import places
from fastdraft_core.data.generation import Batch
from fastdraft_core.data.openvino_writer import openvino_writer
from fastdraft_core.data.shards import token_dtype
from fastdraft_core.data.target_logits import bytes_per_token
from fastdraft_core.data.writers import Writer, choose_engine, torch_writer
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Planned, PlannedStage
from fastdraft_core.machine import limits
from fastdraft_core.machine.devices import synchronize
from fastdraft_core.models.draft_vocab import DraftVocab, count_draft_vocab
from fastdraft_core.models.folders import local_folder
from fastdraft_core.models.published import known_target
from fastdraft_core.runtimes.openvino.ir_cache import is_converted
from fastdraft_core.training.architecture import new_model
from fastdraft_core.training.budgets import tokens_needed
from fastdraft_core.training.flops import flops_per_token
from fastdraft_core.training.loop import StageRun, gradients, prepare_module, read_step, update
from fastdraft_core.training.losses import MAX_LOGITS, next_token_loss
from fastdraft_core.training.matrix_peak import matrix_peak
from fastdraft_core.training.optimizers import make_optimizers
from fastdraft_core.training.processes import make_accelerator, mixed_precision, training_attention, training_dtype
from fastdraft_core.training.recipe import (
    TARGET_SOURCE,
    Recipe,
    Stage,
    check_stage,
    num_steps,
    parse_count,
    tokens_per_step,
)
from fastdraft_core.training.short_head import short_head, shorten_head
from fastdraft_core.training.start import check_context, load_target, recipe_config, target_config
from fastdraft_core.training.synthetic import held_out_tokens

#: The paper's machine. 432 TFLOP/s each is its maker's figure. That a draft uses a tenth of it is our assumption: so narrow
#: a model leaves most of a large matrix unit idle.
SERVER = "8 Gaudi 2, each at 10 % of its maker's 432 TFLOP/s in bfloat16"
_SERVER_FLOPS = 8 * 0.1 * 432e12
#: Recipes of so many tokens are meant for a server.
_SERVER_TOKENS = 1_000_000_000
#: Beside the ids and the loss mask of its shard, a token that the target wrote takes so much text in sequences.jsonl.
_TEXT_BYTES = 12
_SECONDS = 10.0
#: A weight, its gradient and one moment, in float32.
_TRAINED_BYTES = 12


def plan(recipe: Recipe, *, only: str | None = None, seconds: float = _SECONDS) -> Planned:
    """Work out what ``recipe`` (or ``only`` one of its stages) takes; of its target, config.json is enough.

    Raises:
        FastdraftError: there is no such stage, the target's configuration cannot be had or its context is too short, or the
            device is too small to measure on.
    """
    check_stage(recipe, only or "")
    target, catalogued = _target(recipe)
    check_context(recipe, target)
    config = recipe_config(recipe, target=target)
    stages = {name: stage for name, stage in recipe.stages.items() if only in (None, name)}
    accelerator = make_accelerator()
    device = accelerator.device
    attention = training_attention(device, compiled=recipe.compile)
    with torch.device("meta"):
        shape = new_model(config, seed=recipe.seed, attention=attention)
        vocab = _any_vocab(recipe, config)
        if vocab is not None:
            shorten_head(shape, vocab)
    _check_room(sum(p.numel() for p in shape.parameters()), device)
    speeds = measure(config, stages, accelerator, attention, seconds, vocab)
    planned = [_stage(name, stage, shape, speeds[name], device) for name, stage in stages.items()]
    served = sum(stage.tokens for stage in planned) >= _SERVER_TOKENS
    synthesis = _synthesis_tokens(recipe, stages)
    writing = generation_speed(recipe, device, seconds / 2) if synthesis else None
    token_bytes = token_dtype(config.get_text_config().vocab_size).itemsize
    return Planned(
        name=recipe.name,
        architecture=config.model_type,
        parameters=sum(p.numel() for p in shape.parameters()),
        device=str(device),
        dtype=str(training_dtype(device.type)).removeprefix("torch."),
        matrix_peak=matrix_peak(device),
        shard_bytes=_shard_bytes(recipe, stages, token_bytes),
        synthesis_tokens=synthesis,
        synthesis_bytes=synthesis * (_TEXT_BYTES + token_bytes + 1),
        synthesis_tokens_per_second=writing.tokens_per_second if writing else None,
        synthesis_sequences=writing.sequences if writing else 0,
        synthesis_engine=writing.engine if writing else "",
        stages=planned,
        free_disk=places.free_disk(places.jobs()),
        free_memory=_free_memory(device),
        server=SERVER if served else "",
        catalogued=catalogued,
        server_seconds=sum(stage.flops for stage in planned) / _SERVER_FLOPS if served else None,
    )


def _target(recipe: Recipe) -> tuple[Any, bool]:
    """The target's configuration, and whether it is the catalogue's, since its own cannot be had; None without a target."""
    from transformers import AutoConfig

    if recipe.target is None:
        return None, False
    try:
        return target_config(recipe), False
    except FastdraftError as error:
        if Path(recipe.target).exists():
            raise
        known = known_target(recipe.target)
        if known is not None and known.vocabulary is not None:
            size = {"vocab_size": known.vocabulary, "max_position_embeddings": known.context}
            return AutoConfig.for_model(known.model_type, **size, pad_token_id=None), True
        raise FastdraftError(
            f"{error.message} A plan needs no more of the target than its config.json: --set target=FOLDER."
        ) from error


def _any_vocab(recipe: Recipe, config: Any) -> DraftVocab | None:
    """A draft vocabulary of the recipe's size; which ids are in it changes no cost."""
    size = recipe.model.draft_vocab
    if size is None:
        return None
    counts = np.zeros(config.get_text_config().vocab_size)
    return count_draft_vocab(counts, size, (), counted="nothing", tokens=0)


def _check_room(parameters: int, device: torch.device) -> None:
    """See that the model and what its training keeps can be made at all: a system short of memory kills without a word.

    Raises:
        FastdraftError: there is less memory.
    """
    needed, free = parameters * _TRAINED_BYTES, _free_memory(device)
    if free is not None and needed > free:
        raise FastdraftError(
            f"A model of {parameters:,} parameters needs at least {needed / 1e9:,.1f} GB to be trained, and {device} has "
            f"{free / 1e9:,.1f} GB free. Make [model] smaller, or plan and train it on a larger machine."
        )


def _stage(name: str, stage: Stage, shape: Any, speed: Speed, device: torch.device) -> PlannedStage:
    steps = num_steps(stage)
    tokens = steps * tokens_per_step(stage)
    logits = 0
    if stage.loss != "ce":
        logits = parse_count(stage.tokens) * bytes_per_token(stage.top_k, shape.config.get_text_config().vocab_size)
    return PlannedStage(
        stage=name,
        tokens=tokens,
        steps=steps,
        tokens_per_step=tokens_per_step(stage),
        flops=tokens * flops_per_token(shape, stage.sequence_length),
        logits_bytes=logits,
        checkpoint_bytes=checkpoint_bytes(shape, stage),
        memory=training_memory(shape, stage, device),
        tokens_per_second=speed.tokens_per_second,
        measured_tokens=speed.measured_tokens,
        seconds=tokens / speed.tokens_per_second,
    )


def _shard_bytes(recipe: Recipe, stages: Iterable[str], token_bytes: int) -> dict[str, int]:
    """Disk for the tokens of each source that its last stage needs; a smaller source is read again and takes less."""
    most: dict[str, int] = {}
    for name in stages:
        for source in recipe.stages[name].sources:
            if source != TARGET_SOURCE:
                needed = tokens_needed(recipe, name, source)
                described = recipe.sources.get(source)
                if described is not None and described.tokens is not None:
                    needed = min(needed, parse_count(described.tokens))
                most[source] = max(most.get(source, 0), needed * token_bytes)
    return most


def _synthesis_tokens(recipe: Recipe, stages: dict[str, Stage]) -> int:
    used = any(TARGET_SOURCE in stage.sources for stage in stages.values())
    section = recipe.synthesis
    return parse_count(section.tokens) + held_out_tokens(section) if used and section else 0


def _free_memory(device: torch.device) -> int | None:
    if device.type == "cpu":
        return limits.memory()[1]
    backend: Any = getattr(torch, device.type)
    return int(backend.mem_get_info()[0])


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


#: Tokens of a sequence that are written while the clock runs; later ones have a longer past and take longer.
NEW_TOKENS = 16


class GenerationSpeed(NamedTuple):
    """Measured tokens/s, how many sequences were written at once, and by which engine."""

    tokens_per_second: float
    sequences: int
    engine: str


def generation_speed(recipe: Recipe, device: Any, seconds: float) -> GenerationSpeed | None:
    """Measure the target with up to ``synthesis.batch_size`` sequences, doubling them while ``seconds`` are left.

    None where its weights are not on this machine, or do not fit: nothing is downloaded for a plan, and nothing
    converted, so that PyTorch stands in for OpenVINO before the first conversion.
    """
    section = recipe.synthesis
    assert section is not None
    with contextlib.ExitStack() as stack:
        try:
            folder, name = local_folder(str(recipe.target), weights=False), str(recipe.target)
            if not any(folder.glob("*.safetensors")):
                return None
            engine = choose_engine(section.engine, device.type, folder, name)
            if engine == "openvino" and is_converted(folder, name, ""):
                write = stack.enter_context(openvino_writer(folder, name, trust_remote_code=recipe.trust_remote_code))
            else:
                engine, write = "torch", torch_writer(load_target(recipe, device))
        except FastdraftError:
            return None
        vocab_size = int(target_config(recipe).vocab_size)
        most, length, sequences = section.batch_size, min(section.prefix_tokens), 1
        begin = time.perf_counter()
        # The first call warms up.
        _timed_writing(write, 1, length, vocab_size)
        while True:
            took = _timed_writing(write, sequences, length, vocab_size)
            if sequences == most or time.perf_counter() - begin + 2 * took > seconds:
                return GenerationSpeed(sequences * NEW_TOKENS / took, sequences, engine)
            sequences = min(2 * sequences, most)


def _timed_writing(write: Writer, sequences: int, length: int, vocab_size: int) -> float:
    prompts = np.random.default_rng(1).integers(vocab_size, size=(sequences, length))
    begin = time.perf_counter()
    # Drawn ids are read on the host at every token, so the device has finished when this returns.
    write(Batch(prompts, np.ones(sequences), NEW_TOKENS, (), seed=1))
    return time.perf_counter() - begin


_FLOAT = 4


def checkpoint_bytes(model: Any, stage: Stage) -> int:
    """Disk for a stage: ``last`` with the optimizers' state, ``best``, and a ``last`` that is being written beside."""
    weights = _FLOAT * sum(p.numel() for p in model.parameters())
    return 2 * (weights + _state_bytes(model, stage)) + weights


def training_memory(model: Any, stage: Stage, device: torch.device) -> int:
    """Bytes on one device, modelled: weights, gradients, optimizer state, what a forward pass keeps, a piece of logits.

    What a forward pass keeps for the backward one is counted tensor by tensor, for one micro-batch and
    without compilation. The library's own memory and what an allocator wastes come on top.
    """
    weights = _FLOAT * sum(p.numel() for p in model.parameters())
    rows = min(stage.micro_batch, max(1, stage.batch_tokens // stage.sequence_length))
    short = short_head(model)
    vocab_size = model.config.get_text_config().vocab_size if short is None else len(short.ids)
    # Logits, the same as probabilities, and the gradient of both.
    logits = 3 * _FLOAT * min(MAX_LOGITS, rows * stage.sequence_length * vocab_size)
    return 2 * weights + _state_bytes(model, stage) + _kept_bytes(model, stage, rows, device) + logits


def _state_bytes(model: Any, stage: Stage) -> int:
    """Two moments a weight for AdamW, one for Muon."""
    total = 0
    for optimizer in make_optimizers(model, stage, 1.0):
        moments = 2 if isinstance(optimizer, torch.optim.AdamW) else 1
        total += moments * _FLOAT * sum(p.numel() for group in optimizer.param_groups for p in group["params"])
    return total


def _kept_bytes(model: Any, stage: Stage, rows: int, device: torch.device) -> int:
    """Bytes of all tensors that one micro-batch's forward pass keeps, weights left out; on tensors without storage."""
    from transformers import AutoModelForCausalLM

    kept: dict[int, int] = {}
    with FakeTensorMode(), torch.device(device):
        fake = AutoModelForCausalLM.from_config(model.config, dtype=torch.float32)
        if stage.activation_checkpointing:
            fake.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        if (short := short_head(model)) is not None:
            shorten_head(fake, short.vocab)
        fake.train()
        own = {p.untyped_storage()._cdata for p in fake.parameters()}
        ids = torch.zeros(rows, stage.sequence_length + 1, dtype=torch.int64)
        held = []

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in own:
                kept[storage._cdata] = storage.nbytes()
                # Alive until all are counted, so that no address comes twice.
                held.append(tensor)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), mixed_precision(device):
            held.append(next_token_loss(fake, ids, torch.ones_like(ids, dtype=torch.bool)))
    return sum(kept.values())
