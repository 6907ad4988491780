"""One optimizer step: sum the gradients over micro-batches and processes, clip, update."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any

import torch

from fastdraft_core.training.optimizers import set_rate
from fastdraft_core.training.precision import mixed_precision
from fastdraft_core.training.processes import total

if TYPE_CHECKING:
    from fastdraft_core.training.batches import StepBatches
    from fastdraft_core.training.loop import StageRun


def gradients(run: StageRun, module: Any, data: StepBatches) -> float:
    """Sum the gradients of the step's loss, one mean over the tokens of all processes. Returns that loss in nats."""
    accelerator = run.accelerator
    (counted,) = total(accelerator, data.counted)
    # DDP takes the mean over processes; the loss is a mean over tokens, wherever they lie.
    scale = accelerator.num_processes / max(1.0, counted)
    summed = torch.zeros((), device=accelerator.device)
    module.train()
    for number, batch in enumerate(data.batches):
        last = number + 1 == len(data.batches)
        with contextlib.nullcontext() if last else accelerator.no_sync(module):
            with mixed_precision(accelerator.device):
                loss = module(*batch)
            accelerator.backward(loss * scale)
        summed += loss.detach()
    (loss_sum,) = total(accelerator, float(summed))
    return loss_sum / max(1.0, counted)


def update(run: StageRun, optimizers: list[torch.optim.Optimizer], loss: float, rate: float) -> float:
    """Clip the gradients and take the step. Returns their norm before clipping.

    Raises:
        FloatingPointError: loss or gradient is not finite; the weights are as they were.
    """
    norm = float(torch.nn.utils.clip_grad_norm_(run.model.parameters(), run.stage.clip_norm))
    # A gradient that is not finite would spoil the weights, although this step's loss looks well.
    if not (math.isfinite(loss) and math.isfinite(norm)):
        raise FloatingPointError(f"became {loss} (gradient norm {norm})")
    set_rate(optimizers, rate)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()
    return norm
