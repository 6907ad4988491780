"""Instructions out of the files of known sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from fastdraft_core.data import corpus as corpora
from fastdraft_core.data.corpus import Corpus
from fastdraft_core.data.instructions import instruction, read_instructions
from fastdraft_core.errors import FastdraftError
from fastdraft_core.text_sources import TextSource

ALPACA = {"instruction": "Sort the list.", "input": "3, 1, 2", "output": "1, 2, 3"}
DOLLY = {"instruction": "Who wrote it?", "context": "It was Ada.", "response": "Ada.", "category": "closed_qa"}
EVOL = {"instruction": "Write a loop.", "output": "for ..."}
CONVERSATION = {"idx": "1", "conversations": [{"from": "human", "value": "Prove it."}, {"from": "gpt", "value": "No."}]}
OIG = {"text": "<human>: Why is the sky blue?\n<bot>: Scattering.\n<human>: Why?\n<bot>: So.", "metadata": "{}"}
READY = {"prompt": "### Instruction:\nSay hello.", "answer": "Hello."}


@pytest.mark.parametrize(
    ("row", "asked"),
    [
        (ALPACA, "Sort the list.\n\n3, 1, 2"),
        ({**ALPACA, "input": ""}, "Sort the list."),
        (DOLLY, "Who wrote it?\n\nIt was Ada."),
        (EVOL, "Write a loop."),
        (CONVERSATION, "Prove it."),
        ({"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]}, "Hi"),
        (OIG, " Why is the sky blue?\n"),
        (READY, "### Instruction:\nSay hello."),
        ({"text": "A story."}, None),
        ({"conversations": [{"from": "gpt", "value": "hello"}]}, ""),
        ({"conversations": []}, ""),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "Say it."}, {"type": "image"}]}]},
            "Say it.",
        ),
        ({"prompt": [{"role": "user", "content": "Hi"}], "chosen": "x"}, "Hi"),
        ({"prompt": ["Hi"]}, None),
        ("a string", None),
    ],
)
def test_each_form_gives_the_request_and_no_answer(row: Any, asked: str | None) -> None:
    """FT is on the target's answers, never on the data set's: only what a person asks is read."""
    assert instruction(row) == asked


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".parquet"])
def test_every_kind_of_file_holds_them(tmp_path: Path, ending: str) -> None:
    """The same rows out of a file of lines, a list and a table."""
    rows, path = [ALPACA, {**ALPACA, "input": ""}], tmp_path / f"set{ending}"
    if ending == ".parquet":
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        path.write_text(json.dumps(rows) if ending == ".json" else "\n".join(map(json.dumps, rows)))
    found = [d.text for d in read_instructions(TextSource(path=str(path)))]
    assert found == ["Sort the list.\n\n3, 1, 2", "Sort the list."]


def test_an_unknown_form_names_its_columns_and_the_way_out(tmp_path: Path) -> None:
    """Whatever the set calls it, one key of the recipe tells; a wrong file is one sentence."""
    path = tmp_path / "set.jsonl"
    path.write_text(json.dumps({"question": "Why?", "id": 1}))
    with pytest.raises(FastdraftError, match=r"line 1, is no instruction .* has question, id\. Name the column"):
        list(read_instructions(TextSource(path=str(path))))
    assert [d.text for d in read_instructions(TextSource(path=str(path), field="question"))] == ["Why?"]
    for content, words in (("{", "is no JSON"), ("{}", "holds no list")):
        (tmp_path / "set.json").write_text(content)
        with pytest.raises(FastdraftError, match=words):
            list(read_instructions(TextSource(path=str(tmp_path / "set.json"))))


def test_the_two_sides_share_nothing(tmp_path: Path) -> None:
    """A held-out instruction is never trained on, and a set without one says what to set."""
    path = tmp_path / "set.jsonl"
    path.write_text("\n".join(json.dumps({"prompt": f"Count to {n}."}) for n in range(60)))
    corpus = Corpus({"set": TextSource(path=str(path), held_out=5)})
    train, held_out = (corpus.instructions("set", held_out=side) for side in (False, True))
    assert len(train) + len(held_out) == 60
    assert not set(train) & set(held_out)
    path.write_text(json.dumps({"prompt": "Only one."}))
    with pytest.raises(FastdraftError, match=r"another held_out under \[sources\.set\]"):
        [corpus.instructions("set", held_out=side) for side in (False, True)]


@pytest.mark.shared
def test_dolly_as_published(shared: Path) -> None:
    """Real rows: each gives a prompt that ends where the answer would begin."""
    texts = [d.text for d in read_instructions(TextSource(path=str(shared / "data/dolly/dolly_151.jsonl")))]
    assert len(texts) == 151
    assert all(text.endswith("### Response:") for text in texts)


def test_files_of_instructions_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sides, and every later start, come from one look through the files, until these are edited."""
    path = tmp_path / "set.jsonl"
    path.write_text("\n".join(json.dumps({"prompt": f"Count to {n}."}) for n in range(60)))
    source, looked = TextSource(path=str(path), held_out=5), []
    monkeypatch.setattr(corpora, "read_instructions", lambda given: looked.append(given) or read_instructions(given))
    sides = [Corpus({"set": source}).instructions("set", held_out=side) for side in (False, True)]
    assert sum(map(len, sides)) == 60
    assert looked == [source]
    path.write_text("\n".join(json.dumps({"prompt": f"Count on to {n}."}) for n in range(60)))
    edited = [Corpus({"set": source}).instructions("set", held_out=side) for side in (False, True)]
    assert all("on" in text for text in edited[0] + edited[1])


def test_a_column_that_is_called_text_can_be_named(tmp_path: Path) -> None:
    """MBPP's tasks stand in ``text``, which unasked is a document and no request."""
    path = tmp_path / "mbpp.jsonl"
    path.write_text(json.dumps({"text": "Write a function.", "code": "def f(): ...", "test_list": []}))
    with pytest.raises(FastdraftError, match="Name the column"):
        list(read_instructions(TextSource(path=str(path))))
    assert [d.text for d in read_instructions(TextSource(path=str(path), field="text"))] == ["Write a function."]


def test_a_conversation_without_a_request_is_passed_over(tmp_path: Path) -> None:
    """One row of many in which only the model speaks does not cost the set."""
    rows = [{"conversations": [{"from": "gpt", "value": "hello"}]}, CONVERSATION, {"conversations": []}]
    path = tmp_path / "set.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    assert [d.text for d in read_instructions(TextSource(path=str(path)))] == ["Prove it."]


def test_one_file_of_a_data_set_can_be_taken(tmp_path: Path) -> None:
    """OIG lies on the hub as many files whose columns do not go together, and its makers advise to take single ones."""
    folder = tmp_path / "oig"
    folder.mkdir()
    (folder / "first.jsonl").write_text(json.dumps({"text": "<human>: Not this.\n<bot>: Well.", "metadata": {"a": 1}}))
    (folder / "second.jsonl").write_text(json.dumps(OIG))
    source = TextSource(hub=str(folder), files=["second.jsonl"])
    assert [d.text for d in read_instructions(source)] == ["Why is the sky blue?"]
    with pytest.raises(FastdraftError, match="cannot be read from the hub"):
        list(read_instructions(TextSource(hub=str(folder))))
