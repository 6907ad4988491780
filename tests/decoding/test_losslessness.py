"""``fastdraft verify`` proves what it says: it passes the honest rule and fails the planted bug (pitfall 19)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fastdraft_core.decoding.drafters import ModelDrafter
from fastdraft_core.decoding.losslessness import accept_all, check_greedy, check_law, parting
from fastdraft_core.decoding.records import Request
from fastdraft_core.decoding.rounding import Rounding, check_runtime, measure_rounding, most_ties
from fastdraft_core.decoding.sampling import Sampling
from fastdraft_core.events import Compared, decode_message, encode
from tests.decoding.conftest import OfTable, Sized, Tables
from tests.decoding.table import TableRuntime, card, random_table


class Moved(TableRuntime):
    """A table whose passes over several tokens move the logit of token 1 by ``error``."""

    def __init__(self, table: np.ndarray, error: float) -> None:
        super().__init__(table)
        self.error = error

    def forward(self, ids: list[int]) -> torch.Tensor:
        logits = super().forward(ids).clone()
        if len(ids) > 1:
            logits[:, 1] += self.error
        return logits


def tie(margin: float) -> np.ndarray:
    """Token 0 is always best, and token 1 is ``margin`` behind it."""
    table = np.full((5, 5, 5), -5.0)
    table[..., 0], table[..., 1] = margin, 0.0
    return table


@pytest.mark.parametrize("margin", [0.01, 2.0])
def test_a_flip_passes_only_as_a_near_tie(margin: float) -> None:
    """Pitfall 19: verification rounds otherwise; a different token passes under the noise floor, and is reported."""
    target = Moved(tie(margin), error=2 * margin)
    drafter = ModelDrafter(TableRuntime(tie(margin)))
    check = check_greedy(target, drafter, Request([0, 0], 8), 3, noise=0.1)
    assert check.parted is not None
    assert check.parted.position == 2, "the first token is the prefill's in both modes"
    assert (check.expected[1], check.emitted[1]) == (0, 1)
    assert check.parted.margin == pytest.approx(margin)
    assert check.passed == (margin < 0.1)


def test_equal_texts_pass(tables: Tables) -> None:
    """Without any difference there is nothing to excuse."""
    target, draft = tables()
    check = check_greedy(target, ModelDrafter(draft), Request([1, 2], 30), 4, noise=0.0)
    assert check.passed
    assert (len(check.expected), check.parted) == (30, None)


def test_the_negative_control_fails_greedily(tables: Tables) -> None:
    """``--inject accept-all`` must fail, else the check proves nothing."""
    target, draft = tables()
    check = check_greedy(target, ModelDrafter(draft), Request([1, 2], 30), 4, 0.01, accept_all)
    assert not check.passed


def test_a_text_that_ends_early_fails() -> None:
    """A text that is the other's beginning is no near-tie, whatever the floor."""
    target, request = TableRuntime(tie(0.01)), Request([0, 0], 4)
    for expected, emitted in (([0] * 4, [0] * 3), ([0] * 3, [0] * 4)):
        found = parting(target, request, expected, emitted, noise=1e9)
        assert found is not None
        assert not found.tie
        # It travels to the app as JSON, which has no infinity.
        sent = Compared(speedup=1.0, identical=False, parted=found)
        assert decode_message(encode(sent)) == sent
    assert parting(target, request, [0] * 4, [0] * 4, noise=0.0) is None


def test_the_noise_floor_is_measured_rounding() -> None:
    """The floor is some times the largest change between pass lengths: 0 for an exact target, above it for another."""
    requests = [Request([0, 0], 20)]
    assert measure_rounding(TableRuntime(tie(1.0)), requests, 3).floor == 0
    found = measure_rounding(Moved(tie(1.0), 1e-6), requests, 3)
    assert found.credible
    assert 1e-6 <= found.floor <= 1e-5
    assert found.spread == pytest.approx(1e-6, rel=0.2)


def test_a_difference_that_no_rounding_makes_excuses_nothing() -> None:
    """Passes over several tokens that are wrong by 0.5 in float32 are an error, however often they are measured."""
    found = measure_rounding(Moved(tie(1.0), 0.5), [Request([0, 0], 20)], 3)
    assert not found.credible
    assert found.floor < 1e-3 < found.measured


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_error_of_half_the_floor_is_found(dtype: str) -> None:
    """Planted into passes over several tokens it moves the measured floor along; held against float32 it stands out."""

    class Rounded(TableRuntime):
        """A table that both kinds of passes round, each in its own way; ``planted`` is added by those over several tokens."""

        planted = 0.0

        def forward(self, ids: list[int]) -> torch.Tensor:
            logits = super().forward(ids)
            scale = {"float32": 1e-6, "bfloat16": 3e-3}[dtype]
            stream = torch.Generator().manual_seed(1000 * self.length + len(ids))
            logits = logits + scale * torch.randn(logits.shape, generator=stream)
            logits[:, 1] += self.planted * (len(ids) > 1)
            return logits

    table = tie(2.0)
    exact, target, requests = TableRuntime(table), Rounded(table), [Request([0, 0], 120)]
    target.card = card(dtype=dtype)
    clean = measure_rounding(target, requests, 3)
    assert clean.credible
    assert check_runtime(target, exact, requests, 3).passed
    target.planted = clean.floor / 2
    found = check_runtime(target, exact, requests, 3)
    assert (found.right, found.even) == (True, False)


def test_a_runtime_that_is_wrong_in_both_ways_is_found() -> None:
    """Both modes agree with each other, and neither is the model."""
    table = tie(2.0)
    wrong = table.copy()
    wrong[..., 1] += 0.4
    assert not check_runtime(TableRuntime(wrong), TableRuntime(table), [Request([0, 0], 20)], 3).passed


def test_near_ties_are_counted_against_what_rounding_makes() -> None:
    """Margins far above the spread make no tie, those below it half of them; a few more are no surprise, many are."""
    rounding = Rounding(spread=0.04, largest=0.12, explained=1.0)
    assert rounding.expected_ties([2.0] * 1000) < 1e-6
    assert rounding.expected_ties([0.0] * 10) == pytest.approx(5)
    assert Rounding(0.0, 0.0, 1.0).expected_ties([0.0] * 10) == 0
    assert [most_ties(expected) for expected in (0.0, 0.01, 3.0)] == [0, 1, 10]


@pytest.mark.parametrize(("length", "context"), [(1, 100), (20, 2), (20, 3), (20, 7)])
def test_short_texts_can_be_calibrated_on(length: int, context: int) -> None:
    """A text of one token, or one that fills the context, measures what there is and does not break off."""
    target = TableRuntime(tie(1.0), context_length=context)
    assert measure_rounding(target, [Request([0, 0], length)], 3).floor == 0


@pytest.mark.parametrize("sampling", [Sampling(0.6), Sampling(1.0, top_k=3, top_p=0.9)])
@pytest.mark.parametrize("gamma", [1, 4])
def test_the_law_check_passes_the_honest_rule_and_fails_the_control(
    tables: Tables, sized: Sized, gamma: int, sampling: Sampling
) -> None:
    """Both tokens of an honest block fit the exact law; with everything accepted the check fails."""
    target, draft = tables(vocab_size=6, seed=3)
    request, draws = Request([1, 2], 4, sampling, seed=3), sized(1500)
    honest = list(check_law(target, ModelDrafter(draft), request, gamma, draws))
    assert [(c.position, c.samples, c.passed) for c in honest] == [(2, draws, True), (3, draws, True)]
    broken = list(check_law(target, ModelDrafter(draft), request, gamma, draws, accept_all))
    assert not all(c.passed for c in broken)


def test_the_law_check_survives_disjoint_supports(of_table: OfTable, sized: Sized) -> None:
    """A draft that says nothing that the target says is slow and lossless."""
    target, draft = random_table(6, 1), random_table(6, 2)
    target[..., 3:], draft[..., :3] = -np.inf, -np.inf
    request = Request([1, 2], 4, Sampling(1.0), seed=3)
    assert all(c.passed for c in check_law(of_table(target), ModelDrafter(of_table(draft)), request, 3, sized(1000)))
