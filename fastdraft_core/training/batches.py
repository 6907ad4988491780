"""The rows of an optimizer step, read for this process and brought to its device."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from fastdraft_core.errors import FastdraftError
from fastdraft_core.training.processes import row_shares
from fastdraft_core.training.short_head import short_head

if TYPE_CHECKING:
    from fastdraft_core.data.mixtures import Mixture
    from fastdraft_core.training.loop import StageRun
    from fastdraft_core.training.losses import Sparse


class Batch(NamedTuple):
    """Ids and loss mask ``[rows, length + 1]``; the target's probabilities and positions where the stage asks for them."""

    ids: torch.Tensor
    mask: torch.Tensor
    sparse: Sparse | None
    positions: torch.Tensor | None


@dataclass(slots=True)
class StepBatches:
    """The micro-batches of this process in one step, the tokens that count in them, and the seconds that reading took."""

    batches: list[Batch]
    counted: int
    seconds: float


def read_step(run: StageRun, step: int, rows: int) -> StepBatches:
    """This process's share of the ``rows`` rows of optimizer step ``step``.

    Raises:
        FastdraftError: a file of the data is gone or was cut short.
    """
    begin, accelerator, first = time.perf_counter(), run.accelerator, step * rows
    _refuse_vanished(run.mixture)
    shares, size = row_shares(rows, accelerator.num_processes, accelerator.process_index, run.stage.micro_batch)
    batches, counted = [], 0
    for share in shares:
        # A process without rows of its own still takes part, with one that counts nothing.
        start = first + max(0, min(share.start, share.stop - 1))
        batch = _rows(run, run.mixture, start, max(first + share.stop, start + 1), size, len(share))
        counted += int(batch.mask[:, 1:].sum())
        batches.append(_to(batch, accelerator.device))
    return StepBatches(batches, counted, time.perf_counter() - begin)


def read_held_out(run: StageRun, mixture: Mixture, start: int, stop: int) -> Batch:
    """Rows of a mixture that training never sees; without the target's probabilities.

    Of a model with a draft vocabulary only tokens that are in it count, here and in training.
    """
    ids, mask = mixture.rows(start, stop)
    ids, mask = torch.from_numpy(ids), torch.from_numpy(mask & _scored(run, ids))
    return _to(Batch(ids, mask, None, _positions(run, mixture, start, stop, stop - start)), run.accelerator.device)


def _rows(run: StageRun, mixture: Mixture, start: int, stop: int, size: int, counted: int) -> Batch:
    """Rows ``start`` to ``stop``, filled up to ``size``; only the first ``counted`` of them count."""
    ids, mask = mixture.rows(start, stop)
    mask = mask & _scored(run, ids)
    sparse = None
    if run.stage.loss != "ce":
        top_ids, log_probs = mixture.probabilities(start, stop)
        absent = np.isneginf(log_probs[..., 0])
        log_probs[absent] = 0.0
        mask = mask & ~absent
        sparse = _filled(top_ids, size), _filled(log_probs, size)
    whole = _filled(mask, size)
    whole[counted:] = False
    return Batch(_filled(ids, size), whole, sparse, _positions(run, mixture, start, stop, size))


def coverage(run: StageRun, mixture: Mixture) -> float:
    """The share of the tokens of a mixture that the model's head scores."""
    ids, mask = (part[:, 1:] for part in mixture.rows(0, mixture.num_rows))
    return float(_scored(run, ids)[mask].mean()) if mask.any() else 0.0


def _scored(run: StageRun, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Whether the model's head scores each of ``ids``; all of them, unless it has a draft vocabulary."""
    short = short_head(run.model)
    return np.ones(ids.shape, dtype=bool) if short is None else short.scored[ids]


def _positions(run: StageRun, mixture: Mixture, start: int, stop: int, size: int) -> torch.Tensor | None:
    return _filled(mixture.positions(start, stop), size) if run.stage.document_mask else None


def _filled(rows: npt.NDArray[Any], size: int) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([rows, np.repeat(rows[-1:], size - len(rows), axis=0)]))


def _to(batch: Batch, device: torch.device) -> Batch:
    sparse = None if batch.sparse is None else (batch.sparse[0].to(device), batch.sparse[1].to(device))
    positions = None if batch.positions is None else batch.positions.to(device)
    return Batch(batch.ids.to(device), batch.mask.to(device), sparse, positions)


def _refuse_vanished(mixture: Mixture) -> None:
    """Reading a mapped file that was cut short would kill the process without a word."""
    for shard in mixture.shards:
        array = shard.tokens
        if not isinstance(array, np.memmap) or array.filename is None:
            continue
        path = Path(str(array.filename))
        try:
            whole = path.stat().st_size >= array.nbytes
        except OSError:
            whole = False
        if not whole:
            raise FastdraftError(
                f"{path} is gone or was cut short while it was being read. Delete {path.parent} and run the same command "
                "again: the file is made anew, and training goes on from the last checkpoint."
            )
