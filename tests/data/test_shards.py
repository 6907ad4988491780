"""Token shards: what is written is read, and what is damaged is refused by name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastdraft_core.data.shards import Shard, ShardIndex, open_shard, write_shard
from fastdraft_core.errors import FastdraftError

Rows = list[tuple[list[int], list[int] | None]]
MASKED: Rows = [([1, 2, 3], [0, 1, 1]), ([4, 5], [0, 1])]


def write(folder: Path, rows: Rows, vocab_size: int = 512) -> ShardIndex:
    """Write a shard as the pipeline does."""
    return write_shard(folder, rows, source="text", tokenizer_hash="abc", vocab_size=vocab_size)


def refusal(folder: Path, tokenizer_hash: str = "abc") -> str:
    """What the user reads when the shard is refused."""
    with pytest.raises(FastdraftError) as caught:
        open_shard(folder, tokenizer_hash=tokenizer_hash)
    return caught.value.message


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(0, 70_000), min_size=1, max_size=20), min_size=1, max_size=6))
def test_every_id_comes_back(tmp_path: Path, documents: list[list[int]]) -> None:
    """Ids above 65,535 (large vocabularies) must not wrap around; order and counts are kept."""
    write(tmp_path / "s", [(ids, None) for ids in documents], vocab_size=70_001)
    shard = open_shard(tmp_path / "s", tokenizer_hash="abc")
    assert shard.tokens.tolist() == [i for ids in documents for i in ids]
    assert (shard.index.num_documents, shard.index.dtype, shard.mask) == (len(documents), "uint32", None)
    assert [a.tolist() for a in np.split(shard.tokens, shard.starts[1:])] == documents


def test_a_small_vocabulary_takes_two_bytes_an_id(tmp_path: Path) -> None:
    """Shards of small vocabularies are half the size."""
    write(tmp_path / "s", [([1, 2, 3], None)])
    assert (tmp_path / "s" / "tokens.bin").stat().st_size == 6


def test_the_loss_mask_comes_back(tmp_path: Path) -> None:
    """FT counts only what the target wrote: the mask stays with its tokens."""
    write(tmp_path / "s", MASKED)
    shard = open_shard(tmp_path / "s", tokenizer_hash="abc")
    assert shard.mask is not None
    assert shard.mask.tolist() == [0, 1, 1, 0, 1]


def test_an_id_outside_the_vocabularys_type_is_an_error(tmp_path: Path) -> None:
    """A wrapped id would train on the wrong token in silence."""
    with pytest.raises(OverflowError):
        write(tmp_path / "s", [([70_000], None)])


@pytest.mark.parametrize("file", ["tokens.bin", "mask.bin", "starts.bin"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_a_damaged_shard_is_refused_by_name(tmp_path: Path, file: str, damage: str) -> None:
    """A disk error or a copy cut short must not become training data: the folder is named, with the way out."""
    write(tmp_path / "s", MASKED)
    path = tmp_path / "s" / file
    data = bytearray(path.read_bytes())
    data[2] ^= 1
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(bytes(data) if damage == "flip" else path.read_bytes()[:-1])
    message = refusal(tmp_path / "s")
    assert str(tmp_path / "s") in message
    assert "Delete" in message


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"source": 1, "more": 2}'])
def test_a_damaged_index_is_refused_by_name(tmp_path: Path, text: str) -> None:
    """A broken index is one sentence, not a traceback."""
    write(tmp_path / "s", MASKED)
    (tmp_path / "s" / "index.json").write_text(text)
    assert str(tmp_path / "s") in refusal(tmp_path / "s")


def test_another_tokenizer_is_refused_with_both_hashes(tmp_path: Path) -> None:
    """Ids of another tokenizer mean other text; both hashes are shown."""
    write(tmp_path / "s", MASKED)
    message = refusal(tmp_path / "s", "other")
    assert "abc" in message
    assert "other" in message


def test_an_interrupted_build_leaves_nothing_readable(tmp_path: Path) -> None:
    """A build that dies half way must not be taken for a whole shard next time."""

    def dies() -> Iterator[tuple[list[int], None]]:
        yield [1, 2, 3], None
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shard(tmp_path / "s", dies(), source="text", tokenizer_hash="abc", vocab_size=512)
    assert not (tmp_path / "s").exists()


def test_building_again_replaces_the_shard(tmp_path: Path) -> None:
    """The advice "delete it to rebuild" also holds without deleting."""
    write(tmp_path / "s", MASKED)
    write(tmp_path / "s", [([9, 9], None)])
    shard: Shard = open_shard(tmp_path / "s", tokenizer_hash="abc")
    assert np.array_equal(shard.tokens, [9, 9])
    assert json.loads((tmp_path / "s" / "index.json").read_text())["has_mask"] is False


def test_leftovers_of_ended_processes_are_removed(tmp_path: Path) -> None:
    """A killed build must not fill the disk for ever; one that is still at work is left alone."""
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    left, own, busy, other = (
        tmp_path / name
        for name in (f"s.building-{ended.pid}", f"s.building-{os.getpid()}", "s.building-1", "t.building-0")
    )
    for folder in (left, own, busy, other):
        folder.mkdir()
        (folder / "tokens.bin").write_bytes(b"half")
    write(tmp_path / "s", MASKED)
    assert not left.exists()
    assert not own.exists()
    assert busy.exists()
    assert other.exists()
    assert open_shard(tmp_path / "s", tokenizer_hash="abc").tokens.tolist() == [1, 2, 3, 4, 5]
