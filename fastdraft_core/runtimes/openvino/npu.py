"""Keys and values on an NPU, which has room for a fixed number of tokens and rewinds by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastdraft_core.errors import FastdraftError

#: An NPU compiles for fixed lengths: the longest prompt, the longest text after it, the most tokens a later pass reads.
PROMPT, RESPONSE, BLOCK = 1024, 1024, 16


def npu_properties(sequence_axis: int) -> dict[str, object]:
    """What makes the NPU plugin keep the cache itself; its options for language models (``NPUW_LLM_…``)."""
    return {
        "NPU_USE_NPUW": "YES",
        "NPUW_LLM": "YES",
        "NPUW_LLM_BATCH_DIM": 0,
        "NPUW_LLM_SEQ_LEN_DIM": sequence_axis,
        "NPUW_LLM_MAX_PROMPT_LEN": PROMPT,
        "NPUW_LLM_MIN_RESPONSE_LEN": RESPONSE,
        "NPUW_LLM_MAX_GENERATION_TOKEN_LEN": BLOCK,
    }


class NpuPasses:
    """A model compiled with ``npu_properties``: a pass at position 0 is a new prompt, a smaller one is a rewind.

    Written by the plugin's documentation and source; nobody here could run it on an NPU.
    """

    prefill_chunk = PROMPT

    def __init__(self, compiled: Any, *, kv_bytes_per_token: int) -> None:
        self._request = compiled.create_infer_request()
        self._names = {port.get_any_name() for port in compiled.inputs}
        self.kv_bytes_per_token = kv_bytes_per_token

    def read(self, ids: Sequence[int], past: int, keep: int) -> npt.NDArray[np.generic]:
        """Read ``ids`` after ``past`` tokens; logits ``[keep, width]`` after the last ones.

        Raises:
            FastdraftError: a prompt is longer than what the NPU was prepared for.
        """
        if past == 0:
            if len(ids) > PROMPT:
                raise FastdraftError(
                    f"The prompt has {len(ids)} tokens; on an NPU it may have {PROMPT}. Shorten it or use another device."
                )
            return self._pass(ids, past)[-keep:]
        parts = [self._pass(ids[i : i + BLOCK], past + i) for i in range(0, len(ids), BLOCK)]
        return np.concatenate(parts)[-keep:]

    def rewind(self, length: int) -> None:
        """Nothing to do: the next pass's positions say how much of the cache there is."""

    def trim(self) -> None:
        """Nothing to do either."""

    def _pass(self, ids: Sequence[int], past: int) -> npt.NDArray[np.generic]:
        end = past + len(ids)
        inputs = {
            "input_ids": np.asarray([ids], dtype=np.int64),
            "attention_mask": np.ones((1, end), dtype=np.int64),
            "position_ids": np.arange(past, end, dtype=np.int64)[None],
            "beam_idx": np.zeros(1, dtype=np.int32),
        }
        self._request.infer({name: value for name, value in inputs.items() if name in self._names})
        # The output may be longer than the input; its end is what was asked for.
        return np.array(self._request.get_output_tensor(0).data[0, -len(ids) :])
