"""Which values of a recipe may change once a job has begun, and which may not.

The promise that a training goes on exactly as if nobody had disturbed it holds for an unchanged recipe. What may change
here either leaves the rows and the mathematics alone (``micro_batch``, ``activation_checkpointing``, ``compile`` alter
only the order of summation, so results are then equal to rounding), or is a new decision for the steps to come, made
knowingly (``learning_rate``, ``final_learning_rate``, ``clip_norm``): such a training is no longer that of one recipe,
so the change is written into the job's events and into the model's card. Steps that are done are never done again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from fastdraft_core.errors import FastdraftError
from fastdraft_core.text_sources import TARGET_SOURCE
from fastdraft_core.training.folders import last_checkpoint
from fastdraft_core.training.recipe import STAGES, Recipe

#: They change how something is computed or judged, not what is learnt.
_ALWAYS = {"compile", "checkpoint_minutes", "log_with", "synthesis.batch_size", "trust_remote_code"}
#: Of any stage: they change nothing but rounding.
_ROUNDING = {"micro_batch", "activation_checkpointing"}
#: Of a stage that has a checkpoint: they hold from the next step on.
_GOING_ON = {"learning_rate", "final_learning_rate", "clip_norm", "skip"}
#: What says which job it is.
_IDENTITY = {"name", "target"}


def take_changes(kept: Recipe, recipe: Recipe, folder: Path, again: str = "") -> list[str]:
    """What ``recipe`` changes in the job of ``kept``, each as ``pt.learning_rate = 0.001 (was 0.01)``.

    ``again`` is a stage that is about to begin anew.

    Raises:
        FastdraftError: a change does not fit what the job has done already; the message names the key and what to do.
    """
    saved = [n for n in STAGES if n != again and last_checkpoint(folder, n) is not None]
    changes = []
    for key, old, new in _differences(kept, recipe):
        if why := _objection(key, kept, saved, (folder / "tokenizer").is_dir(), again):
            raise FastdraftError(
                f"{folder} holds a job with another recipe: its {key} is {_told(old)}, not {_told(new)}, and {why}. Put "
                f"{key} back, {_repeat(key, saved)}or train in another folder with --job."
            )
        changes.append(f"{key} = {_told(new)} (was {_told(old)})")
    return changes


def _differences(kept: Any, recipe: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Key, old and new value of all that differs; a section that only one of both has is one difference."""
    for name in kept.__struct_fields__:
        yield from _pair(place + name, getattr(kept, name), getattr(recipe, name))


def _pair(key: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, msgspec.Struct) and isinstance(new, msgspec.Struct):
        yield from _differences(old, new, f"{key}.")
    elif key == "sources":
        for source in {**old, **new}:
            yield from _pair(f"{key}.{source}", old.get(source), new.get(source))
    elif old != new:
        yield key, old, new


def _objection(key: str, kept: Recipe, saved: list[str], has_tokenizer: bool, again: str) -> str:
    """Why ``key`` may not change, as half a sentence; empty where it may."""
    section, _, field = key.partition(".")
    if key in _ALWAYS or section == "evaluation":
        return ""
    if section in STAGES:
        return "" if section == again else _stage_objection(section, field, saved)
    if key in _IDENTITY:
        return "it is what the job is known by"
    if section == "tokenizer" and has_tokenizer:
        return "the tokenizer is trained already"
    if section == "sources":
        # A source's name may hold dots.
        saved = [stage for stage in saved if any(f"{field}.".startswith(f"{s}.") for s in _read_by(kept, stage))]
    elif section == "synthesis":
        saved = [stage for stage in saved if _stage_sources(kept, stage) & {TARGET_SOURCE}]
    return f"stage {saved[0]} was begun with it" if saved else ""


def _stage_objection(stage: str, field: str, saved: list[str]) -> str:
    if field in _ROUNDING:
        return ""
    later = [name for name in saved if STAGES.index(name) > STAGES.index(stage)]
    if later:
        return f"stage {later[0]}, which comes after it, has begun"
    if stage in saved and field not in _GOING_ON:
        return f"stage {stage} was begun with it"
    return ""


def _read_by(recipe: Recipe, stage: str) -> set[str]:
    """Sources that a stage reads, those of the target's prompts included."""
    sources = _stage_sources(recipe, stage)
    if TARGET_SOURCE in sources and recipe.synthesis is not None:
        sources |= {*recipe.synthesis.sources, *recipe.synthesis.instructions}
    return sources


def _stage_sources(recipe: Recipe, stage: str) -> set[str]:
    section = getattr(recipe, stage)
    return set(section.sources) if section is not None else set()


def _repeat(key: str, saved: list[str]) -> str:
    section = key.partition(".")[0]
    return f"repeat the stage from its start with --stage {section} --again, " if section in saved else ""


def _told(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, msgspec.Struct):
        return "another section"
    return str(value).lower() if isinstance(value, bool) else str(value)
