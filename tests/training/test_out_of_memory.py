"""A full memory is a sentence that says what to lower, and costs no step that was saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from fastdraft_core.data import target_logits
from fastdraft_core.data.prompts import Prefixes
from fastdraft_core.data.shards import open_shard, write_shard
from fastdraft_core.data.synthesis import Plan, synthesize
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Checkpointed
from fastdraft_core.training import loop
from fastdraft_core.training.folders import find_checkpoint
from tests.folders import tiny_target
from tests.training.tiny import tiny_run, tiny_stage

_FULL = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    MemoryError(),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes. Error code 12"),
]


def _fails(error: Exception) -> Any:
    def work(*asked: Any, **more: Any) -> Any:
        raise error

    return work


@pytest.mark.parametrize("error", _FULL, ids=lambda e: type(e).__name__)
def test_a_step_that_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """The stage's micro_batch and activation_checkpointing are named; the checkpoint is there to go on from."""
    run = tiny_run(tmp_path)
    for event in loop.train_stage(run):
        if isinstance(event, Checkpointed):
            break
    monkeypatch.setattr(loop, "gradients", _fails(error))
    with pytest.raises(FastdraftError, match=r"Lower pt\.micro_batch \(it is 3\) or set pt\.activation_checkpointing"):
        list(loop.train_stage(tiny_run(tmp_path)))
    assert find_checkpoint(run.folder / "last") is not None
    smallest = tiny_stage(micro_batch=1, activation_checkpointing=True)
    with pytest.raises(FastdraftError, match=r"Train a smaller \[model\]"):
        list(loop.train_stage(tiny_run(tmp_path, smallest)))


@pytest.mark.parametrize("kind", [RuntimeError, NotImplementedError])
def test_another_error_is_not_called_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    """A defect must not send anybody looking for memory."""
    monkeypatch.setattr(loop, "gradients", _fails(kind("shapes do not match")))
    with pytest.raises(kind, match="shapes"):
        list(loop.train_stage(tiny_run(tmp_path)))


@pytest.mark.parametrize("error", _FULL, ids=lambda e: type(e).__name__)
def test_what_the_target_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Synthesis names synthesis.batch_size; the pass over what was written says what helps there."""
    write_shard(tmp_path / "s", [(list(range(90)), None)], source="text", tokenizer_hash="t", vocab_size=300)
    shard = open_shard(tmp_path / "s", tokenizer_hash="t")
    plan = Plan(tokens=40, batch_size=4, new_tokens=5, temperatures=[0.0], seed=1, weights={"prefixes": 1.0})
    kinds = {"prefixes": Prefixes([shard], [1.0], [8], 1)}
    with pytest.raises(FastdraftError, match=r"no room for 4 sequences at once\. Lower synthesis\.batch_size"):
        list(synthesize(tmp_path / "sequences.jsonl", plan, _fails(error), kinds, {1}, {}))
    monkeypatch.setattr(target_logits, "_score_window", _fails(error))
    with pytest.raises(FastdraftError, match=r"The memory is full.*--device cpu"):
        list(target_logits.score(tmp_path / "logits", shard, tiny_target(), top_k=4, vocab_size=300))
