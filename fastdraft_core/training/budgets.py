"""How much of a source a stage reads, and where in it a stage begins: a source is tokenized as far as that, and no further."""

from __future__ import annotations

from fastdraft_core.data.building import WINDOW
from fastdraft_core.data.mixtures import source_rows, tokens_of_rows
from fastdraft_core.training.recipe import Recipe, Stage, num_steps, rows_per_step


def read_before(recipe: Recipe, name: str, source: str) -> int:
    """Rows of ``source``, each as long as those of stage ``name``, that the stages before it read."""
    tokens = 0
    for earlier, stage in recipe.stages.items():
        if earlier == name:
            break
        tokens += _rows(stage, source) * (stage.sequence_length + 1)
    return -(-tokens // (recipe.stages[name].sequence_length + 1))


def tokens_needed(recipe: Recipe, name: str, source: str) -> int:
    """Training tokens of ``source`` that hold every row of stage ``name``, unless the source ends before."""
    stage = recipe.stages[name]
    rows = read_before(recipe, name, source) + _rows(stage, source)
    return tokens_of_rows(rows, stage.sequence_length, WINDOW)


def _rows(stage: Stage, source: str) -> int:
    rows = source_rows(list(stage.sources.values()), num_steps(stage) * rows_per_step(stage))
    return dict(zip(stage.sources, rows, strict=True)).get(source, 0)
