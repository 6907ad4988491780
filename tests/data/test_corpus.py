"""A recipe's sources as shards in the cache: built once, filtered, kept apart by all that they depend on."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from fastdraft_core import places
from fastdraft_core.data.corpus import Corpus, held_out_prompts
from fastdraft_core.data.decontamination import Overlap
from fastdraft_core.data.documents import Filter, row_document
from fastdraft_core.data.shards import Shard
from fastdraft_core.data.tokenizer import train_tokenizer
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Event, Tokenized
from fastdraft_core.text_sources import TextSource

SHARED = Path(__file__).parents[3] / "shared" / "data"


@cache
def tokenizer() -> Any:
    """A tokenizer of 300 ids."""
    return train_tokenizer(iter(["story number one two three"] * 20), 300)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own."""
    monkeypatch.setenv("FASTDRAFT_HOME", str(tmp_path / "home"))


def stories(path: Path, count: int = 60) -> TextSource:
    """A file of stories, one in four held out; each fifth is short."""
    rows = [{"text": f"story number {n}" + " and what came of it" * (n % 5) * 4} for n in range(count)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return TextSource(path=str(path), held_out=4)


def make(corpus: Corpus, name: str = "stories", *, held_out: bool = False) -> tuple[Shard, list[Event]]:
    """The shard and the events of getting it."""
    events: list[Event] = []
    stream = corpus.shard(name, tokenizer(), held_out=held_out)
    while True:
        try:
            events.append(next(stream))
        except StopIteration as stop:
            return stop.value, events


def texts(shard: Shard) -> list[str]:
    """The documents of a shard as text."""
    ends = [*shard.starts[1:], len(shard.tokens)]
    pieces = [shard.tokens[a:b].tolist() for a, b in zip(shard.starts, ends, strict=True)]
    return [tokenizer().decode(p, skip_special_tokens=True) for p in pieces]


def test_a_source_is_tokenized_once(tmp_path: Path) -> None:
    """Three drafts with one target share its shards; the other side was made in the same pass."""
    corpus = Corpus({"stories": stories(tmp_path / "rows.jsonl")})
    train, events = make(corpus)
    assert isinstance(events[-1], Tokenized)
    held_out, nothing = make(corpus, held_out=True)
    assert nothing == []
    assert not set(texts(train)) & set(texts(held_out))
    assert len(texts(train)) + len(texts(held_out)) == 60
    assert all(shard.index.source == "stories" for shard in (train, held_out))


def test_filters_and_their_account(tmp_path: Path) -> None:
    """Length, copies and overlap with an evaluation prompt: each document is kept or counted."""
    import msgspec

    path = tmp_path / "rows.jsonl"
    source = msgspec.structs.replace(stories(path), min_chars=40)
    copies = path.read_text()
    path.write_text(f"{copies}\n{copies}")
    prompt = "story number 7 and what came of it and what came of it"
    shards = [make(Corpus({"stories": source}, Overlap([prompt])), held_out=side)[0] for side in (False, True)]
    kept = [t for s in shards for t in texts(s)]
    assert sorted(kept) == sorted({t for t in kept if len(t) >= 40 and not t.startswith("story number 7 ")})
    assert shards[0].index.dropped == {"too short": 24, "duplicate": 48, "contaminated": 1}
    assert len(kept) == 120 - 24 - 48 - 1


def test_a_full_disk_for_temporary_files_is_one_sentence() -> None:
    """Where copies are looked for, billions of tokens leave gigabytes of marks: what is full, and the way out."""
    keep = Filter()
    assert keep._seen is not None
    keep._seen._database.execute("PRAGMA max_page_count = 16")
    with pytest.raises(FastdraftError, match=r"temporary files \(database or disk is full\).*SQLITE_TMPDIR"):
        list(keep(row_document(f"story {n}") for n in range(10_000)))


def test_whatever_changes_the_documents_makes_another_shard(tmp_path: Path) -> None:
    """A changed filter, file or evaluation must never read the old shard in silence."""
    import msgspec

    path = tmp_path / "rows.jsonl"
    source = stories(path)
    folders = {Corpus({"stories": source}).folders("stories", "abc")}
    folders.add(Corpus({"stories": msgspec.structs.replace(source, min_chars=9)}).folders("stories", "abc"))
    folders.add(Corpus({"stories": source}, Overlap(["a b c d e f g h i j k"])).folders("stories", "abc"))
    folders.add(Corpus({"stories": source}).folders("stories", "other tokenizer"))
    path.write_text(path.read_text() + "\n\n")
    folders.add(Corpus({"stories": source}).folders("stories", "abc"))
    assert len(folders) == 5


def test_a_damaged_shard_is_refused_by_name(tmp_path: Path) -> None:
    """The sentence names the folder to delete, and deleting it makes it anew."""
    import shutil

    corpus = Corpus({"stories": stories(tmp_path / "rows.jsonl")})
    shard, _ = make(corpus)
    damaged = bytearray((shard.folder / "tokens.bin").read_bytes())
    damaged[0] ^= 1
    (shard.folder / "tokens.bin").write_bytes(bytes(damaged))
    with pytest.raises(FastdraftError, match=shard.folder.name):
        make(corpus)
    shutil.rmtree(shard.folder)
    assert make(corpus)[0].index == shard.index


def test_a_vanished_source_is_said(tmp_path: Path) -> None:
    """Files that are gone end the training with their path."""
    corpus = Corpus({"stories": stories(tmp_path / "rows.jsonl")})
    make(corpus)
    (tmp_path / "rows.jsonl").unlink()
    with pytest.raises(FastdraftError, match=r"There is no file or folder .*rows\.jsonl"):
        make(corpus)


def test_nothing_is_left_beside_the_shards(tmp_path: Path) -> None:
    """Half-built folders are gone once the shards are whole."""
    make(Corpus({"stories": stories(tmp_path / "rows.jsonl")}))
    assert not [p for p in (places.cache() / "shards").iterdir() if p.is_dir() and "building" in p.name]


def test_held_out_prompts_begin_documents_and_go_on(tmp_path: Path) -> None:
    """Acceptance is measured on the beginnings of held-out documents, each with text after it."""
    shard, _ = make(Corpus({"stories": stories(tmp_path / "rows.jsonl", 200)}), held_out=True)
    prompts = held_out_prompts(shard, 5, 8)
    assert len(prompts) == 5
    assert all(len(p) == 8 and tokenizer().decode(p[1:]).startswith("story") for p in prompts)


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is absent")
def test_real_rows_come_back(tmp_path: Path) -> None:
    """300 pages of the web: every one is in a shard, byte for byte."""
    path = SHARED / "text" / "c4_demo.jsonl"
    corpus = Corpus({"c4": TextSource(path=str(path), held_out=10)})
    found = [t for side in (False, True) for t in texts(make(corpus, "c4", held_out=side)[0])]
    assert sorted(found) == sorted({json.loads(line)["text"] for line in path.read_text().splitlines()})
