"""A document, the side of the split that it is on, in which order a source gives its documents, and which of them are kept."""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from fastdraft_core.errors import FastdraftError

#: A place in a source, behind a document: which segment, and how many documents of it were given. Of the hub: round over its
#: files, file, rows of the piece.
Position = tuple[int, ...]
#: One document in this many is held out for evaluation, unless a source says otherwise.
HELD_OUT_MODULUS = 40
_DIGEST_BYTES = 16
#: Why a document is in no shard.
TOO_SHORT, DUPLICATE, CONTAMINATED = "too short", "duplicate", "contaminated"


@dataclass(frozen=True, slots=True)
class Document:
    """One text and the file that it came from; ``file`` decides whether it is held out.

    A row of a data set has no file of its own: its ``file`` is a hash of the text. ``position`` is where its source goes on behind it.
    """

    file: str
    text: str
    position: Position = field(default=(), compare=False)

    @property
    def held_out(self) -> bool:
        """Whether the whole file is kept away from training (about one in 40)."""
        return self.is_held_out(HELD_OUT_MODULUS)

    def is_held_out(self, modulus: int) -> bool:
        """Whether the whole file is kept away from training, one in ``modulus``. It never changes."""
        digest = hashlib.sha256(self.file.encode("utf-8", "replace")).digest()
        return int.from_bytes(digest[:4], "big") % modulus == 0


def row_document(text: str, position: Position = ()) -> Document:
    """A row of a data set: equal texts are on the same side of the split, in whatever order they come.

    Half a surrogate pair, which JSON can escape and no tokenizer takes, becomes a question mark.
    """
    data = text.encode("utf-8", "replace")
    return Document(hashlib.sha256(data).hexdigest(), data.decode(), position)


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a source that can be read by itself, such as a file, under a ``name`` of its own.

    ``read`` gives its documents behind the first so many. Where all of them are of one ``file``, that is known before any is read.
    """

    name: str
    read: Callable[[int], Iterator[Document]]
    file: str = ""


def shuffled(segments: Iterable[Segment]) -> list[Segment]:
    """The segments in an order that is the same everywhere and follows nothing that their names tell.

    A beginning of it is a sample of all, so a source need not be read further than somebody needs it.
    """
    return sorted(segments, key=lambda segment: hashlib.sha256(segment.name.encode("utf-8", "replace")).digest())


class Filter:
    """Leaves out documents that are too short or that were there before; ``dropped`` counts them by reason.

    What was seen is kept on disk, so memory stays constant however many documents there are. ``seen`` are digests that another filter
    took before this one goes on behind it.

    Raises:
        FastdraftError: that disk is full.
    """

    def __init__(self, *, min_chars: int = 1, deduplicate: bool = True, seen: bytes = b"") -> None:
        self.dropped: Counter[str] = Counter()
        self._min_chars = min_chars
        self._seen = _Seen(seen) if deduplicate else None
        self._taken = bytearray()

    def take_digests(self) -> bytes:
        """The digests of the documents that were kept since the last time this was asked."""
        taken, self._taken = bytes(self._taken), bytearray()
        return taken

    def __call__(self, documents: Iterable[Document]) -> Iterator[Document]:
        """The documents that are kept, in order."""
        return filter(self.keeps, documents)

    def keeps(self, document: Document) -> bool:
        """Whether this document is kept; it is counted, and marked as seen."""
        if len(document.text) < self._min_chars:
            self.dropped[TOO_SHORT] += 1
        elif self._seen is not None and not self._is_new(self._seen, document):
            self.dropped[DUPLICATE] += 1
        else:
            return True
        return False

    def _is_new(self, seen: _Seen, document: Document) -> bool:
        digest = hashlib.blake2b(document.text.encode("utf-8", "replace"), digest_size=_DIGEST_BYTES).digest()
        new = seen.add(digest)
        if new:
            self._taken += digest
        return new


class _Seen:
    """Digests of texts, in a temporary database that SQLite deletes by itself."""

    def __init__(self, digests: bytes) -> None:
        # An empty name is a private database on disk. It may be closed by another thread's collector.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -65536;"
            "CREATE TABLE seen (digest BLOB PRIMARY KEY) WITHOUT ROWID; BEGIN"
        )
        for begin in range(0, len(digests), _DIGEST_BYTES):
            self.add(digests[begin : begin + _DIGEST_BYTES])

    def add(self, digest: bytes) -> bool:
        """Whether the text of this digest is new; from now on it is not."""
        try:
            return self._database.execute("INSERT OR IGNORE INTO seen VALUES (?)", (digest,)).rowcount > 0
        except sqlite3.Error as error:
            raise FastdraftError(
                f"Which documents were seen already cannot be kept on the disk for temporary files ({error}). Make room there, "
                "name another folder by SQLITE_TMPDIR, or set deduplicate = false under [sources], and run again."
            ) from error
