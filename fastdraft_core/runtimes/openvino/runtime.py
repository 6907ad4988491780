"""Run a causal LM on OpenVINO: what both ways to keep its keys and values have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from fastdraft_core.events import ModelCard
from fastdraft_core.runtimes.base import Kept, check_room
from fastdraft_core.runtimes.prompt import PromptCache

Array = npt.NDArray[np.generic]


class Passes(Protocol):
    """A compiled model and its key-value cache."""

    kv_bytes_per_token: int
    prefill_chunk: int
    """Tokens a pass over a prompt."""

    def read(self, ids: Sequence[int], past: int, keep: int) -> Array:
        """Read ``ids`` after the first ``past`` tokens; logits ``[keep, width]`` after the last ``keep`` of them.

        They are a view that the next pass overwrites.
        """
        ...

    def rewind(self, length: int) -> None:
        """Forget everything after the first ``length`` tokens."""
        ...

    def trim(self) -> None:
        """Leave nothing behind of what was forgotten, so that the next pass computes as after a fresh prompt."""
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
        self._prompt = PromptCache(lambda ids: self._read(ids, keep=1)[0], self._begin_with)

    @property
    def length(self) -> int:
        """Tokens in the cache."""
        return self._length

    @property
    def kept(self) -> Kept:
        """What the last prompt's reading found in the cache."""
        return self._prompt.kept

    def prefill(self, ids: list[int], chunk: int = 0) -> torch.Tensor:
        """Have the cache hold ``ids`` alone; float32 logits ``[V]`` of what follows. Passes read ``chunk`` tokens, 0 the usual ones."""
        check_room(self, len(ids))
        return self._prompt.logits(ids, chunk or self._passes.prefill_chunk)

    def reading(self, ids: list[int], chunk: int = 0) -> Iterator[int]:
        """Read a prompt as ``prefill`` does, pass by pass; how many of its tokens are cached."""
        check_room(self, len(ids))
        return self._prompt.reading(ids, chunk or self._passes.prefill_chunk)

    def adopt(self, ids: list[int]) -> None:
        """Have the next prompt go on from ``ids``, which the cache holds, as far as it begins with them."""
        assert len(ids) == self.length, f"{len(ids)} tokens of {self.length} in the cache"
        self._prompt.adopt(ids)

    def forward(self, ids: list[int]) -> torch.Tensor:
        """Read ``ids`` after what is cached; float32 logits ``[len(ids), V]``."""
        return self._read(ids, keep=len(ids))

    def rewind(self, length: int) -> None:
        """Forget everything after the first ``length`` tokens."""
        assert 0 <= length <= self._length, f"rewind to {length} of {self._length}"
        if length < self._length:
            self._passes.rewind(length)
            self._length = length
            self._prompt.forget(length)

    def synchronize(self) -> None:
        """Nothing: logits that were copied to the host are there."""

    def _begin_with(self, length: int) -> None:
        self.rewind(length)
        self._passes.trim()

    def _read(self, ids: list[int], keep: int) -> torch.Tensor:
        past = self._length
        check_room(self, past + len(ids))
        logits = self._passes.read(ids, past, keep)
        self._length = past + len(ids)
        # The one copy: the caller's own rows, cut to the vocabulary.
        return torch.from_numpy(logits[:, : self.vocab_size].astype(np.float32))
