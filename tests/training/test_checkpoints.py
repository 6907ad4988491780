"""Checkpoints: a readable one exists at every moment."""

from __future__ import annotations

import resource
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError

from fastdraft_core.errors import FastdraftError
from fastdraft_core.training import checkpoints
from fastdraft_core.training.checkpoints import Trainer, load_trainer, save_checkpoint
from fastdraft_core.training.folders import find_checkpoint


class StandIn:
    """A model and tokenizer that write one small file each, or fail as told."""

    def __init__(self, text: str = "{}", failure: Exception | None = None) -> None:
        self.text, self.failure = text, failure

    def save_pretrained(self, folder: Path) -> None:
        if self.failure is not None:
            raise self.failure
        (folder / "config.json").write_text(self.text)


def save(folder: Path, text: str) -> None:
    """A checkpoint that can be told from others by ``text``."""
    save_checkpoint(folder, StandIn(text), StandIn(text), Trainer(1, 0.5, {"weight:exp_avg": torch.ones(3)}))


def kept(folder: Path) -> str:
    """The text of the checkpoint that a resume would take."""
    found = find_checkpoint(folder)
    assert found is not None
    return (found / "config.json").read_text()


@pytest.mark.parametrize(
    "failure",
    [
        OSError(28, "No space left on device"),
        SafetensorError("IoError(Os { code: 28 })"),
    ],
    ids=["os", "safetensors"],
)
def test_a_full_disk_keeps_the_last_checkpoint(tmp_path: Path, failure: Exception) -> None:
    """A full disk shows itself in two ways; each is one sentence, and nothing half-written stays."""
    save(tmp_path / "last", "good")
    with pytest.raises(FastdraftError, match="goes on from the last checkpoint"):
        save_checkpoint(tmp_path / "last", StandIn(failure=failure), StandIn(), None)
    assert kept(tmp_path / "last") == "good"
    assert [p.name for p in tmp_path.iterdir()] == ["last"]


@pytest.mark.parametrize("moment", ["writing", "between the renames", "before the clean-up"])
def test_a_kill_at_any_moment_leaves_a_readable_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """kill -9 while saving: a whole checkpoint is found, and the next saves work and leave no rubbish."""
    folder = tmp_path / "last"
    save(folder, "first")
    half_done: dict[str, Any] = {
        "writing": (checkpoints, "save_file"),
        "between the renames": (Path, "rename"),
        "before the clean-up": (checkpoints.shutil, "rmtree"),
    }
    owner, name = half_done[moment]
    real, calls = getattr(owner, name), iter(range(100))

    def killed(*arguments: Any, **options: Any) -> Any:
        # The first rename moves the old checkpoint away; the second one would bring the new.
        if moment == "between the renames" and next(calls) == 0:
            return real(*arguments, **options)
        if moment == "before the clean-up" and not folder.exists():
            return real(*arguments, **options)
        if moment == "before the clean-up" and kept(folder) == "first":
            return real(*arguments, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, killed)
        with pytest.raises(KeyboardInterrupt):
            save(folder, "second")
    assert kept(folder) in ("first", "second")
    save(folder, "third")
    save(folder, "fourth")
    assert kept(folder) == "fourth"
    assert [p.name for p in tmp_path.iterdir()] == ["last"]


def test_a_folder_without_a_checkpoint(tmp_path: Path) -> None:
    """A first run has nothing to go on from."""
    assert find_checkpoint(tmp_path / "last") is None


def test_a_trainers_state_comes_back(tmp_path: Path) -> None:
    """Steps done, best acceptance and every tensor, bit by bit: the next loss depends on all of them."""
    save(tmp_path / "last", "good")
    trainer = load_trainer(tmp_path / "last")
    assert (trainer.step, trainer.best) == (1, 0.5)
    assert trainer.tensors["weight:exp_avg"].equal(torch.ones(3))


def test_a_damaged_trainer_state_is_named(tmp_path: Path) -> None:
    """A damaged state says which file, and what to delete to start the stage again."""
    save(tmp_path / "last", "good")
    path = tmp_path / "last" / "trainer.safetensors"
    for damaged in (b"not safetensors", path.read_bytes()[:-4], b""):
        path.write_bytes(damaged)
        with pytest.raises(FastdraftError, match=r"trainer\.safetensors cannot be read.*Delete"):
            load_trainer(tmp_path / "last")


def test_a_full_disk_is_one_sentence_for_real(tmp_path: Path) -> None:
    """The system itself refuses to write more: the sentence names the folder, and the last checkpoint is whole."""
    save(tmp_path / "last", "good")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    # Without a handler the signal would end the process before the write can fail.
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(FastdraftError, match="Free some space"):
            save_checkpoint(
                tmp_path / "last", StandIn("new"), StandIn("new"), Trainer(2, 0.5, {"big": torch.ones(1 << 16)})
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert kept(tmp_path / "last") == "good"
    assert load_trainer(tmp_path / "last").step == 1
