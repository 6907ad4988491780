"""How far sources are tokenized for a stage, and where the stage begins in them."""

from __future__ import annotations

from typing import Any

from fastdraft_core.data.building import WINDOW
from fastdraft_core.training.budgets import read_before, tokens_needed
from fastdraft_core.training.recipe import Recipe, load_recipe, parse_recipe

SHAPE = {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "num_kv_heads": 2, "intermediate_size": 32}


def recipe(pt: int, cp: int) -> Recipe:
    """Text alone, and then as much code as text in rows of half the length."""
    stage: dict[str, Any] = {"batch_tokens": 64, "micro_batch": 2}
    return parse_recipe(
        {
            "name": "r",
            "target": "demo",
            "model": SHAPE,
            "pt": {"tokens": pt, "sources": {"text": 1.0}, "sequence_length": 32, **stage},
            "cp": {"tokens": cp, "sources": {"code": 1.0, "text": 1.0}, "sequence_length": 16, **stage},
        },
        "r",
    )


def test_a_stage_begins_behind_what_the_stages_before_it_read() -> None:
    """Rows of another length are counted by their tokens; a source that no stage read is begun at its start."""
    small = recipe(640, 640)
    assert read_before(small, "pt", "text") == 0
    assert read_before(small, "cp", "code") == 0
    # 20 rows of 33 ids are 39 of 17, the last one in part.
    assert read_before(small, "cp", "text") == 39


def test_a_larger_budget_needs_more_and_a_small_one_little() -> None:
    """The need follows the rows, in whole stretches; demo-tiny's first step needs a hundredth of the built-in corpus."""
    assert tokens_needed(recipe(640, 640), "pt", "text") < 1.01 * WINDOW
    assert WINDOW * 3 < tokens_needed(recipe(WINDOW * 3, 640), "pt", "text") < WINDOW * 5
    assert tokens_needed(recipe(WINDOW * 3, 640), "cp", "text") > WINDOW * 3
    assert tokens_needed(load_recipe("demo-tiny"), "pt", "text") < 146_000
