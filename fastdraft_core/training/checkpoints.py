"""Checkpoints: Hugging Face folders that any tool loads, plus ``trainer.safetensors`` to go on exactly."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.draft_vocab import write_draft_vocab
from fastdraft_core.models.weights import TRAINER
from fastdraft_core.training.short_head import short_head

if TYPE_CHECKING:
    import torch

#: What of a ``Trainer`` is kept as text.
_STATE = ("step", "best", "shards", "reached", "held_out", "judged")


@dataclass(frozen=True, slots=True)
class Trainer:
    """What a stage goes on from, beside the weights: steps done, best acceptance so far, the optimizers' tensors.

    ``reached`` is the expected acceptance of these very weights; as ``best``, below 0 where nothing judged them. ``shards``
    are the checksums of the tokens that the stage reads, by source, and ``held_out`` of those that judge it. ``judged`` is false where the evaluation of this step is still to be made.
    """

    step: int
    best: float
    tensors: dict[str, torch.Tensor]
    shards: dict[str, str] = field(default_factory=dict)
    reached: float = -1.0
    held_out: dict[str, str] = field(default_factory=dict)
    judged: bool = True


def save_checkpoint(folder: Path, model: Any, tokenizer: Any, trainer: Trainer | None) -> None:
    """Write beside ``folder`` and rename, so that a readable checkpoint exists at every moment.

    Only for folders of a job: what is there is replaced, with all that lies in it.

    Raises:
        FastdraftError: the disk is full or not writable; the previous checkpoint is intact.
    """
    for left_over in folder.parent.glob(f"{folder.name}.building-*"):
        shutil.rmtree(left_over, ignore_errors=True)
    building = folder.with_name(f"{folder.name}.building-{os.getpid()}")
    old = folder.with_name(f"{folder.name}.old")
    try:
        building.mkdir(parents=True, exist_ok=True)
        model.save_pretrained(building)
        tokenizer.save_pretrained(building)
        if (short := short_head(model)) is not None:
            write_draft_vocab(building, short.vocab)
        if trainer is not None:
            _save_trainer(building / TRAINER, trainer)
        flush(building)
        if folder.exists():
            # One that a kill left behind would stand in the way of every later checkpoint.
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
        building.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        # A full disk is a SafetensorError to the weights.
        shutil.rmtree(building, ignore_errors=True)
        reason = getattr(error, "strerror", None) or error
        raise FastdraftError(
            f"The checkpoint could not be written to {folder} ({reason}). Free some space and run "
            "the same command again; it goes on from the last checkpoint."
        ) from error


def load_trainer(folder: Path, *, tensors: bool = True) -> Trainer:
    """What ``save_checkpoint`` kept beside the weights; without ``tensors`` only the small part of it is read.

    Raises:
        FastdraftError: the file is missing or damaged.
    """
    path = folder / TRAINER
    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads(file.metadata()["state"])
            names = file.keys() if tensors else ()
            return Trainer(
                step=int(state["step"]),
                best=float(state["best"]),
                tensors={name: file.get_tensor(name) for name in names},
                shards=dict(state.get("shards", {})),
                reached=float(state.get("reached", -1.0)),
                held_out=dict(state.get("held_out", {})),
                judged=bool(state.get("judged", True)),
            )
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise FastdraftError(
            f"{path} cannot be read ({type(error).__name__}). Delete {folder} to start this stage again."
        ) from error


def load_weights(model: Any, folder: Path) -> None:
    """Fill ``model`` with the weights of a checkpoint.

    Raises:
        FastdraftError: they are damaged, or of a model of another shape.
    """
    from safetensors.torch import load_model

    path = folder / "model.safetensors"
    try:
        missing, unexpected = load_model(model, path, strict=False)
    except (OSError, SafetensorError) as error:
        raise FastdraftError(f"{path} cannot be read ({error}). Delete {folder} to start this stage again.") from error
    except RuntimeError as error:
        # Torch names every weight whose shape differs.
        raise _other_shape(folder) from error
    # A shared table is stored once, under either of its names.
    if unexpected or set(missing) - set(getattr(model, "all_tied_weights_keys", {})):
        raise _other_shape(folder)


def _other_shape(folder: Path) -> FastdraftError:
    return FastdraftError(
        f"The checkpoint in {folder} is of a model of another shape than the recipe's [model]. Put the recipe back, or "
        "train in another job folder."
    )


def _save_trainer(path: Path, trainer: Trainer) -> None:
    state = json.dumps({name: getattr(trainer, name) for name in _STATE})
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in trainer.tensors.items()}
    save_file(tensors, path, metadata={"state": state})


def flush(folder: Path) -> None:
    """Have the disk hold every file before the rename makes them the checkpoint: a power cut must not leave empty ones."""
    for path in folder.iterdir():
        with path.open("rb+") as file:
            os.fsync(file.fileno())
