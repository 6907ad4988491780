"""Memory and disk that training a model takes, worked out without weights."""

from __future__ import annotations

from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from fastdraft_core.training.losses import MAX_LOGITS, next_token_loss
from fastdraft_core.training.optimizers import make_optimizers
from fastdraft_core.training.precision import mixed_precision
from fastdraft_core.training.recipe import Stage
from fastdraft_core.training.short_head import short_head, shorten_head

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
