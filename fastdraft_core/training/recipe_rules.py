"""What the sections of a recipe must be to each other; every mistake is a sentence before anything is spent."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from fastdraft_core.counts import parse_count
from fastdraft_core.errors import FastdraftError
from fastdraft_core.text_sources import BUILT_IN, TARGET_SOURCE

if TYPE_CHECKING:
    from fastdraft_core.training.recipe import Recipe, Synthesis


#: Numbers that are no less than 0 wherever they stand: weights, shares, temperatures.
_FROM_ZERO = re.compile(r"(pt|cp|ft)\.sources\..+|synthesis\.(sources\..+|instructions\..+|temperatures|shares)")


def check(recipe: Recipe, where: str) -> None:
    """Check a recipe from ``where``, whose sections are each well-formed.

    Raises:
        FastdraftError: two of its values do not go together.
    """
    for stage in recipe.stages.values():
        parse_count(stage.tokens)
    _check_numbers(msgspec.to_builtins(recipe), "", where)
    _check_shape(recipe, where)
    if recipe.synthesis is not None:
        _check_synthesis(recipe.synthesis, where)
    if (recipe.target is None) == (recipe.tokenizer is None):
        raise FastdraftError(f"{where}: give either target (to train a draft) or [tokenizer] (to train a target).")
    if recipe.trust_remote_code and recipe.target is None:
        raise FastdraftError(
            f"{where}: trust_remote_code is about the code of a target, and there is none. Leave it out."
        )
    if recipe.model.draft_vocab is not None and recipe.target is None:
        raise FastdraftError(
            f"{where}: model.draft_vocab shortens the head of a draft, and a target scores every id. Leave it out."
        )
    if not recipe.stages:
        raise FastdraftError(f"{where}: there is no stage to run; add at least one of [pt], [cp], [ft] without skip.")
    _check_starts(recipe, where)
    for name, stage in recipe.stages.items():
        if stage.loss != "ce" and set(stage.sources) != {TARGET_SOURCE}:
            raise FastdraftError(
                f"{where}: {name}.loss = {stage.loss!r} needs the target's probabilities, which are stored for the source "
                f"'{TARGET_SOURCE}' alone. Use only that source, or loss = 'ce'."
            )
    if any(TARGET_SOURCE in stage.sources for stage in recipe.stages.values()) and recipe.synthesis is None:
        raise FastdraftError(f"{where}: a stage uses the source 'target', so the recipe needs [synthesis].")
    _check_sources(recipe, where)


def _check_numbers(value: Any, key: str, where: str) -> None:
    """TOML knows nan and inf, and a recipe needs neither; what is drawn by weight or seeded needs numbers from 0 on."""
    if isinstance(value, dict):
        for name, part in value.items():
            _check_numbers(part, f"{key}.{name}" if key else name, where)
    elif isinstance(value, list | tuple):
        for part in value:
            _check_numbers(part, key, where)
    elif isinstance(value, float) and not math.isfinite(value):
        raise FastdraftError(f"{where}: {key} is {value}; give a finite number.")
    elif isinstance(value, int | float) and value < 0 and (key == "seed" or _FROM_ZERO.fullmatch(key)):
        raise FastdraftError(f"{where}: {key} is {value}; give 0 or more.")


def _check_shape(recipe: Recipe, where: str) -> None:
    """The rows that every stage reads fit into the model, and into a step."""
    shape = recipe.model
    size, rest = divmod(shape.hidden_size, shape.num_heads)
    # An inherited model brings the size of its own heads.
    if (recipe.init is None or recipe.init.method == "projected") and not rest and size % 2:
        raise FastdraftError(
            f"{where}: model.hidden_size {shape.hidden_size} over model.num_heads {shape.num_heads} gives heads of {size}, and "
            "rotary positions need an even size. Change one of them."
        )
    for name, stage in recipe.stages.items():
        if stage.sequence_length > shape.context_length:
            raise FastdraftError(
                f"{where}: {name}.sequence_length is {stage.sequence_length}, longer than model.context_length = "
                f"{shape.context_length}. Shorten the first or raise the second."
            )
        if stage.batch_tokens < stage.sequence_length:
            raise FastdraftError(
                f"{where}: {name}.batch_tokens is {stage.batch_tokens}, less than one row of {name}.sequence_length = "
                f"{stage.sequence_length}. Raise the first or shorten the second."
            )
        if not sum(stage.sources.values()) > 0:
            raise FastdraftError(f"{where}: {name}.sources gives no source a weight above 0.")


def _check_synthesis(synthesis: Synthesis, where: str) -> None:
    parse_count(synthesis.tokens)
    if not synthesis.weights:
        raise FastdraftError(
            f"{where}: [synthesis] has nothing to give to the target; set sources, instructions or magpie with weights."
        )
    if synthesis.shares and (len(synthesis.shares) != len(synthesis.temperatures) or min(synthesis.shares) <= 0):
        raise FastdraftError(
            f"{where}: synthesis.shares needs one number above 0 for each of the {len(synthesis.temperatures)} temperatures."
        )


def _check_starts(recipe: Recipe, where: str) -> None:
    """What starts from a draft's best checkpoint, or from another model, is a draft."""
    if recipe.init is not None and (recipe.init.method == "projected") != (recipe.init.model is None):
        raise FastdraftError(
            f"{where}: init.method = 'projected' takes the embeddings of the target and no other model; the other methods need "
            "init.model."
        )
    if recipe.target is not None:
        return
    if recipe.init is not None:
        raise FastdraftError(f"{where}: [init] starts a draft, so the recipe needs target in place of [tokenizer].")
    for name, stage in recipe.stages.items():
        if stage.start == "best":
            raise FastdraftError(
                f"{where}: {name}.start = 'best' needs a target, since the best checkpoint is by acceptance. Use 'last'."
            )


def _check_sources(recipe: Recipe, where: str) -> None:
    """Every source is described once, and every one that is used is described."""
    for name, source in recipe.sources.items():
        problem = source.problem()
        if name in (*BUILT_IN, TARGET_SOURCE) or not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
            problem = "needs another name: letters, digits, '-', '_' and '.'; code, text and target are taken"
        if problem:
            raise FastdraftError(f"{where}: [sources.{name}] {problem}.")
        if source.tokens is not None:
            parse_count(source.tokens)
    known = {*BUILT_IN, *recipe.sources}
    used: dict[str, Iterable[str]] = {name: set(s.sources) - {TARGET_SOURCE} for name, s in recipe.stages.items()}
    used["synthesis"] = recipe.synthesis.sources if recipe.synthesis else ()
    used["synthesis.instructions"] = recipe.synthesis.instructions if recipe.synthesis else ()
    used["tokenizer"] = recipe.tokenizer.sources if recipe.tokenizer else ()
    for section, names in used.items():
        allowed = known - set(BUILT_IN) if section == "synthesis.instructions" else known
        for name in sorted(set(names) - allowed):
            raise FastdraftError(
                f"{where}: {section} uses the source {name!r}, which is not described. Add [sources.{name}], or use one "
                f"of: {', '.join(sorted(allowed)) or 'none yet'}."
            )
