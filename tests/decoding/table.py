"""A model over 5 to 12 tokens whose logits come from a table of the last two, so that laws can be enumerated.

The law is computed here once more, in numpy, from the definitions of temperature, top-k and top-p:
a test compares decoding with the definitions, never with decoding's own code.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch

from fastdraft_core.decoding.sampling import Sampling
from fastdraft_core.events import ModelCard
from fastdraft_core.runtimes.base import Kept

Array = npt.NDArray[np.float64]


def card(name: str = "table", **changes: object) -> ModelCard:
    """A model card with plain figures."""
    values: dict[str, object] = dict(
        name=name,
        architecture="table",
        parameters=100,
        weight_bytes=200,
        dtype="float32",
        device="cpu",
        layers=1,
        hidden_size=1,
        vocab_size=5,
        context_length=1 << 30,
    )
    return ModelCard(**{**values, **changes})  # type: ignore[arg-type]


class TableRuntime:
    """The ``Runtime`` of a table ``[V, V, V]``: logits after the last two tokens, of ``head_ids`` where they are given.

    It refuses to read past its context and to rewind to what it never read, as a real cache would.
    """

    kv_bytes_per_token = 1

    def __init__(self, table: Array, context_length: int = 1 << 30, head_ids: tuple[int, ...] | None = None) -> None:
        self.table = torch.tensor(table if head_ids is None else table[..., list(head_ids)], dtype=torch.float32)
        self.head_ids = None if head_ids is None else list(head_ids)
        self._rows = [list(plane) for plane in self.table]
        self.vocab_size = len(table)
        self.context_length = context_length
        self.card = card(vocab_size=len(table), context_length=context_length)
        self.read: list[int] = []

    @property
    def length(self) -> int:
        """Tokens in the cache."""
        return len(self.read)

    @property
    def kept(self) -> Kept:
        """A table reads everything again."""
        return Kept()

    def prefill(self, ids: list[int]) -> torch.Tensor:
        """Logits after ``ids``."""
        self.read = []
        return self.forward(ids)[-1]

    def reading(self, ids: list[int]) -> Iterator[int]:
        """All of ``ids`` in one pass."""
        self.prefill(ids)
        yield len(ids)

    def adopt(self, ids: list[int]) -> None:
        """It would be read again anyway."""

    def forward(self, ids: list[int]) -> torch.Tensor:
        """Logits after each of ``ids``."""
        assert ids, "a pass reads at least one token"
        assert len(self.read) + len(ids) <= self.context_length, "read past the context"
        tail = [0, 0, *self.read[-2:]][-2:] + ids
        self.read += ids
        return torch.stack([self._rows[a][b] for a, b in pairwise(tail[1:])])

    def rewind(self, length: int) -> None:
        """Keep the first ``length`` tokens."""
        assert 0 <= length <= len(self.read), f"rewind to {length} of {len(self.read)}"
        del self.read[length:]

    def synchronize(self) -> None:
        """A table is always done."""


def random_table(vocab_size: int, seed: int, spread: float = 1.5) -> Array:
    """Random logits; a larger ``spread`` makes a more certain model."""
    return np.random.default_rng(seed).normal(0, spread, (vocab_size,) * 3)


def pair_of_tables(vocab_size: int = 5, seed: int = 0) -> tuple[TableRuntime, TableRuntime]:
    """A target and a draft that agree about half of the time."""
    target = random_table(vocab_size, seed)
    return TableRuntime(target), TableRuntime(target + random_table(vocab_size, seed + 1, 1.2))


def processed(logits: Array, sampling: Sampling) -> Array:
    """Probabilities of logits ``[V]`` by the definitions of temperature, top-k and top-p, in this order."""
    scaled = logits / sampling.temperature
    if sampling.top_k:
        scaled = np.where(scaled >= np.sort(scaled)[::-1][: sampling.top_k].min(), scaled, -np.inf)
    law = np.exp(scaled - scaled.max())
    law /= law.sum()
    kept, mass = np.zeros(len(law), dtype=bool), 0.0
    for token in np.argsort(-law, kind="stable"):
        if mass >= sampling.top_p:
            break
        kept[token], mass = True, mass + law[token]
    law = np.where(kept, law, 0.0)
    return law / law.sum()


def transition_law(table: Array, sampling: Sampling) -> Array:
    """``[V, V, V]``: the probability of each token after each pair."""
    return np.apply_along_axis(processed, 2, table.astype(np.float32).astype(np.float64), sampling)


def text_law(
    law: Array, prompt: Sequence[int], length: int, stops: frozenset[int] = frozenset()
) -> dict[tuple[int, ...], float]:
    """Every text of at most ``length`` tokens after ``prompt``, ended by the first stop, with its probability."""
    texts: dict[tuple[int, ...], float] = {}

    def grow(text: tuple[int, ...], probability: float) -> None:
        if len(text) == length or (text and text[-1] in stops):
            texts[text] = probability
            return
        before, last = [0, 0, *prompt, *text][-2:]
        for token, p in enumerate(law[before, last]):
            if p > 0:
                grow((*text, token), probability * float(p))

    grow((), 1.0)
    return texts
