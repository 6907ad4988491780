"""Keys and values in blocks of our own memory: the fast way on a processor, where a rewind costs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_FIRST_BLOCKS = 16
#: Feeds are kept for passes of decoding; a prompt's is made for it alone.
_KEPT_FEEDS = 64


@dataclass(frozen=True, slots=True)
class _Feed:
    """The inputs of a pass over so many tokens: tensors, and views to write through."""

    tensors: dict[str, Any]
    views: dict[str, npt.NDArray[np.int64]]


class PagedPasses:
    """A model after ``page_attention``; its cache grows by doubling and rewinds by being told a smaller length.

    The attention reads as many entries as ``past_lens`` says and overwrites what lies behind them, so that no mask
    is needed and windows and ALiBi see true distances.
    """

    def __init__(self, compiled: Any, context_length: int) -> None:
        import openvino as ov

        self._ov = ov
        self._request = compiled.create_infer_request()
        self._names = {port.get_any_name() for port in compiled.inputs}
        self._caches = {p.get_any_name(): p for p in compiled.inputs if "_cache." in p.get_any_name()}
        blocks = [_block_shape(port) for port in self._caches.values()]
        # Keys are [heads, block (and scales), width], values [heads, block, width (and scales)].
        self._block = min(shape[1] for shape in blocks)
        bits = sum(
            int(np.prod(s)) * p.element_type.bitwidth for s, p in zip(blocks, self._caches.values(), strict=True)
        )
        self.kv_bytes_per_token = bits // 8 // self._block
        self._most_blocks = -(-context_length // self._block)
        self._past, self._begins, self._context = (
            self._integers(name, shape)
            for name, shape in (("past_lens", [1]), ("subsequence_begins", [2]), ("max_context_len", []))
        )
        self._block_range = self._integers("block_indices_begins", [2])
        self._feeds: dict[tuple[int, int], _Feed] = {}
        self._fed: _Feed | None = None
        self._capacity = 0
        self._tensors: dict[str, Any] = {}
        self._reserve(1)

    def read(self, ids: Sequence[int], past: int, keep: int) -> npt.NDArray[np.generic]:
        """Read ``ids`` after ``past`` tokens; logits ``[keep, width]`` after the last ones, until the next pass."""
        count = len(ids)
        self._reserve(past + count)
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

    def _reserve(self, tokens: int) -> None:
        """Room for ``tokens``; what is cached moves along."""
        if tokens <= self._capacity * self._block:
            return
        needed = -(-tokens // self._block)
        self._capacity, used = min(self._most_blocks, max(needed, 2 * self._capacity, _FIRST_BLOCKS)), self._capacity
        for name, port in self._caches.items():
            larger = self._ov.Tensor(port.element_type, [self._capacity, *_block_shape(port)])
            if used:
                # Flat, since entries below a byte are packed; blocks come first in memory.
                old = self._tensors[name].data.reshape(-1)
                larger.data.reshape(-1)[: old.size] = old
            self._tensors[name] = larger
            self._request.set_tensor(name, larger)
        indices = self._integers("block_indices", [self._capacity])
        indices[:] = np.arange(self._capacity)
        self._block_range[1] = self._capacity

    def _integers(self, name: str, shape: list[int]) -> npt.NDArray[np.int32]:
        """A small input that stays set; written through the view."""
        tensor = self._ov.Tensor(self._ov.Type.i32, shape)
        view: npt.NDArray[np.int32] = tensor.data
        view[...] = 0
        self._request.set_tensor(name, tensor)
        return view


def _block_shape(port: Any) -> list[int]:
    return [dim.get_length() for dim in list(port.partial_shape)[1:]]
