"""The learning rate: by the size of a model, and over a stage."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdraft_core.training.optimizers import default_learning_rate, learning_rate, peak_learning_rate
from tests.training.tiny import tiny_stage


def test_warm_up_stable_decay() -> None:
    """The schedule that the recipe describes: up over 10 %, flat, down over the last 20 % to a tenth."""
    stage = tiny_stage(learning_rate=1.0, warmup=0.1, decay=0.2, final_learning_rate=0.1)
    rates = [learning_rate(stage, 1.0, step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([i / 10 for i in range(1, 11)])
    assert rates[10:80] == [1.0] * 70
    assert rates[80] == 1.0
    assert rates[90] == pytest.approx(0.55)
    assert rates[99] == pytest.approx(0.1 + 0.9 / 20)


@given(st.integers(1, 500), st.floats(0, 0.99), st.floats(0, 1), st.floats(0, 1), st.sampled_from(["wsd", "cosine"]))
def test_the_rate_is_never_nought_nor_above_the_peak(
    steps: int, warmup: float, decay: float, final: float, schedule: str
) -> None:
    """No step is wasted at rate 0, also in trainings of one step, and none exceeds what was asked."""
    stage = tiny_stage(learning_rate=0.5, warmup=warmup, decay=decay, final_learning_rate=final, schedule=schedule)
    assert all(0 < learning_rate(stage, 0.5, step, steps) <= 0.5 for step in range(steps))


def test_cosine_is_half_a_wave() -> None:
    """Up over 10 %, then from the peak down to the final share; half way it stands in the middle."""
    stage = tiny_stage(learning_rate=1.0, warmup=0.1, final_learning_rate=0.2, schedule="cosine")
    rates = [learning_rate(stage, 1.0, step, 110) for step in range(110)]
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[11] == pytest.approx(1.0, abs=1e-3)
    assert rates[11 + 49] == pytest.approx(0.6, abs=1e-2)
    assert rates[-1] == pytest.approx(0.2, abs=1e-3)


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_a_wider_model_learns_at_a_lower_rate(optimizer: str) -> None:
    """A recipe without a rate works at any size; a rate that suits 384 makes a model of 4096 diverge."""
    rates = [default_learning_rate(optimizer, width) for width in (128, 512, 2048, 8192)]
    assert rates == sorted(rates, reverse=True)
    assert rates[2] / rates[3] == pytest.approx(4.0 if optimizer == "adamw" else 2.0)


def test_the_recipes_own_rate_comes_first() -> None:
    """`learning_rate` in a recipe is what it says, whatever the size."""
    assert peak_learning_rate(tiny_stage(learning_rate=0.5), 8192) == 0.5
    assert peak_learning_rate(tiny_stage(learning_rate=None), 384) == 4e-3
