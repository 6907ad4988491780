"""The optimizers of a stage, and their state by the names of the weights."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch

from fastdraft_core.errors import FastdraftError
from fastdraft_core.training.processes import training_dtype

if TYPE_CHECKING:
    from fastdraft_core.training.recipe import Stage

#: Quintic coefficients with the steepest slope at nought; singular values end within about 0.7 and 1.2.
COEFFICIENTS = 3.4445, -4.7750, 2.0315
_ITERATIONS = 5
_EPSILON = 1e-7
#: Entries that are iterated at once, so that their copies stay small beside the model (128 MB as float32).
_MAX_ENTRIES = 1 << 25


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, scaled to AdamW's usual size (0.2 a weight), decoupled weight decay."""

    def __init__(
        self,
        matrices: Iterable[torch.Tensor],
        *,
        lr: float,
        weight_decay: float,
        momentum: float = 0.95,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        self._dtype = dtype

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """One step for every matrix that has a gradient."""
        for group in self.param_groups:
            same_shape: dict[torch.Size, list[torch.Tensor]] = defaultdict(list)
            for matrix in group["params"]:
                if matrix.grad is not None:
                    same_shape[matrix.shape].append(matrix)
            for shape, matrices in same_shape.items():
                together = max(1, _MAX_ENTRIES // shape.numel())
                for start in range(0, len(matrices), together):
                    self._update(matrices[start : start + together], group)

    def _update(self, matrices: list[torch.Tensor], group: dict[str, Any]) -> None:
        gradients = [m.grad for m in matrices if m.grad is not None]
        for matrix in matrices:
            if not self.state[matrix]:
                self.state[matrix]["momentum_buffer"] = torch.zeros_like(matrix)
        momenta = [self.state[m]["momentum_buffer"] for m in matrices]
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        ahead = torch._foreach_lerp(gradients, momenta, group["momentum"])
        updates = orthogonalize(torch.stack(list(ahead)).to(self._dtype)).to(matrices[0].dtype)
        rate = group["lr"] * 0.2 * math.sqrt(max(matrices[0].shape))
        torch._foreach_mul_(matrices, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(matrices, list(updates.unbind()), alpha=-rate)


def orthogonalize(matrices: torch.Tensor) -> torch.Tensor:
    """``U p(S) V^T`` of each of ``matrices`` [n, rows, columns]: the singular values drawn towards 1.

    Five Newton-Schulz steps of X ← aX + (bA + cA²)X with A = XX^T, on the matrix scaled to norm 1.
    """
    a, b, c = COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=_EPSILON)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


#: Our own rule: the rate at a reference width, and the power of the width that it falls with. Muon's update has a
#: spectral norm that grows with the root of the width; AdamW's grows with the width itself.
_MUON = 4e-3, 384, 0.5
_ADAMW = 1e-3, 512, 1.0


def default_learning_rate(optimizer: str, hidden_size: int) -> float:
    """The peak rate for a model ``hidden_size`` wide, where the recipe names none.

    Muon: 4e-3 · √(384 / width). AdamW: 1e-3 · 512 / width. Below these widths the rate stays, since no
    trial of ours went higher. The paper does not state its rates; this rule is ours.
    """
    rate, width, power = _ADAMW if optimizer == "adamw" else _MUON
    return rate * min(1.0, width / hidden_size) ** power


def peak_learning_rate(stage: Stage, hidden_size: int) -> float:
    """The stage's own peak rate, else the one of the rule of size."""
    return stage.learning_rate or default_learning_rate(stage.optimizer, hidden_size)


def learning_rate(stage: Stage, peak: float, step: int, num_steps: int) -> float:
    """The rate of optimizer step ``step``, counted from 0: a warm-up, then by ``stage.schedule``.

    ``wsd`` stays at the peak and falls in a straight line over the last ``stage.decay`` of the steps;
    ``cosine`` falls along half a wave from the warm-up's end to the last step.
    """
    warmup = stage.warmup * num_steps
    rising = min(1.0, (step + 1) / warmup) if warmup else 1.0
    if stage.schedule == "cosine":
        done = max(0.0, (step - warmup) / max(1.0, num_steps - warmup))
        falling = (1 + math.cos(math.pi * done)) / 2
    else:
        decay = stage.decay * num_steps
        falling = min(1.0, (num_steps - step) / decay) if decay else 1.0
    return peak * rising * (stage.final_learning_rate + (1 - stage.final_learning_rate) * falling)


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
