"""Candidates at a fixed budget: they keep to it, they are the models that they say, and what cannot be is one sentence."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastdraft_core.design.shapes import (
    Grid,
    candidates,
    default_draft_vocabs,
    parse_draft_vocabs,
    parse_range,
    parse_widths,
    shape,
)
from fastdraft_core.errors import FastdraftError
from fastdraft_core.training.architecture import model_config, new_model
from fastdraft_core.training.recipe import ModelShape

GRID = Grid(layers=range(1, 7), widths=(64, 1024), draft_vocabs=[0], weights=[""])


@given(budget=st.integers(400_000, 60_000_000), vocabulary=st.integers(300, 50_000))
def test_a_candidate_spends_the_budget_and_no_more(budget: int, vocabulary: int) -> None:
    """The next wider one of its depth would not fit, unless it is the widest that was asked for."""
    if shape(1, 64, vocabulary).parameters > budget:
        with pytest.raises(FastdraftError, match="--params"):
            candidates(budget, vocabulary, GRID)
        return
    shapes, skipped = candidates(budget, vocabulary, GRID)
    budgeted = [one for one in shapes if one.budgeted]
    assert len(budgeted) + len(skipped) == 6
    for one in budgeted:
        assert one.parameters <= budget
        assert one.width == 1024 or shape(one.layers, one.width + 32, vocabulary).parameters > budget
        assert one.width % one.heads == 0
    assert all(one.layers == budgeted[0].layers for one in shapes if not one.budgeted)
    assert len({one.key for one in shapes}) == len(shapes)


def test_parameters_are_those_of_the_model_that_is_made() -> None:
    """Counted without making it, and the same as its tensors have."""
    one = shape(3, 160, 512)
    config = model_config(
        ModelShape(
            hidden_size=one.width,
            num_layers=one.layers,
            num_heads=one.heads,
            num_kv_heads=one.kv_heads,
            intermediate_size=one.intermediate,
        ),
        architecture="llama",
        vocab_size=512,
        special={"pad_token_id": None},
    )
    with torch.device("meta"):
        model = new_model(config, seed=1, attention="sdpa")
    assert sum(p.numel() for p in model.parameters()) == one.parameters


def test_every_head_and_weight_format_is_a_candidate_of_each_shape() -> None:
    """The grid is the user's."""
    grid = Grid(layers=[1, 2], widths=(64, 256), draft_vocabs=[128, 0], weights=["bf16", "int8"])
    shapes, _ = candidates(2_000_000, 1000, grid)
    budgeted = [(s.layers, s.draft_vocab, s.weights) for s in shapes if s.budgeted]
    assert budgeted == [(n, k, w) for n in (1, 2) for k in (128, 0) for w in ("bf16", "int8")]


def test_a_large_vocabulary_gets_a_shortlist_unasked() -> None:
    """There the head is most of a small draft."""
    assert default_draft_vocabs(4096) == [0]
    assert default_draft_vocabs(49_152) == [0, 8192]


@pytest.mark.parametrize(
    ("budget", "says"),
    [(1_000_000, r"3\.1M of them the embedding of 49,152 ids"), (1_000_000, r"Give at least --params 3\.\dM")],
)
def test_a_budget_below_the_embedding_says_what_would_fit(budget: int, says: str) -> None:
    """One sentence with a figure that works."""
    with pytest.raises(FastdraftError, match=says):
        candidates(budget, 49_152, GRID)


def test_a_shortlist_as_long_as_the_vocabulary_is_refused() -> None:
    """It would be the whole head under another name."""
    with pytest.raises(FastdraftError, match="not below the target's vocabulary"):
        candidates(2_000_000, 1000, Grid([1], (64, 128), [1000], [""]))


def test_ranges_as_people_write_them() -> None:
    """Numbers, ranges, thousands."""
    assert parse_range("1-3,6", "--layers") == [1, 2, 3, 6]
    assert parse_widths("128-768") == (128, 768)
    assert parse_widths("256") == (256, 256)
    assert parse_draft_vocabs("2k,8k,all") == [2000, 8000, 0]


@pytest.mark.parametrize("text", ["", "x", "3-1", "0-2", "1-"])
def test_a_range_that_is_none_is_one_sentence(text: str) -> None:
    """With an example of one that is."""
    with pytest.raises(FastdraftError, match="write for example"):
        parse_range(text, "--layers")


@pytest.mark.parametrize("text", ["100-200", "32-64", "wide"])
def test_widths_into_which_no_head_divides_are_refused(text: str) -> None:
    """Rather than rounded without a word."""
    with pytest.raises(FastdraftError, match="for example"):
        parse_widths(text)
