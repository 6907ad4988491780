"""What a recipe will take, before anything is spent: parameters, steps, disk, memory, time.

Parameters and memory come from the model's configuration alone: its tensors are made without storage. Speed is
measured: the loop itself trains untrained weights on random tokens for ten seconds on this device, and where the target is
to write for FT and its weights are here, it writes for five.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from fastdraft_core import places
from fastdraft_core.data.shards import token_dtype
from fastdraft_core.data.target_logits import bytes_per_token
from fastdraft_core.drafts.architecture import new_model
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Planned, PlannedStage
from fastdraft_core.runtimes.draft_vocab import DraftVocab, count_draft_vocab
from fastdraft_core.training.flops import flops_per_token
from fastdraft_core.training.footprint import checkpoint_bytes, training_memory
from fastdraft_core.training.generation_speed import generation_speed
from fastdraft_core.training.matrix_peak import matrix_peak
from fastdraft_core.training.precision import training_attention, training_dtype
from fastdraft_core.training.processes import make_accelerator
from fastdraft_core.training.recipe import (
    TARGET_SOURCE,
    Recipe,
    Stage,
    check_stage,
    num_steps,
    parse_count,
    tokens_per_step,
)
from fastdraft_core.training.short_head import shorten_head
from fastdraft_core.training.start import check_context, recipe_config
from fastdraft_core.training.synthetic import held_out_tokens
from fastdraft_core.training.trial import Speed, measure

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
    config = _config(recipe)
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
        shard_bytes=_shard_bytes(stages, token_bytes),
        synthesis_tokens=synthesis,
        synthesis_bytes=synthesis * (_TEXT_BYTES + token_bytes + 1),
        synthesis_tokens_per_second=writing.tokens_per_second if writing else None,
        synthesis_sequences=writing.sequences if writing else 0,
        synthesis_engine=writing.engine if writing else "",
        stages=planned,
        free_disk=places.free_disk(places.jobs()),
        free_memory=_free_memory(device),
        server=SERVER if served else "",
        server_seconds=sum(stage.flops for stage in planned) / _SERVER_FLOPS if served else None,
    )


def _config(recipe: Recipe) -> Any:
    try:
        check_context(recipe)
        return recipe_config(recipe)
    except FastdraftError as error:
        if recipe.target is None or Path(recipe.target).is_dir():
            raise
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


def _shard_bytes(stages: dict[str, Stage], token_bytes: int) -> dict[str, int]:
    """Disk for the tokens of each source that its hungriest stage draws; a smaller source is read again and takes less."""
    most: dict[str, int] = {}
    for stage in stages.values():
        whole = sum(stage.sources.values())
        for source, weight in stage.sources.items():
            if source != TARGET_SOURCE:
                drawn = round(parse_count(stage.tokens) * weight / whole) * token_bytes
                most[source] = max(most.get(source, 0), drawn)
    return most


def _synthesis_tokens(recipe: Recipe, stages: dict[str, Stage]) -> int:
    used = any(TARGET_SOURCE in stage.sources for stage in stages.values())
    section = recipe.synthesis
    return parse_count(section.tokens) + held_out_tokens(section) if used and section else 0


def _free_memory(device: torch.device) -> int | None:
    if device.type == "cpu":
        return int(psutil.virtual_memory().available)
    backend: Any = getattr(torch, device.type)
    return int(backend.mem_get_info()[0])
