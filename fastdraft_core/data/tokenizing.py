"""Documents to ids on all cores: parts of a stream go to processes, and come back in order.

What a part becomes depends on nothing but its documents, so shards are the same on every number of
processes. A worker loads ``tokenizers`` alone, no model library.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastdraft_core.data.decontamination import Overlap
from fastdraft_core.data.documents import CONTAMINATED, Document, Filter
from fastdraft_core.errors import FastdraftError

#: Size of a part: about half a million tokens, one to two seconds of one core.
PART_CHARS, PART_DOCUMENTS = 1 << 21, 1 << 14
#: Documents that are encoded together; an encoding takes many times the memory of its ids.
_ENCODE_BATCH = 64


@dataclass(frozen=True, slots=True)
class Part:
    """Neighbouring documents: the training ones and the held-out ones, and how many before them were left out."""

    train: list[str] = field(default_factory=list)
    held_out: list[str] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def sides(self) -> tuple[list[str], list[str]]:
        """Training texts, held-out texts."""
        return self.train, self.held_out


@dataclass(frozen=True, slots=True)
class Encoded:
    """One side of a part: the ids of its documents one after the other, and the length of each."""

    tokens: npt.NDArray[np.generic]
    lengths: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class EncodedPart:
    """A part as ids; ``dropped`` counts the documents that were left out, by reason."""

    train: Encoded
    held_out: Encoded
    dropped: Counter[str]


@dataclass(frozen=True)
class Encoder:
    """Text to ids, every document ended by ``eos``; a contaminated document becomes nothing.

    ``tokenizer`` is the JSON of a ``tokenizers.Tokenizer``, so that an encoder can travel.
    """

    tokenizer: str
    eos: int
    dtype: np.dtype[Any]
    overlap: Overlap

    def encode(self, part: Part, tokenizer: Any) -> EncodedPart:
        """``part`` as ids. ``tokenizer`` is :meth:`load`'s."""
        kept = [[text for text in side if not self.overlap.contaminates(text)] for side in part.sides]
        contaminated = sum(map(len, part.sides)) - sum(map(len, kept))
        dropped = part.dropped + Counter({CONTAMINATED: contaminated})
        train, held_out = (self._side(texts, tokenizer) for texts in kept)
        return EncodedPart(train, held_out, dropped)

    def load(self) -> Any:
        """The tokenizer itself."""
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_str(self.tokenizer)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    def _side(self, texts: list[str], tokenizer: Any) -> Encoded:
        documents = [np.zeros(0, dtype=self.dtype)]
        for start in range(0, len(texts), _ENCODE_BATCH):
            for encoding in tokenizer.encode_batch_fast(texts[start : start + _ENCODE_BATCH]):
                documents.append(np.asarray([*encoding.ids, self.eos], dtype=self.dtype))
        return Encoded(np.concatenate(documents), np.asarray([len(d) for d in documents[1:]], dtype=np.int64))


def cut_parts(documents: Iterable[Document], keep: Filter, held_out: int) -> Iterator[Part]:
    """The documents that ``keep`` keeps, in parts; one file in ``held_out`` is held out."""
    part, size, before = Part(), 0, Counter[str]()
    for document in keep(documents):
        (part.held_out if document.is_held_out(held_out) else part.train).append(document.text)
        size += len(document.text)
        if size >= PART_CHARS or sum(map(len, part.sides)) >= PART_DOCUMENTS:
            part.dropped.update(keep.dropped - before)
            yield part
            part, size, before = Part(), 0, keep.dropped.copy()
    part.dropped.update(keep.dropped - before)
    yield part


def encode_parts(parts: Iterator[Part], encoder: Encoder, workers: int) -> Generator[EncodedPart, None, None]:
    """Every part encoded, in order, on ``workers`` processes; a single part is encoded in this one.

    Raises:
        FastdraftError: a process was ended from outside, or cannot even start.
    """
    first = list(islice(parts, 2))
    parts = chain(first, parts)
    if len(first) < 2 or workers < 2:
        tokenizer = encoder.load()
        yield from (encoder.encode(part, tokenizer) for part in parts)
        return
    with tempfile.TemporaryDirectory() as folder:
        # A process that dies while it starts reads nothing more: what is sent to it must fit into a pipe, or the sender
        # waits for ever. So the encoder, megabytes with a large vocabulary, travels by file.
        path = Path(folder) / "encoder"
        path.write_bytes(pickle.dumps(encoder))
        spawn = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(workers, mp_context=spawn, initializer=_start_worker, initargs=(path,))
        try:
            yield from _encoded(pool, parts, workers + 2)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _encoded(pool: ProcessPoolExecutor, parts: Iterator[Part], ahead: int) -> Generator[EncodedPart, None, None]:
    """Every part from the pool, in order, with ``ahead`` of them on their way."""
    waiting: deque[Future[EncodedPart]] = deque()
    done = 0
    try:
        for part in parts:
            waiting.append(pool.submit(_encode_in_worker, part))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
                done += 1
        while waiting:
            yield waiting.popleft().result()
            done += 1
    except BrokenProcessPool as error:
        if not done:
            raise FastdraftError(
                "The processes that tokenize ended before they did anything; what they said stands above, or in log.txt. They import "
                "the program that started them, which must be a file and begin under `if __name__ == '__main__'`. With "
                "OMP_NUM_THREADS=1 none are started."
            ) from error
        raise FastdraftError(
            "A process that tokenizes was ended from outside, most often for want of memory. Finished parts are kept; "
            "free some memory, or set OMP_NUM_THREADS lower, and run again."
        ) from error


#: The encoder of this worker process and its loaded tokenizer.
_worker: tuple[Encoder, Any] | None = None


def _start_worker(path: Path) -> None:
    global _worker
    # Ctrl-C reaches the whole group; the process that writes the shards decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # There is a process for every core already.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    encoder: Encoder = pickle.loads(path.read_bytes())
    _worker = encoder, encoder.load()


def _end_with_parent() -> None:
    """A parent that was killed cannot tell its workers to end."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _encode_in_worker(part: Part) -> EncodedPart:
    assert _worker is not None
    encoder, tokenizer = _worker
    return encoder.encode(part, tokenizer)
