"""Drafting by lookup: what is proposed, that no text changes by it, and what rejected blocks leave behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastdraft_core.bench.acceptance import fate
from fastdraft_core.bench.surface import expected_blocks
from fastdraft_core.decoding.losslessness import accept_all, check_law
from fastdraft_core.decoding.ngrams import NgramDrafter, Ngrams
from fastdraft_core.decoding.records import Pass, Request, Streams
from fastdraft_core.decoding.sampling import Sampling, Verdict, judge, process
from fastdraft_core.decoding.speculative import autoregressive, speculative
from fastdraft_core.models.draft_spec import NgramDraft
from tests.decoding.conftest import OfTable, Sized
from tests.decoding.laws import long_text, text_distance, transition_distance
from tests.decoding.table import TableRuntime, random_table, text_law, transition_law

PROMPT = [1, 2]
SIZE = 4
SPEC = NgramDraft(1, 3)
GREEDY, STREAM = Sampling(), torch.Generator()

CASES = [
    (1, Sampling(1.0)),
    (2, Sampling(0.6)),
    (3, Sampling(1.0, top_k=2)),
    (5, Sampling(0.8, top_p=0.8)),
    (8, Sampling(1.2, top_k=3, top_p=0.9)),
]


def drafter(shortest: int, longest: int, prompt: Sequence[int]) -> NgramDrafter:
    """One that has read ``prompt``."""
    found = NgramDrafter(NgramDraft(shortest, longest), 100)
    found.start(list(prompt))
    return found


def proposed(found: NgramDrafter, text: Sequence[int], gamma: int = 4) -> list[int]:
    return found.propose(list(text), gamma, GREEDY, STREAM)[0]


def looked_up(text: Sequence[int], shortest: int, longest: int) -> int | None:
    """The definition, word by word: what followed the newest earlier place of the longest suffix that has one."""
    for length in range(min(longest, len(text)), shortest - 1, -1):
        suffix = list(text[len(text) - length :])
        for end in range(len(text) - 1, length - 1, -1):
            if list(text[end - length : end]) == suffix:
                return text[end]
    return None


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(1, 3), st.integers(0, 2), st.integers(0, 6))
def test_a_block_is_the_definition_token_by_token(text: list[int], shortest: int, more: int, gamma: int) -> None:
    """Drafted tokens count as text for those after them, and are forgotten when the block is over."""
    found = drafter(shortest, shortest + more, text[:2])
    for _ in range(2):
        expected = list(text)
        while (
            len(expected) < len(text) + gamma and (token := looked_up(expected, shortest, shortest + more)) is not None
        ):
            expected.append(token)
        assert proposed(found, text, gamma) == expected[len(text) :]


def test_the_longest_suffix_and_its_newest_place_count() -> None:
    """1 2 was followed by 3 and then by 4; the longer 9 1 2 by 3 alone."""
    assert proposed(drafter(1, 2, [1, 2, 3, 1, 2, 4, 1, 2]), [1, 2, 3, 1, 2, 4, 1, 2], 1) == [4]
    text = [9, 1, 2, 3, 8, 1, 2, 4, 9, 1, 2]
    assert proposed(drafter(1, 3, text), text, 1) == [3]
    assert proposed(drafter(4, 4, text), text, 1) == []


def test_a_rejected_block_leaves_what_the_target_said_after_it() -> None:
    """5 was refused for 6, and after 5 the target said 7, then 8: after the corrected 6 these are proposed, as after a text."""
    text = [1, 2, 3, 4, 5, 2, 3]
    found = drafter(2, 3, text)
    assert proposed(found, text) == [4, 5, 2, 3]
    logits = torch.zeros(5, 100)
    logits[range(5), [4, 6, 7, 8, 9]] = 1.0
    found.learn(text, [4, 5, 2, 3], Verdict(1, 6, [], [], []), logits)
    found.keep(len(text) + 1)
    assert proposed(found, [*text, 4, 6]) == [7, 8, 9]
    assert proposed(found, [*text, 4, 6, 7, 1]) == []
    found.start(text)
    assert proposed(found, [*text, 4, 6]) == [], "another prompt has phrases of its own"


def test_the_text_itself_counts_before_phrases() -> None:
    """A phrase is what might have been said; the text was."""
    text = [1, 2, 3, 1, 2]
    found = drafter(2, 2, text)
    logits = torch.zeros(2, 100)
    logits[1, 50] = 1.0
    found.learn([7, 1], [9], Verdict(0, 2, [], [], []), logits)
    assert proposed(found, text, 1) == [3]
    found.start([4])
    found.learn([7, 1], [9], Verdict(0, 2, [], [], []), logits)
    assert proposed(found, [4, 1, 2], 1) == [50]


@pytest.mark.parametrize(("gamma", "sampling"), CASES)
def test_every_token_has_the_targets_law(of_table: OfTable, sized: Sized, gamma: int, sampling: Sampling) -> None:
    """At any gamma, temperature, top-k and top-p, with phrases of rejected blocks in use, on every runtime."""
    table = random_table(SIZE, gamma)
    target = of_table(table)
    lookup = Ngrams(SPEC, target).drafter()
    ids, passes = long_text(target, lookup, Request(PROMPT, sized(2000), sampling, seed=1), gamma)
    distance = transition_distance(ids, transition_law(table, sampling))
    assert distance.fits, distance
    assert 0.1 < sum(p.accepted for p in passes) / sum(len(p.drafted) for p in passes) < 0.97, "nothing was proved"


def test_tokens_two_to_four_have_the_joint_law() -> None:
    """Whole short texts, where the lookup learns from one block to the next."""
    table, sampling = random_table(SIZE, 30), Sampling(0.9)
    target = TableRuntime(table)
    request = Request([*PROMPT, 1, 2, 3, 1], 4, sampling)
    texts = [
        tuple(long_text(target, Ngrams(SPEC, target).drafter(), replace(request, seed=seed), 3)[0][2:])
        for seed in range(1500)
    ]
    distance = text_distance(texts, text_law(transition_law(table, sampling), request.prompt, 4))
    assert distance.fits, distance


def _forgets_that_it_was_certain(
    drafted: list[int], q: torch.Tensor | None, logits: torch.Tensor, sampling: Sampling, streams: Streams
) -> Verdict:
    """The planted bug: q as if the lookup had been unsure, so that the residual keeps some of the refused token."""
    p = process(logits, sampling)
    return judge(drafted, p[:0] if q is None else 0.5 * q + 0.5 / SIZE, p, streams.accept, streams.target)


@pytest.mark.parametrize("wrong", [accept_all, _forgets_that_it_was_certain])
def test_planted_bugs_break_the_law(wrong: object) -> None:
    """The negative controls."""
    table, sampling = random_table(SIZE, 2), Sampling(0.8)
    target, law = TableRuntime(table), transition_law(table, sampling)
    request = Request(PROMPT, 2000, sampling, seed=1)
    assert not transition_distance(
        long_text(target, Ngrams(SPEC, target).drafter(), request, 3, wrong)[0],  # type: ignore[arg-type]
        law,
    ).fits
    assert transition_distance(long_text(target, Ngrams(SPEC, target).drafter(), request, 3)[0], law).fits


@pytest.mark.parametrize("gamma", [1, 4])
def test_greedy_text_is_the_targets(of_table: OfTable, gamma: int) -> None:
    """Token by token; and where a text repeats itself, in fewer passes."""
    table = random_table(SIZE, 5)
    target = of_table(table)
    request = Request(PROMPT, 40)
    alone = [token for record in autoregressive(target, request) for token in record.emitted]
    records = list(speculative(target, Ngrams(SPEC, target).drafter(), request, gamma))
    assert [token for record in records for token in record.emitted] == alone
    assert len(records) < len(alone)


def test_the_law_check_waits_until_something_is_drafted() -> None:
    """A prompt without repetition proves nothing; greedy text follows until the lookup knows how to go on."""
    table = random_table(6, 3)
    target = TableRuntime(table)
    lookup = Ngrams(NgramDraft(2, 3), target).drafter()
    request = Request([0, 5], 4, Sampling(1.0), seed=3)
    assert all(check.passed for check in check_law(target, lookup, request, 3, 1500))
    assert not all(check.passed for check in check_law(target, lookup, request, 3, 1500, accept_all))


@pytest.mark.parametrize("gamma", [1, 2, 4])
def test_acceptance_read_from_a_greedy_text_is_what_decoding_finds(gamma: int) -> None:
    """Blocks, drafted and accepted tokens, without decoding; phrases of rejected blocks left out."""
    table = random_table(8, 11)
    target = TableRuntime(table)
    draft = Ngrams(NgramDraft(2, 4), target)
    request = Request([1, 2, 3, 1, 2], 120, Sampling())

    class Forgetful(NgramDrafter):
        def learn(self, ids: list[int], drafted: list[int], verdict: Verdict, logits: torch.Tensor) -> None:
            """Nothing."""

    text = [token for record in autoregressive(target, request) for token in record.emitted]
    found = fate(draft, None, request.prompt, text, request.sampling, 4)
    assert found.reach is not None
    blocks = expected_blocks([found.chances], gamma, [found.reach])
    records = speculative(target, Forgetful(draft.spec, draft.vocab_size), request, gamma)
    passes = [record for record in records if isinstance(record, Pass)]
    assert (blocks.count, blocks.drafted) == (len(passes), sum(len(p.drafted) for p in passes))
    assert sum(blocks.accepted) == sum(p.accepted for p in passes)


def test_acceptance_read_from_a_sampled_text_is_unbiased() -> None:
    """Of the tokens that are emitted where x was certain to be proposed, those that are x were accepted."""
    table, sampling = random_table(SIZE, 12), Sampling(0.8)
    target = TableRuntime(table)
    draft = Ngrams(SPEC, target)
    text = [t for record in autoregressive(target, Request(PROMPT, 3000, sampling, seed=4)) for t in record.emitted]
    found = fate(draft, [0.5] * (len(text) - 1), PROMPT, text, sampling, 1)
    assert found.reach is not None
    foretold = expected_blocks([found.chances], 1, [found.reach])
    request = Request(PROMPT, 3000, sampling, seed=5)
    passes = [r for r in speculative(target, draft.drafter(), request, 1) if isinstance(r, Pass)]
    assert foretold.tau == pytest.approx(2999 / len(passes), rel=0.05)
