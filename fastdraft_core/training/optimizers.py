"""The optimizers of a stage, and their state by the names of the weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch

from fastdraft_core.errors import FastdraftError
from fastdraft_core.training.muon import Muon
from fastdraft_core.training.precision import training_dtype

if TYPE_CHECKING:
    from fastdraft_core.training.recipe import Stage

#: Where torch has one kernel for a whole AdamW step; Gaudi's is not upstream.
_FUSED = ("cpu", "cuda", "xpu")


def make_optimizers(model: torch.nn.Module, stage: Stage, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside layers and AdamW for the rest, or AdamW for all.

    Muon's update is scaled to AdamW's size, so that one learning rate serves both. Weight decay
    falls on matrices only.
    """
    inner = {id(p) for n, p in model.named_parameters() if p.ndim == 2 and ".layers." in n}
    matrices = [p for p in model.parameters() if id(p) in inner]
    tables = [p for p in model.parameters() if id(p) not in inner and p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    if stage.optimizer == "adamw":
        tables, matrices = tables + matrices, []
    device = next(model.parameters()).device
    groups = [{"params": tables, "weight_decay": stage.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    fused = device.type in _FUSED
    optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.95), fused=fused)]
    if matrices:
        dtype = training_dtype(device.type)
        optimizers.append(Muon(matrices, lr=rate, weight_decay=stage.weight_decay, dtype=dtype))
    return optimizers


def set_rate(optimizers: Iterable[torch.optim.Optimizer], rate: float) -> None:
    """Use ``rate`` from the next step on."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate


def optimizer_state(model: torch.nn.Module, optimizers: Iterable[torch.optim.Optimizer]) -> dict[str, torch.Tensor]:
    """Every tensor that the optimizers keep, named ``model.layers.0.….weight:exp_avg``."""
    names = {id(p): n for n, p in model.named_parameters()}
    return {
        f"{names[id(parameter)]}:{key}": value
        for optimizer in optimizers
        for parameter, kept in optimizer.state.items()
        for key, value in kept.items()
    }


def restore_optimizers(
    model: torch.nn.Module, optimizers: Iterable[torch.optim.Optimizer], state: dict[str, torch.Tensor]
) -> None:
    """Give the optimizers back what ``optimizer_state`` took.

    Raises:
        FastdraftError: it was kept by another optimizer, or for weights of another shape.
    """
    parameters = dict(model.named_parameters())
    owners = {id(p): o for o in optimizers for group in o.param_groups for p in group["params"]}
    for entry, value in state.items():
        name, _, key = entry.rpartition(":")
        parameter = parameters.get(name)
        if parameter is None or (value.ndim > 0 and value.shape != parameter.shape):
            raise FastdraftError(
                f"The checkpoint's optimizer state for {name} does not fit the model. The recipe's [model] was changed: "
                "put it back, or train in another job folder."
            )
        owner = owners[id(parameter)]
        # The step count is a scalar that only the fused kernels keep beside the weights.
        on_device = value.ndim > 0 or owner.defaults.get("fused")
        owner.state[parameter][key] = value.to(parameter.device) if on_device else value
    for optimizer in optimizers:
        _refuse_other(optimizer)


def _refuse_other(optimizer: torch.optim.Optimizer) -> None:
    key = "momentum_buffer" if isinstance(optimizer, Muon) else "exp_avg"
    if any(key not in optimizer.state[p] for group in optimizer.param_groups for p in group["params"]):
        raise FastdraftError(
            "The checkpoint was written with another optimizer. Put the stage's optimizer back, or train in another job "
            "folder."
        )
