"""A stream of the hub that was broken off goes on from its file and row group, and gives the very same shards."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import datasets
import pyarrow
import pytest
from pyarrow import parquet

from fastdraft_core.data import building, hub, tokenizing
from fastdraft_core.data.building import Mark, build
from fastdraft_core.data.documents import Filter, Position
from fastdraft_core.data.hub import hub_documents
from fastdraft_core.data.tokenizing import Part, cut_parts
from fastdraft_core.text_sources import TextSource
from tests.data.builds import encoder, opened

FILES, GROUPS, ROWS = 3, 5, 20
SOURCE = TextSource(hub="a/b")


@pytest.fixture
def opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A data set of parquet files in place of the hub's; notes each reading of a file's row groups."""
    for file in range(FILES):
        # Every third text comes again in the next file.
        texts = [f"number {n if n % 3 == 0 else file * 1000 + n} one two three four" for n in range(GROUPS * ROWS)]
        path = tmp_path / f"{file}.parquet"
        parquet.write_table(pyarrow.table({"text": texts}), path, row_group_size=ROWS)
    files, load = [str(tmp_path / f"{n}.parquet") for n in range(FILES)], datasets.load_dataset
    monkeypatch.setattr(
        datasets, "load_dataset", lambda *_, **__: load("parquet", data_files=files, split="train", streaming=True)
    )
    monkeypatch.setattr(hub, "_PIECES", GROUPS)
    monkeypatch.setattr(tokenizing, "PART_DOCUMENTS", 9)
    monkeypatch.setattr(building, "_EVENT_SECONDS", 0.0)
    found: list[str] = []
    rows_behind = hub._rows_behind

    def noting(*arguments: int) -> Iterator[tuple[Position, object]]:
        for position, row in rows_behind(*arguments):
            found.append(row["text"])
            yield position, row

    monkeypatch.setattr(hub, "_rows_behind", noting)
    return found


def stream(folder: Path) -> Generator[tuple[Mark, float], None, None]:
    def parts(start: Position, seen: bytes) -> Iterator[Part]:
        return cut_parts(hub_documents(SOURCE, start), Filter(seen=seen), 5, held_out=False)

    return build(folder, parts, encoder(), source="a", tokenizer_hash="abc", workers=1)


def test_positions_lead_to_the_rest_of_the_stream(opens: list[str]) -> None:
    """From wherever a document was told, the others come in the same order, and nothing before them is given."""
    every = list(hub_documents(SOURCE))
    assert len(every) == FILES * GROUPS * ROWS
    for at in (0, ROWS - 1, 2 * ROWS + 3, GROUPS * ROWS - 1, GROUPS * ROWS, len(every) - 1):
        opens.clear()
        assert list(hub_documents(SOURCE, every[at].position)) == every[at + 1 :]
        assert len(opens) == len(every) - at - 1


@pytest.mark.parametrize("parts", [1, 12, 20])
def test_a_build_goes_on_where_the_stream_broke_off(tmp_path: Path, opens: list[str], parts: int) -> None:
    """The shards are those of a build without a break, duplicates of what was read before the break left out too."""
    for _ in stream(tmp_path / "whole"):
        pass
    rows = len(opens)
    broken = stream(tmp_path / "broken")
    for _ in range(parts):
        next(broken)
    broken.close()
    opens.clear()
    for _ in stream(tmp_path / "broken"):
        pass
    assert 0 < len(opens) <= rows - 9 * parts
    assert opened(tmp_path / "broken").index == opened(tmp_path / "whole").index


def test_without_its_digests_no_document_comes_twice(tmp_path: Path, opens: list[str]) -> None:
    """A power cut that took them costs time alone."""
    for _ in stream(tmp_path / "whole"):
        pass
    for _ in range(2):
        broken = stream(tmp_path / "broken")
        for _ in range(4):
            next(broken)
        broken.close()
        (tmp_path / "broken" / "seen.bin").write_bytes(b"")
    for _ in stream(tmp_path / "broken"):
        pass
    assert opened(tmp_path / "broken").index == opened(tmp_path / "whole").index


def test_a_beginning_is_a_sample_of_all_files(opens: list[str]) -> None:
    """The first file of a data set is no sample of it: its files give a piece each in turn, from places that differ."""
    every = list(hub_documents(SOURCE))
    assert len({d.text for d in every}) == len(
        {f"{n % 3 and file}.{n}" for file in range(FILES) for n in range(GROUPS * ROWS)}
    )
    numbers = [int(d.text.split()[1]) for d in every[: FILES * ROWS]]
    assert {n // 1000 for n in numbers if n % 1000 % 3} == set(range(FILES))
    pieces = {n % 1000 // ROWS for n in numbers}
    assert len(pieces) > 1
