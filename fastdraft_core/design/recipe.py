"""Put a chosen shape into a recipe: a new one of a bundled recipe, or an existing file, of which all else stays as it is."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from fastdraft_core.design.candidate import model_shape
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import DesignShape, DesignStarted
from fastdraft_core.files import write_atomic
from fastdraft_core.training.recipe import dump_recipe, load_recipe

#: What a new recipe is made of.
_USUAL = "demo-S"
_SECTION = re.compile(r"^\[model\][^\n]*\n(?:(?!\[).*\n?)*", re.MULTILINE)


def write_shape(shape: DesignShape, plan: DesignStarted, file: Path) -> None:
    """Write ``[model]`` of the recipe ``file``; where there is none, a recipe for the study's target is made of demo-S.

    Raises:
        FastdraftError: the file is no recipe or has no ``[model]`` of its own, or cannot be written.
    """
    chosen = model_shape(shape, plan)
    if not file.exists():
        base = load_recipe(_USUAL)
        # Rows are no longer than what the draft can read.
        stages = {
            name: msgspec.structs.replace(stage, sequence_length=min(stage.sequence_length, chosen.context_length))
            for name, stage in base.stages.items()
        }
        made = msgspec.structs.replace(base, model=chosen, target=plan.target.name, name=file.stem, **stages)
        _write(file, msgspec.toml.encode(dump_recipe(made)).decode())
        return
    base = load_recipe(str(file))
    kept = msgspec.structs.replace(chosen, context_length=base.model.context_length)
    section = (
        "[model]\n"
        + msgspec.toml.encode(
            {key: value for key, value in msgspec.to_builtins(kept).items() if value is not None}
        ).decode()
    )
    text, changed = _SECTION.subn(lambda _: section + "\n", file.read_text(encoding="utf-8"), count=1)
    if not changed:
        raise FastdraftError(f"{file} has no section [model] of its own to write the shape into. Give another recipe.")
    _write(file, text)


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, text.encode())
    except OSError as error:
        raise FastdraftError(f"{file} cannot be written ({error.strerror or error}).") from error
