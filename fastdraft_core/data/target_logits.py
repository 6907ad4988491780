"""The target's stored probabilities for the tokens of a shard: the k largest and the mass of the rest.

Beside a shard lies a folder of flat memory-mapped files, one row for each of the shard's tokens:
``ids.bin`` (uint16 or uint32, ``[n, k]``) and ``log_probs.bin`` (float16, ``[n, k + 1]``, largest
first, the tail's mass last). Row i is the distribution *of* token i, given its sequence before it.
The first token of a sequence has none: its row is -inf. Probabilities are at temperature 1.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from fastdraft_core.data.memory import memory_for
from fastdraft_core.data.shards import Shard, file_sha256, token_dtype
from fastdraft_core.data.sparse import SparseRows, record_type, sparse_rows
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Event, Scored
from fastdraft_core.models.weights import stamp
from fastdraft_core.runtimes.torch.runtime import context_length

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: Sequences that are sorted by length together, so that a batch has little padding.
_WINDOW = 128
#: Tokens of one forward pass, fewer where the vocabulary makes their logits large.
_BATCH_TOKENS, _BATCH_LOGITS = 4096, 1 << 25
#: Tokens whose rows are brought together at once.
_PIECE = 1 << 16
_ADVICE = "Free some, or shorten synthesis.new_tokens, or use --device cpu, and run again; what is stored is kept."


@dataclass(frozen=True, slots=True)
class LogitsIndex:
    """What ``index.json`` says; ``shard`` is the checksum of the tokens that were scored."""

    shard: str
    top_k: int
    dtype: str
    num_tokens: int
    ids_sha256: str
    log_probs_sha256: str


@dataclass(frozen=True, slots=True)
class TargetLogits:
    """Opened files: ``ids`` [n, k] and ``log_probs`` [n, k + 1]."""

    index: LogitsIndex
    ids: npt.NDArray[np.generic]
    log_probs: npt.NDArray[np.float16]


def logits_folder(shard: Path, top_k: int, key: str) -> Path:
    """Where the ``top_k`` probabilities that the target named by ``key`` gives to the shard in ``shard`` are stored."""
    return shard.with_name(f"{shard.name}-top{top_k}-{key}")


def bytes_per_token(top_k: int, vocab_size: int) -> int:
    """Disk bytes for each token of a shard."""
    return top_k * token_dtype(vocab_size).itemsize + (top_k + 1) * 2


def open_target_logits(folder: Path, shard: Shard) -> TargetLogits:
    """Open the files and check them against their index and against ``shard``.

    Raises:
        FastdraftError: they are missing, damaged, or of other tokens.
    """
    try:
        index = LogitsIndex(**json.loads((folder / "index.json").read_text()))
        ids = np.memmap(folder / "ids.bin", dtype=index.dtype, mode="r").reshape(-1, index.top_k)
        log_probs = np.memmap(folder / "log_probs.bin", dtype=np.float16, mode="r").reshape(-1, index.top_k + 1)
    except (OSError, ValueError, TypeError) as error:
        raise FastdraftError(
            f"The target's stored probabilities in {folder} cannot be read ({error}). Delete the folder and run again."
        ) from error
    sums = file_sha256(folder / "ids.bin"), file_sha256(folder / "log_probs.bin")
    if sums != (index.ids_sha256, index.log_probs_sha256) or index.shard != shard.index.sha256:
        raise FastdraftError(
            f"The target's stored probabilities in {folder} are damaged, or belong to other tokens than those in "
            f"{shard.folder}. Delete the folder to make them again."
        )
    return TargetLogits(index, ids, log_probs)


def score(
    folder: Path, shard: Shard, model: PreTrainedModel, *, top_k: int, vocab_size: int
) -> Generator[Event, None, None]:
    """Write the ``top_k`` largest probabilities that ``model`` gives to the tokens of ``shard``.

    Sequences are read teacher-forced, many in one pass; logits are cut to ``vocab_size``, as in
    decoding. A killed pass goes on where it stopped, and the folder appears only when it is whole.
    """
    top_k = min(top_k, vocab_size)
    building = folder.with_name(f"{folder.name}.building")
    building.mkdir(parents=True, exist_ok=True)
    paths = building / "ids.bin", building / "log_probs.bin"
    spans = sequence_spans(shard, context_length(model.config))
    windows = [spans[start : start + _WINDOW] for start in range(0, len(spans), _WINDOW)]
    widths = top_k * token_dtype(vocab_size).itemsize, (top_k + 1) * 2
    done = _cut_to_whole_windows(paths, widths, [int(window[-1, 1]) for window in windows])
    begin, already = time.perf_counter(), done
    with paths[0].open("ab") as ids_file, paths[1].open("ab") as log_probs_file:
        for window in windows:
            if window[0, 0] < done:
                continue
            with memory_for(f"the target's passes over {_BATCH_TOKENS} tokens", _ADVICE):
                ids, log_probs = _score_window(model, shard, window, top_k, vocab_size)
            ids_file.write(ids.astype(token_dtype(vocab_size)).tobytes())
            log_probs_file.write(log_probs.tobytes())
            ids_file.flush()
            log_probs_file.flush()
            done = int(window[-1, 1])
            yield Scored(
                tokens=done,
                total_tokens=len(shard.tokens),
                tokens_per_second=(done - already) / (time.perf_counter() - begin),
                bytes_per_token=bytes_per_token(top_k, vocab_size),
            )
    _install(folder, building, shard, top_k, token_dtype(vocab_size).name)


def store_kept(folder: Path, shard: Shard, file: Path, *, top_k: int, vocab_size: int) -> None:
    """Write what the target kept while it wrote ``shard``'s sequences, from the records in ``file``, as ``score`` would.

    Only tokens that the target wrote have a record; what it was given counts in no loss and gets rows of -inf.

    Raises:
        FastdraftError: the file has fewer records than the shard has written tokens.
    """
    top_k = min(top_k, vocab_size)
    dtype, length = token_dtype(vocab_size), len(shard.tokens)
    written = np.ones(length, dtype=np.uint8) if shard.mask is None else shard.mask
    kind = record_type(top_k, dtype)
    records: npt.NDArray[np.void] = (
        np.memmap(file, dtype=kind, mode="r") if file.stat().st_size else np.empty(0, dtype=kind)
    )
    if len(records) < int(written.sum()):
        raise FastdraftError(
            f"{file} holds too few records for {shard.folder}. Delete both to have the target write anew."
        )
    building = folder.with_name(f"{folder.name}.building")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    done = 0
    with (building / "ids.bin").open("wb") as ids_file, (building / "log_probs.bin").open("wb") as log_probs_file:
        for start in range(0, length, _PIECE):
            counted = np.asarray(written[start : start + _PIECE]) == 1
            found = records[done : done + int(counted.sum())]
            ids = np.zeros((len(counted), top_k), dtype=dtype)
            log_probs = np.full((len(counted), top_k + 1), -np.inf, dtype=np.float16)
            ids[counted], log_probs[counted] = found["ids"], found["log_probs"]
            ids_file.write(ids.tobytes())
            log_probs_file.write(log_probs.tobytes())
            done += len(found)
    _install(folder, building, shard, top_k, dtype.name)


def _install(folder: Path, building: Path, shard: Shard, top_k: int, dtype: str) -> None:
    """Put the whole files in ``building`` in the place of ``folder``, with their index."""
    index = LogitsIndex(
        shard=shard.index.sha256,
        top_k=top_k,
        dtype=dtype,
        num_tokens=len(shard.tokens),
        ids_sha256=file_sha256(building / "ids.bin"),
        log_probs_sha256=file_sha256(building / "log_probs.bin"),
    )
    (building / "index.json").write_text(json.dumps(asdict(index), indent=2))
    building.rename(folder)


def sequence_spans(shard: Shard, context_length: int) -> npt.NDArray[np.int64]:
    """Start and end of the sequences of ``shard``, ``[count, 2]``, in order; they cover all of it.

    A sequence that the target wrote begins where the loss mask goes back to nought. Text without a
    mask is one stream. What is longer than ``context_length`` is cut.
    """
    length = len(shard.tokens)
    starts = [0, length]
    if shard.mask is not None:
        starts = [0, *(np.flatnonzero((shard.mask[:-1] == 1) & (shard.mask[1:] == 0)) + 1), length]
    spans = [
        (piece, min(piece + context_length, end))
        for start, end in pairwise(starts)
        for piece in range(start, end, context_length)
    ]
    return np.asarray(spans, dtype=np.int64)


def _score_window(
    model: PreTrainedModel, shard: Shard, spans: npt.NDArray[np.int64], top_k: int, vocab_size: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float16]]:
    """Rows of all tokens of neighbouring ``spans``, in the shard's order."""
    first, last = int(spans[0, 0]), int(spans[-1, 1])
    ids = np.zeros((last - first, top_k), dtype=np.int64)
    log_probs = np.full((last - first, top_k + 1), -np.inf, dtype=np.float16)
    for batch in _batches(spans, min(_BATCH_TOKENS, _BATCH_LOGITS // vocab_size)):
        longest = int((batch[:, 1] - batch[:, 0]).max())
        rows = np.zeros((len(batch), longest), dtype=np.int64)
        for row, (start, end) in zip(rows, batch, strict=True):
            row[: end - start] = shard.tokens[start:end]
        # What pads a row stands behind its tokens, where causal attention does not look.
        for (start, end), found in zip(batch, _forward(model, rows, top_k, vocab_size), strict=True):
            # The logits after token i are the distribution of token i + 1.
            into = slice(start + 1 - first, end - first)
            ids[into], log_probs[into] = found.ids[: end - start - 1], found.log_probs[: end - start - 1]
    return ids, log_probs


@torch.inference_mode()
def _forward(model: PreTrainedModel, rows: npt.NDArray[np.int64], top_k: int, vocab_size: int) -> Iterator[SparseRows]:
    # With a cache, as decoding reads: Gemma 3n shares keys and values between layers only there.
    logits: Any = model(input_ids=torch.from_numpy(rows).to(model.device), use_cache=True).logits
    for row in logits[:, :, :vocab_size]:
        yield sparse_rows(row, top_k)


def _batches(spans: npt.NDArray[np.int64], tokens: int) -> Iterator[npt.NDArray[np.int64]]:
    """``spans`` sorted by length, in batches of at most ``tokens`` with their padding (one span at least)."""
    lengths = spans[:, 1] - spans[:, 0]
    order = np.argsort(lengths, kind="stable")
    start = 0
    while start < len(order):
        stop = start + 1
        while stop < len(order) and (stop + 1 - start) * lengths[order[stop]] <= tokens:
            stop += 1
        yield spans[order[start:stop]]
        start = stop


def _cut_to_whole_windows(paths: tuple[Path, Path], widths: tuple[int, int], ends: list[int]) -> int:
    """Cut both files back to the last window that both hold whole; the tokens kept."""
    held = min(p.stat().st_size // w if p.is_file() else 0 for p, w in zip(paths, widths, strict=True))
    kept = max((end for end in ends if end <= held), default=0)
    for path, width in zip(paths, widths, strict=True):
        with path.open("ab") as file:
            file.truncate(kept * width)
    return kept


def target_key(target: Path) -> str:
    """Names a target by the bytes of its weights, 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for file in sorted(target.glob("*.safetensors")):
        digest.update(_weights_sha256(file, *stamp(file)).encode())
    return digest.hexdigest()[:16]


@lru_cache(maxsize=512)
def _weights_sha256(file: Path, size: int, changed: int) -> str:
    """Read once while the file is the same: a stage asks for a target of any size several times."""
    del size, changed
    return file_sha256(file)
