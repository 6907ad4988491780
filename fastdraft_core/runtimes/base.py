"""What every runtime can do; decoding, drafters and benchmarks use nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch

from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import ModelCard

#: Tokens that a block written by the model itself begins with: after a full acceptance the draft has not read the last two.
BLOCK_READS = 2
#: A point to draw a token by is a whole number below this.
POINTS = 1 << 30


@dataclass(frozen=True, slots=True)
class Written:
    """A block that a model wrote by itself.

    n tokens, float32 logits ``[n, V]`` before any processing, and the law ``[n, V]`` that each was drawn from; None where
    the most probable ones were taken. Of a model with a draft vocabulary logits and law are ``[n, K]``.
    """

    tokens: list[int]
    logits: torch.Tensor
    q: torch.Tensor | None


@dataclass(frozen=True, slots=True)
class Kept:
    """What a cache still had of a prompt, and so was not read again: so many tokens, and the seconds that reading them took then."""

    tokens: int = 0
    seconds: float = 0.0


class Runtime(Protocol):
    """One model with its key-value cache, for one sequence.

    ``length`` tokens are in the cache. Vocabulary V is the tokenizer's: wider logits are cut to it
    before anyone sees them (pitfall 14). A draft may have a draft vocabulary of K ids: then wherever logits are ``[..., V]``
    they are ``[..., K]``, those of ``head_ids``, and all other ids have a probability of 0.
    """

    card: ModelCard
    kv_bytes_per_token: int
    context_length: int
    vocab_size: int
    head_ids: list[int] | None
    """The K ids whose logits passes return, ascending; None where those of all V are returned, as every target does."""

    @property
    def length(self) -> int:
        """Tokens in the cache."""
        ...

    @property
    def kept(self) -> Kept:
        """What the last prompt's reading found in the cache."""
        ...

    def prefill(self, ids: list[int]) -> torch.Tensor:
        """Have the cache hold ``ids`` and nothing else, and return float32 logits ``[V]`` of what follows.

        What the cache still has of ``ids`` from a prompt before is not read again; logits are the same to the bit as if it were.
        """
        ...

    def reading(self, ids: list[int]) -> Iterator[int]:
        """Read a prompt as ``prefill`` does, pass by pass: how many of its tokens are cached, at first those that were kept.

        Whoever stops asking leaves a cache with the passes so far, which the next prompt may use; ``prefill`` of the same ids
        then goes on with them, and reads nothing where all are there.
        """
        ...

    def adopt(self, ids: list[int]) -> None:
        """Have the next prompt go on from ``ids``, which the cache holds, as far as it begins with them.

        So an answer is not read again for the turn after it. Logits may then round otherwise than after a prompt that was read anew.
        """
        ...

    def forward(self, ids: list[int]) -> torch.Tensor:
        """Read ``ids`` after what is cached; float32 logits ``[len(ids), V]``, one row after each.

        They belong to the caller: a later pass must not overwrite them.
        """
        ...

    def rewind(self, length: int) -> None:
        """Forget everything after the first ``length`` tokens; absolute, never relative (pitfall 8)."""
        ...

    def synchronize(self) -> None:
        """Wait until the device has done what it was asked, so that a clock may be read; nothing where passes return done."""
        ...


@runtime_checkable
class BlockRuntime(Runtime, Protocol):
    """A runtime that writes a whole block in one call: it reads each token that it chose without anybody seeing it first."""

    def prepare_blocks(self, count: int, *, greedy: bool) -> None:
        """Get ready for blocks of ``count`` tokens, where that is possible; takes time once."""
        ...

    def writes_blocks(self, count: int, *, greedy: bool, past: int = 0) -> bool:
        """Whether blocks of ``count`` tokens are prepared, and can be written after ``past`` tokens."""
        ...

    def why_steps(self, count: int, *, greedy: bool) -> str:
        """Why blocks of ``count`` tokens are not written in one call though they were prepared; empty where they are."""
        ...

    def write_block(
        self, last: Sequence[int], count: int, temperature: float = 0, points: Sequence[int] = ()
    ) -> Written:
        """Read ``last``, ``BLOCK_READS`` tokens, after what is cached, and write ``count`` prepared ones.

        Above temperature 0 each is drawn by one of ``points``, numbers in [0, ``POINTS``). All of them but the last one are
        cached then.
        """
        ...


def check_room(runtime: Runtime, needed: int) -> None:
    """That ``needed`` tokens fit into the model's context.

    Raises:
        FastdraftError: they do not.
    """
    if needed > runtime.context_length:
        raise FastdraftError(
            f"{runtime.card.name} has a context of {runtime.context_length} tokens and this needs {needed}. "
            "Shorten the prompt or ask for fewer tokens."
        )
