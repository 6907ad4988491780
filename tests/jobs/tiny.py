"""Real jobs so small that a test waits for them: one layer of 16 on a folder of short texts."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastdraft_core.jobs import processes
from fastdraft_core.jobs.record import Record, State, read_record
from fastdraft_core.training.recipe import Recipe, parse_recipe

PATIENCE = 180.0
#: Tokens of one optimizer step.
STEP_TOKENS = 64


def write_world(folder: Path) -> Path:
    """A ``target`` and a folder of ``texts`` for it. Returns ``folder``."""
    from tests.folders import tiny_target, write_model

    write_model(folder / "target", tiny_target())
    (folder / "texts").mkdir()
    for number in range(24):
        lines = (f"The sum of {line} and {number} is {line + number}.\n" for line in range(12))
        (folder / "texts" / f"{number}.txt").write_text("".join(lines))
    return folder


def tiny_recipe(world: Path = Path("world"), name: str = "tiny", steps: int = 20, **changes: Any) -> Recipe:
    """One stage of ``steps`` steps over the texts of ``world``; checkpoints after every step unless told otherwise."""
    stage = {
        "tokens": steps * STEP_TOKENS,
        "sources": {"small": 1.0},
        "sequence_length": 16,
        "batch_tokens": STEP_TOKENS,
        "micro_batch": 3,
        "learning_rate": 0.01,
    }
    shape = {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "num_kv_heads": 1, "intermediate_size": 32}
    data: dict[str, Any] = {
        "name": name,
        "target": str(world / "target"),
        "sources": {"small": {"path": str(world / "texts"), "held_out": 24}},
        "decontaminate": [],
        "model": {**shape, "context_length": 64},
        "pt": stage,
        "checkpoint_minutes": 1e-6,
    }
    return parse_recipe({**data, **changes}, "test")


def record(folder: Path) -> Record:
    """The record of a job that has one."""
    found = read_record(folder)
    assert found is not None
    return found


def state(folder: Path) -> State:
    """The state of a job now."""
    return processes.state(record(folder))


def wait_for(condition: Callable[[], bool], what: Callable[[], str] = lambda: "", seconds: float = PATIENCE) -> None:
    """Wait until ``condition`` holds; say ``what`` was seen instead."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what()
        time.sleep(0.05)


def wait_for_state(folder: Path, *wanted: State) -> None:
    """Wait until the job is in one of the ``wanted`` states."""

    def seen() -> str:
        log = folder / "log.txt"
        return f"{folder.name} is {state(folder)}: {record(folder).error}\n{log.read_text() if log.is_file() else ''}"

    wait_for(lambda: state(folder) in wanted, seen)
