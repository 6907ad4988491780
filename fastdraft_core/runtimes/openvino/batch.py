"""Several sequences in one pass on a processor: keys and values in pages, of which each sequence has its own."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fastdraft_core.runtimes.openvino.paged import block_shape


class PagedBatch:
    """A model after ``page_attention`` that reads many sequences at once, each after its own past; nothing is padded."""

    def __init__(self, compiled: Any) -> None:
        import openvino as ov

        self._ov = ov
        self._request = compiled.create_infer_request()
        self._names = {port.get_any_name() for port in compiled.inputs}
        self._caches = {p.get_any_name(): p for p in compiled.inputs if "_cache." in p.get_any_name()}
        self._block = min(block_shape(port)[1] for port in self._caches.values())
        self._capacity = 0
        self._pages: list[range] = []
        self._past: list[int] = []

    def begin(self, lengths: Sequence[int]) -> None:
        """Forget everything, and make room for one sequence of each of these lengths, numbered from 0."""
        counts = [-(-length // self._block) for length in lengths]
        ends = list(accumulate(counts))
        self._pages = [range(end - count, end) for end, count in zip(ends, counts, strict=True)]
        self._past = [0] * len(lengths)
        if ends[-1] > self._capacity:
            self._capacity = ends[-1]
            for name, port in self._caches.items():
                shape = [self._capacity, *block_shape(port)]
                self._request.set_tensor(name, self._ov.Tensor(port.element_type, shape))

    def read(self, numbers: Sequence[int], ids: Sequence[Sequence[int]]) -> torch.Tensor:
        """Read ``ids[i]`` after what sequence ``numbers[i]`` holds already, i counting both.

        Returns float32 logits ``[len(numbers), width]`` after the last id of each.
        """
        counts = [len(given) for given in ids]
        begins = [0, *accumulate(counts)]
        past = [self._past[number] for number in numbers]
        pages = [page for number in numbers for page in self._pages[number]]
        ends = np.array(begins[1:]) - 1
        self._set("input_ids", [token for given in ids for token in given], "i64")
        places = [np.arange(start, start + count) for start, count in zip(past, counts, strict=True)]
        self._set("position_ids", np.concatenate(places), "i64")
        self._set("rows", ends, "i64")
        self._set("past_lens", past)
        self._set("subsequence_begins", begins)
        self._set("block_indices", pages)
        self._set("block_indices_begins", [0, *accumulate(len(self._pages[number]) for number in numbers)])
        self._set("max_context_len", max(start + count for start, count in zip(past, counts, strict=True)))
        self._request.infer()
        for number, count in zip(numbers, counts, strict=True):
            self._past[number] += count
        logits = self._request.get_output_tensor(0).data[:, 0]
        # A copy: the next pass overwrites the tensor.
        return torch.from_numpy((logits if "rows" in self._names else logits[ends]).astype(np.float32))

    def _set(self, name: str, values: npt.ArrayLike, kind: str = "i32") -> None:
        if name in self._names:
            array = np.asarray(values)
            tensor = self._ov.Tensor(getattr(self._ov.Type, kind), list(array.shape))
            tensor.data[...] = array
            self._request.set_tensor(name, tensor)
