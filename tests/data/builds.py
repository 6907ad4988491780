"""A corpus so small that a test tokenizes it, in parts that are smaller still.

Run as a program, ``python -m tests.data.builds FOLDER WORKERS PAUSE``, it builds there and waits after PAUSE more parts to be
killed; it writes the number of documents that it read so far.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np

from fastdraft_core.data import building, tokenizing
from fastdraft_core.data.building import Mark, build, open_at, reaching, read_marks
from fastdraft_core.data.decontamination import Overlap
from fastdraft_core.data.documents import Document, Filter, Position
from fastdraft_core.data.shards import Shard
from fastdraft_core.data.tokenizer import train_tokenizer
from fastdraft_core.data.tokenizing import Encoder, Part, cut_parts, plain

DOCUMENTS = 120
PROMPT = "an evaluation prompt of more than eight words that must not be trained on by anybody"
EOS = 1


@cache
def encoder() -> Encoder:
    """A tokenizer of 300 ids, and one prompt to keep out."""
    tokenizer = train_tokenizer(iter(["number one two three four five"] * 20), 300)
    return Encoder(plain(tokenizer.backend_tokenizer), EOS, np.dtype(np.uint16), Overlap([PROMPT]))


def documents() -> list[Document]:
    """Numbered documents; each tenth comes twice, one is empty and one holds the prompt. Each tells its position."""
    found = []
    for n in range(DOCUMENTS):
        found.append(Document(f"{n}.txt", f"number {n} " + "one two three " * (n % 7)))
        if n % 10 == 0:
            found.append(Document(f"copy-{n}.txt", f"number {n} " + "one two three " * (n % 7)))
    found += [Document("empty.txt", ""), Document("prompt.txt", f"See: {PROMPT}.")]
    return [replace(document, position=(0, number)) for number, document in enumerate(found, 1)]


#: The documents that were read, by their places.
was_read: list[int] = []


def _read(start: Position) -> Iterator[Document]:
    for document in documents()[start[1] if start else 0 :]:
        was_read.append(document.position[1] - 1)
        yield document


def parts(start: Position, seen: bytes, *, held_out: bool = False) -> Iterator[Part]:
    """The documents in parts of about 400 characters; one in five is held out."""
    tokenizing.PART_CHARS = 400
    return cut_parts(_read(start), Filter(seen=seen), 5, held_out=held_out)


def build_stream(
    folder: Path, *, workers: int = 1, tokens: int | None = None, held_out: bool = False, limit: int | None = None
) -> Generator[tuple[Mark, float], None, None]:
    """Build one side in ``folder``, with an event after each part."""
    building._EVENT_SECONDS = 0.0
    return build(
        folder,
        partial(parts, held_out=held_out),
        encoder(),
        source="numbers",
        tokenizer_hash="abc",
        workers=workers,
        tokens=tokens,
        limit=limit,
    )


def run(folder: Path, *, workers: int = 1, tokens: int | None = None, held_out: bool = False) -> list[Mark]:
    """The marks that a whole build told."""
    return [mark for mark, _ in build_stream(folder, workers=workers, tokens=tokens, held_out=held_out)]


def opened(folder: Path, tokens: int | None = None) -> Shard:
    """The shard as far as ``tokens``."""
    mark = reaching(read_marks(folder), tokens)
    assert mark is not None
    return open_at(folder, mark, tokenizer_hash="abc")


def main() -> None:
    """Build in the folder of the first argument, and wait after some parts."""
    folder, workers, pause = sys.argv[1:]
    for number, _ in enumerate(build_stream(Path(folder), workers=int(workers)), 1):
        if number == int(pause):
            sys.stdout.write(f"{len(was_read)}\n")
            sys.stdout.flush()
            time.sleep(600)


if __name__ == "__main__":
    main()
