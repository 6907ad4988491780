"""Blocks of speculative decoding: how many tokens, which, and what is counted. The yardstick is plain decoding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fastdraft_core.decoding.drafters import ModelDrafter
from fastdraft_core.decoding.records import First, Pass, Record, Request, cut
from fastdraft_core.decoding.sampling import Sampling
from fastdraft_core.decoding.speculative import autoregressive, speculative
from fastdraft_core.decoding.totals import acceptance_rate
from fastdraft_core.runtimes.base import Runtime
from tests.decoding.conftest import OfTable, Sized, Tables
from tests.decoding.table import pair_of_tables, random_table

GREEDY, SAMPLED = Sampling(), Sampling(0.8, top_k=4, top_p=0.95)


def counting(vocab_size: int = 10) -> np.ndarray:
    """A table that always says the next number: 3 after 2, 0 after 9."""
    table = np.full((vocab_size,) * 3, -9.0)
    for last in range(vocab_size):
        table[:, last, (last + 1) % vocab_size] = 9.0
    return table


def ids_of(records: list[Record]) -> list[int]:
    return [t for r in records for t in r.emitted]


def decoded(target: Runtime, draft: Runtime, request: Request, gamma: int) -> list[Record]:
    return list(speculative(target, ModelDrafter(draft), request, gamma))


def passes_of(records: list[Record]) -> list[Pass]:
    return [r for r in records if isinstance(r, Pass)]


@pytest.mark.parametrize("gamma", [1, 2, 3, 5, 8])
def test_greedy_equals_autoregressive_decoding(tables: Tables, sized: Sized, gamma: int) -> None:
    """Pitfalls 5, 8, 13: any draft gives the target's own tokens, the first one included, over many texts."""
    for seed in range(sized(25)):
        target, draft = tables(vocab_size=7, seed=3 * seed)
        request = Request([seed % 7, 3, 1][: 1 + seed % 3], 23)
        records = decoded(target, draft, request, gamma)
        assert isinstance(records[0], First)
        assert ids_of(records) == ids_of(list(autoregressive(target, request)))


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED, Sampling(1.5)])
@pytest.mark.parametrize("gamma", [1, 4])
def test_a_draft_that_is_the_target_is_always_accepted(of_table: OfTable, gamma: int, sampling: Sampling) -> None:
    """Pitfalls 3, 6, 7: 200 tokens, every block full: gamma accepted, gamma + 1 emitted, the bonus not counted."""
    table = random_table(6, 5)
    length = 1 + 200 // (gamma + 1) * (gamma + 1)
    records = decoded(of_table(table), of_table(table), Request([1], length, sampling, seed=3), gamma)
    assert len(ids_of(records)) == length
    assert all((p.accepted, len(p.emitted), p.judged) == (gamma, gamma + 1, gamma) for p in passes_of(records))
    assert acceptance_rate(passes_of(records)) == 1


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED])
def test_exactly_the_asked_number_of_tokens(tables: Tables, sampling: Sampling) -> None:
    """Pitfall 12: 1 to 10 tokens asked, 1 to 10 tokens given, at any gamma; and none is drafted in vain."""
    target, draft = tables(seed=8)
    for gamma in range(1, 9):
        for length in range(1, 11):
            records = decoded(target, draft, Request([1, 2], length, sampling, seed=length), gamma)
            assert len(ids_of(records)) == length
            left = length - 1
            for p in passes_of(records):
                assert len(p.drafted) <= left - 1
                left -= len(p.emitted)


@pytest.mark.parametrize("wrong_at", [None, 0, 1, 2, 3])
@pytest.mark.parametrize("stop", [3, 4, 5, 6, 7, 8])
def test_a_stop_ends_the_text_wherever_it_falls(of_table: OfTable, stop: int, wrong_at: int | None) -> None:
    """Pitfall 11: a stop as first, accepted, corrected or bonus token ends the text there, in every position.

    The target counts 2, 3, 4 …; the draft errs at one position of the block.
    """
    table = counting()
    drafting = table.copy()
    if wrong_at is not None:
        drafting[:, 3 + wrong_at, :] = np.roll(drafting[:, 3 + wrong_at, :], 1, axis=-1)
    stops = frozenset({stop, 9, 0})
    for sampling in (GREEDY, Sampling(0.1)):
        request = Request([1, 2], 30, sampling, stops)
        records = decoded(of_table(table), of_table(drafting), request, 4)
        assert ids_of(records) == list(range(3, stop + 1))
        assert ids_of(records) == ids_of(list(autoregressive(of_table(table), request)))


def test_tokens_past_a_stop_are_in_no_statistic(of_table: OfTable) -> None:
    """Pitfall 11: of five drafted tokens the second is the stop; two were drafted and accepted, none rejected."""
    table = counting()
    request = Request([1, 2], 30, GREEDY, frozenset({5, 6}))
    (block,) = passes_of(decoded(of_table(table), of_table(table), request, 5))
    assert (block.drafted, block.emitted, block.extra) == ([4, 5, 6, 7, 8], [4, 5], None)
    assert (block.accepted, block.counted, block.judged) == (2, 2, 2)


def test_the_earliest_of_several_stops_cuts() -> None:
    """Pitfall 11: and the stop itself is kept, also where its id is 0."""
    assert cut([4, 0, 7, 9], frozenset({9, 0})) == [4, 0]
    assert cut([4, 1, 7], frozenset({9, 0})) == [4, 1, 7]
    assert cut([4, 1], frozenset()) == [4, 1]


def test_no_random_number_decides_twice() -> None:
    """Pitfall 17: the u of a text are all different, uniform, and say nothing about each other or about q."""
    target, draft = pair_of_tables(seed=12)
    judged = passes_of(decoded(target, draft, Request([1, 2], 4000, Sampling(1.0), seed=5), 4))
    # The last u of a block decided about rejection; all are uniform only together.
    u, q = torch.tensor([v for p in judged for v in p.u]), torch.tensor([v for p in judged for v in p.q])
    first = torch.tensor([p.u[0] for p in judged if p.u])
    assert u.unique().numel() == u.numel()
    assert float((first.sort().values - torch.linspace(0, 1, len(first))).abs().max()) < 1.95 / len(first) ** 0.5
    assert abs(float(torch.corrcoef(torch.stack([first[:-1], first[1:]]))[0, 1])) < 4 / len(first) ** 0.5
    first_q = torch.tensor([p.q[0] for p in judged if p.q])
    assert abs(float(torch.corrcoef(torch.stack([first, first_q]))[0, 1])) < 4 / len(first) ** 0.5
    assert len(q) == len(u)


def test_a_seed_gives_the_same_text_again(tables: Tables) -> None:
    """A restart or a replay of a sampled run shows the same tokens; another seed shows others."""
    target, draft = tables(seed=4)
    request = Request([1, 2], 40, Sampling(1.0), seed=9)
    first = ids_of(decoded(target, draft, request, 3))
    assert first == ids_of(decoded(target, draft, request, 3))
    assert first != ids_of(decoded(target, draft, replace(request, seed=10), 3))


@pytest.mark.parametrize("prompt", [1, 5, 11, 12])
@pytest.mark.parametrize("gamma", [1, 3, 8])
def test_the_targets_context_ends_the_text(tables: Tables, prompt: int, gamma: int) -> None:
    """Both modes fill the context and not a token more, also from a prompt that fills it already."""
    target, draft = tables(seed=6)
    target.context_length = draft.context_length = 12
    request = Request([1, 2] * prompt, 50)
    request = replace(request, prompt=request.prompt[:prompt])
    expected = ids_of(list(autoregressive(target, request)))
    assert len(expected) == 12 - prompt + 1
    assert ids_of(decoded(target, draft, request, gamma)) == expected


@pytest.mark.parametrize("context", [1, 2, 3, 4, 5, 6, 9, 30])
def test_a_draft_of_shorter_context_goes_on_with_the_last_part(tables: Tables, context: int) -> None:
    """A prompt or a text beyond the draft's own context: it drafts from what fits, and the text is the same to its end."""
    target, draft = tables(seed=7)
    draft.context_length = context
    for sampling in (GREEDY, SAMPLED):
        request = Request([1, 2, 3, 4], 20, sampling, seed=2)
        records = decoded(target, draft, request, 3)
        assert len(ids_of(records)) == 20
        *passes, _ = passes_of(records)
        assert all(p.drafted for p in passes)
        # To draft at position n, a draft must have read the n tokens before it, or those that it did not skip.
        assert all(p.context + 1 + len(p.drafted) - 1 - p.skipped <= context for p in passes)
        assert any(p.skipped for p in passes) == (context < 24)
        if sampling.greedy:
            assert ids_of(records) == ids_of(list(autoregressive(target, request)))


def test_runs_do_not_disturb_each_other(tables: Tables) -> None:
    """A pair that was used, even for a run that was broken off, decodes the next prompt as if fresh."""
    target, draft = tables(seed=9)
    request = Request([1, 2], 20)
    expected = ids_of(decoded(*tables(seed=9), request, 3))
    for record in speculative(target, ModelDrafter(draft), Request([3, 3, 3], 20, SAMPLED), 3):
        if isinstance(record, Pass):
            break
    assert ids_of(decoded(target, draft, request, 3)) == expected
