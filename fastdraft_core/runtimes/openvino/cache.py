"""The blocks of memory that hold the keys and values of one sequence, for every compiled graph of its model."""

from __future__ import annotations

from typing import Any

import numpy as np

_FIRST_BLOCKS = 16


class PagedCache:
    """Keys and values of a model after ``page_attention``; they grow by doubling, and all requests see the same ones."""

    def __init__(self, compiled: Any, context_length: int) -> None:
        import openvino as ov

        self._ov = ov
        self._ports = {p.get_any_name(): p for p in compiled.inputs if "_cache." in p.get_any_name()}
        blocks = [block_shape(port) for port in self._ports.values()]
        # Keys are [heads, block (and scales), width], values [heads, block, width (and scales)].
        self._block = min(shape[1] for shape in blocks)
        bits = sum(int(np.prod(s)) * p.element_type.bitwidth for s, p in zip(blocks, self._ports.values(), strict=True))
        self.bytes_per_token = bits // 8 // self._block
        self._most_blocks = -(-context_length // self._block)
        self._requests: list[Any] = []
        self._tensors: dict[str, Any] = {}
        self._capacity = 0
        self.reserve(1)

    def serve(self, request: Any) -> None:
        """Let ``request`` of a compiled graph read and write this cache from now on."""
        self._requests.append(request)
        self._show(request)

    def reserve(self, tokens: int) -> None:
        """Room for ``tokens``; what is cached moves along."""
        if tokens <= self._capacity * self._block:
            return
        needed = -(-tokens // self._block)
        self._capacity = min(self._most_blocks, max(needed, 2 * self._capacity, _FIRST_BLOCKS))
        for name, port in self._ports.items():
            larger = self._ov.Tensor(port.element_type, [self._capacity, *block_shape(port)])
            if name in self._tensors:
                # Flat, since entries below a byte are packed; blocks come first in memory.
                old = self._tensors[name].data.reshape(-1)
                larger.data.reshape(-1)[: old.size] = old
            self._tensors[name] = larger
        indices = {"block_indices": np.arange(self._capacity), "block_indices_begins": np.array([0, self._capacity])}
        for name, values in indices.items():
            self._tensors[name] = tensor = self._ov.Tensor(self._ov.Type.i32, list(values.shape))
            tensor.data[:] = values
        for request in self._requests:
            self._show(request)

    def _show(self, request: Any) -> None:
        for name, tensor in self._tensors.items():
            request.set_tensor(name, tensor)


def block_shape(port: Any) -> list[int]:
    """The shape of one block of a cache: heads, tokens and width; scales of integers lie along one of the last two."""
    return [dim.get_length() for dim in list(port.partial_shape)[1:]]
