"""Train a candidate by the study's budget, in a process of its own: after OpenVINO, training in the same one is not safe.

The same command goes on with what was begun, so a study that goes on loses no step.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import msgspec

from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import DesignProgress, DesignStarted, Event, Step, decode_message
from fastdraft_core.files import write_atomic
from fastdraft_core.training.folders import find_checkpoint, stage_folder
from fastdraft_core.training.recipe import ModelShape, Recipe, Stage, dump_recipe

#: Half code and half text, both built in: the same for every candidate, and there on every machine.
_SOURCES = {"code": 0.5, "text": 0.5}
_SEQUENCE, _BATCH = 256, 8192
_STAGE = "cp"


def train_shape(
    shape: ModelShape,
    plan: DesignStarted,
    jobs: Path,
    what: str,
    done: int,
    total: int,
    stop: Callable[[], bool],
) -> Generator[Event, None, Path | None]:
    """Train ``shape`` for ``plan.train`` tokens in a job below ``jobs``; returns the trained model's folder, None if stopped.

    Raises:
        FastdraftError: the training failed; the message is its own.
    """
    name = f"design-{shape.num_layers}x{shape.hidden_size}-{shape.draft_vocab or 'all'}"
    job = jobs / name
    job.mkdir(parents=True, exist_ok=True)
    recipe = jobs / f"{name}.toml"
    write_atomic(recipe, msgspec.toml.encode(dump_recipe(study_recipe(name, shape, plan))))
    command = [sys.executable, "-m", "fastdraft_core.cli", "train", str(recipe), "--job", str(job), "--json"]
    with (
        (jobs / f"{name}.log").open("w+", encoding="utf-8", errors="replace") as talk,
        subprocess.Popen([*command, "--stage", _STAGE], stdout=subprocess.PIPE, stderr=talk) as process,
    ):
        assert process.stdout is not None
        asked = False
        for line in process.stdout:
            if stop() and not asked:
                asked = True
                process.send_signal(signal.SIGINT)
            if (told := _progress(line)) is not None:
                yield DesignProgress(what=f"{what}: {told}", done=done, total=total)
        code = process.wait()
        if stop():
            return None
        talk.seek(0)
        if code:
            words = talk.read().strip().splitlines() or [f"it ended with {code}"]
            raise FastdraftError(f"{what} failed: {words[-1].removeprefix('fastdraft: ')}")
    found = find_checkpoint(stage_folder(job, _STAGE) / "last")
    assert found is not None, "a finished stage has a checkpoint"
    return found


def study_recipe(name: str, shape: ModelShape, plan: DesignStarted) -> Recipe:
    """The training of one candidate: one stage, which differs from the others' by its shape alone."""
    stage = Stage(
        tokens=plan.train,
        sources=_SOURCES,
        sequence_length=min(_SEQUENCE, plan.context),
        batch_tokens=min(_BATCH, max(plan.context, plan.train // 32)),
    )
    return Recipe(name=name, model=shape, target=plan.target.name, seed=plan.seed, cp=stage)


def _progress(line: bytes) -> str | None:
    try:
        event = decode_message(line)
    except msgspec.MsgspecError:
        return None
    if not isinstance(event, Step):
        return None
    return f"step {event.step}, loss {event.loss:.2f}"
