"""Keys and values in blocks of our own memory: the fast way on a processor, where a rewind costs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastdraft_core.runtimes.openvino.cache import PagedCache

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
