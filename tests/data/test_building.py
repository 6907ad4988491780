"""Building shards: the same on every number of threads and after every interruption."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tokenizers import processors

from fastdraft_core.data import building
from fastdraft_core.data.building import build
from fastdraft_core.data.decontamination import Overlap
from fastdraft_core.data.documents import Document, Filter
from fastdraft_core.data.tokenizer import train_tokenizer
from fastdraft_core.data.tokenizing import Encoder, Part, cut_parts, plain
from fastdraft_core.errors import FastdraftError
from tests.data.builds import DOCUMENTS, EOS, build_stream, documents, encoder, opened, run

ROOT = Path(__file__).resolve().parents[2]


def sums(folder: Path) -> list[tuple[str, str]]:
    """What tells two builds apart."""
    return [(s.index.sha256, s.index.starts_sha256) for s in opened(folder)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build without interruption, on one thread."""
    folder = tmp_path_factory.mktemp("whole")
    run(folder)
    return folder


def test_every_document_is_in_one_shard_once(whole: Path) -> None:
    """Ids, ends and starts agree with the tokenizer's own encoding; copies and the prompt are left out."""
    tokenizer = encoder().tokenizer
    expected: dict[bool, list[list[int]]] = {True: [], False: []}
    for document in documents():
        if document.file.partition(".")[0].isdecimal():
            expected[document.is_held_out(5)].append([*tokenizer.encode(document.text).ids, EOS])
    for shard, side in zip(opened(whole), (False, True), strict=True):
        found = np.split(shard.tokens, shard.starts[1:])
        assert [d.tolist() for d in found] == expected[side]
        assert shard.index.num_documents == len(found) > 5
    assert sum(map(len, expected.values())) == DOCUMENTS


def test_what_was_left_out_is_counted(whole: Path) -> None:
    """The account closes: every document is in a shard or counted with its reason."""
    assert opened(whole)[0].index.dropped == {"too short": 1, "duplicate": 12, "contaminated": 1}


def test_threads_change_nothing(tmp_path: Path, whole: Path) -> None:
    """More cores make it faster, not different."""
    events = run(tmp_path, workers=2)
    assert sums(tmp_path) == sums(whole)
    assert events[-1].tokens == opened(whole)[0].index.num_tokens
    assert events[-1].tokens_per_second > 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_build_goes_on_where_it_was(tmp_path: Path, whole: Path, workers: int) -> None:
    """kill -9 half way: nothing readable is left, finished parts are kept, and the shards come out the same."""
    command = [sys.executable, "-m", "tests.data.builds", str(tmp_path), str(workers), "4"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.kill()
    assert not (tmp_path / "train").exists()
    kept = (tmp_path / "x.building" / "journal.jsonl").read_text().splitlines()
    events = run(tmp_path)
    assert len(kept) >= 4
    assert events[0].tokens > json.loads(kept[-1])["sides"][0][0]
    assert sums(tmp_path) == sums(whole)
    assert opened(tmp_path)[0].index.dropped == opened(whole)[0].index.dropped
    assert not (tmp_path / "x.building").exists()


@pytest.mark.parametrize("damage", ["longer", "half a line", "flipped", "no journal", "short", "nonsense"])
def test_a_damaged_build_comes_out_right(tmp_path: Path, whole: Path, damage: str) -> None:
    """Whatever a crash left behind, the shards are those of a run without one."""
    stream = build_stream(tmp_path)
    for _ in range(3):
        next(stream)
    stream.close()
    tokens, journal = tmp_path / "x.building/train/tokens.bin", tmp_path / "x.building/journal.jsonl"
    data = tokens.read_bytes()
    if damage == "longer":
        tokens.write_bytes(data + b"\1\2\3")
    elif damage == "half a line":
        journal.write_text(journal.read_text() + '{"parts": 9, "si')
    elif damage == "flipped":
        tokens.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    elif damage == "no journal":
        journal.unlink()
    elif damage == "short":
        tokens.write_bytes(data[:5])
    else:
        journal.write_text("nonsense\n")
    run(tmp_path)
    assert sums(tmp_path) == sums(whole)


def test_what_comes_behind_a_damaged_line_is_kept(tmp_path: Path, whole: Path) -> None:
    """A line that cannot be read is cut off once; it must not cost every later start the parts behind it."""
    journal = tmp_path / "x.building/journal.jsonl"
    for damage in ("nonsense\n", ""):
        stream = build_stream(tmp_path)
        for _ in range(3):
            next(stream)
        stream.close()
        journal.write_text(journal.read_text() + damage)
    assert [json.loads(line)["parts"] for line in journal.read_text().splitlines()] == [1, 2, 3, 4, 5, 6]
    run(tmp_path)
    assert sums(tmp_path) == sums(whole)


def test_a_power_cut_costs_only_what_was_not_on_the_disk(tmp_path: Path, whole: Path) -> None:
    """A journal that reached the disk before the tokens did: the parts whose tokens are there are not read again."""
    stream = build_stream(tmp_path)
    for _ in range(3):
        next(stream)
    stream.close()
    folder = tmp_path / "x.building"
    journal = (folder / "journal.jsonl").read_text().splitlines()
    with (folder / "train" / "tokens.bin").open("r+b") as tokens:
        tokens.truncate(2 * json.loads(journal[1])["sides"][0][0] + 3)
    stream = build_stream(tmp_path)
    next(stream)
    stream.close()
    assert (folder / "journal.jsonl").read_text().splitlines() == journal
    run(tmp_path)
    assert sums(tmp_path) == sums(whole)


def test_a_build_that_died_while_it_put_the_shards_in_place(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One side in place and the other not: the next run makes both whole."""
    install = building.install

    def dies(side: Path, folder: Path, index: object) -> None:
        if folder.name == "held-out":
            raise KeyboardInterrupt
        install(side, folder, index)  # type: ignore[arg-type]

    monkeypatch.setattr(building, "install", dies)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    monkeypatch.undo()
    run(tmp_path)
    assert sums(tmp_path) == sums(whole)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_limit_of_tokens_ends_the_build(tmp_path: Path, whole: Path, workers: int) -> None:
    """tokens = "5B" of FineWeb stops there: the beginning of the whole, reached and not much more."""
    run(tmp_path, workers=workers, tokens=300)
    train, complete = opened(tmp_path)[0], opened(whole)[0]
    assert 300 <= len(train.tokens) < 900 < len(complete.tokens)
    assert np.array_equal(train.tokens, complete.tokens[: len(train.tokens)])


def test_a_source_that_holds_nothing_out_says_so(tmp_path: Path) -> None:
    """Without held-out text nothing can be judged; the message says what to set."""
    arguments = {"source": "one", "tokenizer_hash": "abc", "workers": 1}
    for found, words in (
        ([Document("a", "")], r"no document to train on \(left out: 1 too short"),
        ([Document("1.txt", "text")], r"set a smaller held_out under \[sources\.one\]"),
    ):
        with pytest.raises(FastdraftError, match=words):
            list(
                build(
                    (tmp_path / "a", tmp_path / "b"),
                    tmp_path / "c",
                    lambda *_, found=found: cut_parts(found, Filter(), 1000),
                    encoder(),
                    **arguments,
                )
            )  # type: ignore[arg-type]


def test_a_full_disk_is_one_sentence_and_keeps_what_is_finished(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No space left: the reason and the way out; after that the build goes on."""
    append = building._Side.append
    calls = iter(range(100))

    def full(self: object, *arguments: object) -> None:
        if next(calls) == 7:
            raise OSError(errno.ENOSPC, "No space left on device")
        append(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(building._Side, "append", full)
    with pytest.raises(FastdraftError, match=r"No space left on device.*run again"):
        run(tmp_path)
    monkeypatch.undo()
    run(tmp_path)
    assert sums(tmp_path) == sums(whole)


def test_a_special_token_in_a_text_is_text_unless_asked() -> None:
    """A page that quotes <|eos|> would end in its middle, and teach the draft ends that nobody wrote."""
    tokenizer = train_tokenizer(iter(["number one two three four five"] * 20), 300)
    text = "one <|eos|> two"
    for special_tokens, ends in ((False, 1), (True, 2)):
        encode = Encoder(
            plain(tokenizer.backend_tokenizer, special_tokens=special_tokens), EOS, np.dtype(np.uint16), Overlap()
        )
        ids = encode.encode(Part([text])).train.tokens.tolist()
        assert (ids[0], ids[-1], ids.count(EOS)) == (0, EOS, ends)
        assert tokenizer.decode(ids[1:-1]) == text


def test_a_document_ends_once(tmp_path: Path) -> None:
    """Some tokenizers put the end behind every text by themselves (add_eos_token); two ends are one document too many."""
    tokenizer = train_tokenizer(iter(["number one two three four five"] * 20), 300)
    backend = tokenizer.backend_tokenizer
    single = "<|bos|> $A <|eos|>"
    backend.post_processor = processors.TemplateProcessing(
        single=single, special_tokens=[("<|bos|>", 0), ("<|eos|>", 1)]
    )
    encoded = Encoder(plain(backend), EOS, np.dtype(np.uint16), Overlap()).encode(Part(["one", "two"])).train
    assert encoded.tokens.tolist().count(EOS) == 2
    assert [encoded.tokens[n - 1] for n in np.cumsum(encoded.lengths)] == [EOS, EOS]
