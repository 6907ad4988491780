"""A job takes the changes that our own messages advise, and refuses by name those that its steps contradict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import RecipeChanged, StageStarted, Step
from fastdraft_core.jobs.folder import claim, job_recipe
from fastdraft_core.jobs.history import EventLog
from fastdraft_core.jobs.run import run_job
from fastdraft_core.training.publish import publish
from fastdraft_core.training.recipe import Recipe
from tests.jobs.tiny import STEP_TOKENS, tiny_recipe, write_world

_WORLD = Path("/world")


def _stage(steps: int = 20, **changes: Any) -> dict[str, Any]:
    stage = {"tokens": steps * STEP_TOKENS, "sources": {"small": 1.0}, "sequence_length": 16}
    return {**stage, "batch_tokens": STEP_TOKENS, "micro_batch": 3, "learning_rate": 0.01, **changes}


def _recipe(pt: dict[str, Any] | None = None, world: Path = _WORLD, **changes: Any) -> Recipe:
    return tiny_recipe(world, pt=pt or _stage(), **{"cp": _stage(), **changes})


def _begun(job: Path, *stages: str) -> Path:
    """A job whose ``stages`` have a checkpoint."""
    claim(_recipe(), job)
    for stage in stages:
        checkpoint = job / "checkpoints" / stage / "last"
        checkpoint.mkdir(parents=True)
        (checkpoint / "config.json").touch()
    return job


@pytest.mark.parametrize(
    "change",
    [
        {"pt": _stage(micro_batch=1)},
        {"pt": _stage(activation_checkpointing=True)},
        {"pt": _stage(learning_rate=0.001)},
        {"pt": _stage(clip_norm=0.5, final_learning_rate=0.1)},
        {"compile": True},
        {"checkpoint_minutes": 1.0},
        {"evaluation": {"gamma": 5}},
        {"cp": _stage(batch_tokens=128, sequence_length=32, steps=7)},
        {"cp": _stage(skip=True)},
        {"ft": _stage()},
        {"sources": {"small": {"path": "/world/texts", "held_out": 24}, "more": {"path": "/more"}}},
    ],
    ids=str,
)
def test_what_is_advised_is_taken(tmp_path: Path, change: dict[str, Any]) -> None:
    """Lower the rate, lower micro_batch, skip a stage to come: the job takes it, keeps it and tells it."""
    base = {"sources": {"small": {"path": "/world/texts", "held_out": 24}}}
    job = tmp_path / "job"
    claim(_recipe(**base), job)
    (job / "checkpoints/pt/last").mkdir(parents=True)
    (job / "checkpoints/pt/last/config.json").touch()
    changed = _recipe(**{**base, **change})
    claim(changed, job)
    assert job_recipe(job) == changed
    (event,) = EventLog(job / "events.jsonl").read()
    assert isinstance(event, RecipeChanged)
    assert len(event.changes) >= 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pt": _stage(steps=30)}, r"its pt\.tokens is 1280, not 1920.*--stage pt --again"),
        ({"pt": _stage(sequence_length=32)}, r"pt\.sequence_length is 16.*Put pt\.sequence_length back"),
        ({"pt": _stage(optimizer="adamw")}, r"pt\.optimizer"),
        ({"seed": 2}, r"its seed is 1, not 2.*--job"),
        ({"decontaminate": ["code"]}, "decontaminate"),
        (
            {"sources": {"small": {"path": "/elsewhere", "held_out": 24}}},
            r"its sources\.small\.path is /world/texts, not /elsewhere",
        ),
        ({"name": "other"}, "its name is tiny, not other"),
        ({"target": "elsewhere"}, "its target is"),
    ],
    ids=str,
)
def test_what_would_be_another_training_is_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    """Rows, optimizer state and data of the steps that are done would not fit: the key is named, and what to do."""
    job = _begun(tmp_path / "job", "pt")
    kept = job_recipe(job)
    with pytest.raises(FastdraftError, match=words):
        claim(_recipe(**change), job)
    assert job_recipe(job) == kept


def test_a_stage_that_begins_anew_takes_everything(tmp_path: Path) -> None:
    """`--stage pt --again --set pt.tokens=…`, the advice of the refusal, works; a stage before a begun one is settled."""
    job = _begun(tmp_path / "job", "pt", "cp")
    with pytest.raises(FastdraftError, match="stage cp, which comes after it, has begun"):
        claim(_recipe(pt=_stage(learning_rate=0.1)), job)
    claim(_recipe(pt=_stage(micro_batch=1)), job)
    claim(_recipe(pt=_stage(steps=30)), job, again="pt")
    assert job_recipe(job) == _recipe(pt=_stage(steps=30))


def test_a_job_goes_on_with_a_lower_rate(tmp_path: Path) -> None:
    """What the message of a diverged training advises, from its last checkpoint; the card will say so."""
    world, job = write_world(tmp_path / "world"), tmp_path / "job"
    first = run_job(_recipe(_stage(6), world, cp=_stage(1)), job)
    for event in first:
        if isinstance(event, Step) and event.step == 3:
            break
    first.close()
    lower = _recipe(_stage(6, learning_rate=0.001, micro_batch=1), world, cp=_stage(1))
    events = list(run_job(lower, job))
    assert next(e.step for e in events if isinstance(e, StageStarted)) in (2, 3)
    assert max(e.learning_rate for e in events if isinstance(e, Step) and e.stage == "pt") <= 0.001
    list(publish(lower, job, tmp_path / "draft"))
    card = (tmp_path / "draft" / "README.md").read_text()
    assert "the same command gives another model" in card
    assert "- `pt.learning_rate = 0.001 (was 0.01)`" in card
