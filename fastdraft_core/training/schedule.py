"""How large a step is, and when: the learning rate by a model's size, and its course over a stage."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastdraft_core.training.recipe import Stage

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
