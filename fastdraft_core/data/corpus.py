"""The sources of a recipe as token shards, made once for a source and a tokenizer and kept in the cache."""

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
from fastdraft_core.data.building import SIDES, build
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
from fastdraft_core.events import Event, Progress
from fastdraft_core.formatting import parse_count
from fastdraft_core.machine.devices import choose_threads
from fastdraft_core.text_sources import TextSource

_SPARE_TOKENS = 64
#: How documents become ids; shards that were made in another way are built again.
_ENCODED = "special tokens in the text are text; one end a document"


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

    def shard(self, name: str, tokenizer: Any, *, held_out: bool) -> Generator[Event, None, Shard]:
        """Open one side of a source, building both sides first where one is absent. Returns it."""
        hashed = tokenizer_hash(tokenizer)
        folders = self.folders(name, hashed)
        building = places.cache() / "shards" / f"{name}-{self._key(name, hashed)}.building"

        def there() -> bool:
            return all((folder / "index.json").is_file() for folder in folders)

        work = self._build(name, tokenizer, hashed, folders, building)
        yield from alone(building, f"tokenizes {name}", there, work)
        return open_shard(folders[held_out], tokenizer_hash=hashed)

    def folders(self, name: str, hashed: str) -> tuple[Path, Path]:
        """Where the training and the held-out shard of a source lie for a tokenizer with this hash."""
        key = self._key(name, hashed)
        train, held_out = (places.cache() / "shards" / f"{name}-{side}-{key}" for side in SIDES)
        return train, held_out

    def _build(
        self, name: str, tokenizer: Any, hashed: str, folders: tuple[Path, Path], building: Path
    ) -> Generator[Event, None, None]:
        yield Progress(what=f"tokenizing {name}")
        source = self.sources.get(name)
        settings = source or TextSource()

        def parts(start: Position, seen: bytes) -> Iterator[Part]:
            keep = Filter(min_chars=settings.min_chars, deduplicate=settings.deduplicate, seen=seen)
            return cut_parts(read_documents(name, source, start), keep, settings.held_out)

        text_tokenizer = plain(backend(tokenizer), special_tokens=settings.special_tokens)
        encoder = Encoder(text_tokenizer, tokenizer.eos_token_id, token_dtype(len(tokenizer)), self.evaluation)
        yield from build(
            folders,
            building,
            parts,
            encoder,
            source=name,
            tokenizer_hash=hashed,
            workers=choose_threads(),
            tokens=None if settings.tokens is None else parse_count(settings.tokens),
        )

    def _key(self, name: str, hashed: str) -> str:
        """Names everything that a shard depends on: tokenizer, source, its files, and what is kept out."""
        source = self.sources.get(name)
        files = ""
        if source is not None and source.path is not None:
            files = fingerprint(Path(source.path), source.extensions)
        whole = [_ENCODED, hashed, _described(source), files, self.evaluation.digest]
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:16]


def _described(source: TextSource | None) -> Any:
    """What a source's documents depend on, as plain data."""
    told = msgspec.to_builtins(source and msgspec.structs.replace(source, license=None))
    if source is not None and not source.files:
        # Shards keep the names that they had before there was this key.
        del told["files"]
    return told


def kept_shard(name: str, sha256: str, hashed: str, *, held_out: bool) -> Shard | None:
    """The shard in the cache of one side of a source whose tokens have this checksum, whatever became of the source.

    Raises:
        FastdraftError: it is damaged, or made by another tokenizer.
    """
    for index in sorted((places.cache() / "shards").glob(f"{name}-{SIDES[held_out]}-*/index.json")):
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
