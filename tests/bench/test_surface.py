"""The predicted surface: blocks of every gamma from one text, exactly where they can be exact."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdraft_core.bench.acceptance import chances, probabilities
from fastdraft_core.bench.costs import Costs
from fastdraft_core.bench.surface import Blocks, expected_blocks, fit, predicted
from fastdraft_core.decoding.drafters import ModelDrafter
from fastdraft_core.decoding.records import Pass, Request
from fastdraft_core.decoding.sampling import Sampling
from fastdraft_core.decoding.speculative import autoregressive, speculative
from fastdraft_core.decoding.totals import by_position
from fastdraft_core.metrics import predicted_speedup
from tests.decoding.table import TableRuntime, pair_of_tables

CHANCES = st.lists(st.floats(0, 1), min_size=1, max_size=40)
FATES = st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=60)
GAMMAS = st.integers(1, 9)


def walk(fates: list[float], gamma: int) -> list[tuple[int, int]]:
    """Blocks (drafted, accepted) along a text whose tokens are surely accepted (1) or refused (0), by the rule itself."""
    blocks, at = [], 0
    while at < len(fates):
        width = min(gamma, len(fates) - at - 1)
        accepted = 0
        while accepted < width and fates[at + accepted] == 1:
            accepted += 1
        blocks.append((width, accepted))
        at += accepted + 1
    return blocks


def text_of(target: TableRuntime, request: Request) -> list[int]:
    return [token for record in autoregressive(target, request) for token in record.emitted]


def passes_of(target: TableRuntime, draft: TableRuntime, request: Request, gamma: int) -> list[Pass]:
    records = speculative(target, ModelDrafter(draft), request, gamma)
    return [record for record in records if isinstance(record, Pass)]


def mean_and_error(values: list[float]) -> tuple[float, float]:
    """The mean and its standard error."""
    return statistics.mean(values), statistics.stdev(values) / math.sqrt(len(values))


@given(FATES, GAMMAS)
def test_sure_fates_give_the_very_blocks(fates: list[float], gamma: int) -> None:
    """Where every token's fate is known, the expectation is the walk itself, position by position."""
    blocks, walked = expected_blocks([fates], gamma), walk(fates, gamma)
    assert blocks.count == len(walked)
    assert blocks.drafted == sum(width for width, _ in walked)
    assert blocks.accepted == [sum(a > i for _, a in walked) for i in range(gamma)]


@given(st.lists(CHANCES, min_size=1, max_size=3), GAMMAS)
def test_every_token_is_emitted_once(texts: list[list[float]], gamma: int) -> None:
    """Accepted tokens and one of the target's own a block make up the texts; tau lies between 1 and gamma + 1."""
    blocks = expected_blocks(texts, gamma)
    assert sum(blocks.accepted) + blocks.count == pytest.approx(sum(map(len, texts)))
    assert 1 - 1e-9 <= blocks.tau <= gamma + 1 + 1e-9
    assert all(0 <= j <= 1 + 1e-9 for j in blocks.joint)
    assert sorted(blocks.accepted, reverse=True) == pytest.approx(blocks.accepted)


@given(CHANCES, st.integers(1, 8))
def test_a_longer_block_never_needs_more_passes(text: list[float], gamma: int) -> None:
    """On one text tau can only rise with gamma: a block that may go on never ends earlier."""
    assert expected_blocks([text], gamma + 1).count <= expected_blocks([text], gamma).count + 1e-9


@pytest.mark.parametrize("gamma", [1, 3, 8])
@pytest.mark.parametrize("a", [0.0, 0.3, 0.8, 1.0])
def test_equal_chances_give_the_formula_of_the_field(a: float, gamma: int) -> None:
    """Leviathan et al. 2211.17192, equation 1: (1 - a^(gamma + 1)) / (1 - a) tokens a pass where all chances are a."""
    blocks = expected_blocks([[a] * 20000], gamma)
    assert blocks.tau == pytest.approx(sum(a**i for i in range(gamma + 1)), rel=2e-3)
    assert blocks.joint == pytest.approx([a ** (i + 1) for i in range(gamma)], abs=2e-3)


@pytest.mark.parametrize("seed", range(4))
def test_greedy_blocks_are_predicted_to_the_block(seed: int) -> None:
    """One autoregressive text tells what decoding with every gamma will do, exactly."""
    target, draft = pair_of_tables(seed=seed)
    request = Request([1, 2], 50)
    text = text_of(target, request)
    fates = probabilities(draft, request.prompt, text, request.sampling)
    for gamma in range(1, 9):
        passes = passes_of(target, draft, request, gamma)
        blocks = expected_blocks([fates], gamma)
        assert blocks.count == len(passes)
        assert blocks.joint == pytest.approx(by_position(passes, gamma)[0])


@pytest.mark.parametrize("sampling", [Sampling(1.0), Sampling(0.6), Sampling(0.8, top_k=3), Sampling(1.0, top_p=0.8)])
def test_sampled_tau_is_predicted_without_bias(sampling: Sampling) -> None:
    """Sampled texts and real sampled decoding agree for short and long blocks, within 4 standard errors."""
    target, draft = pair_of_tables(seed=3)
    texts = []
    for seed in range(40):
        request = Request([1, 2], 60, sampling, seed=seed)
        text = text_of(target, request)
        p, q = (probabilities(m, request.prompt, text, sampling) for m in (target, draft))
        texts.append(chances(p, q))
    for gamma in (1, 2, 6):
        requests = [Request([1, 2], 60, sampling, seed=1000 + seed) for seed in range(40)]
        counts = [float(len(passes_of(target, draft, request, gamma))) for request in requests]
        expected = [expected_blocks([t], gamma).count for t in texts]
        mean, error = mean_and_error(counts)
        other, its_error = mean_and_error(expected)
        assert abs(mean - other) < 4 * math.hypot(error, its_error)
        # Averaging the draws out leaves no more noise than decoding has, as far as forty texts tell.
        assert its_error < 2 * error


def test_the_joint_acceptance_of_one_long_run_is_not_enough() -> None:
    """The trap this avoids: 1 + the joint acceptance of gamma 5 promises gamma 2 too little on a text of easy stretches."""
    fates = ([1.0] * 5 + [0.0] * 6) * 100
    long = expected_blocks([fates], 5)
    naive = 1 + sum(long.joint[:2])
    blocks = walk(fates, 2)
    true = len(fates) / len(blocks)
    assert expected_blocks([fates], 2).tau == pytest.approx(true)
    assert abs(naive - true) > 0.1 * true


def test_a_prediction_is_the_formula_of_the_terms() -> None:
    """tau / (v + gamma·c + overhead) with the mean block's own terms, and its break-even acceptance is where it is 1."""
    costs = Costs(step_seconds=0.01, verify=[0.98, 1.1, 1.2, 1.3, 1.4], draft=[0.2] * 4, overhead=0.05)
    point = predicted([[0.7] * 400], costs, draft="d", gamma=4, temperature=0.0, task="t")
    cost = point.cost
    assert point.speedup == pytest.approx(
        predicted_speedup(point.tau, cost.drafted, cost.draft, cost.verify, cost.overhead)
    )
    assert cost.drafted == pytest.approx(4, rel=0.01)
    assert cost.verify == pytest.approx(1.4, rel=0.01)
    assert 1 + cost.break_even * cost.drafted == pytest.approx(cost.total)
    assert (point.key, point.joint[0]) == (("d", 4, 0.0, "t"), pytest.approx(0.7))


def test_short_runs_pay_for_short_blocks() -> None:
    """A run of three tokens drafts two at most, whatever gamma asks, and pays for no more."""
    costs = Costs(0.01, [1.0, 1.1, 1.2, 9.0, 9.0], [0.1] * 4, 0.0)
    point = predicted([[1.0, 1.0, 1.0]], costs, draft="d", gamma=4, temperature=0.0, task="t")
    assert (point.tau, point.cost.drafted) == (3, 2)
    assert point.speedup == pytest.approx(3 / (1.2 + 0.2))


def test_rounding_that_leaves_no_probability_promises_nothing() -> None:
    """A token the target's long pass gives no probability to is not counted on."""
    assert chances([0.5, 0.2, 0.0], [0.25, 0.4, 0.3]) == [0.5, 1.0, 0.0]


def test_fit_of_a_prediction() -> None:
    """R² against the values themselves: a perfect prediction is 1, the mean 0, a shifted one is not forgiven."""
    assert fit([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]) == (1.0, 0.0)
    assert fit([1.0, 2.0, 3.0], [2.0, 2.0, 2.0])[0] == pytest.approx(0)
    r_squared, worst = fit([1.0, 2.0, 3.0], [2.0, 3.0, 4.0])
    assert r_squared < 0
    assert worst == pytest.approx(1.0)


def test_blocks_of_nothing_drafted() -> None:
    """A text of one token is one pass without a draft."""
    blocks = expected_blocks([[0.5]], 3)
    assert blocks == Blocks(1, [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0])
    assert (blocks.acceptance, blocks.joint, blocks.tau) == (0.0, [0.0, 0.0, 0.0], 1.0)
