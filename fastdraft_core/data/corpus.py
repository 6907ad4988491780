"""The sources of a recipe as token shards, kept in the cache for a source and a tokenizer, and as long as somebody needed them."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from fastdraft_core import places
from fastdraft_core.data.building import (
    NOTHING,
    WINDOW,
    Mark,
    build,
    has_files,
    open_at,
    reaching,
    read_marks,
    read_seen,
)
from fastdraft_core.data.decontamination import Overlap
from fastdraft_core.data.documents import Document, Filter, Position
from fastdraft_core.data.download_cache import pinned
from fastdraft_core.data.files import fingerprint
from fastdraft_core.data.instructions import instruction_files, read_instructions
from fastdraft_core.data.locks import alone
from fastdraft_core.data.shards import Shard, open_shard, token_dtype
from fastdraft_core.data.sources import documents, read_documents
from fastdraft_core.data.tokenizer import backend, tokenizer_hash
from fastdraft_core.data.tokenizing import Encoder, Part, cut_parts, plain
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Event, Progress, Tokenized
from fastdraft_core.formatting import parse_count
from fastdraft_core.machine.devices import choose_threads
from fastdraft_core.text_sources import TextSource

_SPARE_TOKENS = 64
#: The two sides of a source, as their folders are named.
SIDES = ("train", "held-out")
#: So many held-out tokens are kept, whatever the budgets: figures of two trainings are of the same text. An evaluation reads 256 rows.
HELD_OUT_TOKENS = 1 << 19
#: The same of the whole shards of earlier versions, on which texts of a target may rest that took hours to write.
_ENCODED_WHOLE = "special tokens in the text are text; one end a document"
#: How documents become ids; shards that were made in another way are built again.
_ENCODED = "special tokens in the text are text; one end a document; segments in a mixed order, a side at a time"


@dataclass(frozen=True)
class Corpus:
    """The sources that a recipe may name: its own ``sources`` and the built-in ones.

    A document that overlaps with ``evaluation`` is in no shard.
    """

    sources: Mapping[str, TextSource] = field(default_factory=dict)
    evaluation: Overlap = field(default_factory=Overlap)

    def documents(self, name: str) -> Iterator[Document]:
        """The training documents of a source, filtered, without those that overlap with the evaluation."""
        for document in documents(name, self.sources.get(name), held_out=False):
            if not self.evaluation.contaminates(document.text):
                yield document

    def instructions(self, name: str, *, held_out: bool) -> list[str]:
        """One side of a source of instructions, filtered as its documents would be; it is read once, and kept in the cache.

        Raises:
            FastdraftError: a file cannot be read or is of no known form, or nothing is on that side.
        """
        source = self.sources[name]

        def read() -> list[list[str]]:
            keep = Filter(min_chars=source.min_chars, deduplicate=source.deduplicate)
            sides: list[list[str]] = [[], []]
            for document in keep(read_instructions(source)):
                if not self.evaluation.contaminates(document.text):
                    sides[document.is_held_out(source.held_out)].append(document.text)
            return sides

        key = [_described(source), self.evaluation.digest]
        if source.path is not None:
            # What lies on the hub is not looked for again, but a file of the user's is when it was edited.
            key.append(fingerprint(Path(source.path), instruction_files(source)))
        texts = pinned(f"instructions-{name}", key, read, list[list[str]])[held_out]
        if not texts:
            raise FastdraftError(
                f"Source {name!r} has no instruction {'held out for evaluation' if held_out else 'to train on'}. Add some, or "
                f"set another held_out under [sources.{name}]."
            )
        return texts

    def shard(
        self, name: str, tokenizer: Any, *, held_out: bool, tokens: int | None = None
    ) -> Generator[Event, None, Shard]:
        """Open one side of a source: for training up to where it has ``tokens``, all of them where that is None. Returns it.

        What is missing is tokenized first; what is there stays as it is, so the same ``tokens`` are the same shard for ever.

        Raises:
            FastdraftError: a document cannot be read, the disk is full, or one side has no document.
        """
        hashed = tokenizer_hash(tokenizer)
        folders = self.folders(name, hashed)

        def there() -> bool:
            return (held_out or _reached(folders[0], tokens)) and _reached(folders[1], HELD_OUT_TOKENS)

        work = self._build(name, tokenizer, hashed, tokens, held_out)
        yield from alone(
            places.cache() / "shards" / f"{name}-{self._key(name, hashed)}", f"tokenizes {name}", there, work
        )
        mark = reaching(read_marks(folders[held_out]), HELD_OUT_TOKENS if held_out else tokens)
        assert mark is not None
        return open_at(folders[held_out], mark, tokenizer_hash=hashed)

    def whole_shard(self, name: str, hashed: str, *, held_out: bool) -> Shard | None:
        """One side of a source as versions tokenized it that knew whole sources alone; None where that is not in the cache."""
        folder = places.cache() / "shards" / f"{name}-{SIDES[held_out]}-{self._key(name, hashed, _ENCODED_WHOLE)}"
        return open_shard(folder, tokenizer_hash=hashed) if (folder / "index.json").is_file() else None

    def folders(self, name: str, hashed: str) -> tuple[Path, Path]:
        """Where the training and the held-out shard of a source lie for a tokenizer with this hash."""
        key = self._key(name, hashed)
        train, held_out = (places.cache() / "shards" / f"{name}-{side}-{key}" for side in SIDES)
        return train, held_out

    def _build(
        self, name: str, tokenizer: Any, hashed: str, tokens: int | None, held_out_alone: bool
    ) -> Generator[Event, None, None]:
        """Let the held-out side grow, and the training side unless that is not asked for."""
        yield Progress(what=f"tokenizing {name}")
        train, held_out = self.folders(name, hashed)
        aside, before = NOTHING, next(reversed(read_marks(train)), NOTHING)
        for aside, rate in self._grow(name, tokenizer, hashed, held_out, HELD_OUT_TOKENS, b""):
            yield _tokenized(name, before, aside, None, rate)
        if held_out_alone and aside.documents:
            return
        limit = self._limit(name)
        total = min((n for n in (tokens, limit) if n is not None), default=None)
        # A text that is held out is not trained on, whatever file it comes in.
        for mark, rate in self._grow(name, tokenizer, hashed, train, tokens, read_seen(held_out)):
            before = mark
            yield _tokenized(name, mark, aside, total, rate)
        if not (before.documents and aside.documents):
            raise FastdraftError(_empty_side(name, before, aside))

    def _grow(
        self, name: str, tokenizer: Any, hashed: str, folder: Path, tokens: int | None, never: bytes
    ) -> Iterator[tuple[Mark, float]]:
        """Let one side grow to so many ``tokens``, without the documents whose digests are in ``never``."""
        source = self.sources.get(name)
        settings = source or TextSource()
        held_out = folder.name.startswith(f"{name}-{SIDES[True]}-")

        def parts(start: Position, seen: bytes) -> Iterator[Part]:
            keep = Filter(min_chars=settings.min_chars, deduplicate=settings.deduplicate, seen=never + seen)
            found = read_documents(name, source, start, held_out=held_out)
            return cut_parts(found, keep, settings.held_out, held_out=held_out)

        text_tokenizer = plain(backend(tokenizer), special_tokens=settings.special_tokens)
        encoder = Encoder(text_tokenizer, tokenizer.eos_token_id, token_dtype(len(tokenizer)), self.evaluation)
        return build(
            folder,
            parts,
            encoder,
            source=name,
            tokenizer_hash=hashed,
            workers=choose_threads(),
            tokens=tokens,
            limit=None if held_out else self._limit(name),
            window=0 if held_out else WINDOW,
        )

    def _limit(self, name: str) -> int | None:
        """The training tokens at which the recipe ends a source."""
        source = self.sources.get(name)
        return None if source is None or source.tokens is None else parse_count(source.tokens)

    def _key(self, name: str, hashed: str, encoded: str = _ENCODED) -> str:
        """Names everything that a shard depends on: tokenizer, source, its files, and what is kept out."""
        source = self.sources.get(name)
        files = ""
        if source is not None and source.path is not None:
            files = fingerprint(Path(source.path), source.extensions)
        whole = [encoded, hashed, _described(source), files, self.evaluation.digest]
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:16]


def _described(source: TextSource | None) -> Any:
    """What a source's documents depend on, as plain data."""
    told = msgspec.to_builtins(source and msgspec.structs.replace(source, license=None))
    if source is not None and not source.files:
        # Shards keep the names that they had before there was this key.
        del told["files"]
    return told


def _reached(folder: Path, tokens: int | None) -> bool:
    """Whether the shard is there as far as ``tokens``, with documents in it."""
    mark = reaching(read_marks(folder), tokens)
    return mark is not None and mark.documents > 0 and has_files(folder, mark)


def _tokenized(name: str, train: Mark, held_out: Mark, total: int | None, rate: float) -> Tokenized:
    return Tokenized(
        source=name,
        tokens=train.tokens,
        held_out_tokens=held_out.tokens,
        total_tokens=total,
        documents=train.documents + held_out.documents,
        dropped=_left_out(train, held_out),
        tokens_per_second=rate,
    )


def _left_out(train: Mark, held_out: Mark) -> dict[str, int]:
    return {reason: train.dropped[reason] + held_out.dropped[reason] for reason in held_out.dropped}


def _empty_side(name: str, train: Mark, held_out: Mark) -> str:
    """What to say where one side of a source has no document."""
    left_out = ", ".join(f"{count:,} {reason}" for reason, count in _left_out(train, held_out).items())
    if not train.documents:
        return (
            f"Source {name!r} has no document to train on (left out: {left_out}). Add documents, or change its filters."
        )
    return (
        f"Source {name!r} has {train.documents:,} documents and none of them is held out for evaluation (left out: "
        f"{left_out}). Add documents, or set a smaller held_out under [sources.{name}]."
    )


def kept_shard(name: str, sha256: str, hashed: str, *, held_out: bool) -> Shard | None:
    """The shard in the cache of one side of a source whose tokens have this checksum, whatever became of the source.

    Raises:
        FastdraftError: it is damaged, or made by another tokenizer.
    """
    shards = places.cache() / "shards"
    for journal in sorted(shards.glob(f"{name}-{SIDES[held_out]}-*/journal.jsonl")):
        for mark in read_marks(journal.parent):
            if mark.sums[0] == sha256:
                return open_at(journal.parent, mark, tokenizer_hash=hashed)
    # Those that the target wrote, and all that were made before shards grew.
    for index in sorted(shards.glob(f"{name}-{SIDES[held_out]}-*/index.json")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            if json.loads(index.read_text())["sha256"] == sha256:
                return open_shard(index.parent, tokenizer_hash=hashed)
    return None


def held_out_prompts(shard: Shard, count: int, length: int) -> list[list[int]]:
    """The first ``length`` ids of ``count`` documents, evenly spread over a shard of held-out ones.

    A document must go on for some tokens after its prompt; fewer prompts come back where too few do.
    """
    ends = np.append(shard.starts[1:], len(shard.tokens))
    long_enough = shard.starts[ends - shard.starts >= length + _SPARE_TOKENS]
    chosen = long_enough[np.linspace(0, len(long_enough) - 1, min(count, len(long_enough)), dtype=int)]
    return [shard.tokens[start : start + length].tolist() for start in chosen]
