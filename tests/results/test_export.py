"""A result in other forms: complete, told apart what was measured, and safe to show."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdraft_core.bench.verdict import verdict
from fastdraft_core.events import RepeatDropped
from fastdraft_core.formatting import safe
from fastdraft_core.results.export import as_csv, as_json, as_markdown, table
from fastdraft_core.results.store import Result
from tests.bench.points import measured, plan, predicted, result


@pytest.fixture
def found() -> Result:
    """Two drafts on two tasks: three points measured, all but one predicted."""
    made = result(
        measured("S", 2, "code", 1.5),
        measured("M", 4, "code", 1.9, reach=1.1),
        measured("M", 4, "text", 1.4, joules_per_token=0.25),
        *(predicted(d, g, t, 1.23) for d in "SM" for g in (1, 2, 4) for t in ("code", "text") if (d, g, t) != ("S", 1, "text")),
    )  # fmt: skip
    made.add(RepeatDropped(task="code", temperature=0.0, reason="other programs used the cores"))
    made.add(verdict(made))
    return made


def test_markdown_begins_with_the_verdict(found: Result) -> None:
    """What to use comes first; then the surface, measured and predicted told apart; then how it was measured."""
    text = as_markdown(found)
    lines = text.splitlines()
    assert lines[2].startswith("**Use draft M with gamma 4: 1.90x")
    code = text[text.index("## Speed-up by gamma: code") : text.index("## Speed-up by gamma: text")]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in code.splitlines() if line.startswith("| ")]
    assert rows[0] == ["draft", "1", "2", "4"]
    assert rows[2:] == [["S", "~1.23", "1.50", "~1.23"], ["M", "~1.23", "~1.23", "1.90"]]
    assert " – |" in text, "a point that nobody knows is no number"
    assert "~ predicted" in text


def test_markdown_says_how_to_repeat_it(found: Result) -> None:
    """Versions, hashes, machine, threads, seed, command line, templates and lengths."""
    text = as_markdown(found)
    for needed in (
        "`fastdraft sweep table`", "torch 2.13.0", "hash 1111111111111111", "A Processor", "2 threads", "seed 1", "`{text}`",
        "64 new tokens", "schema fastdraft.sweep/1", "20.0 GB/s", "1, because other programs used the cores", "±3.0%",
    ):  # fmt: skip
        assert needed in text


def test_columns_that_nobody_knows_are_left_out(found: Result) -> None:
    """Energy has a column where a point knows it, and none on a machine that does not tell it."""
    assert "J/token" in as_markdown(found)
    assert "J/token" not in as_markdown(result(measured()))
    # A wide interval is marked.
    assert "1.90 (1.73–2.09)?" in as_markdown(found)


def test_csv_has_the_whole_grid(found: Result) -> None:
    """A row a point, in any order of measuring; what was not measured is empty, not zero."""
    rows = list(csv.DictReader(io.StringIO(as_csv(found))))
    assert len(rows) == found.total == 12
    by_key = {(r["draft"], int(r["gamma"]), r["task"]): r for r in rows}
    point = by_key["M", 4, "code"]
    assert float(point["speedup"]) == 1.9
    assert float(point["predicted_speedup"]) == 1.23
    assert float(point["mbsu_parameters"]) == 1.5
    assert len(point["joint"].split()) == 4
    guess = by_key["M", 1, "text"]
    assert (guess["speedup"], guess["tau"], guess["predicted_speedup"]) == ("", "", "1.23")
    assert by_key["S", 1, "text"]["predicted_speedup"] == ""
    assert by_key["M", 4, "text"]["joules_per_token"] == "0.25"
    assert by_key["S", 2, "code"]["joules_per_token"] == ""


def test_json_is_one_versioned_object(found: Result) -> None:
    """Everything that was found, with the machine's card; nothing is rounded."""
    data = json.loads(as_json(found))
    assert data["schema"] == "fastdraft.sweep/1"
    assert data["plan"]["machine"]["cpu"] == "A Processor"
    assert len(data["measured"]) == 3
    assert len(data["predicted"]) == 11
    assert data["measured"][0]["turns"] == [[0, 1.0, 1 / 1.5, 1.0], [1, 1.0, 1 / 1.5, 1.0]]
    assert data["verdict"]["draft"] == "M"


def test_names_of_others_are_only_text() -> None:
    """A result may come from somebody else: no control character reaches the terminal, and no bar makes a column."""
    evil = 'x\x1b[31m<script>&"|'
    made = Result(plan(drafts=(evil,), command="fastdraft \x07"))
    made.add(measured(evil))
    made.add(predicted(evil))
    assert "\x1b" not in as_markdown(made)
    assert "\x07" not in as_markdown(made)
    assert "\\|" in as_markdown(made)


def test_a_table_keeps_its_columns() -> None:
    """Columns are even, and text with a bar stays in its cell."""
    lines = table(["a", "value"], [["x|y", "1"], ["longer", "12345678"]]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[2].count("|") - lines[2].count("\\|") == 3


@given(st.text())
def test_nothing_unprintable_is_printed(text: str) -> None:
    """Newlines and tabs stay; every other control character becomes a sign, and what nobody sees its code."""
    assert all(c.isprintable() or c in "\n\t" for c in safe(text))


def test_a_fallback_stands_at_its_point() -> None:
    """The row has a mark, the reason stands below the tables and in the CSV."""
    found = result(
        measured("S", 2, "code", fallback="S: keys and values stay inside the model"), measured("M", 4, "code")
    )
    text = as_markdown(found)
    assert "S gamma 2, code*" in text
    assert "M gamma 4, code*" not in text
    assert "not the fast way: S: keys and values stay inside the model." in text
    rows = list(csv.DictReader(io.StringIO(as_csv(found))))
    assert {row["fallback"] for row in rows} == {"", "S: keys and values stay inside the model"}


def test_a_result_says_whether_texts_went_past_their_end() -> None:
    """A sweep that is from before stops ended its texts is not taken for one of today."""
    assert "stops are ignored" in as_markdown(result(measured()))
    assert "texts end where the model ends them" in as_markdown(result(measured(), ignore_stop=False))
