"""Several real processes over gloo write the target's text: each its share of the prompts, and one file as of a single process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastdraft_core import places
from fastdraft_core.data import corpus as corpora
from fastdraft_core.data.corpus import Corpus
from fastdraft_core.data.shards import write_shard
from fastdraft_core.data.tokenizer import tokenizer_hash
from fastdraft_core.training import synthetic
from fastdraft_core.training.recipe import Synthesis
from fastdraft_core.training.stages import recipe_corpus
from fastdraft_core.training.start import target_tokenizer
from tests.jobs.tiny import write_world
from tests.training.writing import recipe_of, rows_in, written_alone

ROOT = Path(__file__).resolve().parents[2]


def test_two_processes_write_what_one_would_and_one_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same sequences with the same probabilities; one process then goes on with their file as with its own."""
    world = write_world(tmp_path)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "tests.training.writing", str(world), "300"]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "ACCELERATE_USE_CPU": "true",
        "FASTDRAFT_HOME": str(tmp_path / "two"),
    }
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    rounds = {rank: int(count) for rank, count in (line.split() for line in done.stdout.decode().splitlines())}
    # A batch has 4 x 24 tokens: four of them are two rounds, which the first process tells of.
    assert rounds == {"0": 2, "1": 0}

    monkeypatch.setenv("FASTDRAFT_HOME", str(tmp_path / "one"))
    shard = written_alone(recipe_of(world, 300))
    assert rows_in(tmp_path / "two") == rows_in(tmp_path / "one")
    longer = written_alone(recipe_of(world, 700))
    assert places.cache() == tmp_path / "one" / "cache"
    monkeypatch.setenv("FASTDRAFT_HOME", str(tmp_path / "two"))
    assert written_alone(recipe_of(world, 300)).index.sha256 == shard.index.sha256
    assert written_alone(recipe_of(world, 700)).index.sha256 == longer.index.sha256


def test_what_was_written_from_a_whole_source_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text that an earlier version's target wrote took hours: it is found again, and goes on when more of it is asked for."""
    world = write_world(tmp_path)
    monkeypatch.setenv("FASTDRAFT_HOME", str(tmp_path / "home"))
    recipe = recipe_of(world, 300)
    fresh = written_alone(recipe)
    shutil.rmtree(places.cache() / "synthesis")
    corpus, hashed = recipe_corpus(recipe), tokenizer_hash(target_tokenizer(recipe))
    # As versions did that tokenized whole sources: other tokens, under a name of their own.
    rows: list[tuple[list[int], list[int] | None]] = [(list(range(10, 60)), None)] * 20
    folder = places.cache() / "shards" / f"small-train-{corpus._key('small', hashed, corpora._ENCODED_WHOLE)}"
    write_shard(folder, rows, source="small", tokenizer_hash=hashed, vocab_size=300)

    def whole(section: Synthesis, corpus: Corpus, *_: Any, held_out: bool) -> Iterator[Any]:
        yield from ()
        return synthetic._whole_material(section, corpus, hashed, held_out=held_out)

    with monkeypatch.context() as patch:
        patch.setattr(synthetic, "_material", whole)
        before = written_alone(recipe)
    assert before.index.sha256 != fresh.index.sha256
    shutil.rmtree(before.folder)
    assert written_alone(recipe).index.sha256 == before.index.sha256
    assert written_alone(recipe_of(world, 500)).index.num_tokens > before.index.num_tokens
    assert len(list(places.cache().glob("synthesis/train-*/sequences.jsonl"))) == 1
