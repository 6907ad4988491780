"""Figures of a training for TensorBoard, Weights & Biases or trackio, through accelerate's trackers; none unless a recipe says so."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from fastdraft_core.errors import FastdraftError, short_error
from fastdraft_core.events import Evaluated, Event, Progress, Step
from fastdraft_core.training.recipe import Recipe, dump_recipe, num_steps

logger = logging.getLogger(__name__)

#: Any of these packages serves the tracker; the first is the one to install.
_PACKAGES = {"tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",), "trackio": ("trackio",)}
#: What the runs of all jobs stand under.
_PROJECT = "fastdraft"
#: Where a tracker that writes files has them, in the job's folder.
LOGS = "logs"


def check_trackers(recipe: Recipe) -> None:
    """See that what ``log_with`` names is installed.

    Raises:
        FastdraftError: it is not.
    """
    for name in recipe.log_with:
        if not any(importlib.util.find_spec(package) for package in _PACKAGES[name]):
            raise FastdraftError(
                f"log_with names {name}, which is not installed. Install it with `pip install {_PACKAGES[name][0]}`, or take it out "
                "of log_with."
            )


def tracked(recipe: Recipe, folder: Path, accelerator: Any, events: Iterator[Event]) -> Iterator[Event]:
    """``events``, with the figures of steps and evaluations also given to what ``log_with`` names, on the first process.

    A tracker that fails later is left alone from then on: no training ends by it.

    Raises:
        FastdraftError: a tracker cannot begin.
    """
    if not recipe.log_with:
        yield from events
        return
    # It loads torch, which seeing to what is installed need not.
    from fastdraft_core.training.processes import agree

    agree(accelerator, _begin(recipe, folder, accelerator))
    before = _steps_before(recipe)
    try:
        for event in events:
            if isinstance(event, Step | Evaluated):
                yield from _log(accelerator, figures(event), before[event.stage] + event.step)
            yield event
    finally:
        # Not end_training, which also ends the talk between the processes.
        for tracker in accelerator.trackers:
            tracker.finish()


def figures(event: Step | Evaluated) -> dict[str, float]:
    """What a tracker is given of an event, named ``pt/loss`` and ``pt/held_out_loss/code``."""
    if isinstance(event, Step):
        told = {
            "loss": event.loss,
            "learning_rate": event.learning_rate,
            "gradient_norm": event.gradient_norm,
            "tokens": event.tokens,
            "tokens_per_second": event.tokens_per_second,
            "data_wait_share": event.data_wait_share,
            "memory_bytes": event.memory,
        }
        return {f"{event.stage}/{name}": float(value) for name, value in told.items()}
    by_source: dict[str, Mapping[str, float]] = {
        "held_out_loss": event.loss,
        "expected_acceptance": event.acceptance,
        "accepted": event.accepted,
        "coverage": event.coverage,
    }
    return {
        f"{event.stage}/{name}/{source}": value
        for name, values in by_source.items()
        for source, value in values.items()
    }


def _begin(recipe: Recipe, folder: Path, accelerator: Any) -> str:
    """Start the trackers; the problem in words where one cannot."""
    if not accelerator.is_main_process:
        return ""
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    logs = folder / LOGS
    own: dict[str, dict[str, Any]] = {
        "tensorboard": {"logging_dir": str(logs)},
        "wandb": {"name": folder.name, "dir": str(logs)},
        "trackio": {"name": folder.name},
    }
    for name in recipe.log_with:
        try:
            logs.mkdir(parents=True, exist_ok=True)
            tracker = LOGGER_TYPE_TO_CLASS[name](_PROJECT, **own[name])
            tracker.start()
            tracker.store_init_configuration(_flat(dump_recipe(recipe)))
        except Exception as error:
            # Each library has errors of its own.
            return f"{name} cannot begin to log ({short_error(error)}). Mend that, or take it out of log_with."
        accelerator.trackers.append(tracker)
    return ""


def _log(accelerator: Any, values: dict[str, float], step: int) -> Iterator[Event]:
    """Give ``values`` to every tracker; one that fails is taken leave of, in words."""
    for tracker in list(accelerator.trackers):
        try:
            tracker.log(values, step=step)
        except Exception as error:
            logger.exception("%s failed", tracker.name)
            accelerator.trackers.remove(tracker)
            yield Progress(what=f"{tracker.name} gets no more figures: {short_error(error)}")


def _steps_before(recipe: Recipe) -> dict[str, int]:
    """Steps of the stages before each stage: trackers count one row of steps, whichever process logs a part of it."""
    before, total = {}, 0
    for name, stage in recipe.stages.items():
        before[name] = total
        total += num_steps(stage)
    return before


def _flat(data: Mapping[str, Any], place: str = "") -> dict[str, str | int | float | bool]:
    """A recipe's values by dotted keys, as trackers take them."""
    flat: dict[str, str | int | float | bool] = {}
    for key, value in data.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{place}{key}.")
        else:
            flat[place + key] = value if isinstance(value, str | int | float) else msgspec.json.encode(value).decode()
    return flat
