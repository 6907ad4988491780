"""A look into a source before a training begins: what the job would stumble over is said at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fastdraft_core.data.source_check import glance
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Glanced, decode_message
from fastdraft_core.text_sources import TextSource
from tests.commands import Cli


def notes(folder: Path, count: int = 60) -> TextSource:
    """A folder of short texts."""
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:02}.txt").write_text(f"Note {number}.\n")
    return TextSource(path=str(folder))


def rows(path: Path, count: int = 60, **others: str) -> TextSource:
    """A file of rows with the column body."""
    path.write_text("".join(json.dumps({"body": f"Row {n}.", **others}) + "\n" for n in range(count)))
    return TextSource(path=str(path))


def test_a_folder_is_counted_and_begun(tmp_path: Path) -> None:
    """How many files, how the first begins, and that the usual share can be held out."""
    found = glance("notes", notes(tmp_path / "notes", 300))
    assert (found.files, found.first, found.held_out) == (300, "Note 0.", 40)


def test_few_documents_are_held_out_by_a_larger_share(tmp_path: Path) -> None:
    """Ten notes train a draft: a source without a held-out side would end the job."""
    source = notes(tmp_path / "notes", 10)
    assert 2 <= glance("notes", source).held_out < 40


def test_what_cannot_be_used_is_said(tmp_path: Path) -> None:
    """No such path, a column that is not there, nothing to read, one document alone."""
    with pytest.raises(FastdraftError, match="There is no file or folder"):
        glance("gone", TextSource(path=str(tmp_path / "gone")))
    source = rows(tmp_path / "rows.jsonl")
    with pytest.raises(FastdraftError, match=r"no text in the field 'text'; it has body"):
        glance("rows", source)
    assert glance("rows", TextSource(path=source.path, field="body")).first == "Row 0."
    (tmp_path / "one.txt").write_text("Alone.")
    with pytest.raises(FastdraftError, match="1 document with text, too few"):
        glance("one", TextSource(path=str(tmp_path / "one.txt")))
    (tmp_path / "none.txt").write_text("  \n")
    with pytest.raises(FastdraftError, match="0 documents with text"):
        glance("none", TextSource(path=str(tmp_path / "none.txt")))


def test_rows_behind_many_texts_are_seen(tmp_path: Path) -> None:
    """The first row of every file is read, not only of the first files."""
    source = notes(tmp_path / "notes", 300)
    rows(tmp_path / "notes" / "zz.jsonl")
    with pytest.raises(FastdraftError, match="zz"):
        glance("notes", source)


def test_instructions_are_read_as_such(tmp_path: Path) -> None:
    """Alpaca rows need no column; rows of an unknown form are told by theirs."""
    source = rows(tmp_path / "asked.jsonl", instruction="Add.")
    with pytest.raises(FastdraftError, match="1 document"):
        glance("asked", source, instructions=True)
    lines = (json.dumps({"instruction": f"Add {n}.", "output": "5"}) + "\n" for n in range(60))
    (tmp_path / "alpaca.jsonl").write_text("".join(lines))
    assert glance("alpaca", TextSource(path=str(tmp_path / "alpaca.jsonl")), instructions=True).first == "Add 0."
    with pytest.raises(FastdraftError, match="no instruction of a known form"):
        glance("rows", rows(tmp_path / "rows.jsonl"), instructions=True)


def test_the_command_looks_at_the_sources_of_a_recipe(cli: Cli, tmp_path: Path) -> None:
    """Every source that the recipe describes, or those named; a wrong one is one sentence and exit code 1."""
    notes(tmp_path / "notes")
    recipe = tmp_path / "mine.toml"
    bundled = Path(__file__).parents[2] / "assets" / "recipes" / "demo-tiny.toml"
    recipe.write_text(bundled.read_text() + '[sources.notes]\npath = "notes"\n')
    code, out, _ = cli("sources", str(recipe))
    assert code == 0
    assert "notes: 60 files" in out
    assert "Note 0." in out
    code, out, _ = cli("sources", str(recipe), "--source", "notes", "--json")
    found = decode_message(out.encode())
    assert isinstance(found, Glanced)
    assert found.source == "notes"
    code, out, err = cli("sources", str(bundled))
    assert (code, out) == (0, "")
    assert "describes no source of its own" in err
    code, out, err = cli("sources", str(recipe), "--source", "text")
    assert (code, out) == (1, "")
    assert "describes no source 'text'" in err
