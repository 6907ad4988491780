"""How fast a target writes for FT on this device: its own batched generation, for some seconds."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np

from fastdraft_core.data.generation import continue_batch
from fastdraft_core.errors import FastdraftError
from fastdraft_core.runtimes.torch_loading import local_folder
from fastdraft_core.training.recipe import Recipe
from fastdraft_core.training.start import load_target

#: Tokens of a sequence that are written while the clock runs; later ones have a longer past and take longer.
NEW_TOKENS = 16


class GenerationSpeed(NamedTuple):
    """Measured tokens/s, and how many sequences were written at once."""

    tokens_per_second: float
    sequences: int


def generation_speed(recipe: Recipe, device: Any, seconds: float) -> GenerationSpeed | None:
    """Measure the target with up to ``synthesis.batch_size`` sequences, doubling them while ``seconds`` are left.

    None where its weights are not on this machine, or do not fit: nothing is downloaded for a plan.
    """
    assert recipe.synthesis is not None
    try:
        if not any(local_folder(str(recipe.target), weights=False).glob("*.safetensors")):
            return None
        model = load_target(recipe, device)
    except FastdraftError:
        return None
    vocab_size = int(model.config.get_text_config().vocab_size)
    most, length, sequences = recipe.synthesis.batch_size, min(recipe.synthesis.prefix_tokens), 1
    begin = time.perf_counter()
    # The first call warms up.
    _timed(model, 1, length, vocab_size)
    while True:
        took = _timed(model, sequences, length, vocab_size)
        if sequences == most or time.perf_counter() - begin + 2 * took > seconds:
            return GenerationSpeed(sequences * NEW_TOKENS / took, sequences)
        sequences = min(2 * sequences, most)


def _timed(model: Any, sequences: int, length: int, vocab_size: int) -> float:
    prompts = np.random.default_rng(1).integers(vocab_size, size=(sequences, length))
    begin = time.perf_counter()
    # Drawn ids are read on the host at every token, so the device has finished when this returns.
    continue_batch(model, prompts, np.ones(sequences), NEW_TOKENS, (), 1)
    return time.perf_counter() - begin
