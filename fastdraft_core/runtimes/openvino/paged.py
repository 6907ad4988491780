"""Keys and values in blocks of our own memory: the fast way on a processor, where a rewind costs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastdraft_core.runtimes.prompt import PREFILL_CHUNK

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


#: Feeds are kept for passes of decoding; a prompt's is made for it alone.
_KEPT_FEEDS = 64


@dataclass(frozen=True, slots=True)
class _Feed:
    """The inputs of a pass over so many tokens: tensors, and views to write through."""

    tensors: dict[str, Any]
    views: dict[str, npt.NDArray[np.int64]]


class PagedPasses:
    """A model after ``page_attention``, which rewinds by being told a smaller length.

    The attention reads as many entries as ``past_lens`` says and overwrites what lies behind them, so that no mask
    is needed and windows and ALiBi see true distances.
    """

    prefill_chunk = PREFILL_CHUNK

    def __init__(self, compiled: Any, cache: PagedCache) -> None:
        import openvino as ov

        self._ov = ov
        self.cache = cache
        self.kv_bytes_per_token = cache.bytes_per_token
        self._request = compiled.create_infer_request()
        cache.serve(self._request)
        self._names = {port.get_any_name() for port in compiled.inputs}
        self._past, self._begins, self._context = (
            fixed_input(self._request, name, shape)
            for name, shape in (("past_lens", [1]), ("subsequence_begins", [2]), ("max_context_len", []))
        )
        self._feeds: dict[tuple[int, int], _Feed] = {}
        self._fed: _Feed | None = None

    def read(self, ids: Sequence[int], past: int, keep: int) -> npt.NDArray[np.generic]:
        """Read ``ids`` after ``past`` tokens; logits ``[keep, width]`` after the last ones, until the next pass."""
        count = len(ids)
        self.cache.reserve(past + count)
        feed = self._feed(count, keep)
        feed.views["input_ids"][:] = ids
        if "position_ids" in feed.views:
            feed.views["position_ids"][:] = np.arange(past, past + count)
        self._past[0], self._begins[1], self._context[()] = past, count, past + count
        self._request.start_async()
        self._request.wait()
        return self._request.get_output_tensor(0).data[-keep:, 0]

    def rewind(self, length: int) -> None:
        """Nothing to do: the next pass says how much of the cache there is."""

    def trim(self) -> None:
        """Nothing to do: no pass sees what was forgotten."""

    def _feed(self, count: int, keep: int) -> _Feed:
        feed = self._feeds.get((count, keep)) or self._new_feed(count, keep)
        if feed is not self._fed:
            for name, tensor in feed.tensors.items():
                self._request.set_tensor(name, tensor)
            self._fed = feed
        return feed

    def _new_feed(self, count: int, keep: int) -> _Feed:
        sizes = {"input_ids": count, "position_ids": count, "rows": keep}
        tensors = {n: self._ov.Tensor(self._ov.Type.i64, [size]) for n, size in sizes.items() if n in self._names}
        feed = _Feed(tensors, {name: tensor.data for name, tensor in tensors.items()})
        if "rows" in tensors:
            feed.views["rows"][:] = np.arange(count - keep, count)
        if count <= _KEPT_FEEDS:
            self._feeds[count, keep] = feed
        return feed


def fixed_input(request: Any, name: str, shape: list[int], kind: str = "i32") -> Any:
    """A small input that stays set, at 0; written through the view that comes back."""
    import openvino as ov

    tensor = ov.Tensor(getattr(ov.Type, kind), shape)
    tensor.data[...] = 0
    request.set_tensor(name, tensor)
    return tensor.data
