"""A draft that scores some ids alone: the output's law stays the target's own, and forgetting that q is 0 elsewhere is seen."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fastdraft_core.bench.acceptance import chances, probabilities
from fastdraft_core.decoding.details import details
from fastdraft_core.decoding.drafters import ModelDrafter
from fastdraft_core.decoding.records import Request, Streams
from fastdraft_core.decoding.sampling import Sampling, Verdict, judge, process
from fastdraft_core.decoding.speculative import autoregressive, speculative
from tests.decoding.conftest import OfTable, Sized
from tests.decoding.laws import long_text, transition_distance
from tests.decoding.table import TableRuntime, random_table, transition_law

PROMPT = [1, 2]
LIST = (0, 2, 5)
SIZE = 7

CASES = [
    (1, Sampling(1.0)),
    (2, Sampling(0.6)),
    (3, Sampling(1.0, top_k=3)),
    (4, Sampling(0.8, top_p=0.8)),
    (5, Sampling(1.5, top_k=4, top_p=0.9)),
    (8, Sampling(1.2)),
]


def _pair(of_table: OfTable, seed: int) -> tuple[TableRuntime, TableRuntime]:
    target = random_table(SIZE, seed)
    return of_table(target), of_table(target + random_table(SIZE, seed + 1, 1.2), head_ids=LIST)  # type: ignore[return-value]


@pytest.mark.parametrize(("gamma", "sampling"), CASES)
def test_every_token_has_the_targets_law(of_table: OfTable, sized: Sized, gamma: int, sampling: Sampling) -> None:
    """At any gamma, temperature, top-k and top-p, on every runtime: also ids that are never drafted come as often as they should."""
    target, draft = _pair(of_table, gamma)
    ids, passes = long_text(target, ModelDrafter(draft), Request(PROMPT, sized(2500), sampling, seed=1), gamma)
    distance = transition_distance(ids, transition_law(random_table(SIZE, gamma), sampling))
    assert distance.fits, distance
    assert {token for p in passes for token in p.drafted} <= set(LIST)
    assert not set(ids) <= set(LIST)
    assert 0.05 < sum(p.accepted for p in passes) / sum(len(p.drafted) for p in passes) < 0.97, "nothing was proved"


@pytest.mark.parametrize("gamma", [1, 3, 6])
def test_greedy_text_is_the_targets(of_table: OfTable, gamma: int) -> None:
    """Token by token, also where the best one is outside of the list."""
    for seed in range(6):
        target, draft = _pair(of_table, seed)
        request = Request(PROMPT, 40, Sampling())
        alone = [t for record in autoregressive(target, request) for t in record.emitted]
        assert [t for r in speculative(target, ModelDrafter(draft), request, gamma) for t in r.emitted] == alone


def test_forgetting_that_nothing_is_offered_outside_breaks_the_law() -> None:
    """The negative control: q as if the ids outside had logits of 0, which is what padding without a thought gives."""

    def forgets(
        drafted: list[int], q: torch.Tensor | None, logits: torch.Tensor, sampling: Sampling, streams: Streams
    ) -> Verdict:
        assert q is not None
        padded = q + (q == 0) * q.mean(-1, keepdim=True)
        return judge(
            drafted, padded / padded.sum(-1, keepdim=True), process(logits, sampling), streams.accept, streams.target
        )

    sampling = Sampling(1.0)
    target, draft = _pair(TableRuntime, 3)
    request = Request(PROMPT, 2500, sampling, seed=1)
    law = transition_law(random_table(SIZE, 3), sampling)
    assert not transition_distance(long_text(target, ModelDrafter(draft), request, 3, forgets)[0], law).fits
    assert transition_distance(long_text(target, ModelDrafter(draft), replace(request, seed=2), 3)[0], law).fits


def test_q_is_over_the_whole_vocabulary_and_nought_outside(of_table: OfTable) -> None:
    """What leaves the drafter is what any verdict and the inspector take: [n, V], and no logit outside the list."""
    _, draft = _pair(of_table, 5)
    drafter, stream = ModelDrafter(draft), torch.Generator().manual_seed(0)
    for sampling in (Sampling(0.8), Sampling(0.8, top_k=2)):
        drafter.prepare(3, sampling)
        drafter.start([*PROMPT, 3])
        drafted, q = drafter.propose([*PROMPT, 3, 4], 3, sampling, stream)
        assert q is not None
        assert q.shape == (3, SIZE)
        torch.testing.assert_close(q.sum(-1), torch.ones(3), atol=1e-5, rtol=0)
        outside = [token for token in range(SIZE) if token not in LIST]
        assert float(q[:, outside].sum()) == 0
        rows = torch.stack(drafter.logits)
        assert rows[:, outside].isneginf().all()
        torch.testing.assert_close(process(rows, sampling), q, atol=1e-4, rtol=0)
        verdict = Verdict(1, 3, [], [], [])
        seen = details(drafted, verdict, torch.randn(4, SIZE), drafter.logits, sampling, str)
        assert all(0 < d.draft.p <= 1 for d in seen[:3] if d.draft is not None)


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(0.9)])
def test_acceptance_read_from_a_text_knows_the_list(sampling: Sampling) -> None:
    """A token outside is never accepted; for the others, chances are those of the draft's law over the list."""
    target, draft = _pair(TableRuntime, 4)
    text = [t for record in autoregressive(target, Request(PROMPT, 60, Sampling(0.9))) for t in record.emitted]
    q = probabilities(draft, PROMPT, text, sampling)
    p = probabilities(target, PROMPT, text, sampling)
    assert all(share == 0 for token, share in zip(text[1:], q, strict=True) if token not in LIST)
    assert any(share > 0 for share in q)
    assert all(0 <= chance <= 1 for chance in chances(p, q))
