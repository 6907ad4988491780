"""A training so small that a test runs it: one layer of 16 over a shard of a regular text.

Run as a program, ``python -m tests.training.tiny FOLDER``, it trains there, prints its events and
waits after step 8 to be killed.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fastdraft_core.data.mixtures import Mixture
from fastdraft_core.data.shards import open_shard, write_shard
from fastdraft_core.data.tokenizer import train_tokenizer
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Step, encode
from fastdraft_core.training import loop, processes
from fastdraft_core.training.architecture import model_config, new_model
from fastdraft_core.training.recipe import ModelShape, Stage, num_steps, rows_per_step
from fastdraft_core.training.stop import Interrupted

STEPS = 10
PAUSE = 8
_ROWS, _LENGTH, _VOCABULARY = 4, 16, 300
_SHAPE = ModelShape(hidden_size=16, num_layers=1, num_heads=2, num_kv_heads=1, intermediate_size=32)


def tiny_stage(**changes: Any) -> Stage:
    """Ten steps of four rows of 16 tokens, in micro-batches of 3 and 1."""
    values = dict(
        tokens=STEPS * _ROWS * _LENGTH,
        sources={"text": 1.0},
        sequence_length=_LENGTH,
        batch_tokens=_ROWS * _LENGTH,
        micro_batch=3,
        learning_rate=0.01,
    )
    return Stage(**{**values, **changes})


@cache
def tiny_tokenizer() -> Any:
    """A tokenizer for the model folders that checkpoints are."""
    return train_tokenizer(iter(["a text of no meaning " * 20]), _VOCABULARY)


def tiny_run(folder: Path, stage: Stage | None = None, *, checkpoint_seconds: float = 0.0) -> loop.StageRun:
    """A fresh model and everything around it; checkpoints after every step unless told otherwise."""
    from accelerate import Accelerator

    torch.set_num_threads(1)
    # Every step reports, so that runs can be compared step by step.
    loop._EVENT_SECONDS = 0.0
    # Where the processor has bfloat16, its rounding makes steps of the order of summation: no two runs could be compared.
    processes.choose_dtype = lambda device: "float32"
    stage = stage or tiny_stage()
    shard_folder = folder / "shard"
    if not shard_folder.exists():
        ids = [(7 * i + i // 50) % _VOCABULARY for i in range(2000)]
        write_shard(shard_folder, [(ids, None)], source="text", tokenizer_hash="tiny", vocab_size=_VOCABULARY)
    shard = open_shard(shard_folder, tokenizer_hash="tiny")
    rows = num_steps(stage) * rows_per_step(stage)
    config = model_config(_SHAPE, architecture="llama", vocab_size=_VOCABULARY, special={})
    return loop.StageRun(
        name="pt",
        stage=stage,
        model=new_model(config, seed=1, attention="sdpa"),
        tokenizer=tiny_tokenizer(),
        mixture=Mixture([shard], [1.0], stage.sequence_length, rows, seed=1),
        held_out={"text": Mixture([shard], [1.0], stage.sequence_length, 2, seed=9)},
        folder=folder / "checkpoints" / "pt",
        accelerator=Accelerator(cpu=True),
        compile=False,
        checkpoint_seconds=checkpoint_seconds,
    )


def main() -> None:
    """Train in the folder of the first argument; the first process's events go to standard output.

    Further arguments: ``stop:STEP:RANK`` and ``vanish:STEP:RANK`` have that process be asked to leave, or lose its
    data, once the step is done.
    """
    orders = {step: (what, int(rank)) for what, step, rank in (order.split(":") for order in sys.argv[2:])}
    run = tiny_run(Path(sys.argv[1]))
    rank = run.accelerator.process_index
    try:
        for event in loop.train_stage(run):
            if rank == 0:
                sys.stdout.buffer.write(encode(event))
                sys.stdout.buffer.flush()
            if isinstance(event, Step):
                _obey(run, *orders.get(str(event.step), ("", -1)))
            if isinstance(event, Step) and event.step == PAUSE and not orders:
                time.sleep(600)
    except (FastdraftError, Interrupted) as error:
        (Path(sys.argv[1]) / f"left-{rank}.txt").write_text(f"{type(error).__name__} {error}")
    run.accelerator.end_training()


def _obey(run: loop.StageRun, what: str, rank: int) -> None:
    if run.accelerator.process_index != rank:
        return
    if what == "stop":
        run.stop.request()
    if what == "vanish":
        # A file of its own, so that only this process loses it.
        (shard,) = run.mixture.shards
        copied = shard.folder.with_name("copy") / "tokens.bin"
        copied.parent.mkdir()
        copied.write_bytes(shard.tokens.tobytes())
        run.mixture.shards = [replace(shard, tokens=np.memmap(copied, dtype=shard.tokens.dtype, mode="r"))]
        copied.unlink()


if __name__ == "__main__":
    main()
