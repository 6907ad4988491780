"""One side of a source as a shard that grows as far as somebody needs it, in a build that can be killed and go on.

Documents are encoded in the source's own order, in parts. After each part a line in ``journal.jsonl`` tells how far the files
reach, their checksums so far and where the source goes on; ``seen.bin`` holds the digests of the documents before. The next
build cuts the files back to the last line that they agree with, enters the source there and appends. What is there stays as it
is, so whoever needs so many tokens opens the files up to the first line that reaches them, however far they go.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from fastdraft_core.data.documents import CONTAMINATED, DUPLICATE, TOO_SHORT, Position
from fastdraft_core.data.shards import Shard, ShardIndex, open_files
from fastdraft_core.data.tokenizing import END, EncodedPart, Encoder, Part, encode_parts
from fastdraft_core.errors import FastdraftError
from fastdraft_core.files import write_atomic

#: Rows are shuffled within stretches of so many tokens: row n is the same however far a shard has grown behind its stretch.
WINDOW = 1 << 17
_EVENT_SECONDS = 2.0
_HEADER, _JOURNAL = "header.json", "journal.jsonl"
_FILES = ("tokens.bin", "starts.bin", "seen.bin")
_START_BYTES = 8
#: The parts of a side from a position on; the digests are of the documents before it. All of them where both are empty.
Parts = Callable[[Position, bytes], Iterator[Part]]


class Mark(msgspec.Struct, frozen=True):
    """A line of the journal: how far a shard reaches after a part. ``sums`` are the checksums of tokens, starts and digests."""

    tokens: int
    documents: int
    seen: int
    sums: tuple[str, str, str]
    dropped: dict[str, int]
    position: Position

    @property
    def ended(self) -> bool:
        """Whether the source has nothing behind it."""
        return self.position == END


#: Before the first part.
NOTHING = Mark(0, 0, 0, ("", "", ""), dict.fromkeys((TOO_SHORT, DUPLICATE, CONTAMINATED), 0), ())


def read_marks(folder: Path) -> list[Mark]:
    """The whole lines of a shard's journal before the first that cannot be read."""
    return [mark for mark, _ in _lines(folder)]


def reaching(marks: Sequence[Mark], tokens: int | None) -> Mark | None:
    """The first mark with so many ``tokens``, or the source's end; None where the shard does not reach them."""
    return next((m for m in marks if m.ended or (tokens is not None and m.tokens >= tokens)), None)


def open_at(folder: Path, mark: Mark, *, tokenizer_hash: str) -> Shard:
    """Open a growing shard up to ``mark``.

    Raises:
        FastdraftError: it is damaged, or made by another tokenizer.
    """

    def index() -> ShardIndex:
        header = ShardIndex(**json.loads((folder / _HEADER).read_text()))
        return replace(
            header,
            num_tokens=mark.tokens,
            num_documents=mark.documents,
            sha256=mark.sums[0],
            starts_sha256=mark.sums[1],
            dropped=mark.dropped,
            whole=mark.ended,
        )

    return open_files(folder, index, tokenizer_hash=tokenizer_hash)


def build(
    folder: Path,
    parts: Parts,
    encoder: Encoder,
    *,
    source: str,
    tokenizer_hash: str,
    workers: int,
    tokens: int | None = None,
    limit: int | None = None,
    window: int = 0,
) -> Generator[tuple[Mark, float], None, None]:
    """Let the shard in ``folder`` grow to the first part that reaches ``tokens``, or to the source's end.

    The part that reaches ``limit`` is the source's last. Yields the last mark and the tokens/s now and then, and at the end.

    Raises:
        FastdraftError: the disk is full.
    """
    header = ShardIndex(source, tokenizer_hash, encoder.dtype.name, 0, 0, "", window=window)
    try:
        growing = _Growing(folder, header, limit)
        yield from _grow(growing, parts, encoder, workers, tokens)
    except OSError as error:
        raise FastdraftError(
            f"The token shards of {source} cannot be written in {folder} ({error.strerror or error}). What is finished "
            "is kept; make room on the disk, or move the cache with FASTDRAFT_HOME, and run again."
        ) from error


@dataclass
class _Growing:
    """The files of a shard, cut back to what they agree on, and the journal's last line of it."""

    folder: Path
    header: ShardIndex
    limit: int | None
    mark: Mark = field(init=False)
    seen: bytes = field(init=False)
    """Digests of the documents that are there."""

    def __post_init__(self) -> None:
        self._digests = [hashlib.sha256() for _ in _FILES]
        self.mark, self.seen = NOTHING, b""
        if not self._goes_on():
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            write_atomic(self.folder / _HEADER, json.dumps(asdict(self.header)).encode())

    def append(self, parts: Iterator[EncodedPart]) -> Iterator[Mark]:
        """Write part after part; between two of them everything on disk agrees."""
        with contextlib.ExitStack() as stack:
            files = [stack.enter_context((self.folder / name).open("ab")) for name in _FILES]
            journal = stack.enter_context((self.folder / _JOURNAL).open("ab"))
            for part in parts:
                starts = self.mark.tokens + np.cumsum(part.lengths) - part.lengths
                grown = part.tokens.tobytes(), starts.astype(np.int64).tobytes(), part.seen
                for file, digest, data in zip(files, self._digests, grown, strict=True):
                    file.write(data)
                    file.flush()
                    digest.update(data)
                self.mark = self._behind(part)
                journal.write(msgspec.json.encode(self.mark) + b"\n")
                journal.flush()
                yield self.mark

    def _behind(self, part: EncodedPart) -> Mark:
        tokens, starts, seen = (digest.hexdigest() for digest in self._digests)
        reached = self.mark.tokens + len(part.tokens)
        return Mark(
            tokens=reached,
            documents=self.mark.documents + len(part.lengths),
            seen=self.mark.seen + len(part.seen),
            sums=(tokens, starts, seen),
            dropped=_every_reason(Counter(self.mark.dropped) + part.dropped),
            position=END if self.limit is not None and reached >= self.limit else part.position,
        )

    def _goes_on(self) -> bool:
        """Cut everything back to the journal's last line that the files agree with; False where there is none."""
        with contextlib.suppress(OSError, ValueError, TypeError):
            if ShardIndex(**json.loads((self.folder / _HEADER).read_text())) == self.header:
                lines = _lines(self.folder)
                width = np.dtype(self.header.dtype).itemsize
                found = [self._agreeing(n, [(_sizes(m, width)[n], m.sums[n]) for m, _ in lines]) for n in range(3)]
                if agreed := min(map(len, found)):
                    mark, end = lines[agreed - 1]
                    self._cut_back(mark, end, _sizes(mark, width))
                    self._digests = [digests[agreed - 1] for digests in found]
                    return True
        return False

    def _agreeing(self, number: int, lines: list[tuple[int, str]]) -> list[Any]:
        """The digest of a file at each of ``lines`` (bytes, SHA-256), while the file agrees with them."""
        found: list[Any] = []
        digest = hashlib.sha256()
        with (self.folder / _FILES[number]).open("rb") as file:
            for size, sha256 in lines:
                digest.update(file.read(size - file.tell()))
                if digest.hexdigest() != sha256:
                    break
                found.append(digest.copy())
        return found

    def _cut_back(self, mark: Mark, end: int, sizes: tuple[int, int, int]) -> None:
        for name, size in zip((*_FILES, _JOURNAL), (*sizes, end), strict=True):
            with (self.folder / name).open("r+b") as file:
                file.truncate(size)
        self.mark, self.seen = mark, (self.folder / _FILES[2]).read_bytes()


def has_files(folder: Path, mark: Mark) -> bool:
    """Whether the files of a shard are as long as ``mark`` says; a power cut may have left the journal alone."""
    try:
        width = np.dtype(json.loads((folder / _HEADER).read_text())["dtype"]).itemsize
        sizes = [(folder / name).stat().st_size for name in _FILES]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return all(size >= wanted for size, wanted in zip(sizes, _sizes(mark, width), strict=True))


def read_seen(folder: Path) -> bytes:
    """The digests of the documents of a shard."""
    return (folder / _FILES[2]).read_bytes()


def _sizes(mark: Mark, width: int) -> tuple[int, int, int]:
    return mark.tokens * width, mark.documents * _START_BYTES, mark.seen


def _lines(folder: Path) -> list[tuple[Mark, int]]:
    """The marks of a journal, each with the byte where its line ends."""
    found, end = [], 0
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        for line in (folder / _JOURNAL).read_bytes().splitlines(keepends=True):
            end += len(line)
            if line.endswith(b"\n"):
                found.append((msgspec.json.decode(line, type=Mark), end))
    return found


def _every_reason(dropped: Counter[str]) -> dict[str, int]:
    """How many documents were left out, by reason; every reason is named."""
    return {reason: dropped[reason] for reason in (TOO_SHORT, DUPLICATE, CONTAMINATED)}


def _grow(
    growing: _Growing, parts: Parts, encoder: Encoder, workers: int, tokens: int | None
) -> Generator[tuple[Mark, float], None, None]:
    """Encode and write the parts that are missing."""
    begin = reported = time.perf_counter()
    already = growing.mark.tokens

    def now() -> tuple[Mark, float]:
        return growing.mark, (growing.mark.tokens - already) / (time.perf_counter() - begin)

    if reaching([growing.mark], tokens) is None:
        encoded = encode_parts(parts(growing.mark.position, growing.seen), encoder, workers)
        with contextlib.closing(encoded):
            for mark in growing.append(encoded):
                if time.perf_counter() - reported >= _EVENT_SECONDS:
                    reported = time.perf_counter()
                    yield now()
                if reaching([mark], tokens) is not None:
                    break
    yield now()
