"""Planning and launching a training: the command line does it, in processes of its own."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import NamedTuple

import msgspec

from fastdraft_app.client.command import Outcome, fastdraft, last_words
from fastdraft_core import places
from fastdraft_core.files import write_atomic
from fastdraft_core.training.recipe import Recipe, dump_recipe


def recipe_text(recipe: Recipe) -> str:
    """The recipe as TOML."""
    return msgspec.toml.encode(dump_recipe(recipe)).decode()


def recipe_path(recipe: Recipe) -> Path:
    """Where the wizard keeps ``recipe``: the first file of its name that is free, or holds just this recipe."""
    folder, text = places.exports() / "recipes", recipe_text(recipe).encode()
    for number in count(1):
        path = folder / (f"{recipe.name}.toml" if number == 1 else f"{recipe.name}-{number}.toml")
        if not path.exists() or path.read_bytes() == text:
            return path
    raise AssertionError


def saved_recipes() -> list[Path]:
    """The recipes that the wizard has saved, by name."""
    return sorted((places.exports() / "recipes").glob("*.toml"))


def model_path(name: str) -> Path:
    """Where a launched job writes its finished model: in its own folder, so that it goes with it."""
    return places.jobs() / name / "model"


def save_recipe(recipe: Recipe) -> Path:
    """Write the recipe and say where.

    Raises:
        OSError: it cannot be written.
    """
    path = recipe_path(recipe)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, recipe_text(recipe).encode())
    return path


def scratch_recipe(recipe: Recipe) -> Path:
    """Write a recipe that is only looked at, where it takes no saved one's place.

    Raises:
        OSError: it cannot be written.
    """
    path = places.cache() / "wizard" / f"{recipe.name}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, recipe_text(recipe).encode())
    return path


def train_arguments(recipe: Recipe, device: str) -> list[str]:
    """What stands after ``fastdraft`` to launch ``recipe`` once it is saved."""
    return ["train", str(recipe_path(recipe)), *_on(device), "--output", str(model_path(recipe.name)), "--detach"]


async def launch(recipe: Recipe, device: str) -> Outcome:
    """Start the job; it outlives the app. The outcome says whether it is on its way, and the reason if not.

    Raises:
        OSError: the recipe cannot be written, or the process not be started.
    """
    arguments = train_arguments(recipe, device)
    save_recipe(recipe)
    code, _, talk = await fastdraft(*arguments)
    return Outcome(code == 0, "" if code == 0 else last_words(talk, f"fastdraft train ended with exit code {code}."))


class PlanLines(NamedTuple):
    """What is said of a plan, and whether there is one."""

    made: bool
    lines: list[str]


async def plan(recipe: Recipe, device: str) -> PlanLines:
    """What ``fastdraft train --plan`` says of the recipe: measured for some seconds on this machine; or why it could not.

    Raises:
        OSError: the recipe cannot be written, or the process not be started.
    """
    code, lines, talk = await fastdraft("train", str(scratch_recipe(recipe)), *_on(device), "--plan", outlive=False)
    return PlanLines(True, lines) if code == 0 else PlanLines(False, ["The plan could not be made:", *talk[-3:]])


def _on(device: str) -> list[str]:
    return ["--device", device] if device else []
