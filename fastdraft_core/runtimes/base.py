"""What every runtime can do; decoding, drafters and benchmarks use nothing else."""

from __future__ import annotations

from typing import Protocol

import torch

from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import ModelCard


class Runtime(Protocol):
    """One model with its key-value cache, for one sequence.

    ``length`` tokens are in the cache. Vocabulary V is the tokenizer's: wider logits are cut to it
    before anyone sees them (pitfall 14).
    """

    card: ModelCard
    kv_bytes_per_token: int
    context_length: int
    vocab_size: int

    @property
    def length(self) -> int:
        """Tokens in the cache."""
        ...

    def prefill(self, ids: list[int]) -> torch.Tensor:
        """Empty the cache, read ``ids``, and return float32 logits ``[V]`` of what follows."""
        ...

    def forward(self, ids: list[int]) -> torch.Tensor:
        """Read ``ids`` after what is cached; float32 logits ``[len(ids), V]``, one row after each.

        They belong to the caller: a later pass must not overwrite them.
        """
        ...

    def rewind(self, length: int) -> None:
        """Forget everything after the first ``length`` tokens; absolute, never relative (pitfall 8)."""
        ...

    def synchronize(self) -> None:
        """Wait until the device has done what it was asked, so that a clock may be read; nothing where passes return done."""
        ...


def check_room(runtime: Runtime, needed: int) -> None:
    """That ``needed`` tokens fit into the model's context.

    Raises:
        FastdraftError: they do not.
    """
    if needed > runtime.context_length:
        raise FastdraftError(
            f"{runtime.card.name} has a context of {runtime.context_length} tokens and this needs {needed}. "
            "Shorten the prompt or ask for fewer tokens."
        )
