"""Local files as documents: which are taken, how they are cut, and what is said where they are broken."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from fastdraft_core.data import files
from fastdraft_core.data.documents import Document
from fastdraft_core.data.files import file_rows, file_segments, fingerprint
from fastdraft_core.data.hub import hub_documents
from fastdraft_core.data.tokenizer import train_tokenizer
from fastdraft_core.errors import FastdraftError
from fastdraft_core.text_sources import TextSource

SHARED = Path(__file__).parents[3] / "shared" / "data"


def read(path: Path, field: str = "text", *extensions: str) -> list[Document]:
    """All documents of a path, in the order of the files."""
    return [d for segment in file_segments(path, field, list(extensions)) for d in segment.read(0)]


def texts(path: Path, field: str = "text", *extensions: str) -> list[str]:
    """Their texts."""
    return [d.text for d in read(path, field, *extensions)]


def _flipped(data: bytes) -> bytes:
    """A gzip stream that was damaged behind its header."""
    return data[:10] + bytes(byte ^ 0xFF for byte in data[10:30]) + data[30:]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as people have them: code, prose, rows, and things that are no text."""
    (tmp_path / "src").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "src" / "a.py").write_text("print('a')\n")
    (tmp_path / "b.MD").write_text("# b\n")
    (tmp_path / ".git" / "config.txt").write_text("hidden")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\0\0")
    (tmp_path / "binary.txt").write_bytes(b"GIF\0\0\0")
    (tmp_path / "rows.jsonl").write_text('{"text": "one"}\n\n{"text": "two"}\n')
    with gzip.open(tmp_path / "rows.jsonl.gz", "wt") as out:
        out.write(json.dumps({"text": "three"}))
    parquet.write_table(pyarrow.table({"text": ["four", None], "id": [1, 2]}), tmp_path / "rows.parquet")
    return tmp_path


def test_a_folder_gives_its_text_code_and_rows(folder: Path) -> None:
    """A path in a recipe is enough: hidden folders, pictures and binary files are passed over."""
    assert texts(folder) == ["# b\n", "one", "two", "three", "four", "", "print('a')\n"]


@pytest.mark.parametrize("ending", [".py", "py", "*.py", ".PY"])
def test_only_the_named_endings_are_taken(folder: Path, ending: str) -> None:
    """extensions = [".py"] means Python alone, however it is written."""
    assert texts(folder, "text", ending) == ["print('a')\n"]


def test_a_file_that_is_named_is_read_whatever_its_ending(tmp_path: Path) -> None:
    """Who names one file means it."""
    (tmp_path / "notes.log").write_text("hello")
    assert texts(tmp_path / "notes.log") == ["hello"]


def test_another_field_of_the_rows(tmp_path: Path) -> None:
    """Data sets name their text column differently: content, article, story."""
    (tmp_path / "rows.jsonl").write_text('{"content": "x", "text": "y"}')
    assert texts(tmp_path / "rows.jsonl", "content") == ["x"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (
            "a.jsonl",
            b'{"text": "x"}\n{"body": "y"}\n',
            r"a\.jsonl, line 2, has no text in the field 'text'; it has body",
        ),
        ("a.jsonl", b'{"text": "x"}\nnot json\n', r"a\.jsonl, line 2, is no JSON"),
        ("a.jsonl", b'{"text": 3}\n', "line 1, has no text"),
        ("a.jsonl.gz", b"not gzip", r"a\.jsonl\.gz cannot be read"),
        ("a.jsonl.gz", gzip.compress(b'{"text": "x"}\n' * 99, mtime=0)[:40], r"a\.jsonl\.gz cannot be read"),
        ("a.jsonl.gz", _flipped(gzip.compress(bytes(range(256)) * 9, mtime=0)), r"a\.jsonl\.gz cannot be read"),
        ("a.parquet", b"not parquet", r"a\.parquet cannot be read as parquet"),
    ],
)
def test_a_broken_file_is_one_sentence_with_its_place(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    """One bad line in a million must be found: file and line are named."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FastdraftError, match=words):
        read(tmp_path)


def test_a_row_without_its_text_is_an_empty_document(tmp_path: Path) -> None:
    """A null among a million texts is left out by every filter, in lines as in tables; it must not end the build."""
    (tmp_path / "rows.jsonl").write_text('{"text": "one"}\n{"text": null}\n{"text": "two"}\n')
    parquet.write_table(pyarrow.table({"text": ["three", None]}), tmp_path / "rows.parquet")
    assert texts(tmp_path) == ["one", "", "two", "three", ""]


def test_half_a_surrogate_pair_can_be_tokenized(tmp_path: Path) -> None:
    """JSON can escape what is no text; one such row in a crawl would end the tokenizing of all."""
    (tmp_path / "rows.jsonl").write_text('{"text": "a \\ud83d b"}\n{"text": "whole \\ud83d\\ude00"}\n')
    found = texts(tmp_path)
    assert found == ["a ? b", "whole \N{GRINNING FACE}"]
    assert train_tokenizer(iter(found), 300)(found).input_ids


def test_a_parquet_file_without_the_field_names_its_columns(folder: Path) -> None:
    """The way out is to set field, so the columns are listed."""
    with pytest.raises(FastdraftError, match=r"field 'body'; it has text, id"):
        read(folder / "rows.parquet", "body")


def test_a_path_that_is_not_there_or_holds_nothing(tmp_path: Path) -> None:
    """A misspelt path is said before anything is spent."""
    with pytest.raises(FastdraftError, match="There is no file or folder"):
        read(tmp_path / "gone")
    with pytest.raises(FastdraftError, match=r"ends with \.py"):
        read(tmp_path, "text", ".py")


@given(st.text(alphabet="ab \n", max_size=400))
def test_a_long_text_is_cut_without_loss(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """A book in one file becomes documents that, joined, are the book; each is short enough to hold one out."""
    path = tmp_path_factory.mktemp("long") / "book.txt"
    path.write_text(text, newline="")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "PIECE_CHARS", 20)
        found = read(path)
    assert "".join(d.text for d in found).split() == text.split()
    assert all(len(d.text) <= 40 for d in found)
    assert len({d.file for d in found}) == len(found)


def test_a_long_text_is_cut_at_paragraphs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A document that begins within a word or a sentence teaches nothing good."""
    monkeypatch.setattr(files, "PIECE_CHARS", 50)
    paragraphs = [f"Paragraph {n} says\nnothing at all.\n\n" for n in range(20)]
    (tmp_path / "book.txt").write_text("".join(paragraphs))
    assert all(text.startswith("Paragraph") and text.endswith("\n\n") for text in texts(tmp_path))


def test_a_changed_file_changes_the_fingerprint(folder: Path) -> None:
    """Shards of yesterday's files must not be taken for today's."""
    before = fingerprint(folder, [])
    assert fingerprint(folder, []) == before
    (folder / "b.MD").write_text("# c is longer\n")
    assert fingerprint(folder, []) != before


def test_rows_are_split_by_their_text_alone(tmp_path: Path) -> None:
    """The held-out side must be the same in whatever order or file the rows come."""
    rows = [json.dumps({"text": f"story {n}"}) for n in range(400)]
    (tmp_path / "a.jsonl").write_text("\n".join(rows))
    (tmp_path / "b.jsonl").write_text("\n".join(reversed(rows)))
    sides = [{d.text for d in read(tmp_path / name) if d.held_out} for name in ("a.jsonl", "b.jsonl")]
    assert sides[0] == sides[1]
    assert 1 <= len(sides[0]) <= 30


def test_a_large_file_of_rows_is_read_in_any_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first rows are no sample of it: it is cut at the ends of lines, each row is in one segment, each segment goes on anywhere."""
    rows = [json.dumps({"text": f"story {n} " + "x" * (n % 50)}) for n in range(300)]
    (tmp_path / "a.jsonl").write_text("\n".join([*rows[:100], "", *rows[100:]]))
    parquet.write_table(
        pyarrow.table({"text": [json.loads(row)["text"] for row in rows]}), tmp_path / "b.parquet", row_group_size=20
    )
    whole = texts(tmp_path / "a.jsonl")
    for size in (7, 64, 1000):
        monkeypatch.setattr(files, "_SEGMENT_BYTES", size)
        segments = list(file_segments(tmp_path / "a.jsonl", "text", []))
        assert len(segments) == -(-(tmp_path / "a.jsonl").stat().st_size // size)
        assert texts(tmp_path / "a.jsonl") == whole
    assert len(whole) == 300
    for segment in (*segments, *file_segments(tmp_path / "b.parquet", "text", [])):
        found = list(segment.read(0))
        assert [list(segment.read(n)) for n in (1, len(found) // 2)] == [found[1:], found[len(found) // 2 :]]
    assert texts(tmp_path / "b.parquet") == whole


def test_a_bad_line_behind_the_first_segment_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines are counted from the file's beginning, wherever reading began."""
    monkeypatch.setattr(files, "_SEGMENT_BYTES", 50)
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n' * 40 + "not json\n")
    with pytest.raises(FastdraftError, match=r"a\.jsonl, line 41, is no JSON"):
        list(list(file_segments(tmp_path, "text", []))[-1].read(0))


def test_the_stack_v2_says_what_to_do_instead() -> None:
    """It holds ids of Software Heritage; training on those would be nonsense."""
    with pytest.raises(FastdraftError, match=r"Software Heritage ids, not text.*blob_id.*path"):
        next(hub_documents(TextSource(hub="bigcode/the-stack-v2-train-smol-ids")))


def test_the_hub_out_of_reach_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline, a data set of the hub names itself and the way out."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(FastdraftError, match=r"roneneldan/TinyStories cannot be read from the hub .*by path"):
        next(hub_documents(TextSource(hub="roneneldan/TinyStories")))


def test_a_data_set_is_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows come one by one with the recipe's config, split and revision; FineWeb would fill any disk."""
    import datasets

    asked: dict[str, object] = {}

    def load(name: str, config: str | None, **options: object) -> object:
        asked.update(options, name=name, config=config)
        return datasets.Dataset.from_dict({"story": ["one", "two"]}).to_iterable_dataset()

    monkeypatch.setattr(datasets, "load_dataset", load)
    source = TextSource(hub="a/b", config="c", split="validation", revision="main", field="story")
    assert [d.text for d in hub_documents(source)] == ["one", "two"]
    wanted = {"name": "a/b", "config": "c", "split": "validation", "revision": "main", "streaming": True}
    assert asked == {**wanted, "data_files": None}
    with pytest.raises(FastdraftError, match=r"A row of a/b has no text in the field 'text'; it has story"):
        next(hub_documents(TextSource(hub="a/b")))


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is absent")
def test_real_files() -> None:
    """Real rows and a real book: as many documents as the files hold, and nothing lost."""
    assert len(read(SHARED / "text" / "c4_demo.jsonl")) == 300
    assert len(read(SHARED / "humaneval" / "HumanEval.jsonl.gz", "canonical_solution")) == 164
    book = SHARED / "text" / "tinyshakespeare.txt"
    assert "".join(texts(book)) == book.read_text()


def test_what_has_a_name_and_no_content_is_passed_over(folder: Path) -> None:
    """A link whose file is gone ended the reading, and a named pipe, which nobody writes to, never ended."""
    before = texts(folder)
    (folder / "gone.txt").symlink_to(folder / "nowhere")
    (folder / "folder.txt").mkdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.txt")
    assert texts(folder) == before
    assert fingerprint(folder, [])


def test_lists_inside_lists_by_the_thousand_are_one_sentence(tmp_path: Path) -> None:
    """The parser gives up on them with an error of its own, which is no damaged JSON to it."""
    deep = '{"text": ' + "[" * 100_000 + "]" * 100_000 + "}"
    for name, content in (("a.jsonl", '{"text": "x"}\n' + deep), ("b.json", f"[{deep}]")):
        path = tmp_path / name
        path.write_text(content)
        with pytest.raises(FastdraftError, match="no JSON"):
            list(file_rows(path, []))


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    """Some editors put one before a file's text; as a token it would begin documents that no model ever sees."""
    (tmp_path / "a.txt").write_text("hello", encoding="utf-8-sig")
    assert texts(tmp_path) == ["hello"]


@pytest.mark.parametrize(("value", "kind"), [(["a"], "a list"), (3, "a number"), ({"a": 1}, "an object")])
def test_a_column_of_something_else_is_named(tmp_path: Path, value: object, kind: str) -> None:
    """That a row has the column said nothing where it holds no text."""
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": value}))
    with pytest.raises(FastdraftError, match=rf"no text in the field 'text', which holds {kind}"):
        texts(tmp_path)
