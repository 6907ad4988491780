"""Speculative decoding samples from the target's own law, and every known way to break that is seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from fastdraft_core.decoding.drafters import ModelDrafter
from fastdraft_core.decoding.losslessness import accept_all
from fastdraft_core.decoding.records import Request, Streams
from fastdraft_core.decoding.sampling import Sampling, Verdict, draw, judge, process, residual
from fastdraft_core.decoding.speculative import Judge, lossless
from tests.decoding.conftest import OfTable, Sized, Tables
from tests.decoding.laws import long_text, short_texts, text_distance, transition_distance
from tests.decoding.table import TableRuntime, pair_of_tables, random_table, text_law, transition_law

PROMPT = [1, 2]

# Every gamma from 1 to 8, every processor alone and together: 2,500 tokens a case, 20,000 in all.
CASES = [
    (1, Sampling(1.0)),
    (2, Sampling(0.6)),
    (3, Sampling(1.0, top_k=3)),
    (4, Sampling(0.8, top_p=0.8)),
    (5, Sampling(1.5, top_k=4, top_p=0.9)),
    (6, Sampling(0.7, top_k=2)),
    (7, Sampling(1.0, top_p=0.6)),
    (8, Sampling(1.2)),
]


@pytest.mark.parametrize(("gamma", "sampling"), CASES)
def test_every_token_has_the_targets_law(tables: Tables, sized: Sized, gamma: int, sampling: Sampling) -> None:
    """Pitfalls 1, 2, 4, 16: at any gamma, temperature, top-k and top-p a token is drawn as the target draws it."""
    target, draft = tables(seed=gamma)
    ids, passes = long_text(target, ModelDrafter(draft), Request(PROMPT, sized(2500), sampling, seed=1), gamma)
    distance = transition_distance(ids, transition_law(random_table(5, gamma), sampling))
    assert distance.fits, distance
    assert 0.1 < sum(p.accepted for p in passes) / sum(len(p.drafted) for p in passes) < 0.97, "nothing was proved"


@pytest.mark.parametrize(
    ("gamma", "sampling"),
    [(2, Sampling(0.7)), (4, Sampling(1.0, top_p=0.8)), (6, Sampling(0.8, 4, 0.9))],
)
def test_tokens_two_to_four_have_the_joint_law(tables: Tables, sized: Sized, gamma: int, sampling: Sampling) -> None:
    """Pitfalls 1, 2, 4: the joint law of the first tokens that blocks give; 2,500 texts a case.

    Token 1 comes from the prefill; it is in the joint law, so that it is not lost either (pitfall 13).
    """
    target, draft = tables(seed=10 + gamma)
    transitions = transition_law(random_table(5, 10 + gamma), sampling)
    texts = short_texts(target, draft, Request(PROMPT, 4, sampling), gamma, length=4, count=sized(2500, 10))
    law = text_law(transitions, PROMPT, 4)
    after_first: dict[tuple[int, ...], float] = {}
    for text, p in law.items():
        after_first[text[1:]] = after_first.get(text[1:], 0.0) + p
    distance = text_distance([t[1:] for t in texts], after_first)
    assert distance.fits, distance
    first = text_distance([t[:1] for t in texts], text_law(transitions, PROMPT, 1))
    assert first.fits, first


def test_disjoint_supports_accept_nothing_and_keep_the_law(of_table: OfTable, sized: Sized) -> None:
    """Pitfall 2: a draft that only proposes what the target never says costs speed, never correctness."""
    target, draft = random_table(6, 1), random_table(6, 2)
    target[..., 3:], draft[..., :3] = -np.inf, -np.inf
    sampling = Sampling(0.9)
    ids, passes = long_text(
        of_table(target), ModelDrafter(of_table(draft)), Request(PROMPT, sized(2000), sampling, seed=1), 3
    )
    assert sum(p.accepted for p in passes) == 0
    distance = transition_distance(ids, transition_law(target, sampling))
    assert distance.fits, distance


def test_a_frequent_token_zero_is_a_token_like_any_other(of_table: OfTable, sized: Sized) -> None:
    """Pitfall 18: id 0 is no sentinel, neither as drafted, corrected nor bonus token."""
    table = random_table(5, 3)
    table[..., 0] += 2
    sampling = Sampling(1.0)
    ids, passes = long_text(
        of_table(table),
        ModelDrafter(of_table(table + random_table(5, 4))),
        Request([0, 0], sized(2500), sampling, seed=1),
        4,
    )
    assert ids.count(0) > len(ids) / 3
    assert {p.accepted for p in passes if p.extra == 0} >= {0, 1, 4}
    distance = transition_distance(ids, transition_law(table, sampling))
    assert distance.fits, distance


@pytest.mark.parametrize("gamma", [2, 5])
def test_texts_that_stop_have_the_right_law(tables: Tables, sized: Sized, gamma: int) -> None:
    """Pitfall 11: how long a text is, and with which of several stops it ends, is decided by the target alone."""
    target, draft = tables(seed=21)
    stops, sampling = frozenset({0, 3}), Sampling(1.0)
    request = Request(PROMPT, 4, sampling, stops)
    texts = [
        tuple(long_text(target, ModelDrafter(draft), replace(request, seed=s), gamma)[0][2:])
        for s in range(sized(1500))
    ]
    distance = text_distance(texts, text_law(transition_law(random_table(5, 21), sampling), PROMPT, 4, stops))
    assert distance.fits, distance


def test_nothing_left_of_p_falls_back_to_p() -> None:
    """Pitfall 3: where p equals q in floating point, the token is drawn from p and nothing divides by zero."""
    p = torch.tensor([0.25, 0.75, 0.0])
    assert torch.equal(residual(p, p.clone()), p)
    assert torch.isfinite(residual(p, p.clone())).all()


def test_the_residual_is_what_the_draft_lacks() -> None:
    """Pitfall 2: normalise(max(p - q, 0)), worked by hand."""
    rest = residual(torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.1, 0.8, 0.1]))
    assert rest.tolist() == pytest.approx([0.8, 0.0, 0.2])


# --- planted bugs: a check that passes on these would prove nothing ------------------------------------


def _inverted(
    drafted: list[int], q: torch.Tensor | None, logits: torch.Tensor, sampling: Sampling, streams: Streams
) -> Verdict:
    """Pitfall 1: the ratio upside down."""
    p = process(logits, sampling)
    if q is None:
        return lossless(drafted, q, logits, sampling, streams)
    swapped = judge(drafted, p[:-1], torch.cat([q, p[-1:]]), streams.accept, streams.target)
    if swapped.accepted == len(drafted):
        return swapped
    rest = residual(p[swapped.accepted], q[swapped.accepted])
    return replace(swapped, token=draw(rest, streams.target))


def _corrected_from_p(
    drafted: list[int], q: torch.Tensor | None, logits: torch.Tensor, sampling: Sampling, streams: Streams
) -> Verdict:
    """Pitfall 2: the corrected token drawn from p, not from the residual."""
    verdict = lossless(drafted, q, logits, sampling, streams)
    return replace(verdict, token=draw(process(logits, sampling)[verdict.accepted], streams.target))


def _late_residual(
    drafted: list[int], q: torch.Tensor | None, logits: torch.Tensor, sampling: Sampling, streams: Streams
) -> Verdict:
    """Pitfall 2: the residual of the position after the rejected one."""
    verdict = lossless(drafted, q, logits, sampling, streams)
    if q is None or verdict.accepted + 1 >= len(drafted):
        return verdict
    late = verdict.accepted + 1
    return replace(verdict, token=draw(residual(process(logits, sampling)[late], q[late]), streams.target))


def _unprocessed_p(
    drafted: list[int], q: torch.Tensor | None, logits: torch.Tensor, sampling: Sampling, streams: Streams
) -> Verdict:
    """Pitfall 16: the temperature on the draft's side only."""
    return lossless(drafted, q, logits, replace(sampling, temperature=1.0), streams)


def _one_number_for_all(
    drafted: list[int], q: torch.Tensor | None, logits: torch.Tensor, sampling: Sampling, streams: Streams
) -> Verdict:
    """Pitfall 17: the random number that rejected a token also picks the corrected one."""
    verdict = lossless(drafted, q, logits, sampling, streams)
    if q is None or verdict.accepted == len(drafted):
        return verdict
    rest = residual(process(logits, sampling)[verdict.accepted], q[verdict.accepted])
    return replace(verdict, token=int((rest.cumsum(0) < verdict.u[-1]).sum().clamp(max=len(rest) - 1)))


class _UnprocessedQ(ModelDrafter):
    """Pitfall 4: the q that is handed on is not the one the token was drawn from."""

    def propose(
        self, ids: list[int], gamma: int, sampling: Sampling, stream: torch.Generator
    ) -> tuple[list[int], torch.Tensor | None]:
        drafted, q = super().propose(ids, gamma, sampling, stream)
        assert isinstance(self.runtime, TableRuntime)
        read = [*ids, *drafted]
        rows = [self.runtime.table[read[i - 2], read[i - 1]] for i in range(len(ids), len(read))]
        return drafted, q if q is None or not rows else torch.stack(rows).softmax(-1)


@pytest.mark.parametrize(
    ("drafter", "wrong"),
    [
        (ModelDrafter, accept_all),
        (ModelDrafter, _inverted),
        (ModelDrafter, _corrected_from_p),
        (ModelDrafter, _late_residual),
        (ModelDrafter, _unprocessed_p),
        (ModelDrafter, _one_number_for_all),
        (_UnprocessedQ, lossless),
    ],
)
def test_planted_bugs_break_the_law(drafter: Callable[[TableRuntime], ModelDrafter], wrong: Judge) -> None:
    """The negative controls: the law check that the honest rule passes fails on every one of these."""
    target, draft = pair_of_tables(seed=2)
    sampling = Sampling(0.6)
    law = transition_law(target.table.numpy(), sampling)
    request = Request(PROMPT, 2500, sampling, seed=1)
    distance = transition_distance(long_text(target, drafter(draft), request, 3, wrong)[0], law)
    assert not distance.fits, distance
    assert transition_distance(long_text(target, ModelDrafter(draft), request, 3)[0], law).fits
