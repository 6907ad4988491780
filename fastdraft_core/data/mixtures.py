"""Which row is the n-th of a stage: computed from (seed, n), so a loader's whole state is n.

A source's flat token stream is cut into rows of ``sequence_length + 1`` ids. Every epoch starts
the cuts at another offset and visits them in another order, both drawn from (seed, source, epoch).
Where a shard may grow, the order is one within stretches of it, so that rows do not change when it does.
Rows have one length and documents follow each other in them, so shapes never change.
"""

from __future__ import annotations

import zlib
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


def source_rows(weights: list[float], num_rows: int) -> list[int]:
    """How many of so many rows each source gives."""
    return np.bincount(interleave(weights, num_rows), minlength=len(weights)).tolist()


def tokens_of_rows(rows: int, sequence_length: int, window: int) -> int:
    """Tokens of a growing shard in which its first ``rows`` rows lie: whole stretches, and room for the epoch's offset."""
    length = sequence_length + 1
    stretch = max(1, window // length)
    return (-(-rows // stretch) * stretch + 2) * length


@dataclass
class Mixture:
    """Rows of several shards in a fixed order; ``rows(a, b)`` gives rows a to b of the stage.

    ``logits`` are the target's stored probabilities of each shard, where a loss needs them. ``before`` are rows of each shard
    that earlier stages read; this one goes on behind them.
    """

    shards: list[Shard]
    weights: list[float]
    sequence_length: int
    num_rows: int
    seed: int
    logits: Sequence[TargetLogits] = ()
    before: Sequence[int] = ()

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
            self._within[at] = np.arange(len(at)) + (self.before[source] if self.before else 0)
        self._stretches: dict[tuple[int, int, int], tuple[int, npt.NDArray[np.int64]]] = {}

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
        """How many times all rows pass over each source's shard, as far as that goes."""
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
        epoch, number = divmod(within, per_epoch)
        window = self.shards[source].index.window
        size = max(1, window // length) if window else per_epoch
        stretch, number = divmod(number, size)
        first = stretch * size
        offset, _ = self._stretch(source, epoch, 0, min(size, per_epoch))
        _, order = self._stretch(source, epoch, stretch, min(size, per_epoch - first))
        start = offset + (first + int(order[number])) * length
        return source, slice(start, start + length)

    def _per_epoch(self, source: int) -> int:
        """Rows of one epoch: one fewer than fit leaves room for the epoch's offset."""
        return len(self.shards[source].tokens) // (self.sequence_length + 1) - 1

    def _stretch(self, source: int, epoch: int, stretch: int, size: int) -> tuple[int, npt.NDArray[np.int64]]:
        """The order of a stretch of ``size`` rows, and an offset, of which the first stretch's is the epoch's."""
        key = source, epoch, stretch
        if key not in self._stretches:
            shard = self.shards[source].index
            # Two stages that name their sources in another order must not meet in one stretch.
            name = zlib.crc32(shard.source.encode()) if shard.window else source
            rng = np.random.default_rng([self.seed, name, epoch, stretch])
            self._stretches[key] = int(rng.integers(self.sequence_length)), rng.permutation(size)
        return self._stretches[key]
