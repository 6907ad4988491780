"""A key-value cache for transformers models that grows without copying and rewinds for free."""

from __future__ import annotations

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

_GRAIN = 256


class RewindableLayer(CacheLayerMixin):
    """Keys and values ``[rows, heads, capacity, head_dim]``, of which ``length`` positions are in use.

    Rewinding is setting ``length``: stale entries are overwritten by the next update. Sliding-window
    models get all their past here, and their own mask hides what is outside the window, so that
    they too can be rewound exactly.
    """

    is_sliding = False

    def __init__(self) -> None:
        super().__init__()
        self.length = 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Allocate nothing yet; ``update`` grows the buffers."""
        self.dtype, self.device = key_states.dtype, key_states.device
        self.keys = key_states.new_empty((*key_states.shape[:2], 0, key_states.shape[3]))
        self.values = value_states.new_empty((*value_states.shape[:2], 0, value_states.shape[3]))
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the new positions and return views of all positions in use."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        end = self.length + key_states.shape[2]
        if end > self.keys.shape[2]:
            self.keys = _grown(self.keys, self.length, end)
            self.values = _grown(self.values, self.length, end)
        self.keys[:, :, self.length : end] = key_states
        self.values[:, :, self.length : end] = value_states
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length and offset of what a query of ``query_length`` tokens attends to."""
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        """Positions in use."""
        return self.length

    def get_max_cache_shape(self) -> int:
        """No maximum."""
        return -1


class RewindableCache(Cache):
    """One ``RewindableLayer`` a layer, made as the model asks for them."""

    def __init__(self) -> None:
        super().__init__(layer_class_to_replicate=RewindableLayer)

    def rewind(self, length: int) -> None:
        """Keep the first ``length`` positions; ``length`` must not exceed what is cached."""
        for layer in self.layers:
            assert 0 <= length <= layer.length, f"rewind to {length} of {layer.length}"
            layer.length = length

    def select_rows(self, rows: torch.Tensor) -> None:
        """Keep only these rows of a batch, in this order."""
        for layer in self.layers:
            layer.keys, layer.values = layer.keys[rows], layer.values[rows]


def _grown(buffer: torch.Tensor, used: int, needed: int) -> torch.Tensor:
    rows, heads, capacity, width = buffer.shape
    larger = buffer.new_empty((rows, heads, max(2 * capacity, -(-needed // _GRAIN) * _GRAIN), width))
    larger[:, :, :used] = buffer[:, :, :used]
    return larger
