"""A draft of another vocabulary: the text has the target's law, and nothing that only one of both has is drafted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from fastdraft_core.bench.acceptance import fate
from fastdraft_core.decoding.records import Request, Streams
from fastdraft_core.decoding.sampling import Sampling, Verdict, judge, process
from fastdraft_core.decoding.shared_tokens import SharedTokens
from fastdraft_core.decoding.speculative import autoregressive, speculative
from tests.decoding.laws import long_text, transition_distance
from tests.decoding.table import TableRuntime, random_table, transition_law

PROMPT = [1, 2]
SIZE = 5
#: The draft's ids, ascending, and the target's of the same tokens; the target's 4 it does not have, which it reads as its 0.
SCORED, TARGETS = (1, 2, 4, 5), (3, 0, 1, 2)

CASES = [(1, Sampling(1.0)), (3, Sampling(0.6)), (5, Sampling(1.0, top_k=3)), (8, Sampling(0.8, top_k=4, top_p=0.9))]


def translate(ids: Sequence[int]) -> list[int]:
    return [dict(zip(TARGETS, SCORED, strict=True)).get(token, 0) for token in ids]


def pair(seed: int, context: int = 1 << 30) -> tuple[TableRuntime, SharedTokens]:
    """A target, and a draft of six tokens that agrees about half of the time on those that both have."""
    table, theirs = random_table(SIZE, seed), random_table(6, seed + 1)
    known = np.ix_(SCORED, SCORED, SCORED)
    theirs[known] = (table + random_table(SIZE, seed + 2, 1.2))[np.ix_(TARGETS, TARGETS, TARGETS)]
    model = TableRuntime(theirs, context, SCORED)
    return TableRuntime(table), SharedTokens("other:S", model, TARGETS, SIZE, translate)


@pytest.mark.parametrize(("gamma", "sampling"), CASES)
def test_every_token_has_the_targets_law(gamma: int, sampling: Sampling) -> None:
    """At any gamma, temperature, top-k and top-p; also the token that is never drafted comes as often as it should."""
    target, draft = pair(gamma)
    ids, passes = long_text(target, draft.drafter(), Request(PROMPT, 2500, sampling, seed=1), gamma)
    distance = transition_distance(ids, transition_law(target.table.numpy(), sampling))
    assert distance.fits, distance
    assert {token for p in passes for token in p.drafted} <= set(TARGETS)
    assert 4 in ids
    assert 0.05 < sum(p.accepted for p in passes) / sum(len(p.drafted) for p in passes) < 0.97, "nothing was proved"


def _in_the_drafts_ids(
    drafted: list[int], q: torch.Tensor | None, logits: torch.Tensor, sampling: Sampling, streams: Streams
) -> Verdict:
    """The planted bug: q in the order of the draft's own ids."""
    assert q is not None
    p = process(logits, sampling)
    return judge(drafted, q[:, [2, 0, 1, 3, 4]], p, streams.accept, streams.target)


def test_a_planted_bug_breaks_the_law() -> None:
    """The negative control."""
    sampling = Sampling(1.0)
    target, draft = pair(3)
    law = transition_law(target.table.numpy(), sampling)
    request = Request(PROMPT, 2500, sampling, seed=1)
    broken = long_text(target, draft.drafter(), request, 3, _in_the_drafts_ids)[0]
    assert not transition_distance(broken, law).fits
    assert transition_distance(long_text(target, draft.drafter(), replace(request, seed=2), 3)[0], law).fits


@pytest.mark.parametrize("context", [1 << 30, 12])
def test_greedy_text_is_the_targets(context: int) -> None:
    """Also past the draft's context, where it goes on with the last part of the text."""
    for gamma in (1, 4):
        target, draft = pair(gamma, context)
        request = Request(PROMPT, 60)
        alone = [t for record in autoregressive(target, request) for t in record.emitted]
        assert [t for record in speculative(target, draft.drafter(), request, gamma) for t in record.emitted] == alone


def test_the_cache_holds_what_the_text_became() -> None:
    """After a verdict the draft has read the text and not what was refused: its logits are those of a fresh start."""
    target, draft = pair(6)
    stream, drafter = torch.Generator().manual_seed(0), draft.drafter()
    drafter.start(PROMPT)
    ids = [*PROMPT, 0]
    for token in (1, 2, 4, 0, 3, 3, 1):
        drafter.propose(ids, 3, Sampling(), stream)
        fresh_model = pair(6)[1]
        fresh = fresh_model.drafter()
        fresh.start(ids[:-1])
        fresh.propose(ids, 3, Sampling(), stream)
        torch.testing.assert_close(torch.stack(drafter.logits), torch.stack(fresh.logits))
        assert bool(torch.stack(drafter.logits)[:, 4].isneginf().all())
        ids.append(token)
    assert target.vocab_size == SIZE


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(0.9)])
def test_acceptance_read_from_a_text(sampling: Sampling) -> None:
    """What decoding finds where tokens are cut alike: of greedy texts each token's fate."""
    target, draft = pair(7)
    text = [t for r in autoregressive(target, Request(PROMPT, 50, sampling, seed=2)) for t in r.emitted]
    found = fate(draft, None if sampling.greedy else [0.5] * 49, PROMPT, text, sampling, 4).chances
    assert len(found) == 49
    assert all(chance == 0 for token, chance in zip(text[1:], found, strict=True) if token == 4)
    assert any(chance > 0 for chance in found)
    if sampling.greedy:
        drafter, stream = draft.drafter(), torch.Generator()
        drafter.start(PROMPT)
        single = [drafter.propose([*PROMPT, *text[:n]], 1, sampling, stream)[0] == [text[n]] for n in range(1, 50)]
        assert [bool(chance) for chance in found] == single
