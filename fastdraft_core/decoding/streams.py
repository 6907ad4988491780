"""Random streams of one request: separate for draft, acceptance and target (pitfall 17)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True, slots=True)
class Streams:
    """Three independent generators; ``accept`` is on the CPU, the others where the logits are."""

    draft: torch.Generator
    accept: torch.Generator
    target: torch.Generator

    @classmethod
    def of(cls, seed: int, device: torch.device | str = "cpu") -> Streams:
        """The streams of ``seed``: the same seed gives the same tokens on the same machine."""
        seeds = [int(s.generate_state(1, np.uint64)[0]) & (1 << 63) - 1 for s in np.random.SeedSequence(seed).spawn(3)]
        draft, target = torch.Generator(device).manual_seed(seeds[0]), torch.Generator(device).manual_seed(seeds[2])
        return cls(draft, torch.Generator().manual_seed(seeds[1]), target)
