"""A document, the side of the split that it is on, and which documents of a stream are kept."""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fastdraft_core.errors import FastdraftError

#: One document in this many is held out for evaluation, unless a source says otherwise.
HELD_OUT_MODULUS = 40
#: Why a document is in no shard.
TOO_SHORT, DUPLICATE, CONTAMINATED = "too short", "duplicate", "contaminated"


@dataclass(frozen=True, slots=True)
class Document:
    """One text and the file that it came from; ``file`` decides whether it is held out.

    A row of a data set has no file of its own: its ``file`` is a hash of the text.
    """

    file: str
    text: str

    @property
    def held_out(self) -> bool:
        """Whether the whole file is kept away from training (about one in 40)."""
        return self.is_held_out(HELD_OUT_MODULUS)

    def is_held_out(self, modulus: int) -> bool:
        """Whether the whole file is kept away from training, one in ``modulus``. It never changes."""
        digest = hashlib.sha256(self.file.encode("utf-8", "replace")).digest()
        return int.from_bytes(digest[:4], "big") % modulus == 0


def row_document(text: str) -> Document:
    """A row of a data set: equal texts are on the same side of the split, in whatever order they come.

    Half a surrogate pair, which JSON can escape and no tokenizer takes, becomes a question mark.
    """
    data = text.encode("utf-8", "replace")
    return Document(hashlib.sha256(data).hexdigest(), data.decode())


class Filter:
    """Leaves out documents that are too short or that were there before; ``dropped`` counts them by reason.

    What was seen is kept on disk, so memory stays constant however many documents there are.

    Raises:
        FastdraftError: that disk is full.
    """

    def __init__(self, *, min_chars: int = 1, deduplicate: bool = True) -> None:
        self.dropped: Counter[str] = Counter()
        self._min_chars = min_chars
        self._seen = _Seen() if deduplicate else None

    def __call__(self, documents: Iterable[Document]) -> Iterator[Document]:
        """The documents that are kept, in order."""
        for document in documents:
            if len(document.text) < self._min_chars:
                self.dropped[TOO_SHORT] += 1
            elif self._seen is not None and not self._seen.add(document.text):
                self.dropped[DUPLICATE] += 1
            else:
                yield document


class _Seen:
    """Digests of texts, in a temporary database that SQLite deletes by itself."""

    def __init__(self) -> None:
        # An empty name is a private database on disk. It may be closed by another thread's collector.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -65536;"
            "CREATE TABLE seen (digest BLOB PRIMARY KEY) WITHOUT ROWID; BEGIN"
        )

    def add(self, text: str) -> bool:
        """Whether ``text`` is new; from now on it is not."""
        digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()
        try:
            return self._database.execute("INSERT OR IGNORE INTO seen VALUES (?)", (digest,)).rowcount > 0
        except sqlite3.Error as error:
            raise FastdraftError(
                f"Which documents were seen already cannot be kept on the disk for temporary files ({error}). Make room there, "
                "name another folder by SQLITE_TMPDIR, or set deduplicate = false under [sources], and run again."
            ) from error
