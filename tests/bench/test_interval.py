"""How well a speed-up is known: the interval covers the truth as often as it says, and no more than it must."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdraft_core.bench.interval import (
    Interval,
    bootstrap,
    first_interval,
    interval,
    pooled_speedup,
    speedup,
    student_t,
)
from fastdraft_core.events import Turn

#: From a table of Student's t, two-sided 95 %.
TABLE = {1: 12.706, 2: 4.303, 4: 2.776, 5: 2.571, 6: 2.447, 10: 2.228, 20: 2.086, 30: 2.042, 120: 1.980}


def measured(
    rng: np.random.Generator,
    ratios: tuple[float, ...],
    repeats: int,
    noise: float = 0.03,
    drift: float = 0.3,
) -> list[Turn]:
    """Turns of prompts with true speed-ups ``ratios``; a slow moment (``drift``) is shared by both modes of a turn."""
    turns = []
    for _ in range(repeats):
        for prompt, ratio in enumerate(ratios):
            moment = np.exp(rng.normal(0, drift))
            baseline, speculative = np.exp(rng.normal(0, noise, 2)) * moment
            turns.append(Turn(prompt, baseline, speculative / ratio))
    return turns


def truth(ratios: tuple[float, ...]) -> float:
    """Total time over total time, all prompts being of one length."""
    return len(ratios) / sum(1 / r for r in ratios)


@pytest.mark.parametrize(("freedom", "quantile"), TABLE.items())
def test_quantiles_of_the_table(freedom: int, quantile: float) -> None:
    """Every interval rests on these."""
    assert student_t(freedom) == pytest.approx(quantile, rel=0.01)


@pytest.mark.parametrize("repeats", [2, 4])
@pytest.mark.parametrize("ratios", [(2.0,) * 6, (1.0, 1.5, 2.0, 3.0), (1.3, 0.8)])
def test_the_interval_covers_the_truth_as_often_as_it_says(ratios: tuple[float, ...], repeats: int) -> None:
    """95 % of intervals hold the true speed-up of these prompts, with few repeats and unequal prompts."""
    rng = np.random.default_rng(1)
    found = [interval(measured(rng, ratios, repeats, drift=0.0)) for _ in range(800)]
    covered = np.mean([i is not None and i.low <= truth(ratios) <= i.high for i in found])
    assert 0.925 < covered < 0.975


def test_what_both_modes_share_does_not_widen_it() -> None:
    """Interleaving pays: a machine that is at times twice as slow hardly moves a ratio of neighbours.

    The control: the same times with the neighbours torn apart give a far wider interval.
    """
    rng = np.random.default_rng(2)
    turns = measured(rng, (2.0,) * 6, 6, noise=0.01, drift=0.3)
    close = interval(turns)
    by_prompt = {p: [t for t in turns if t.prompt == p] for p in range(6)}
    torn = [Turn(p, mine[i].baseline, mine[(i + 3) % 6].speculative) for p, mine in by_prompt.items() for i in range(6)]
    apart = interval(torn)
    assert close is not None
    assert apart is not None
    assert close.half_width < 0.25 * apart.half_width


def test_unequal_prompts_do_not_widen_it_but_widen_the_other() -> None:
    """What is known of these prompts is one thing, what of others of the kind another."""
    rng = np.random.default_rng(3)
    turns = measured(rng, (0.8, 1.5, 2.5, 4.0), 4, noise=0.01, drift=0.0)
    of_these = interval(turns)
    of_others = bootstrap(turns, lambda t: t.prompt, speedup_of_totals)
    assert of_these is not None
    assert of_others is not None
    low, high = of_others
    assert of_these.half_width < 0.02
    assert high / low > 1.5


def speedup_of_totals(turns: Sequence[Turn]) -> float:
    return sum(t.baseline for t in turns) / sum(t.speculative for t in turns)


def test_one_repeat_has_no_interval() -> None:
    """Nothing is known of noise before something was done twice."""
    assert interval([Turn(0, 1.0, 0.5), Turn(1, 1.0, 0.5)]) is None
    assert interval([Turn(0, 1.0, 0.5), Turn(0, 1.0, 0.5), Turn(1, 1.0, 0.5)]) == Interval(2.0, 2.0, 2.0)


def test_a_first_round_is_judged_by_how_prompts_differ() -> None:
    """A slow pair has no time for a second one: equal prompts give no width, unequal ones a wide interval about the ratio."""
    assert first_interval([Turn(0, 1.0, 0.5)]) is None
    assert first_interval([Turn(0, 1.0, 0.5), Turn(1, 1.0, 0.5)]) == Interval(2.0, 2.0, 2.0)
    found = first_interval([Turn(0, 1.0, 0.5), Turn(1, 1.0, 0.6), Turn(2, 1.0, 0.4)])
    assert found is not None
    assert found.ratio == pytest.approx(2.0)
    assert found.low < 1 / 0.6
    assert found.high > 1 / 0.4


def test_one_prompt_says_nothing_of_others() -> None:
    """No interval over prompts is made up of one: it would have no width at all."""
    turns = [Turn(0, 1.0, 0.5), Turn(0, 1.1, 0.5)]
    assert bootstrap(turns, lambda t: t.prompt, speedup_of_totals) is None


def test_a_prompt_that_ran_more_often_counts_no_more() -> None:
    """A budget may end in the middle of a round."""
    turns = [Turn(0, 1.0, 1.0), Turn(1, 1.0, 0.25), Turn(0, 1.0, 1.0), Turn(0, 1.0, 1.0)]
    assert speedup(turns) == pytest.approx(2 / 1.25)
    found = interval(turns)
    assert found is not None
    assert found.ratio == pytest.approx(2 / 1.25)


def test_texts_of_unequal_lengths_count_by_their_tokens() -> None:
    """A speed-up is that of decoding all texts: 90 tokens at 1x and 10 at 4x are 100 s over 92.5 s, not 2 over 1.25."""
    turns = [Turn(0, 1.0, 1.0, 90.0), Turn(1, 1.0, 0.25, 10.0)] * 3
    assert (speedup(turns), pooled_speedup(turns)) == pytest.approx((100 / 92.5, 100 / 92.5))
    found = interval(turns)
    assert found is not None
    assert (found.ratio, found.low) == pytest.approx((100 / 92.5, 100 / 92.5))
    # A text that was drawn longer is not a slower one.
    longer = [*turns, Turn(0, 1.0, 1.0, 180.0), Turn(0, 1.0, 1.0, 45.0)]
    again = interval(longer)
    assert again is not None
    assert again.half_width == pytest.approx(0.0, abs=1e-9)


@given(st.floats(0.1, 10), st.floats(1.001, 3))
def test_half_width_is_a_share_of_the_ratio(ratio: float, reach: float) -> None:
    """±3 % means that the ratio may lie 3 % higher."""
    assert Interval(ratio, ratio / reach, ratio * reach).half_width == pytest.approx(reach - 1)
