"""Keys and values inside the compiled model: works on every device and with every attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastdraft_core.runtimes.prompt import PREFILL_CHUNK

#: Holes are cut out of the cache when they are this share of it. Measured on one core (12 layers x 384, int8): a hole
#: costs each later pass 0.016 ms, cutting costs 0.25 ms a token that stays; at two holes a block both sum up to the same
#: at a share of 0.33 (256 tokens) to 0.15 (2048).
_MOST_HOLES = 0.3
_GRAIN = 256


class StatefulPasses:
    """A stateful model whose rejected entries stay in place, hidden by the attention mask.

    Positions are given explicitly, so a hole moves nothing. Sliding windows count distances in the cache itself: once
    it is longer than ``window``, holes are cut out before the next pass, which copies the cache.
    """

    prefill_chunk = PREFILL_CHUNK

    def __init__(self, compiled: Any, *, window: int, sequence_axis: int, kv_bytes_per_token: int) -> None:
        import openvino as ov

        self._ov = ov
        self._request = compiled.create_infer_request()
        self._names = {port.get_any_name() for port in compiled.inputs}
        self._window = window
        self._axis = sequence_axis
        self.kv_bytes_per_token = kv_bytes_per_token
        self._mask = np.ones((1, _GRAIN), dtype=np.int64)
        self._stored = 0

    def read(self, ids: Sequence[int], past: int, keep: int) -> npt.NDArray[np.generic]:
        """Read ``ids`` after ``past`` tokens; logits ``[keep, width]`` after the last ones, until the next pass."""
        count = len(ids)
        if past < self._stored and self._stored + count > self._window:
            self._compact(np.flatnonzero(self._mask[0, : self._stored]))
        end = self._stored + count
        if end > self._mask.shape[1]:
            room = np.ones((1, max(2 * self._mask.shape[1], end)), dtype=np.int64)
            room[:, : self._stored] = self._mask[:, : self._stored]
            self._mask = room
        inputs = {
            "input_ids": np.asarray([ids], dtype=np.int64),
            "attention_mask": self._mask[:, :end],
            "position_ids": np.arange(past, past + count, dtype=np.int64)[None],
            "beam_idx": np.zeros(1, dtype=np.int32),
            "rows": np.arange(count - keep, count, dtype=np.int64),
        }
        self._request.infer(
            {n: v for n, v in inputs.items() if n in self._names}, share_inputs=True, share_outputs=True
        )
        self._stored = end
        return self._request.get_output_tensor(0).data[0, -keep:]

    def rewind(self, length: int) -> None:
        """Hide everything after the first ``length`` tokens; cut it out when too much is hidden."""
        if length == 0:
            self._request.reset_state()
            self._mask[:] = 1
            self._stored = 0
            return
        kept = np.flatnonzero(self._mask[0, : self._stored])
        self._mask[0, kept[length:]] = 0
        if self._stored - length > _MOST_HOLES * self._stored:
            self._compact(kept[:length])

    def trim(self) -> None:
        """Cut out what is hidden: it has no weight, and yet sums over it may round otherwise."""
        kept = np.flatnonzero(self._mask[0, : self._stored])
        if len(kept) < self._stored:
            self._compact(kept)

    def _compact(self, kept: npt.NDArray[np.intp]) -> None:
        for state in self._request.query_state():
            entries = np.take(state.state.data, kept, axis=self._axis)
            state.state = self._ov.Tensor(np.ascontiguousarray(entries))
        self._stored = len(kept)
        self._mask[:] = 1
