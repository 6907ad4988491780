"""Batched continuation of prompts without padding: every row is what it would be alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from fastdraft_core.data.sparse import SparseRows, sparse_rows
from fastdraft_core.decoding.rows import argmax_rows, draw_rows
from fastdraft_core.machine.devices import choose_threads
from fastdraft_core.runtimes.torch.cache import RewindableCache

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from fastdraft_core.runtimes.openvino.batch import PagedBatch

#: A whole row, prompt and what was written; None where it came to nothing.
Row = list[int] | None
#: Prompts are read in passes of about so many tokens, which bounds what a pass keeps beside keys and values.
_READ_TOKENS = 4096
#: Rows from whose logits one thread chooses at a time.
_PART = 16
#: Where rows that ended are cut out of the cache by copying the others, this share of them has to have ended.
_WORTH_COPYING = 0.5


@dataclass(frozen=True, slots=True)
class Batch:
    """Prompts to continue together, each by at most ``new_tokens`` and up to its own first of ``stops``.

    ``temperatures`` are one a prompt, 0 is greedy. Ids from ``vocab_size`` on, which pad a model's logits, are never drawn.
    Of every written token's distribution, at temperature 1 whatever it was drawn at, the ``top_k`` largest are kept.
    """

    prompts: Sequence[Sequence[int]] | npt.NDArray[np.int64]
    temperatures: npt.NDArray[np.float64]
    new_tokens: int
    stops: Collection[int]
    seed: int
    vocab_size: int | None = None
    top_k: int = 0


class Written(NamedTuple):
    """The rows of a batch and, where ``top_k`` asked for them, the distributions of what was written: one a token of a row."""

    rows: list[Row]
    sparse: list[SparseRows]


class _Chosen(NamedTuple):
    """For n rows: token ids and whether the logits were numbers, both ``[n, 1]``, and the distributions where asked for."""

    ids: torch.Tensor
    sound: torch.Tensor
    kept: SparseRows | None


class _Rows:
    """The rows of a batch as they grow; each ends at its own first stop, at its length, or where logits are no numbers."""

    def __init__(self, batch: Batch) -> None:
        self.ids: list[list[int]] = [list(map(int, prompt)) for prompt in batch.prompts]
        self.lengths = [len(row) for row in self.ids]
        self._new_tokens, self._stops = batch.new_tokens, batch.stops
        self._top_k = batch.top_k
        self._sparse: list[list[SparseRows]] = [[] for _ in self.ids]
        self._failed: set[int] = set()
        #: The rows still being computed, by number.
        self.numbers = list(range(len(self.ids)))
        self._ended: set[int] = set()

    @property
    def done(self) -> bool:
        """Whether all rows have ended."""
        return len(self._ended) == len(self.ids)

    def take(self, tokens: Iterable[int], chosen: _Chosen, *, position: int | None = None) -> None:
        """The next token of each row in ``numbers``, and what else was chosen with it.

        A row whose prompt reaches beyond ``position`` is still being read.
        """
        kept, sound = chosen.kept, chosen.sound[:, 0].tolist()
        for place, (number, token, good) in enumerate(zip(self.numbers, tokens, sound, strict=True)):
            if number in self._ended:
                continue
            if not good:
                self._failed.add(number)
                self._ended.add(number)
            if position is None or position >= self.lengths[number]:
                self.ids[number].append(token)
                if kept is not None:
                    self._sparse[number].append(SparseRows(kept.ids[place], kept.log_probs[place]))
                if token in self._stops or len(self.ids[number]) == self.lengths[number] + self._new_tokens:
                    self._ended.add(number)

    def drop(self, share: float = 0.0) -> list[int] | None:
        """Drop the rows that ended once they are this share of all: the places of those that stay; None while they are fewer."""
        going = [place for place, number in enumerate(self.numbers) if number not in self._ended]
        dropped = len(self.numbers) - len(going)
        if not dropped or dropped < share * len(self.numbers):
            return None
        self.numbers = [self.numbers[place] for place in going]
        return going

    def written(self) -> Written:
        """The whole rows, None for one that failed, and what is kept of them."""
        rows = [None if number in self._failed else row for number, row in enumerate(self.ids)]
        if not self._top_k:
            return Written(rows, [])
        return Written(rows, [_stacked(kept) for kept in self._sparse])


@torch.inference_mode()
def continue_batch(model: PreTrainedModel, batch: Batch) -> Written:
    """Continue every prompt; a row whose logits are no numbers comes back as None.

    All rows stand at the same position: while a short prompt is continued already, a longer one is still read, token by
    token. So prompts of about one length belong together.
    """
    device = model.device
    stream = torch.Generator(device).manual_seed(batch.seed)
    rows = _Rows(batch)
    shortest, longest = min(rows.lengths), max(rows.lengths)
    given = torch.tensor([row + [-1] * (longest - len(row)) for row in rows.ids], device=device)
    cache: Any = RewindableCache()
    ids = given[:, :shortest]
    heat = torch.from_numpy(batch.temperatures).to(device, torch.float32)[:, None]
    for position in range(shortest, longest + batch.new_tokens):
        logits = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
        chosen = _choose(logits[:, -1, : batch.vocab_size].float(), heat, stream, batch.top_k)
        ids = chosen.ids
        if position < longest:
            read = given[:, position : position + 1]
            ids = torch.where(read >= 0, read, ids)
        rows.take(ids[:, 0].tolist(), chosen, position=position)
        if rows.done:
            break
        if going := rows.drop(_WORTH_COPYING):
            kept = torch.tensor(going, device=device)
            cache.select_rows(kept)
            ids, heat, given = ids[kept], heat[kept], given[kept]
    return rows.written()


@torch.inference_mode()
def continue_pages(pages: PagedBatch, batch: Batch) -> Written:
    """As ``continue_batch``, by OpenVINO: every row stands at its own position, so lengths may differ freely."""
    rows = _Rows(batch)
    heat = torch.from_numpy(batch.temperatures).to(torch.float32)[:, None]
    pages.begin([length + batch.new_tokens for length in rows.lengths])
    logits = torch.cat([pages.read(part, [rows.ids[number] for number in part]) for part in _parts(rows.lengths)])
    # Threads that sleep while the model reads; PyTorch's own wait by spinning.
    with ThreadPoolExecutor(choose_threads()) as pool:
        streams = _streams(batch.seed, len(rows.ids))
        while True:
            chosen = _choose_in_parts(logits[:, : batch.vocab_size], heat, streams, batch.top_k, pool)
            rows.take(chosen.ids[:, 0].tolist(), chosen)
            if rows.done:
                return rows.written()
            ids = chosen.ids
            if going := rows.drop():
                ids, heat = ids[going], heat[going]
            logits = pages.read(rows.numbers, ids.tolist())


def _stacked(rows: list[SparseRows]) -> SparseRows:
    """One distribution a token as rows of one; none where a row failed at once."""
    if not rows:
        return SparseRows(np.zeros((0, 0), dtype=np.int64), np.zeros((0, 1), dtype=np.float16))
    return SparseRows(np.stack([row.ids for row in rows]), np.stack([row.log_probs for row in rows]))


@torch.inference_mode()
def _choose(logits: torch.Tensor, heat: torch.Tensor, stream: torch.Generator, top_k: int) -> _Chosen:
    """A token for each of n rows, greedy where ``heat`` [n, 1] is 0, and the ``top_k`` largest probabilities at temperature 1."""
    sound = logits.amax(-1, keepdim=True).isfinite()
    if not bool(sound.all()):
        logits = torch.where(sound, logits, 0.0)
    sampled = draw_rows((logits / heat.clamp(min=1e-6)).softmax(-1), stream)
    ids = torch.where(heat == 0, argmax_rows(logits), sampled)
    return _Chosen(ids, sound, sparse_rows(logits, top_k) if top_k else None)


def _streams(seed: int, rows: int) -> list[torch.Generator]:
    """Random numbers for each part of so many rows, whatever number of threads there is."""
    parts = range(-(-rows // _PART))
    return [
        torch.Generator().manual_seed(int(np.random.SeedSequence([seed, part]).generate_state(1)[0])) for part in parts
    ]


def _choose_in_parts(
    logits: torch.Tensor, heat: torch.Tensor, streams: list[torch.Generator], top_k: int, pool: Executor
) -> _Chosen:
    """As ``_choose``, by the threads of ``pool``, in parts that a core's cache holds."""
    parts = zip(logits.split(_PART), heat.split(_PART), streams, strict=False)
    ids, sound, kept = zip(*pool.map(lambda part: _choose(*part, top_k), parts), strict=True)
    whole = SparseRows(*(np.concatenate(pieces) for pieces in zip(*kept, strict=True))) if top_k else None
    return _Chosen(torch.cat(ids), torch.cat(sound), whole)


def _parts(lengths: Sequence[int]) -> list[list[int]]:
    """The rows in order, cut where the prompts of a part have ``_READ_TOKENS`` together."""
    parts: list[list[int]] = [[]]
    tokens = 0
    for number, length in enumerate(lengths):
        if parts[-1] and tokens + length > _READ_TOKENS:
            parts.append([])
            tokens = 0
        parts[-1].append(number)
        tokens += length
    return parts
