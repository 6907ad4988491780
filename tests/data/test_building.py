"""Building shards: the same on every number of threads and after every interruption."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tokenizers import processors

from fastdraft_core.data import building, tokenizing
from fastdraft_core.data.building import Mark, has_files, read_marks
from fastdraft_core.data.decontamination import Overlap
from fastdraft_core.data.documents import Filter
from fastdraft_core.data.tokenizer import train_tokenizer
from fastdraft_core.data.tokenizing import EncodedPart, Encoder, Part, cut_parts, plain
from fastdraft_core.errors import FastdraftError
from tests.data.builds import EOS, PROMPT, build_stream, documents, encoder, opened, run, was_read


def sums(folder: Path, tokens: int | None = None) -> tuple[str, str]:
    """What tells two builds apart."""
    index = opened(folder, tokens).index
    return index.sha256, index.starts_sha256


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build without interruption, on one thread."""
    folder = tmp_path_factory.mktemp("whole") / "shard"
    run(folder)
    return folder


@pytest.mark.parametrize("held_out", [False, True])
def test_every_document_is_in_one_shard_once(tmp_path: Path, held_out: bool) -> None:
    """Ids, ends and starts agree with the tokenizer's own encoding; copies and the prompt are left out."""
    run(tmp_path / "shard", held_out=held_out)
    tokenizer = encoder().tokenizer
    texts, expected = set[str](), []
    for document in documents():
        if document.is_held_out(5) == held_out and document.text not in {"", f"See: {PROMPT}.", *texts}:
            texts.add(document.text)
            expected.append([*tokenizer.encode(document.text).ids, EOS])
    shard = opened(tmp_path / "shard")
    assert [d.tolist() for d in np.split(shard.tokens, shard.starts[1:])] == expected
    assert shard.index.num_documents == len(expected) > 5


def test_what_was_left_out_is_counted(whole: Path) -> None:
    """The account closes: every document of a side is in its shard or counted with its reason."""
    index = opened(whole).index
    side = [document for document in documents() if not document.is_held_out(5)]
    assert set(index.dropped) == {"too short", "duplicate", "contaminated"}
    assert index.num_documents + sum(index.dropped.values()) == len(side)
    assert index.dropped["duplicate"] > 5


def test_threads_change_nothing(tmp_path: Path, whole: Path) -> None:
    """More cores make it faster, not different."""
    told = list(build_stream(tmp_path / "shard", workers=2))
    assert sums(tmp_path / "shard") == sums(whole)
    assert told[-1][0].tokens == opened(whole).index.num_tokens
    assert told[-1][1] > 0


def _killed(folder: Path, workers: int, pause: int) -> int:
    """Build in a process that is killed after some parts; the documents that it read."""
    command = [sys.executable, "-m", "tests.data.builds", str(folder), str(workers), str(pause)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        read = int(process.stdout.readline())
        process.kill()
    return read


@pytest.mark.parametrize("workers", [1, 2])
def test_a_build_that_is_killed_again_and_again_comes_to_its_end(tmp_path: Path, whole: Path, workers: int) -> None:
    """kill -9 after every third part: each start goes on behind the last, reads on there, and the shard comes out the same."""
    folder, reached, kills = tmp_path / "shard", 0, 0
    parts = len(read_marks(whole))
    while parts - len(read_marks(folder)) > 3:
        read = _killed(folder, workers, 3)
        marks = read_marks(folder)
        assert marks[-1].tokens > reached
        # A few parts are read ahead; of what lies before its beginning nothing is.
        assert read <= len(documents()) - (marks[-4].position[1] if len(marks) > 3 else 0)
        reached, kills = marks[-1].tokens, kills + 1
    told = run(folder)
    assert kills >= 3
    assert told[0].tokens > reached
    assert sums(folder) == sums(whole)
    assert opened(folder).index == opened(whole).index


@pytest.mark.parametrize(
    "damage", ["longer", "half a line", "flipped", "no journal", "short", "nonsense", "no digests", "no header"]
)
def test_a_damaged_build_comes_out_right(tmp_path: Path, whole: Path, damage: str) -> None:
    """Whatever a crash left behind, the shard is that of a run without one."""
    folder = tmp_path / "shard"
    stream = build_stream(folder)
    for _ in range(3):
        next(stream)
    stream.close()
    tokens, journal = folder / "tokens.bin", folder / "journal.jsonl"
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
    elif damage == "nonsense":
        journal.write_text("nonsense\n")
    elif damage == "no digests":
        (folder / "seen.bin").write_bytes(b"")
    else:
        (folder / "header.json").unlink()
    run(folder)
    assert sums(folder) == sums(whole)


def test_what_comes_behind_a_damaged_line_is_kept(tmp_path: Path, whole: Path) -> None:
    """A line that cannot be read is cut off once; it must not cost every later start the parts behind it."""
    folder = tmp_path / "shard"
    journal = folder / "journal.jsonl"
    for damage in ("nonsense\n", ""):
        stream = build_stream(folder)
        for _ in range(3):
            next(stream)
        stream.close()
        journal.write_text(journal.read_text() + damage)
    assert read_marks(folder) == read_marks(whole)[:6]
    run(folder)
    assert sums(folder) == sums(whole)


def test_a_power_cut_costs_only_what_was_not_on_the_disk(tmp_path: Path, whole: Path) -> None:
    """A journal that reached the disk before the tokens did: the parts whose tokens are there are not read again."""
    folder = tmp_path / "shard"
    stream = build_stream(folder)
    for _ in range(3):
        next(stream)
    stream.close()
    marks = read_marks(folder)
    with (folder / "tokens.bin").open("r+b") as tokens:
        tokens.truncate(2 * marks[1].tokens + 3)
    assert [has_files(folder, mark) for mark in marks] == [True, True, False]
    was_read.clear()
    stream = build_stream(folder)
    next(stream)
    stream.close()
    assert read_marks(folder) == marks
    assert was_read[0] == marks[1].position[1]
    run(folder)
    assert sums(folder) == sums(whole)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_shard_grows_as_far_as_it_is_needed(tmp_path: Path, whole: Path, workers: int) -> None:
    """300 tokens of a long source: what lies behind is not read; more of it later goes on there and changes nothing before."""
    folder = tmp_path / "shard"
    was_read.clear()
    run(folder, workers=workers, tokens=300)
    first, complete = opened(folder, 300), opened(whole)
    assert 300 <= len(first.tokens) < 900 < len(complete.tokens)
    # As many parts more as the threads wait with.
    assert max(was_read) < 0.6 * len(documents())
    assert not first.index.whole
    ended = max(was_read)
    was_read.clear()
    run(folder, workers=workers, tokens=600)
    assert was_read[0] <= ended + 1
    assert was_read[0] >= read_marks(folder)[0].position[1]
    # Whoever asked for 300 opens the very same, and still reads what was mapped before.
    assert opened(folder, 300).index == first.index
    assert np.array_equal(first.tokens, complete.tokens[: len(first.tokens)])
    was_read.clear()
    run(folder, tokens=500)
    assert was_read == []
    run(folder)
    assert sums(folder) == sums(whole)
    assert opened(folder).index.whole


def test_the_recipes_end_of_a_source_is_its_end(tmp_path: Path) -> None:
    """tokens = "5B" under [sources]: nothing behind it is read, whatever a stage asks for."""
    for _ in build_stream(tmp_path / "shard", tokens=10_000, limit=300):
        pass
    shard = opened(tmp_path / "shard", 10_000)
    assert 300 <= len(shard.tokens) < 900
    assert shard.index.whole


def test_a_full_disk_is_one_sentence_and_keeps_what_is_finished(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No space left: the reason and the way out; after that the build goes on."""
    behind = building._Growing._behind
    calls = iter(range(100))

    def full(self: building._Growing, part: EncodedPart) -> Mark:
        if next(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return behind(self, part)

    monkeypatch.setattr(building._Growing, "_behind", full)
    with pytest.raises(FastdraftError, match=r"No space left on device.*run again"):
        run(tmp_path / "shard")
    monkeypatch.undo()
    assert len(read_marks(tmp_path / "shard")) == 3
    run(tmp_path / "shard")
    assert sums(tmp_path / "shard") == sums(whole)


def test_a_long_way_to_the_next_held_out_document_is_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """One document in 10,000 is held out: a build that is killed before it finds one must not begin at the start again."""
    monkeypatch.setattr(tokenizing, "PASSED_CHARS", 1000)
    found = list(cut_parts(documents(), Filter(), 1 << 30, held_out=True))
    assert len(found) > 3
    assert not any(part.texts for part in found)
    places = [part.position for part in found]
    assert places[:-1] == sorted(places[:-1])
    assert places[-1] == tokenizing.END


def test_a_special_token_in_a_text_is_text_unless_asked() -> None:
    """A page that quotes <|eos|> would end in its middle, and teach the draft ends that nobody wrote."""
    tokenizer = train_tokenizer(iter(["number one two three four five"] * 20), 300)
    text = "one <|eos|> two"
    for special_tokens, ends in ((False, 1), (True, 2)):
        encode = Encoder(
            plain(tokenizer.backend_tokenizer, special_tokens=special_tokens), EOS, np.dtype(np.uint16), Overlap()
        )
        ids = encode.encode(Part([text])).tokens.tolist()
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
    encoded = Encoder(plain(backend), EOS, np.dtype(np.uint16), Overlap()).encode(Part(["one", "two"]))
    assert encoded.tokens.tolist().count(EOS) == 2
    assert [encoded.tokens[n - 1] for n in np.cumsum(encoded.lengths)] == [EOS, EOS]
