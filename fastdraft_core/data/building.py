"""Building both shards of a source, training and held-out, in one pass that can be killed and go on.

Everything is written in order into a folder ``….building``. After each part a line in
``journal.jsonl`` tells how far the files reach and their checksums so far. The next run cuts the files
back to the last line that they agree with, reads the source again, and encodes from there on. A source that can be entered anywhere
(the hub's) is read from there on, too: the line says the position, and ``seen.bin`` holds the digests of the documents before it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fastdraft_core.data.documents import CONTAMINATED, DUPLICATE, TOO_SHORT, Position
from fastdraft_core.data.shards import ShardIndex, file_sha256, install
from fastdraft_core.data.tokenizing import END, Encoded, EncodedPart, Encoder, Part, encode_parts
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Event, Tokenized

#: The two sides of a source, as their folders are named.
SIDES = ("train", "held-out")
_EVENT_SECONDS = 2.0
_START_BYTES = 8
_SEEN = "seen.bin"
#: The parts of a source from a position on; the digests are of the documents before it. All of them where both are empty.
Parts = Callable[[Position, bytes], Iterator[Part]]


@dataclass
class _Side:
    """The files of one side while they grow."""

    folder: Path
    tokens: int = 0
    documents: int = 0
    digest: Any = field(default_factory=hashlib.sha256)

    def append(self, encoded: Encoded, files: tuple[BinaryIO, BinaryIO]) -> None:
        data = encoded.tokens.tobytes()
        starts = self.tokens + np.cumsum(encoded.lengths) - encoded.lengths
        for file, content in zip(files, (data, starts.astype(np.int64).tobytes()), strict=True):
            file.write(content)
            file.flush()
        self.digest.update(data)
        self.tokens += len(encoded.tokens)
        self.documents += len(encoded.lengths)

    def agreeing(self, lines: list[tuple[int, int, str]], width: int) -> list[Any]:
        """The checksum at each line of the journal (tokens, documents, SHA-256), while the files agree with it."""
        found: list[Any] = []
        digest = hashlib.sha256()
        with contextlib.suppress(OSError), (self.folder / "tokens.bin").open("rb") as file:
            size = (self.folder / "starts.bin").stat().st_size
            for tokens, documents, sha256 in lines:
                digest.update(file.read(tokens * width - file.tell()))
                if digest.hexdigest() != sha256 or documents * _START_BYTES > size:
                    break
                found.append(digest.copy())
        return found

    def cut_back(self, tokens: int, documents: int, digest: Any, width: int) -> None:
        """Cut the files to this size, at which ``digest`` is their checksum."""
        for name, end in {"tokens": tokens * width, "starts": documents * _START_BYTES}.items():
            with (self.folder / f"{name}.bin").open("r+b") as file:
                file.truncate(end)
        self.tokens, self.documents, self.digest = tokens, documents, digest


class _Build:
    """What is built so far, and the journal of it."""

    def __init__(self, folder: Path, width: int) -> None:
        self.folder, self.parts, self.dropped = folder, 0, Counter[str]()
        self.position: Position = ()
        """Where the source goes on; empty where it is read from its start."""
        self.seen = b""
        """Digests of the documents before."""
        self._all_seen = True
        self.sides = [_Side(folder / name) for name in SIDES]
        self._journal = folder / "journal.jsonl"
        if not self._goes_on(width):
            shutil.rmtree(folder, ignore_errors=True)
            self.parts, self.dropped, self.sides = 0, Counter(), [_Side(folder / name) for name in SIDES]
        for side in self.sides:
            side.folder.mkdir(parents=True, exist_ok=True)

    def append(self, parts: Iterator[EncodedPart]) -> Iterator[None]:
        """Write part after part; between two of them everything on disk agrees."""
        with contextlib.ExitStack() as stack:
            files = [
                tuple(stack.enter_context((s.folder / f"{name}.bin").open("ab")) for name in ("tokens", "starts"))
                for s in self.sides
            ]
            journal = stack.enter_context(self._journal.open("a", encoding="utf-8"))
            seen = stack.enter_context((self.folder / _SEEN).open("ab"))
            for part in parts:
                for side, encoded, (tokens, starts) in zip(self.sides, (part.train, part.held_out), files, strict=True):
                    side.append(encoded, (tokens, starts))
                self.parts += 1
                self.dropped.update(part.dropped)
                reached = [(s.tokens, s.documents, s.digest.hexdigest()) for s in self.sides]
                seen.write(part.seen)
                seen.flush()
                line = {"parts": self.parts, "sides": reached, "dropped": self.dropped}
                line |= {"position": part.position if self._all_seen else (), "seen": seen.tell()}
                journal.write(json.dumps(line) + "\n")
                journal.flush()
                yield

    @property
    def reasons(self) -> dict[str, int]:
        """How many documents were left out, by reason; every reason is named."""
        return {reason: self.dropped[reason] for reason in (TOO_SHORT, DUPLICATE, CONTAMINATED)}

    def _goes_on(self, width: int) -> bool:
        """Cut everything back to the journal's last line that the files agree with; False where there is none."""
        lines = self._lines()
        digests = [side.agreeing([line["sides"][n] for line, _ in lines], width) for n, side in enumerate(self.sides)]
        agreed = min(map(len, digests))
        if not agreed:
            return False
        last, end = lines[agreed - 1]
        self.parts, self.dropped = last["parts"], Counter(last["dropped"])
        for side, found, (tokens, documents, _) in zip(self.sides, digests, last["sides"], strict=True):
            side.cut_back(tokens, documents, found[agreed - 1], width)
        with self._journal.open("r+b") as journal:
            journal.truncate(end)
        self._find_position(tuple(last.get("position", ())), last.get("seen", 0))
        return True

    def _find_position(self, position: Position, size: int) -> None:
        """Go on at ``position``, where the digests before it are all there; else this build is never entered in its middle."""
        self._all_seen = False
        with contextlib.suppress(OSError), (self.folder / _SEEN).open("r+b") as file:
            seen = file.read(size)
            file.truncate(size)
            if position and len(seen) == size:
                self.position, self.seen, self._all_seen = position, seen, True

    def _lines(self) -> list[tuple[dict[str, Any], int]]:
        """The journal's whole lines before the first that cannot be read, each with the byte where it ends."""
        found, end = [], 0
        with contextlib.suppress(OSError, ValueError):
            for line in self._journal.read_bytes().splitlines(keepends=True):
                end += len(line)
                if line.endswith(b"\n"):
                    found.append((json.loads(line), end))
        return found


def build(
    folders: tuple[Path, Path],
    building: Path,
    parts: Parts,
    encoder: Encoder,
    *,
    source: str,
    tokenizer_hash: str,
    workers: int,
    tokens: int | None = None,
) -> Generator[Event, None, None]:
    """Write the training and the held-out shard of ``parts``; stop at the first part that reaches ``tokens``.

    Raises:
        FastdraftError: the disk is full, nothing is left to train on, or nothing is held out.
    """
    try:
        state = _Build(building, encoder.dtype.itemsize)
        yield from _append(state, parts, encoder, source, workers, tokens)
        if not all(side.documents for side in state.sides):
            shutil.rmtree(building)
            raise FastdraftError(_empty_side(source, state))
        for side, folder in zip(state.sides, folders, strict=True):
            index = ShardIndex(
                source=source,
                tokenizer_hash=tokenizer_hash,
                dtype=encoder.dtype.name,
                num_tokens=side.tokens,
                num_documents=side.documents,
                sha256=side.digest.hexdigest(),
                starts_sha256=file_sha256(side.folder / "starts.bin"),
                dropped=state.reasons,
            )
            install(side.folder, folder, index)
        shutil.rmtree(building)
    except OSError as error:
        raise FastdraftError(
            f"The token shards of {source} cannot be written in {building} ({error.strerror or error}). What is finished "
            "is kept; make room on the disk, or move the cache with FASTDRAFT_HOME, and run again."
        ) from error


def _append(
    state: _Build, parts: Parts, encoder: Encoder, source: str, workers: int, limit: int | None
) -> Generator[Event, None, None]:
    """Encode and write the parts that are missing."""
    begin = reported = time.perf_counter()
    train, held_out = state.sides
    already = train.tokens + held_out.tokens

    def event() -> Tokenized:
        return Tokenized(
            source=source,
            tokens=train.tokens,
            held_out_tokens=held_out.tokens,
            total_tokens=limit,
            documents=train.documents + held_out.documents,
            dropped=state.reasons,
            tokens_per_second=(train.tokens + held_out.tokens - already) / (time.perf_counter() - begin),
        )

    if limit is None or train.tokens < limit:
        encoded = encode_parts(_missing(state, parts), encoder, workers)
        with contextlib.closing(encoded):
            for _ in state.append(encoded):
                if time.perf_counter() - reported >= _EVENT_SECONDS:
                    reported = time.perf_counter()
                    yield event()
                if limit is not None and train.tokens >= limit:
                    break
    yield event()


def _missing(state: _Build, parts: Parts) -> Iterator[Part]:
    """The parts that are not built yet."""
    if state.position == END:
        return iter(())
    if state.position:
        return parts(state.position, state.seen)
    return islice(parts((), b""), state.parts, None)


def _empty_side(source: str, state: _Build) -> str:
    """What to say where one side of a source has no document."""
    documents = state.sides[0].documents
    left_out = ", ".join(f"{count:,} {reason}" for reason, count in state.reasons.items())
    if not documents:
        return f"Source {source!r} has no document to train on (left out: {left_out}). Add documents, or change its filters."
    return (
        f"Source {source!r} has {documents:,} documents and none of them is held out for evaluation (left out: "
        f"{left_out}). Add documents, or set a smaller held_out under [sources.{source}]."
    )
