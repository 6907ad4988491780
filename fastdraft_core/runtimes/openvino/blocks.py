"""A runtime on OpenVINO that writes whole blocks by itself, for drafting."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from fastdraft_core.events import ModelCard
from fastdraft_core.runtimes.base import BLOCK_READS, POINTS, Written, check_room
from fastdraft_core.runtimes.openvino.paged import PagedCache, PagedPasses, fixed_input
from fastdraft_core.runtimes.openvino.runtime import OpenVinoRuntime

_log = logging.getLogger("fastdraft.openvino")
#: Every graph keeps its own copy of the weights, as the processor wants them. All of them together take at most this.
_MOST_BYTES = 1 << 30


class BlockGraph:
    """A compiled graph of ``unroll``'s, on the cache of its model."""

    def __init__(self, compiled: Any, cache: PagedCache) -> None:
        self._cache = cache
        self._request = compiled.create_infer_request()
        cache.serve(self._request)
        names = {port.get_any_name(): port for port in compiled.inputs}
        self._ids = self._fixed("input_ids", BLOCK_READS, "i64")
        self._positions = self._fixed("position_ids", BLOCK_READS, "i64") if "position_ids" in names else None
        self._past, begins = self._fixed("past_lens", 1), self._fixed("subsequence_begins", 2)
        self._context = fixed_input(self._request, "max_context_len", [])
        begins[1] = BLOCK_READS
        self._steps = compiled.output("tokens").shape[0]
        if "points" in names:
            self._points = self._fixed("points", self._steps)
            self._inverse_temperature = self._fixed("inverse_temperature", 1, "f32")

    def write(self, last: Sequence[int], past: int) -> Written:
        """The most probable tokens after ``last``, which follow the first ``past``."""
        self._infer(last, past)
        return Written(self._integers("tokens"), self._logits(), None)

    def draw(self, last: Sequence[int], past: int, temperature: float, points: Sequence[int]) -> Written:
        """Tokens drawn at ``temperature`` by ``points``, with the very law of the draw."""
        self._points[:], self._inverse_temperature[:] = points, 1 / temperature
        self._infer(last, past)
        shares = torch.from_numpy(self._request.get_tensor("shares").data)
        q = shares.to(torch.float32) / POINTS
        # What rounding left over belongs to the token that points beyond the sum take.
        left = (POINTS - shares.sum(-1, dtype=torch.int64)).to(torch.float32) / POINTS
        q[torch.arange(len(q)), self._integers("likeliest")] += left
        return Written(self._integers("tokens"), self._logits(), q)

    def _infer(self, last: Sequence[int], past: int) -> None:
        # The last token is not read, so it needs no room.
        self._cache.reserve(past + BLOCK_READS + self._steps - 1)
        self._ids[:] = last
        if self._positions is not None:
            self._positions[:] = (past, past + 1)
        self._past[0], self._context[()] = past, past + BLOCK_READS
        self._request.start_async()
        self._request.wait()

    def _integers(self, name: str) -> list[int]:
        found: list[int] = self._request.get_tensor(name).data.tolist()
        return found

    def _logits(self) -> torch.Tensor:
        # A copy: the next block overwrites the tensor.
        return torch.from_numpy(self._request.get_tensor("logits").data.astype(np.float32))

    def _fixed(self, name: str, size: int, kind: str = "i32") -> Any:
        return fixed_input(self._request, name, [size], kind)


class PagedRuntime(OpenVinoRuntime):
    """A model whose keys and values lie in pages of ours. See ``BlockRuntime`` for shapes."""

    def __init__(
        self,
        passes: PagedPasses,
        card: ModelCard,
        vocab_size: int,
        build: Callable[[int, bool], BlockGraph],
        head_ids: Sequence[int] | None = None,
    ) -> None:
        super().__init__(passes, card, vocab_size, head_ids)
        self._build = build
        self._graphs: dict[tuple[int, bool], BlockGraph | None] = {}
        self._why: dict[tuple[int, bool], str] = {}

    def prepare_blocks(self, count: int, *, greedy: bool) -> None:
        """Compile what writes blocks of ``count`` tokens, unless it takes too much memory or the model cannot be unrolled."""
        if (count, greedy) in self._graphs:
            return
        held = self.card.weight_bytes * (1 + sum(graph is not None for graph in self._graphs.values()))
        if held > _MOST_BYTES:
            self._why[count, greedy] = f"graphs for blocks of so many lengths would take over {_MOST_BYTES >> 30} GiB"
            return
        try:
            self._graphs[count, greedy] = self._build(count, greedy)
        except RuntimeError as error:
            _log.info("%s drafts step by step: %s", self.card.name, error)
            self._graphs[count, greedy] = None
            self._why[count, greedy] = "OpenVINO cannot unroll the model's steps"
        else:
            self._why.pop((count, greedy), None)

    def writes_blocks(self, count: int, *, greedy: bool, past: int = 0) -> bool:
        """Whether blocks of ``count`` tokens are prepared; after how many tokens makes no difference."""
        del past
        return self._graphs.get((count, greedy)) is not None

    def why_steps(self, count: int, *, greedy: bool) -> str:
        """Why blocks of ``count`` tokens are not written in one call; empty where they are."""
        return self._why.get((count, greedy), "")

    def write_block(
        self, last: Sequence[int], count: int, temperature: float = 0, points: Sequence[int] = ()
    ) -> Written:
        """Read ``last`` and write ``count`` tokens, drawn by ``points`` above temperature 0."""
        check_room(self, self.length + len(last) + count - 1)
        graph = self._graphs[count, temperature == 0]
        assert graph is not None, "blocks of this length are not prepared"
        past = self.length
        self._length = past + len(last) + count - 1
        return graph.draw(last, past, temperature, points) if temperature else graph.write(last, past)
