"""Block verification (2403.10444): the target's law, enumerated, and never fewer accepted tokens than token by token."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdraft_core.decoding.drafters import ModelDrafter
from fastdraft_core.decoding.ngrams import Ngrams
from fastdraft_core.decoding.records import BLOCK, Request, Streams
from fastdraft_core.decoding.sampling import (
    Sampling,
    Verdict,
    block_thresholds,
    draw,
    judge_block,
    process,
    residual,
)
from fastdraft_core.decoding.speculative import JUDGES, autoregressive, speculative
from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.draft_spec import NgramDraft
from tests.decoding.conftest import OfTable, Sized
from tests.decoding.laws import long_text, transition_distance
from tests.decoding.table import Array, TableRuntime, pair_of_tables, processed, random_table, transition_law

SIZE = 3
Text = tuple[int, ...]
Residual = Callable[[float, torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Case:
    """A target and a draft whose laws depend on the whole beginning of a block, and a block length."""

    seed: int
    gamma: int
    sampling: Sampling
    certain: bool

    def law(self, model: str, before: Text) -> Array:
        """The law of the token after ``before``; a ``certain`` draft has one token in mind."""
        rng = np.random.default_rng([self.seed, len(model), *before, 7])
        logits = np.random.default_rng([self.seed, *before, 3]).normal(0, 1.5, SIZE)
        if model == "draft":
            logits = logits + rng.normal(0, 1.2, SIZE)
            if self.certain:
                return np.eye(SIZE)[int(logits.argmax())]
        return processed(logits, self.sampling)

    def rows(self, model: str, block: Text) -> torch.Tensor:
        """The laws at each place of a block, and after it for the target."""
        places = self.gamma + (model == "target")
        return torch.tensor(np.stack([self.law(model, block[:n]) for n in range(places)]))

    def probability(self, model: str, text: Text) -> float:
        """Of a whole text."""
        return float(np.prod([self.law(model, text[:n])[token] for n, token in enumerate(text)]))

    def blocks(self) -> dict[Text, float]:
        """Every block that the draft may write, with its probability."""
        found = {b: self.probability("draft", b) for b in itertools.product(range(SIZE), repeat=self.gamma)}
        return {block: p for block, p in found.items() if p > 0}


CASES = st.builds(
    Case,
    st.integers(0, 10_000),
    st.integers(1, 4),
    st.sampled_from([Sampling(1.0), Sampling(0.6), Sampling(1.3, top_k=2), Sampling(0.9, top_p=0.7)]),
    st.booleans(),
)


def kept(thresholds: list[float]) -> list[float]:
    """The probability of keeping 0, 1, … tokens: the longest beginning whose own number is below its threshold."""
    return [
        (1.0 if n == 0 else thresholds[n - 1]) * float(np.prod([1 - h for h in thresholds[n:]]))
        for n in range(len(thresholds) + 1)
    ]


def emitted_law(case: Case, rest_of: Residual) -> dict[Text, float]:
    """The law of the first gamma + 1 tokens: what a block gives, and then the target alone."""
    law: dict[Text, float] = {}
    for block, chance in case.blocks().items():
        q, p = case.rows("draft", block), case.rows("target", block)
        weights, thresholds = block_thresholds(list(block), q, p)
        for n, share in enumerate(kept(thresholds)):
            if chance * share <= 0:
                continue
            last = p[n] if n == case.gamma else rest_of(weights[n], p[n], q[n])
            for token, of_last in enumerate((last / last.sum()).tolist()):
                begun = (*block[:n], token)
                for more in itertools.product(range(SIZE), repeat=case.gamma - n):
                    text = (*begun, *more)
                    after = float(np.prod([case.law("target", text[:i])[text[i]] for i in range(n + 1, len(text))]))
                    law[text] = law.get(text, 0.0) + chance * share * of_last * after
    return law


def furthest(case: Case, rest_of: Residual) -> float:
    """The largest difference between what is emitted and the target's own law."""
    law = emitted_law(case, rest_of)
    texts = itertools.product(range(SIZE), repeat=case.gamma + 1)
    return max(abs(law.get(text, 0.0) - case.probability("target", text)) for text in texts)


def accepted(case: Case) -> tuple[float, float]:
    """Expected accepted tokens: over the block, and token by token."""
    block_wise = token_wise = 0.0
    for block, chance in case.blocks().items():
        q, p = case.rows("draft", block), case.rows("target", block)
        _, thresholds = block_thresholds(list(block), q, p)
        block_wise += chance * sum(n * share for n, share in enumerate(kept(thresholds)))
        ratios = [min(1.0, float(p[n, token] / q[n, token])) for n, token in enumerate(block)]
        token_wise += chance * float(np.cumprod(ratios).sum())
    return block_wise, token_wise


@settings(max_examples=60, deadline=None)
@given(CASES)
def test_what_a_block_gives_has_the_targets_law(case: Case) -> None:
    """Exactly, by enumeration: any draft, also a lookup's, any processing, blocks of 1 to 4 tokens."""
    assert furthest(case, lambda weight, p, q: residual(weight * p, q)) < 1e-9


@settings(max_examples=60, deadline=None)
@given(CASES)
def test_never_fewer_tokens_than_token_by_token(case: Case) -> None:
    """In expectation; of one token both are the same rule."""
    block_wise, token_wise = accepted(case)
    assert block_wise >= token_wise - 1e-9
    if case.gamma == 1:
        assert block_wise == pytest.approx(token_wise)


def test_more_tokens_somewhere() -> None:
    """Or there would be no reason for it."""
    gains = [np.divide(*accepted(Case(seed, 4, Sampling(1.0), certain=False))) for seed in range(10)]
    assert max(gains) > 1.02


def test_the_residual_of_single_tokens_breaks_the_law() -> None:
    """The negative control: max(p - q, 0) after a kept beginning that the target supports only in part."""
    wrong = [
        furthest(Case(seed, 2, Sampling(1.0), certain=False), lambda weight, p, q: residual(p, q)) for seed in range(5)
    ]
    assert max(wrong) > 1e-4


@pytest.mark.parametrize(("gamma", "sampling"), [(3, Sampling(1.0)), (6, Sampling(0.7, top_k=3, top_p=0.95))])
def test_texts_have_the_targets_law(of_table: OfTable, sized: Sized, gamma: int, sampling: Sampling) -> None:
    """As they are drawn, on every runtime, for as long as a text goes on."""
    table = random_table(5, gamma)
    target, draft = of_table(table), of_table(table + random_table(5, gamma + 1, 1.2))
    request = Request([1, 2], sized(2500), sampling, seed=1, verification=BLOCK)
    ids, passes = long_text(target, ModelDrafter(draft), request, gamma, JUDGES[BLOCK])
    distance = transition_distance(ids, transition_law(table, sampling))
    assert distance.fits, distance
    assert 0.1 < sum(p.accepted for p in passes) / sum(len(p.drafted) for p in passes) < 0.97, "nothing was proved"


def _first_failure_ends_it(
    drafted: list[int], q: torch.Tensor | None, logits: torch.Tensor, sampling: Sampling, streams: Streams
) -> Verdict:
    """The planted bug: thresholds of a block, taken one after the other as in the rule for tokens."""
    p = process(logits, sampling)
    if q is None:
        return judge_block(drafted, p[:0], p, streams.accept, streams.target)
    weights, thresholds = block_thresholds(drafted, q, p)
    drawn = torch.rand(len(drafted), generator=streams.accept).tolist()
    kept = next((n for n, u in enumerate(drawn) if u >= thresholds[n]), len(drafted))
    rest = p[kept] if kept == len(drafted) else residual(weights[kept] * p[kept], q[kept])
    return Verdict(kept, draw(rest, streams.target), [], [], [])


def test_a_planted_bug_breaks_the_law() -> None:
    """The negative control of the drawn texts."""
    target, draft = pair_of_tables(seed=2)
    sampling = Sampling(0.8)
    law = transition_law(target.table.numpy(), sampling)
    request = Request([1, 2], 4000, sampling, seed=1)
    assert not transition_distance(
        long_text(target, ModelDrafter(draft), request, 4, _first_failure_ends_it)[0], law
    ).fits
    assert transition_distance(long_text(target, ModelDrafter(draft), request, 4, JUDGES[BLOCK])[0], law).fits


def test_a_request_says_how_blocks_are_judged() -> None:
    """Greedy texts are the target's own either way; a lookup may be judged so too; another name is one sentence."""
    target, draft = pair_of_tables(seed=3)
    for drafter in (ModelDrafter(draft), Ngrams(NgramDraft(1, 3), target).drafter()):
        request = Request([1, 2], 60, verification=BLOCK)
        alone = [t for record in autoregressive(target, request) for t in record.emitted]
        assert [t for record in speculative(target, drafter, request, 4) for t in record.emitted] == alone
    sampled = [
        [t for r in speculative(TableRuntime(target.table.numpy()), ModelDrafter(draft), request, 4) for t in r.emitted]
        for request in (Request([1, 2], 200, Sampling(1.0), verification=name) for name in JUDGES)
    ]
    assert sampled[0] != sampled[1]
    with pytest.raises(FastdraftError, match="use token or block"):
        Request([1], 2, verification="tree")
