"""Several real processes over gloo write the target's text: each its share of the prompts, and one file as of a single process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastdraft_core import places
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
