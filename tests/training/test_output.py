"""Where the finished model goes: nothing of the user's is ever replaced, and what cannot work is said at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from fastdraft_core import places
from fastdraft_core.errors import FastdraftError
from fastdraft_core.jobs.queue import submit
from fastdraft_core.jobs.record import read_record
from fastdraft_core.jobs.run import run_job, run_queued
from fastdraft_core.training.checkpoints import load_trainer, save_checkpoint
from fastdraft_core.training.output import building_beside, install
from fastdraft_core.training.publish import publish
from fastdraft_core.training.stop import Interrupted, Stop
from tests.jobs.tiny import tiny_recipe, write_world


def _everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def world(tmp_path: Path) -> Path:
    return write_world(tmp_path / "world")


def test_a_folder_with_other_things_is_refused_at_submit(tmp_path: Path, world: Path) -> None:
    """`train X --output ~/projects` must not cost anybody their projects, nor `~/projects.old`."""
    projects, job = tmp_path / "projects", places.jobs() / "tiny"
    for name in ("projects", "projects.old"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "thesis.txt").write_text("years of work")
    before = _everything(tmp_path)
    with pytest.raises(FastdraftError, match=r"nothing of it is touched.*--output"):
        submit(tiny_recipe(world), job, detach=False, device="cpu", output=projects)
    assert read_record(job) is None
    assert _everything(projects) == {"deep/thesis.txt": b"years of work"}
    for output in (tmp_path / "projects" / "deep" / "thesis.txt", job, places.jobs()):
        with pytest.raises(FastdraftError, match="--output"):
            submit(tiny_recipe(world), job, detach=False, device="cpu", output=output)
    assert {k: v for k, v in _everything(tmp_path).items() if k.startswith("projects")} == {
        k: v for k, v in before.items() if k.startswith("projects")
    }


def test_a_model_is_published_again_only_over_itself(tmp_path: Path, world: Path) -> None:
    """An empty folder is taken, the job's own model replaced; what somebody put beside it, or another job's, is not."""
    recipe, job, output = tiny_recipe(world, steps=1), tmp_path / "job", tmp_path / "draft"
    output.mkdir()
    (tmp_path / "draft.old").mkdir()
    (tmp_path / "draft.old" / "mine.txt").touch()
    list(run_job(recipe, job))
    for _ in range(2):
        list(publish(recipe, job, output))
        assert (output / "model.safetensors").is_file()
        assert "# tiny" in (output / "README.md").read_text()
    assert (tmp_path / "draft.old" / "mine.txt").is_file()
    assert {path.name for path in tmp_path.iterdir()} == {"job", "draft", "draft.old", "world", "home"}
    with pytest.raises(FastdraftError, match="nothing of it is touched"):
        list(publish(recipe, tmp_path / "another-job", output))
    (output / "notes.txt").write_text("mine")
    before = _everything(output)
    with pytest.raises(FastdraftError, match="nothing of it is touched"):
        list(publish(recipe, job, output))
    assert _everything(output) == before


def test_a_pause_while_the_model_is_put_in_place_loses_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken off between two renames, the model that was published before is still where it was."""
    job, output, rename = tmp_path / "job", tmp_path / "draft", Path.rename

    def written(text: str) -> Path:
        building = building_beside(output)
        (building / "model.safetensors").write_text(text)
        return building

    def paused(self: Path, target: Path) -> Path:
        if self == newer:
            raise Interrupted
        return rename(self, target)

    install(written("old"), output, job)
    newer = written("new")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", paused)
        with pytest.raises(Interrupted):
            install(newer, output, job)
    assert (output / "model.safetensors").read_text() == "old"
    install(newer, output, job)
    assert (output / "model.safetensors").read_text() == "new"
    assert {path.name for path in tmp_path.iterdir()} == {"draft"}


def test_one_stage_alone_publishes_nothing(tmp_path: Path, world: Path) -> None:
    """--stage pt --output: said before PT is trained, not hours later by a failed job."""
    recipe = tiny_recipe(world, steps=1)
    stage = {"tokens": 64, "sources": {"small": 1.0}, "sequence_length": 16, "batch_tokens": 64}
    both, job = tiny_recipe(world, steps=1, cp=stage), places.jobs() / "tiny"
    with pytest.raises(FastdraftError, match=r"cp would not have run. Leave --output out"):
        submit(both, job, detach=False, device="cpu", stage="pt", output=tmp_path / "draft")
    submit(recipe, job, detach=False, device="cpu", stage="pt", output=tmp_path / "draft")
    list(run_queued(job, Stop()))
    assert (tmp_path / "draft" / "README.md").is_file()


@pytest.mark.parametrize(("gain", "published"), [(0.05, "best"), (0.0005, "last")])
def test_the_better_checkpoint_is_published(tmp_path: Path, world: Path, gain: float, published: str) -> None:
    """A stage that ended worse than it once was gives its best by acceptance, and the card says so; noise decides nothing."""
    recipe, job, output = tiny_recipe(world, steps=2), tmp_path / "job", tmp_path / "draft"
    list(run_job(recipe, job))
    last, best = (job / "checkpoints/pt" / name for name in ("last", "best"))
    trainer = load_trainer(last)
    assert trainer.best >= trainer.reached > 0
    model, tokenizer = (kind.from_pretrained(last) for kind in (AutoModelForCausalLM, AutoTokenizer))
    save_checkpoint(last, model, tokenizer, replace(trainer, best=trainer.reached + gain))
    with torch.no_grad():
        model.get_input_embeddings().weight += 1.0
    save_checkpoint(best, model, tokenizer, None)
    list(publish(recipe, job, output))
    found = AutoModelForCausalLM.from_pretrained(output).state_dict()
    chosen = AutoModelForCausalLM.from_pretrained(job / "checkpoints/pt" / published, dtype="bfloat16").state_dict()
    assert all(torch.equal(found[name], chosen[name]) for name in chosen)
    said = f"best expected acceptance on held-out text, {trainer.reached + gain:.3f}"
    assert (said in (output / "README.md").read_text()) == (published == "best")
