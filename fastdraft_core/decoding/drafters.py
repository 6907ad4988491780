"""What proposes a block of tokens for the target to check."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import torch

from fastdraft_core.decoding.sampling import Sampling, Verdict, best, draw, process
from fastdraft_core.events import ModelCard
from fastdraft_core.runtimes.base import BLOCK_READS, POINTS, BlockRuntime, Kept, Runtime


class Drafter(Protocol):
    """Proposes continuations of a growing sequence."""

    @property
    def logits(self) -> list[torch.Tensor]:
        """Of the last proposal, ``[V]`` a token before any processing, for whoever inspects; empty without a model."""
        ...

    @property
    def skipped(self) -> int:
        """Tokens at the beginning of the sequence that are not seen, since the draft's context is shorter than the text."""
        ...

    @property
    def kept(self) -> Kept:
        """What was known of the prompt already when it was started with; nothing without a model."""
        ...

    def prepare(self, gamma: int, sampling: Sampling) -> None:
        """Get ready for blocks of ``gamma`` tokens: what takes time once is not timed as decoding."""
        ...

    def start(self, ids: list[int]) -> None:
        """Read a new prompt."""
        ...

    def reading(self, ids: list[int]) -> Iterator[int]:
        """Read a new prompt pass by pass before it is started with: how many of its tokens are cached; nothing without a model."""
        ...

    def propose(
        self, ids: list[int], gamma: int, sampling: Sampling, stream: torch.Generator
    ) -> tuple[list[int], torch.Tensor | None]:
        """At most ``gamma`` tokens after ``ids`` and the distributions ``[n, V]`` they were drawn from.

        The distributions are None when greedy.
        """
        ...

    def learn(self, ids: list[int], drafted: list[int], verdict: Verdict, logits: torch.Tensor) -> None:
        """What became of the tokens proposed after ``ids``; ``logits`` ``[len(drafted) + 1, V]`` are the target's."""
        ...

    def keep(self, length: int) -> None:
        """Forget what was read past the first ``length`` tokens: they were not accepted."""
        ...

    def why_steps(self, gamma: int, sampling: Sampling) -> str:
        """Why blocks of ``gamma`` tokens are not drafted the fast way that there is; empty where they are."""
        ...


@runtime_checkable
class Method(Protocol):
    """A way to draft that is more than one model: it makes drafters. Its card says what its steps read."""

    card: ModelCard
    kv_bytes_per_token: int
    context_length: int
    vocab_size: int

    def drafter(self) -> Drafter:
        """A new drafter."""
        ...


Draft = Runtime | Method
"""What drafts for a target: a model on a runtime, or another way."""


def drafter_of(draft: Draft) -> Drafter:
    """A new drafter of ``draft``."""
    return draft.drafter() if isinstance(draft, Method) else ModelDrafter(draft)


class ModelDrafter:
    """A draft model: a whole block in one call where its runtime can, else one token a pass.

    A draft vocabulary stays in here: a step knows K ids alone, and what leaves is over all V, with q = 0 outside of it.
    Where its context is shorter than the text it goes on with the last part of it, half a context to begin with. The verdict is on
    what it drafts from there, so nothing is lost but acceptance.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.skipped = 0
        self._logits: list[torch.Tensor] = []
        self._ids = None if runtime.head_ids is None else torch.tensor(runtime.head_ids)
        self._writer = runtime if isinstance(runtime, BlockRuntime) else None

    @property
    def logits(self) -> list[torch.Tensor]:
        """Of the last proposal, ``[V]`` a token; -inf outside of a draft vocabulary."""
        return [self._whole(row, -torch.inf) for row in self._logits]

    @property
    def kept(self) -> Kept:
        """What the draft's cache still had of the prompt."""
        return self.runtime.kept

    def prepare(self, gamma: int, sampling: Sampling) -> None:
        """Let a runtime that writes blocks get ready for them; top-k and top-p it cannot apply."""
        if self._writer is not None and sampling.untruncated:
            self._writer.prepare_blocks(gamma, greedy=sampling.greedy)

    def why_steps(self, gamma: int, sampling: Sampling) -> str:
        """Why blocks of ``gamma`` tokens are drafted step by step, where the runtime could write them in one call; else empty."""
        if self._writer is None:
            return self.runtime.card.fallback
        if not sampling.untruncated:
            return "top-k and top-p are not applied inside a block"
        return self._writer.why_steps(gamma, greedy=sampling.greedy)

    def start(self, ids: list[int]) -> None:
        """Read a new prompt, of one that is longer than the draft's context the last part."""
        for _ in self.reading(ids):
            pass
        # Or the rest of it would be timed as decoding.
        self.runtime.synchronize()

    def reading(self, ids: list[int]) -> Iterator[int]:
        """Read a new prompt pass by pass: how many of the tokens that the draft reads of it are cached."""
        self.skipped = self._beyond(ids) if len(ids) > self.runtime.context_length else 0
        # Every block reads its last tokens again, so the last one of the prompt is left to the first block.
        read = ids[self.skipped : -1]
        if read:
            yield from self.runtime.reading(read)
        else:
            self.runtime.rewind(0)

    def propose(
        self, ids: list[int], gamma: int, sampling: Sampling, stream: torch.Generator
    ) -> tuple[list[int], torch.Tensor | None]:
        """``gamma`` drawn tokens, fewer where the draft's context ends, with their q ``[n, V]``.

        What the draft has not read of ``ids`` it reads first: after a full acceptance that
        includes its own last token (pitfall 7).
        """
        if gamma and len(ids) - self.skipped > self.runtime.context_length:
            self._skip(ids)
        ids = ids[self.skipped :]
        gamma = min(gamma, self.runtime.context_length - len(ids) + 1)
        writer = self._writer
        if writer is not None and sampling.untruncated and len(ids) >= BLOCK_READS:
            past = len(ids) - BLOCK_READS
            if writer.writes_blocks(gamma, greedy=sampling.greedy, past=past):
                return self._block(writer, ids, gamma, sampling, stream)
        return self._steps(ids, gamma, sampling, stream)

    def read(self, ids: list[int]) -> torch.Tensor:
        """Logits ``[len(ids), V]`` after each of ``ids``, which follow what was read; -inf outside of a draft vocabulary."""
        return self._whole(self.runtime.forward(ids), -torch.inf)

    def learn(self, ids: list[int], drafted: list[int], verdict: Verdict, logits: torch.Tensor) -> None:
        """Nothing: a model drafts from the text alone."""

    def keep(self, length: int) -> None:
        """Forget what was read past the first ``length`` tokens."""
        self.runtime.rewind(max(0, min(length - self.skipped, self.runtime.length)))

    def _skip(self, ids: list[int]) -> None:
        """Begin again with the last part of ``ids``: half a context, so that the other half is read before the next time."""
        self.skipped = self._beyond(ids)
        # The rest of it is what a block begins with.
        if begun := ids[self.skipped : -BLOCK_READS]:
            self.runtime.prefill(begun)
        else:
            self.runtime.rewind(0)

    def _beyond(self, ids: list[int]) -> int:
        return len(ids) - max(1, self.runtime.context_length // 2)

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
        self._logits = list(written.logits)
        return written.tokens, None if written.q is None else self._whole(written.q, 0.0)

    def _steps(
        self, ids: list[int], gamma: int, sampling: Sampling, stream: torch.Generator
    ) -> tuple[list[int], torch.Tensor | None]:
        drafted: list[int] = []
        distributions: list[torch.Tensor] = []
        unread = ids[self.runtime.length :]
        self._logits, scored = [], self.runtime.head_ids
        while len(drafted) < gamma:
            logits = self.runtime.forward(unread)[-1:]
            self._logits.append(logits[0])
            if sampling.greedy:
                column = best(logits)[0]
            else:
                distribution = process(logits, sampling)
                distributions.append(distribution)
                column = draw(distribution[0], stream)
            unread = [column if scored is None else scored[column]]
            drafted += unread
        return drafted, self._whole(torch.cat(distributions), 0.0) if distributions else None

    def _whole(self, scored: torch.Tensor, outside: float) -> torch.Tensor:
        """``[..., V]`` of the ``[..., K]`` that the head scored: ``outside`` for every other id."""
        if self._ids is None:
            return scored
        self._ids = self._ids.to(scored.device)
        whole = scored.new_full((*scored.shape[:-1], self.runtime.vocab_size), outside)
        return whole.index_copy_(-1, self._ids, scored)
