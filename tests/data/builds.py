"""A corpus so small that a test tokenizes it, in parts that are smaller still.

Run as a program, ``python -m tests.data.builds FOLDER WORKERS PAUSE``, it builds there and waits after
PAUSE parts to be killed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Iterator
from functools import cache
from pathlib import Path

import numpy as np

from fastdraft_core.data import building, tokenizing
from fastdraft_core.data.building import build
from fastdraft_core.data.decontamination import Overlap
from fastdraft_core.data.documents import Document, Filter, Position
from fastdraft_core.data.shards import Shard, open_shard
from fastdraft_core.data.tokenizer import train_tokenizer
from fastdraft_core.data.tokenizing import Encoder, Part, cut_parts, plain
from fastdraft_core.events import Event, Tokenized

DOCUMENTS = 120
PROMPT = "an evaluation prompt of more than eight words that must not be trained on by anybody"
EOS = 1


@cache
def encoder() -> Encoder:
    """A tokenizer of 300 ids, and one prompt to keep out."""
    tokenizer = train_tokenizer(iter(["number one two three four five"] * 20), 300)
    return Encoder(plain(tokenizer.backend_tokenizer), EOS, np.dtype(np.uint16), Overlap([PROMPT]))


def documents() -> Iterator[Document]:
    """Numbered documents; each tenth comes twice, one is empty and one holds the prompt."""
    for n in range(DOCUMENTS):
        yield Document(f"{n}.txt", f"number {n} " + "one two three " * (n % 7))
        if n % 10 == 0:
            yield Document(f"copy-{n}.txt", f"number {n} " + "one two three " * (n % 7))
    yield Document("empty.txt", "")
    yield Document("prompt.txt", f"See: {PROMPT}.")


def parts(start: Position, seen: bytes) -> Iterator[Part]:
    """The documents in parts of about 400 characters; one in five is held out. Files have no positions."""
    assert (start, seen) == ((), b"")
    tokenizing.PART_CHARS = 400
    return cut_parts(documents(), Filter(), 5)


def build_stream(folder: Path, *, workers: int = 1, tokens: int | None = None) -> Generator[Event, None, None]:
    """Build both shards in ``folder``, with an event after each part."""
    building._EVENT_SECONDS = 0.0
    return build(
        (folder / "train", folder / "held-out"),
        folder / "x.building",
        parts,
        encoder(),
        source="numbers",
        tokenizer_hash="abc",
        workers=workers,
        tokens=tokens,
    )


def run(folder: Path, *, workers: int = 1, tokens: int | None = None) -> list[Tokenized]:
    """The events of a whole build."""
    return [e for e in build_stream(folder, workers=workers, tokens=tokens) if isinstance(e, Tokenized)]


def main() -> None:
    """Build in the folder of the first argument, and wait after some parts."""
    folder, workers, pause = sys.argv[1:]
    for number, _ in enumerate(build_stream(Path(folder), workers=int(workers)), 1):
        if number == int(pause):
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            time.sleep(600)


def opened(folder: Path) -> tuple[Shard, Shard]:
    """Both shards."""
    return open_shard(folder / "train", tokenizer_hash="abc"), open_shard(folder / "held-out", tokenizer_hash="abc")


if __name__ == "__main__":
    main()
