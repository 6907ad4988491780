"""Block lengths that are chosen while decoding: they become the fastest ones, and change nothing but time."""

from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdraft_core.decoding.adaptive import AdaptiveDrafter, Pace
from fastdraft_core.decoding.drafters import ModelDrafter
from fastdraft_core.decoding.losslessness import accept_all, check_greedy, check_law
from fastdraft_core.decoding.records import Pass, Request
from fastdraft_core.decoding.sampling import Sampling
from fastdraft_core.decoding.speculative import speculative
from fastdraft_core.events import MOST_GAMMA
from tests.decoding.conftest import Tables


def decode(pace: Pace, acceptance: float, seconds: list[float], blocks: int, seed: int = 0) -> list[int]:
    """Blocks of a pair that accepts each token with this chance and takes ``seconds[n]`` for a block of n; their lengths."""
    chance, lengths = random.Random(seed), []
    for _ in range(blocks):
        length = pace.choose()
        accepted = next((i for i in range(length) if chance.random() >= acceptance), length)
        pace.saw(length, accepted, seconds[length], settled=lengths[-1:] == [length])
        lengths.append(length)
    return lengths


def rate(acceptance: float, seconds: list[float], length: int) -> float:
    """Tokens a second: equation 1 of Leviathan et al. over the block's time."""
    return (1 - acceptance ** (length + 1)) / (1 - acceptance) / seconds[length]


@settings(max_examples=60, derandomize=True)
@given(acceptance=st.floats(0.05, 0.95), target=st.floats(0.02, 0.6), draft=st.floats(0.02, 0.6))
def test_lengths_become_nearly_the_fastest(acceptance: float, target: float, draft: float) -> None:
    """Whatever a pair costs and accepts: once it is known, blocks are within some per cent of the best length's speed."""
    seconds = [1 + target * n + draft * n for n in range(MOST_GAMMA + 1)]
    lengths = decode(Pace(), acceptance, seconds, 400)
    best = max(rate(acceptance, seconds, n) for n in range(1, MOST_GAMMA + 1))
    late = [rate(acceptance, seconds, n) for n in lengths[200:]]
    assert sum(late) / len(late) > 0.93 * best


def test_a_step_in_the_costs_is_found() -> None:
    """Where passes over more than four tokens cost twice as much, no block is longer than that for long."""
    seconds = [1.0, 1.1, 1.2, 1.3, 3.0, 3.1, 3.2, 3.3, 3.4]
    lengths = decode(Pace(), 0.8, seconds, 300)[100:]
    assert lengths.count(3) > 0.9 * len(lengths)


def test_another_text_changes_the_length() -> None:
    """Easy text is drafted far ahead, hard text little, in one session."""
    pace, seconds = Pace(), [1 + 0.15 * n for n in range(MOST_GAMMA + 1)]
    easy = decode(pace, 0.95, seconds, 200)[100:]
    hard = decode(pace, 0.2, seconds, 200)[100:]
    assert statistics.median(easy) > 5
    assert statistics.median(hard) < 3


def test_what_something_else_held_up_is_not_believed() -> None:
    """A block that took a hundred times as long says nothing about its length."""
    pace, seconds = Pace(), [1 + 0.15 * n for n in range(MOST_GAMMA + 1)]
    before = decode(pace, 0.8, seconds, 200)[-1]
    pace.saw(before, 0, 100.0, settled=True)
    assert abs(decode(pace, 0.8, seconds, 1)[0] - before) <= 1


def test_the_first_block_of_a_length_is_not_counted() -> None:
    """A change of shapes costs once; lengths would look dearer than they are."""
    pace = Pace()
    pace.saw(4, 2, 9.0, settled=False)
    pace.saw(4, 2, 1.0, settled=True)
    assert pace.seconds == {4: 1.0}


def test_blocks_are_as_long_as_the_pace_says(tables: Tables) -> None:
    """All that was drafted is judged, the token before a change of length too (pitfall 20), and texts end in short blocks."""
    target, draft = tables()
    pace = Pace()
    found = speculative(target, AdaptiveDrafter(ModelDrafter(draft), pace), Request([1, 2], 200), MOST_GAMMA)
    blocks = [record for record in found if isinstance(record, Pass)]
    assert {len(block.drafted) for block in blocks} >= set(range(1, MOST_GAMMA + 1))
    assert sum(len(block.emitted) for block in blocks) == 199
    assert all(block.judged == min(block.accepted + 1, len(block.drafted)) for block in blocks)
    assert 0 < pace.acceptance < 1


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_nothing_but_time_changes(tables: Tables, temperature: float) -> None:
    """Greedy text is equal, the sampled law too; accepting everything is caught."""
    target, draft = tables()
    drafter = AdaptiveDrafter(ModelDrafter(draft), Pace())
    if temperature == 0:
        assert check_greedy(target, drafter, Request([1, 2], 80), MOST_GAMMA, noise=0.0).parted is None
        assert not check_greedy(target, drafter, Request([1, 2], 80), MOST_GAMMA, 0.0, accept_all).passed
        return
    request = Request([1, 2], 8, Sampling(temperature))
    assert all(check.passed for check in check_law(target, drafter, request, MOST_GAMMA, 2000))
    assert not all(check.passed for check in check_law(target, drafter, request, MOST_GAMMA, 2000, accept_all))


def test_costs_that_changed_are_noticed() -> None:
    """Another program takes the cores for long passes: a neighbour is tried now and then, so the lengths follow."""
    pace = Pace()
    cheap, dear = [1 + 0.05 * n for n in range(MOST_GAMMA + 1)], [1 + 0.6 * n for n in range(MOST_GAMMA + 1)]
    assert decode(pace, 0.8, cheap, 200)[-1] > 5
    assert decode(pace, 0.8, dear, 600)[-1] < 4


def test_a_first_block_that_was_held_up_is_tried_again() -> None:
    """One sample may be wrong: the best length is found although its first block took five times as long."""
    pace, seconds = Pace(), [1 + 0.15 * n for n in range(MOST_GAMMA + 1)]
    best = max(range(1, MOST_GAMMA + 1), key=lambda n: rate(0.8, seconds, n))
    decode(pace, 0.8, seconds, 2 * MOST_GAMMA)
    pace.seconds[best] *= 2.5
    lengths = decode(pace, 0.8, seconds, 600)[400:]
    late = sum(rate(0.8, seconds, n) for n in lengths) / len(lengths)
    assert late > 0.95 * rate(0.8, seconds, best)
