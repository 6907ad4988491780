"""Have the target of a tiny recipe write: ``python -m tests.training.writing WORLD TOKENS``, as one of several processes too."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from fastdraft_core.data.shards import Shard
from fastdraft_core.data.synthesis import probabilities_file, sequence_rows
from fastdraft_core.training.processes import together
from fastdraft_core.training.recipe import Recipe
from fastdraft_core.training.stages import recipe_corpus
from fastdraft_core.training.start import target_tokenizer
from fastdraft_core.training.synthetic import synthetic_shard, write_together
from tests.jobs.tiny import STEP_TOKENS, tiny_recipe


def recipe_of(world: Path, tokens: int) -> Recipe:
    """A stage that learns the probabilities of what the target wrote."""
    synthesis = {
        "tokens": tokens,
        "sources": {"small": 1.0},
        "temperatures": [0.0, 0.8],
        "prefix_tokens": [8],
        "new_tokens": 24,
        "batch_size": 4,
        "engine": "torch",
    }
    stage = {"tokens": STEP_TOKENS, "sequence_length": 16, "batch_tokens": STEP_TOKENS, "micro_batch": 4}
    ft = {**stage, "sources": {"target": 1.0}, "loss": "kl", "top_k": 3}
    return tiny_recipe(world, synthesis=synthesis, ft=ft)


def written_alone(recipe: Recipe) -> Shard:
    """The shard of one process."""
    torch.set_num_threads(1)
    work = synthetic_shard(recipe, recipe_corpus(recipe), target_tokenizer(recipe), torch.device("cpu"), held_out=False)
    try:
        while True:
            next(work)
    except StopIteration as end:
        shard: Shard = end.value
        return shard


def rows_in(home: Path) -> tuple[list[tuple[list[int], list[int]]], bytes]:
    """The sequences that were written there, and what was kept of their probabilities."""
    (file,) = (home / "cache" / "synthesis").glob("train-*/sequences.jsonl")
    return list(sequence_rows(file)), probabilities_file(file).read_bytes()


def main() -> None:
    """Write together with the other processes, and tell what this one was told."""
    from accelerate import Accelerator

    torch.set_num_threads(1)
    accelerator = Accelerator(cpu=True)
    recipe = recipe_of(Path(sys.argv[1]), int(sys.argv[2]))
    with together(accelerator):
        work = write_together(accelerator, recipe, recipe_corpus(recipe), target_tokenizer(recipe), held_out=False)
        told = [type(event).__name__ for event in work]
    sys.stdout.write(f"{accelerator.process_index} {told.count('Synthesized')}\n")


if __name__ == "__main__":
    main()
