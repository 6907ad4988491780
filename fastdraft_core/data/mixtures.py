"""Which row is the n-th of a stage: computed from (seed, n), so a loader's whole state is n.

A source's flat token stream is cut into rows of ``sequence_length + 1`` ids. Every epoch starts
the cuts at another offset and visits them in another order, both drawn from (seed, source, epoch).
Rows have one length and documents follow each other in them, so shapes never change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastdraft_core.data.shards import Shard
from fastdraft_core.data.target_logits import TargetLogits
from fastdraft_core.errors import FastdraftError


def interleave(weights: list[float], num_rows: int) -> npt.NDArray[np.int16]:
    """The source of each row, ``[num_rows]``: shares are exact and evenly spread.

    The k-th row of a source with share w stands at (k + 1/2)/w; sorting these positions gives the
    order. Counts differ from ``w * num_rows`` by less than one.
    """
    shares = np.asarray(weights, dtype=np.float64)
    if not np.isfinite(shares).all() or (shares < 0).any() or shares.sum() <= 0:
        raise FastdraftError("Mixture weights must be zero or more, and at least one above zero.")
    shares = shares / shares.sum()
    exact = shares * num_rows
    counts = np.floor(exact).astype(int)
    for source in np.argsort(counts - exact, kind="stable")[: num_rows - counts.sum()]:
        counts[source] += 1
    sources = np.repeat(np.arange(len(counts), dtype=np.int16), counts)
    positions = np.concatenate([(np.arange(n) + 0.5) / max(n, 1) for n in counts])
    return sources[np.argsort(positions, kind="stable")]


@dataclass
class Mixture:
    """Rows of several shards in a fixed order; ``rows(a, b)`` gives rows a to b of the stage.

    ``logits`` are the target's stored probabilities of each shard, where a loss needs them.
    """

    shards: list[Shard]
    weights: list[float]
    sequence_length: int
    num_rows: int
    seed: int
    logits: Sequence[TargetLogits] = ()

    def __post_init__(self) -> None:
        for shard, weight in zip(self.shards, self.weights, strict=True):
            if weight > 0 and len(shard.tokens) < 2 * (self.sequence_length + 1):
                raise FastdraftError(
                    f"Source {shard.index.source!r} holds {len(shard.tokens):,} tokens to train on, too few for rows of "
                    f"{self.sequence_length}. Shorten sequence_length or add data."
                )
        self._source = interleave(self.weights, self.num_rows)
        self._within = np.zeros(self.num_rows, dtype=np.int64)
        for source in range(len(self.shards)):
            at = np.flatnonzero(self._source == source)
            self._within[at] = np.arange(len(at))
        self._epochs: dict[tuple[int, int], tuple[int, npt.NDArray[np.int64]]] = {}

    def rows(self, start: int, stop: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Ids and loss mask of rows ``start`` to ``stop``, each ``[stop - start, sequence_length + 1]``."""
        spans = [self._span(n) for n in range(start, stop)]
        ids = np.stack([self.shards[source].tokens[span] for source, span in spans]).astype(np.int64)
        mask = np.ones(ids.shape, dtype=bool)
        for row, (source, span) in zip(mask, spans, strict=True):
            if (counts := self.shards[source].mask) is not None:
                row[:] = counts[span]
        return ids, mask

    def positions(self, start: int, stop: int) -> npt.NDArray[np.int64]:
        """How far each id of the same rows is from where its document begins, ``[rows, sequence_length + 1]``.

        A document that began before the row counts from the row's first id. Given to transformers as
        ``position_ids`` without an attention mask, attention stays within documents.
        """
        length = self.sequence_length + 1
        positions = np.tile(np.arange(length), (stop - start, 1))
        for row, n in zip(positions, range(start, stop), strict=True):
            source, span = self._span(n)
            starts = self.shards[source].starts
            first, last = np.searchsorted(starts, (span.start, span.stop))
            begins = np.zeros(length, dtype=np.int64)
            begins[starts[first:last] - span.start] = starts[first:last] - span.start
            row -= np.maximum.accumulate(begins)
        return positions

    @property
    def tokens(self) -> list[int]:
        """Tokens that are read of each source, in all."""
        return [int(n) * self.sequence_length for n in np.bincount(self._source, minlength=len(self.shards))]

    @property
    def epochs(self) -> list[float]:
        """How many times all rows pass over each source's shard."""
        counts = np.bincount(self._source, minlength=len(self.shards))
        return [float(count / self._per_epoch(source)) if count else 0.0 for source, count in enumerate(counts)]

    def probabilities(self, start: int, stop: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """The target's top ids ``[rows, sequence_length + 1, k]`` of the same rows, and log-probabilities, tail last."""
        spans = [self._span(n) for n in range(start, stop)]
        ids = np.stack([self.logits[source].ids[span] for source, span in spans]).astype(np.int64)
        log_probs = np.stack([self.logits[source].log_probs[span] for source, span in spans]).astype(np.float32)
        return ids, log_probs

    def _span(self, n: int) -> tuple[int, slice]:
        """Source and place of row ``n``."""
        source, within = int(self._source[n]), int(self._within[n])
        length, per_epoch = self.sequence_length + 1, self._per_epoch(source)
        offset, order = self._epoch(source, within // per_epoch, per_epoch)
        start = offset + int(order[within % per_epoch]) * length
        return source, slice(start, start + length)

    def _per_epoch(self, source: int) -> int:
        """Rows of one epoch: one fewer than fit leaves room for the epoch's offset."""
        return len(self.shards[source].tokens) // (self.sequence_length + 1) - 1

    def _epoch(self, source: int, epoch: int, per_epoch: int) -> tuple[int, npt.NDArray[np.int64]]:
        if (source, epoch) not in self._epochs:
            rng = np.random.default_rng([self.seed, source, epoch])
            self._epochs[source, epoch] = int(rng.integers(self.sequence_length)), rng.permutation(per_epoch)
        return self._epochs[source, epoch]
