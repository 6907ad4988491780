"""A recipe's sources as shards in the cache: built once, filtered, kept apart by all that they depend on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastdraft_core import places
from fastdraft_core.data import corpus as corpora
from fastdraft_core.data import files, tokenizing
from fastdraft_core.data.corpus import Corpus, held_out_prompts, kept_shard
from fastdraft_core.data.decontamination import Overlap
from fastdraft_core.data.documents import Document, Filter, row_document
from fastdraft_core.data.shards import Shard
from fastdraft_core.data.tokenizer import tokenizer_hash, train_tokenizer
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


def make(
    corpus: Corpus, name: str = "stories", *, held_out: bool = False, tokens: int | None = None
) -> tuple[Shard, list[Event]]:
    """The shard and the events of getting it."""
    events: list[Event] = []
    stream = corpus.shard(name, tokenizer(), held_out=held_out, tokens=tokens)
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


def test_a_source_is_tokenized_as_far_as_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """40K tokens of a large source take no more; later needs extend it, and the same need is the same shard for ever."""
    monkeypatch.setattr(tokenizing, "PART_CHARS", 500)
    corpus = Corpus({"stories": stories(tmp_path / "rows.jsonl", 400)})
    small, _ = make(corpus, tokens=300)
    held_out, nothing = make(corpus, held_out=True)
    assert nothing == []
    assert 300 <= small.index.num_tokens < 1000
    assert not small.index.whole
    large, events = make(corpus, tokens=2000)
    assert isinstance(events[-1], Tokenized)
    assert events[-1].total_tokens == 2000
    whole, _ = make(corpus)
    assert small.index.num_tokens < large.index.num_tokens < whole.index.num_tokens
    assert whole.index.whole
    for view in (small, large):
        assert np.array_equal(view.tokens, whole.tokens[: len(view.tokens)])
        assert view.place != whole.place
    # What an evaluation reads is the same for all of them.
    assert make(corpus, held_out=True)[0].index == held_out.index
    again, nothing = make(corpus, tokens=300)
    assert (again.index, nothing) == (small.index, [])
    kept = kept_shard("stories", small.index.sha256, tokenizer_hash(tokenizer()), held_out=False)
    assert kept is not None
    assert kept.index == small.index
    assert len(texts(whole)) + len(texts(held_out)) == 400


def test_a_small_budget_opens_few_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not needed is not read, and what is read is not the first files by name."""
    monkeypatch.setattr(tokenizing, "PART_CHARS", 500)
    monkeypatch.setattr(corpora, "HELD_OUT_TOKENS", 100)
    (tmp_path / "texts").mkdir()
    for number in range(300):
        (tmp_path / "texts" / f"{number:03}.txt").write_text(f"story number {number} " * 10)
    opened: list[int] = []
    pieces = files._pieces

    def noting(file: Path, name: str) -> Iterator[Document]:
        opened.append(int(file.stem))
        return pieces(file, name)

    monkeypatch.setattr(files, "_pieces", noting)
    corpus = Corpus({"texts": TextSource(path=str(tmp_path / "texts"), held_out=4)})
    make(corpus, "texts", tokens=300)
    assert len(set(opened)) < 120
    assert 100 < sum(set(opened)) / len(set(opened)) < 200


def test_a_held_out_text_is_never_trained_on(tmp_path: Path) -> None:
    """The same licence in a held-out file and in a training one: wherever they lie, it judges, and it is not trained on."""
    for folder, numbers in (("a", range(40)), ("b", range(39, -1, -1))):
        (tmp_path / folder).mkdir()
        for place, number in enumerate(numbers):
            (tmp_path / folder / f"{place}.txt").write_text(f"story number {number % 20}")
        corpus = Corpus({folder: TextSource(path=str(tmp_path / folder), held_out=4)})
        train, held_out = (texts(make(corpus, folder, held_out=side)[0]) for side in (False, True))
        assert not set(train) & set(held_out)
        assert len({*train, *held_out}) == len(train) + len(held_out) == 20


def test_a_source_that_holds_nothing_out_says_so(tmp_path: Path) -> None:
    """Without held-out text nothing can be judged; the message says what to set, every time."""
    for name, text, words in (
        ("empty", "", r"no document to train on \(left out: [12] too short"),
        (
            "one",
            "story",
            r"'one' has 1 documents and none of them is held out .*set a smaller held_out under \[sources\.one\]",
        ),
    ):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"text": text}))
        corpus = Corpus({name: TextSource(path=str(tmp_path / f"{name}.jsonl"), held_out=1000)})
        for held_out in (False, True, False):
            with pytest.raises(FastdraftError, match=words):
                make(corpus, name, held_out=held_out)


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
    dropped = Counter(shards[0].index.dropped) + Counter(shards[1].index.dropped)
    assert dropped == {"too short": 24, "duplicate": 48, "contaminated": 1}
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
