"""What proposes a block of tokens for the target to check."""

from __future__ import annotations

from typing import Protocol

import torch

from fastdraft_core.decoding.sampling import Sampling, best, draw, process
from fastdraft_core.runtimes.base import BLOCK_READS, POINTS, BlockRuntime, Runtime


class Drafter(Protocol):
    """Proposes continuations of a growing sequence."""

    logits: list[torch.Tensor]
    """Of the last proposal, ``[V]`` a token before any processing, for whoever inspects; empty without a model."""

    def prepare(self, gamma: int, sampling: Sampling) -> None:
        """Get ready for blocks of ``gamma`` tokens: what takes time once is not timed as decoding."""
        ...

    def start(self, ids: list[int]) -> None:
        """Read a new prompt."""
        ...

    def propose(
        self, ids: list[int], gamma: int, sampling: Sampling, stream: torch.Generator
    ) -> tuple[list[int], torch.Tensor | None]:
        """At most ``gamma`` tokens after ``ids`` and the distributions ``[n, V]`` they were drawn from.

        The distributions are None when greedy.
        """
        ...

    def keep(self, length: int) -> None:
        """Forget what was read past the first ``length`` tokens: they were not accepted."""
        ...


class ModelDrafter:
    """A draft model: a whole block in one call where its runtime can, else one token a pass."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.logits: list[torch.Tensor] = []
        self._writer = runtime if isinstance(runtime, BlockRuntime) else None

    def prepare(self, gamma: int, sampling: Sampling) -> None:
        """Let a runtime that writes blocks get ready for them; top-k and top-p it cannot apply."""
        if self._writer is not None and sampling.untruncated:
            self._writer.prepare_blocks(gamma, greedy=sampling.greedy)

    def start(self, ids: list[int]) -> None:
        """Read a new prompt; one that is longer than the draft's context is never drafted for."""
        self.runtime.rewind(0)
        if len(ids) <= self.runtime.context_length:
            self.runtime.prefill(ids)
            # Or the rest of it would be timed as decoding.
            self.runtime.synchronize()

    def propose(
        self, ids: list[int], gamma: int, sampling: Sampling, stream: torch.Generator
    ) -> tuple[list[int], torch.Tensor | None]:
        """``gamma`` drawn tokens, fewer where the draft's context ends, with their q ``[n, V]``.

        What the draft has not read of ``ids`` it reads first: after a full acceptance that
        includes its own last token (pitfall 7).
        """
        gamma = min(gamma, self.runtime.context_length - len(ids) + 1)
        writer = self._writer
        if writer is not None and sampling.untruncated:
            past = max(0, len(ids) - BLOCK_READS)
            if writer.writes_blocks(gamma, greedy=sampling.greedy, past=past):
                return self._block(writer, ids, gamma, sampling, stream)
        return self._steps(ids, gamma, sampling, stream)

    def keep(self, length: int) -> None:
        """Forget what was read past the first ``length`` tokens."""
        self.runtime.rewind(min(length, self.runtime.length))

    def _block(
        self, writer: BlockRuntime, ids: list[int], gamma: int, sampling: Sampling, stream: torch.Generator
    ) -> tuple[list[int], torch.Tensor | None]:
        before = len(ids) - BLOCK_READS
        if writer.length < before:
            writer.forward(ids[writer.length : before])
        writer.rewind(before)
        # One number a token, as in ``draw``.
        points = [] if sampling.greedy else torch.randint(POINTS, (gamma,), generator=stream).tolist()
        written = writer.write_block(ids[before:], gamma, sampling.temperature, points)
        # Which token a graph takes for the best of NaN is its own affair.
        best(written.logits[:1])
        self.logits = list(written.logits)
        return written.tokens, written.q

    def _steps(
        self, ids: list[int], gamma: int, sampling: Sampling, stream: torch.Generator
    ) -> tuple[list[int], torch.Tensor | None]:
        drafted: list[int] = []
        distributions: list[torch.Tensor] = []
        unread = ids[self.runtime.length :]
        self.logits = []
        while len(drafted) < gamma:
            logits = self.runtime.forward(unread)[-1:]
            self.logits.append(logits[0])
            if sampling.greedy:
                token = best(logits)[0]
            else:
                distribution = process(logits, sampling)
                distributions.append(distribution)
                token = draw(distribution[0], stream)
            drafted.append(token)
            unread = [token]
        return drafted, torch.cat(distributions) if distributions else None
