"""Muon: momentum whose update is made orthogonal, for the matrices inside layers.

Jordan et al., *Muon: An optimizer for hidden layers in neural networks* (2024). The update of torch.optim.Muon, with two
differences that decide its speed on a CPU: matrices of one shape are iterated together, and in bfloat16
only where the device computes in it (elsewhere bfloat16 products are several times slower than float32).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch

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
