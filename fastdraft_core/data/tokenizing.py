"""Documents to ids on all cores: parts of a stream go to threads, and come back in order.

What a part becomes depends on nothing but its documents, so shards are the same on every number of threads. Encoding, nine
tenths of the work (measured on one core), runs without the interpreter's lock. So threads serve up to some ten cores
(computed from that share, seen on two), without the seconds that processes need to start.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fastdraft_core.data.decontamination import Overlap
from fastdraft_core.data.documents import CONTAMINATED, Document, Filter, Position

#: Size of a part: about 75 thousand tokens, a tenth of a second of one core.
PART_CHARS, PART_DOCUMENTS = 1 << 18, 1 << 14
#: A part ends as well where so much text of the other side was passed over: where a build stopped must be known before long.
PASSED_CHARS = 1 << 24
#: Documents that are encoded together; an encoding takes many times the memory of its ids.
_ENCODE_BATCH = 64
#: The position behind the last part.
END: Position = (-1,)


@dataclass(frozen=True, slots=True)
class Part:
    """Neighbouring documents of one side of a source, and how many before them were left out.

    ``position`` is where the next part begins, and ``seen`` are the digests of these documents.
    """

    texts: list[str] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    position: Position = ()
    seen: bytes = b""


@dataclass(frozen=True, slots=True)
class EncodedPart:
    """A part as ids: ``tokens`` of its documents one after the other, and the ``lengths`` of these.

    ``dropped`` counts the documents that were left out, by reason.
    """

    tokens: npt.NDArray[np.generic]
    lengths: npt.NDArray[np.int64]
    dropped: Counter[str]
    position: Position = ()
    seen: bytes = b""


@dataclass(frozen=True)
class Encoder:
    """Text to ids, every document ended by one ``eos``; a contaminated document becomes nothing.

    ``tokenizer`` is ``plain``; it may put ``eos`` behind a text by itself.
    """

    tokenizer: Any
    eos: int
    dtype: np.dtype[Any]
    overlap: Overlap

    def encode(self, part: Part) -> EncodedPart:
        """``part`` as ids."""
        kept = [text for text in part.texts if not self.overlap.contaminates(text)]
        dropped = part.dropped + Counter({CONTAMINATED: len(part.texts) - len(kept)})
        documents = [np.zeros(0, dtype=self.dtype), *self._ids(kept)]
        lengths = np.asarray([len(document) for document in documents[1:]], dtype=np.int64)
        return EncodedPart(np.concatenate(documents), lengths, dropped, part.position, part.seen)

    def _ids(self, texts: list[str]) -> Iterator[npt.NDArray[np.generic]]:
        for start in range(0, len(texts), _ENCODE_BATCH):
            for encoding in self.tokenizer.encode_batch_fast(texts[start : start + _ENCODE_BATCH]):
                ids = encoding.ids if encoding.ids[-1:] == [self.eos] else [*encoding.ids, self.eos]
                yield np.asarray(ids, dtype=self.dtype)


def plain(tokenizer: Any, *, special_tokens: bool = False) -> Any:
    """A copy of a ``tokenizers.Tokenizer`` that neither cuts nor pads; the given one may belong to somebody who wants that.

    A special token that stands in a text is text to it, unless ``special_tokens`` asks otherwise: a page about tokenizers
    would end in its middle.
    """
    from tokenizers import Tokenizer

    copied = Tokenizer.from_str(tokenizer.to_str())
    copied.no_truncation()
    copied.no_padding()
    copied.encode_special_tokens = not special_tokens
    return copied


def cut_parts(documents: Iterable[Document], keep: Filter, modulus: int, *, held_out: bool) -> Iterator[Part]:
    """The documents of one side that ``keep`` keeps, in parts; one file in ``modulus`` is held out."""
    part, size, passed, before = Part(), 0, 0, Counter[str]()
    for document in documents:
        if document.is_held_out(modulus) != held_out:
            passed += len(document.text)
        elif keep.keeps(document):
            part.texts.append(document.text)
            size += len(document.text)
        if size >= PART_CHARS or len(part.texts) >= PART_DOCUMENTS or passed >= PASSED_CHARS:
            left_out = keep.dropped - before
            yield replace(part, dropped=left_out, position=document.position, seen=keep.take_digests())
            part, size, passed, before = Part(), 0, 0, keep.dropped.copy()
    yield replace(part, dropped=keep.dropped - before, position=END, seen=keep.take_digests())


def encode_parts(parts: Iterator[Part], encoder: Encoder, workers: int) -> Generator[EncodedPart, None, None]:
    """Every part encoded, in order, on ``workers`` threads."""
    # Every thread here is one of the workers; the library would start as many again for each.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    pool = ThreadPoolExecutor(workers)
    waiting: deque[Future[EncodedPart]] = deque()
    try:
        for part in parts:
            waiting.append(pool.submit(encoder.encode, part))
            if len(waiting) >= workers + 2:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
