"""Models whose rotary factors are others once the sequence is long: every pass reads its past with the factors that it needs.

longrope (Phi-3-128k, Phi-4-mini) turns positions by its short factors up to ``original_max_position_embeddings`` tokens and by its long
ones beyond. A pass takes those of its last token for all that it reads, and keys that were cached before were turned by the
other ones. So no pass crosses the boundary, and at it the past is read again, as transformers does.

Factors of the kind "dynamic" change beyond ``max_position_embeddings`` alone, where the context of a runtime ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch

from fastdraft_core.runtimes.base import BLOCK_READS, BlockRuntime, Kept, Runtime, Written, check_room
from fastdraft_core.runtimes.prompt import PREFILL_CHUNK

if TYPE_CHECKING:
    from transformers import PretrainedConfig


class ChunkedRuntime(Runtime, Protocol):
    """A runtime that reads a prompt in passes of as many tokens as it is told."""

    def prefill(self, ids: list[int], chunk: int = ...) -> torch.Tensor:
        """As ``Runtime.prefill``, in passes of ``chunk`` tokens."""
        ...

    def reading(self, ids: list[int], chunk: int = ...) -> Iterator[int]:
        """As ``Runtime.reading``, in passes of ``chunk`` tokens."""
        ...


@runtime_checkable
class ChunkedBlockRuntime(ChunkedRuntime, BlockRuntime, Protocol):
    """The same for a runtime that writes whole blocks."""


def rotary_switch(config: PretrainedConfig) -> int:
    """The most tokens that are read with the short factors; 0 where all lengths have the same ones."""
    config = config.get_text_config()
    parameters = getattr(config, "rope_parameters", None) or {}
    # One set for all layers, or one for each type of layer.
    sets = [parameters] if "rope_type" in parameters else [p for p in parameters.values() if isinstance(p, dict)]
    found = [
        int(p.get("original_max_position_embeddings") or getattr(config, "original_max_position_embeddings", 0) or 0)
        for p in sets
        if p.get("rope_type") == "longrope"
    ]
    return min(found, default=0)


def with_rotary_switch(runtime: ChunkedRuntime, config: PretrainedConfig) -> Runtime:
    """``runtime`` itself, or inside what reads its past again where the model of ``config`` changes its factors."""
    switch = rotary_switch(config)
    if not 0 < switch < runtime.context_length:
        return runtime
    return (
        SwitchingBlockRuntime(runtime, switch)
        if isinstance(runtime, ChunkedBlockRuntime)
        else SwitchingRuntime(runtime, switch)
    )


class SwitchingRuntime:
    """A runtime that reads up to ``switch`` tokens with the short factors and longer sequences with the long ones. See ``Runtime``."""

    def __init__(self, inner: ChunkedRuntime, switch: int) -> None:
        self.card = inner.card
        self.kv_bytes_per_token = inner.kv_bytes_per_token
        self.context_length = inner.context_length
        self.vocab_size = inner.vocab_size
        self.head_ids = inner.head_ids
        self._inner = inner
        self._switch = switch
        self._ids: list[int] = []
        #: Whether what is cached was read with the long factors.
        self._long = False

    @property
    def length(self) -> int:
        """Tokens in the cache."""
        return self._inner.length

    @property
    def kept(self) -> Kept:
        """What the last prompt's reading found in the cache."""
        return self._inner.kept

    def prefill(self, ids: list[int]) -> torch.Tensor:
        """Have the cache hold ``ids`` alone, and return float32 logits ``[V]`` of what follows."""
        chunk = self._begin(ids)
        return self._inner.prefill(ids, chunk)

    def reading(self, ids: list[int]) -> Iterator[int]:
        """Read a prompt as ``prefill`` does: in one pass where it needs the long factors, since a pass takes those of its last token."""
        chunk = self._begin(ids)
        return self._inner.reading(ids, chunk)

    def adopt(self, ids: list[int]) -> None:
        """Have the next prompt go on from ``ids``, as far as it begins with them and takes the same factors."""
        self._inner.adopt(ids)

    def forward(self, ids: list[int]) -> torch.Tensor:
        """Read ``ids`` after what is cached; float32 logits ``[len(ids), V]``, each with the factors of its own length."""
        check_room(self, self.length + len(ids))
        short = max(0, self._switch - self.length)
        parts = [(ids[:short], False), (ids[short:], True)]
        return torch.cat([self._read(part, long=long) for part, long in parts if part])

    def rewind(self, length: int) -> None:
        """Forget everything after the first ``length`` tokens."""
        self._inner.rewind(length)
        del self._ids[length:]

    def synchronize(self) -> None:
        """Wait for the runtime inside."""
        self._inner.synchronize()

    def _begin(self, ids: list[int]) -> int:
        """Forget what was read with the other factors; how many tokens a pass reads."""
        long = len(ids) > self._switch
        if self._long != long:
            self._inner.rewind(0)
        self._ids, self._long = list(ids), long
        return len(ids) if long else PREFILL_CHUNK

    def _read(self, ids: list[int], *, long: bool) -> torch.Tensor:
        """``ids``, all on one side of the boundary; the past is read again first where it has the other factors."""
        if self.length and self._long != long:
            # Together with the first token, since the last one of a pass decides on its factors.
            first = self._inner.prefill([*self._ids, ids[0]], len(self._ids) + 1)[None]
            logits = torch.cat([first, self._inner.forward(ids[1:])]) if ids[1:] else first
        else:
            logits = self._inner.forward(ids)
        self._long = long
        self._ids += ids
        return logits


class SwitchingBlockRuntime(SwitchingRuntime):
    """The same for a runtime that writes whole blocks. See ``BlockRuntime``."""

    _inner: ChunkedBlockRuntime

    def prepare_blocks(self, count: int, *, greedy: bool) -> None:
        """Get ready for blocks of ``count`` tokens."""
        self._inner.prepare_blocks(count, greedy=greedy)

    def writes_blocks(self, count: int, *, greedy: bool, past: int = 0) -> bool:
        """Whether blocks of ``count`` tokens are prepared, and one after ``past`` tokens stays on one side of the boundary."""
        one_side = past > self._switch or past + BLOCK_READS + count - 1 <= self._switch
        return one_side and self._inner.writes_blocks(count, greedy=greedy, past=past)

    def why_steps(self, count: int, *, greedy: bool) -> str:
        """Why blocks of ``count`` tokens are not written in one call."""
        return self._inner.why_steps(count, greedy=greedy)

    def write_block(
        self, last: Sequence[int], count: int, temperature: float = 0, points: Sequence[int] = ()
    ) -> Written:
        """Read ``last`` and write ``count`` tokens; the past is read again first where it has the other factors."""
        long = self.length > self._switch
        if self.length and self._long != long:
            self._inner.prefill(self._ids, len(self._ids))
        written = self._inner.write_block(last, count, temperature, points)
        self._long = long
        self._ids += [*last, *written.tokens[:-1]]
        return written
