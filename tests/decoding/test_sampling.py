"""Temperature, top-k, top-p, and the verdict on one block, by their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdraft_core.decoding.records import Streams
from fastdraft_core.decoding.rows import draw_rows
from fastdraft_core.decoding.sampling import Sampling, best, draw, judge, judge_greedy, process
from fastdraft_core.decoding.speculative import next_token
from fastdraft_core.errors import FastdraftError
from tests.decoding.table import processed

SAMPLINGS = st.builds(Sampling, st.floats(0.1, 3), st.integers(0, 8), st.floats(0.05, 1))


@settings(max_examples=50)
@given(st.integers(0, 999), SAMPLINGS)
def test_processing_is_what_the_words_mean(seed: int, sampling: Sampling) -> None:
    """Pitfall 16: temperature, then the k most probable, then the smallest set of mass p, renormalised."""
    logits = np.random.default_rng(seed).normal(0, 2, (3, 7)).astype(np.float32)
    found = process(torch.tensor(logits), sampling).double().numpy()
    expected = np.stack([processed(row.astype(np.float64), sampling) for row in logits])
    # A token whose mass before it is top_p to the last bit may fall on either side.
    assert np.allclose(found, expected, atol=1e-5) or _at_the_edge(expected, logits, sampling)
    assert np.allclose(found.sum(1), 1, atol=1e-5)


def _at_the_edge(expected: np.ndarray, logits: np.ndarray, sampling: Sampling) -> bool:
    rows = [processed(r.astype(np.float64), Sampling(sampling.temperature, sampling.top_k)) for r in logits]
    sums = np.concatenate([np.cumsum(np.sort(r)[::-1]) for r in rows])
    return bool((np.abs(sums - sampling.top_p) < 1e-5).any())


def test_one_token_always_stays() -> None:
    """A top-p under the best token's probability is greedy, not an empty law."""
    assert process(torch.tensor([[1.0, 3.0, 2.0]]), Sampling(1.0, top_p=1e-6)).tolist() == [[0, 1, 0]]


@pytest.mark.parametrize("wrong", [{"temperature": -1.0}, {"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.5}])
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    """One sentence says what the ranges are."""
    with pytest.raises(FastdraftError, match="top-p"):
        Sampling(**wrong)  # type: ignore[arg-type]


def test_each_row_is_drawn_from_its_own_law() -> None:
    """A million draws from two laws side by side: as often as their probabilities say, and never without one."""
    laws = torch.tensor([[0.0, 0.5, 0.0, 0.3, 0.2, 0.0], [0.1, 0.0, 0.2, 0.0, 0.0, 0.7]])
    drawn = draw_rows(laws.repeat(500_000, 1), torch.Generator().manual_seed(1)).view(-1, 2)
    for law, tokens in zip(laws, drawn.T, strict=True):
        shares = torch.bincount(tokens, minlength=6) / len(tokens)
        assert torch.equal(shares == 0, law == 0)
        assert torch.allclose(shares, law, atol=0.004), "five standard deviations are 0.0036"


@pytest.mark.parametrize(("uniform", "token"), [(0.0, 1), (1.0, 3)])
def test_the_ends_of_a_law_are_tokens_of_some_probability(
    uniform: float, token: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zero, and a number that rounding made one."""
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.full(shape, uniform, dtype=torch.float64))
    assert draw(torch.tensor([0.0, 0.25, 0.0, 0.75, 0.0]), torch.Generator()) == token


def test_probabilities_that_are_no_numbers_are_refused_in_words() -> None:
    """Half-precision overflow and damaged weights end so."""
    with pytest.raises(FastdraftError, match="no numbers"):
        draw(torch.tensor([0.5, torch.nan]), torch.Generator())


def test_greedy_is_argmax_equality() -> None:
    """Pitfall 5: a drafted token stands while it is the target's best one; the best one follows."""
    logits = torch.eye(5)[[3, 1, 4]]
    assert (judge_greedy([3, 1], logits).accepted, judge_greedy([3, 1], logits).token) == (2, 4)
    assert (judge_greedy([3, 2], logits).accepted, judge_greedy([3, 2], logits).token) == (1, 1)
    assert (judge_greedy([0, 1], logits).accepted, judge_greedy([0, 1], logits).token) == (0, 3)
    assert judge_greedy([], logits[:1]).token == 3


def test_acceptance_is_u_below_p_over_q() -> None:
    """Pitfall 1: token x of q .8 and p .2 is accepted a quarter of the time, and only when u < p/q."""
    p, q = torch.tensor([[0.2, 0.8], [0.5, 0.5]]), torch.tensor([[0.8, 0.2]])
    streams = Streams.of(1)
    verdicts = [judge([0], q, p, streams.accept, streams.target) for _ in range(4000)]
    assert all((v.accepted == 1) == (v.u[0] < 0.25) for v in verdicts)
    assert sum(v.accepted for v in verdicts) / 4000 == pytest.approx(0.25, abs=0.03)
    # The only token that the draft proposes too rarely replaces it.
    assert {v.token for v in verdicts if not v.accepted} == {1}


def test_a_verdict_names_what_decided() -> None:
    """The live screen shows p, q and u of every judged token, and of no other."""
    p = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    q = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    streams = Streams.of(1)
    assert judge([0, 0], q, p, streams.accept, streams.target).accepted == 1
    verdict = judge([0, 0], q, p, streams.accept, streams.target)
    assert (verdict.p, verdict.q, len(verdict.u)) == ([1.0, 0.0], [1.0, 1.0], 2)


def test_the_three_streams_are_independent() -> None:
    """Pitfall 17: draft, acceptance and target never share a random number, nor do two seeds."""

    def numbers(generator: torch.Generator) -> torch.Tensor:
        return torch.rand(20_000, generator=generator, dtype=torch.float64)

    one, other = Streams.of(1), Streams.of(2)
    rows = torch.stack([numbers(g) for s in (one, other) for g in (s.draft, s.accept, s.target)])
    correlation = torch.corrcoef(rows) - torch.eye(6)
    assert float(correlation.abs().max()) < 4 / 20_000**0.5
    assert rows.unique().numel() == rows.numel()


def test_a_seed_fixes_every_number() -> None:
    """The same request gives the same text on the same machine."""
    first, again = Streams.of(7), Streams.of(7)
    for a, b in ((first.draft, again.draft), (first.accept, again.accept), (first.target, again.target)):
        assert torch.equal(torch.rand(5, generator=a), torch.rand(5, generator=b))


def test_logits_that_are_nan_are_no_token() -> None:
    """Greedy decoding of damaged weights gave id 0 again and again; it is the sentence that sampling has."""
    logits = torch.zeros(3, 5)
    logits[1, 2] = torch.nan
    with pytest.raises(FastdraftError, match="no numbers"):
        judge_greedy([0, 0], logits)
    with pytest.raises(FastdraftError, match="no numbers"):
        next_token(logits[1], Sampling(), torch.Generator())
    assert best(logits[:1]) == [0]
