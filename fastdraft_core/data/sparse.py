"""A distribution over a large vocabulary as its k largest probabilities and one number for the mass of the rest."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from fastdraft_core.decoding.rows import topk_rows

#: A logit that stands for no probability; finite, so that a sum over nothing else is too.
_NEVER = -1e5


class SparseRows(NamedTuple):
    """``ids`` [..., k], largest first, and float16 ``log_probs`` [..., k + 1], the log of all other ids' mass last."""

    ids: npt.NDArray[np.integer]
    log_probs: npt.NDArray[np.float16]


def top_log_probs(logits: torch.Tensor, top_k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The ids ``[T, k]`` of the largest of ``logits`` [T, V], and log-probabilities ``[T, k + 1]``, tail last."""
    logits = logits.float()
    top, ids = topk_rows(logits, min(top_k, logits.shape[-1]))
    tail = logits.scatter(-1, ids, _NEVER).logsumexp(-1, keepdim=True)
    buckets = torch.cat([top, tail], -1)
    return ids, buckets - buckets.logsumexp(-1, keepdim=True)


def sparse_rows(logits: torch.Tensor, top_k: int) -> SparseRows:
    """The distributions of ``logits`` [T, V] in the form in which they are stored."""
    ids, log_probs = top_log_probs(logits, top_k)
    return SparseRows(ids.cpu().numpy(), log_probs.to(torch.float16).cpu().numpy())


def record_type(top_k: int, ids: npt.DTypeLike) -> np.dtype[np.void]:
    """One distribution as it lies in a file: ``top_k`` ids of type ``ids``, then the log-probabilities."""
    return np.dtype([("ids", ids, (top_k,)), ("log_probs", np.float16, (top_k + 1,))])


def to_records(rows: SparseRows, ids: npt.DTypeLike) -> npt.NDArray[np.void]:
    """``rows`` [n, k] as n records of ``record_type``."""
    records = np.empty(len(rows.ids), dtype=record_type(rows.ids.shape[-1], ids))
    records["ids"], records["log_probs"] = rows.ids, rows.log_probs
    return records
