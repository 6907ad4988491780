"""How fast a target writes for FT on this device: its own batched generation, for some seconds."""

from __future__ import annotations

import contextlib
import time
from typing import Any, NamedTuple

import numpy as np

from fastdraft_core.data.generation import Batch
from fastdraft_core.data.openvino_writer import openvino_writer
from fastdraft_core.data.writers import Writer, choose_engine, torch_writer
from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.folders import local_folder
from fastdraft_core.runtimes.openvino.ir_cache import is_converted
from fastdraft_core.training.recipe import Recipe
from fastdraft_core.training.start import load_target, target_config

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
        _timed(write, 1, length, vocab_size)
        while True:
            took = _timed(write, sequences, length, vocab_size)
            if sequences == most or time.perf_counter() - begin + 2 * took > seconds:
                return GenerationSpeed(sequences * NEW_TOKENS / took, sequences, engine)
            sequences = min(2 * sequences, most)


def _timed(write: Writer, sequences: int, length: int, vocab_size: int) -> float:
    prompts = np.random.default_rng(1).integers(vocab_size, size=(sequences, length))
    begin = time.perf_counter()
    # Drawn ids are read on the host at every token, so the device has finished when this returns.
    write(Batch(prompts, np.ones(sequences), NEW_TOKENS, (), seed=1))
    return time.perf_counter() - begin
