"""document_mask = true: what a document's tokens see is that document alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fastdraft_core.data.mixtures import Mixture
from fastdraft_core.data.shards import open_shard, write_shard
from fastdraft_core.training.architecture import model_config, new_model
from fastdraft_core.training.losses import next_token_loss
from fastdraft_core.training.recipe import ModelShape

LENGTH = 24
_SHAPE = ModelShape(hidden_size=32, num_layers=2, num_heads=4, num_kv_heads=2, intermediate_size=64, context_length=64)


def tiny_model(architecture: str, attention: str) -> Any:
    """Two layers: a leak through the first would reach the second's output."""
    special = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    config = model_config(_SHAPE, architecture=architecture, vocab_size=64, special=special)
    return new_model(config, seed=3, attention=attention).eval()


@pytest.fixture
def mixture(tmp_path: Path) -> Mixture:
    """Documents of 5 to 14 tokens."""
    rng = np.random.default_rng(0)
    rows = [(rng.integers(2, 64, size=rng.integers(5, 15)).tolist(), None) for _ in range(30)]
    write_shard(tmp_path / "s", rows, source="text", tokenizer_hash="abc", vocab_size=64)
    return Mixture([open_shard(tmp_path / "s", tokenizer_hash="abc")], [1.0], LENGTH, 3, seed=1)


@torch.no_grad()
@pytest.mark.parametrize("architecture", ["llama", "phi3", "qwen2"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_packed_row_is_its_documents_one_by_one(mixture: Mixture, architecture: str, attention: str) -> None:
    """With positions, a row's logits are those of its documents alone; without, they are not (the control)."""
    model = tiny_model(architecture, attention)
    ids, positions = (torch.from_numpy(x) for x in (mixture.rows(0, 3)[0], mixture.positions(0, 3)))
    packed = model(input_ids=ids, position_ids=positions, use_cache=False).logits
    crossing = model(input_ids=ids, use_cache=False).logits
    for row in range(3):
        begins = torch.nonzero(positions[row] == 0).flatten().tolist()
        assert len(begins) > 1
        for begin, end in zip(begins, [*begins[1:], LENGTH + 1], strict=True):
            alone = model(input_ids=ids[row : row + 1, begin:end], use_cache=False).logits[0]
            assert torch.allclose(packed[row, begin:end], alone, atol=1e-5)
        assert not torch.allclose(packed[row, begins[1] :], crossing[row, begins[1] :], atol=1e-3)


def test_the_loss_is_that_of_the_documents(mixture: Mixture) -> None:
    """The whole way of a training step: the loss of the rows is the sum over their documents."""
    model = tiny_model("llama", "sdpa")
    ids, mask = (torch.from_numpy(x) for x in mixture.rows(0, 3))
    positions = torch.from_numpy(mixture.positions(0, 3))
    mask &= positions > 0
    with torch.no_grad():
        packed = next_token_loss(model, ids, mask, positions=positions)
        alone = torch.zeros(())
        for row in range(3):
            begins = torch.nonzero(positions[row] == 0).flatten().tolist()
            for begin, end in zip(begins, [*begins[1:], LENGTH + 1], strict=True):
                piece = ids[row : row + 1, begin:end]
                alone += next_token_loss(model, piece, torch.ones_like(piece, dtype=torch.bool))
    assert torch.allclose(packed, alone, rtol=1e-5)
