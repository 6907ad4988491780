"""Run a causal LM on OpenVINO: what both ways to keep its keys and values have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from fastdraft_core.events import ModelCard
from fastdraft_core.runtimes.base import check_room

Array = npt.NDArray[np.generic]


class Passes(Protocol):
    """A compiled model and its key-value cache."""

    kv_bytes_per_token: int

    def read(self, ids: Sequence[int], past: int, keep: int) -> Array:
        """Read ``ids`` after the first ``past`` tokens; logits ``[keep, width]`` after the last ``keep`` of them.

        They are a view that the next pass overwrites.
        """
        ...

    def rewind(self, length: int) -> None:
        """Forget everything after the first ``length`` tokens."""
        ...


class OpenVinoRuntime:
    """One model and its cache. See ``Runtime`` for shapes."""

    def __init__(self, passes: Passes, card: ModelCard, vocab_size: int, head_ids: Sequence[int] | None = None) -> None:
        self.card = card
        self.context_length = card.context_length
        self.vocab_size = vocab_size
        self.head_ids = None if head_ids is None else list(head_ids)
        self.kv_bytes_per_token = passes.kv_bytes_per_token
        self._passes = passes
        self._length = 0

    @property
    def length(self) -> int:
        """Tokens in the cache."""
        return self._length

    def prefill(self, ids: list[int]) -> torch.Tensor:
        """Empty the cache, read ``ids``, and return float32 logits ``[V]`` of what follows."""
        self.rewind(0)
        return self._read(ids, keep=1)[0]

    def forward(self, ids: list[int]) -> torch.Tensor:
        """Read ``ids`` after what is cached; float32 logits ``[len(ids), V]``."""
        return self._read(ids, keep=len(ids))

    def rewind(self, length: int) -> None:
        """Forget everything after the first ``length`` tokens."""
        assert 0 <= length <= self._length, f"rewind to {length} of {self._length}"
        if length < self._length:
            self._passes.rewind(length)
            self._length = length

    def synchronize(self) -> None:
        """Nothing: logits that were copied to the host are there."""

    def _read(self, ids: list[int], keep: int) -> torch.Tensor:
        past = self._length
        check_room(self, past + len(ids))
        logits = self._passes.read(ids, past, keep)
        self._length = past + len(ids)
        # The one copy: the caller's own rows, cut to the vocabulary.
        return torch.from_numpy(logits[:, : self.vocab_size].astype(np.float32))
