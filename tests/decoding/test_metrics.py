"""Every figure on a log made by hand, and against the paper's own (pitfalls 22 and 23)."""

from __future__ import annotations

import pytest

from fastdraft_core.decoding.records import Pass
from fastdraft_core.decoding.totals import acceptance_rate, block_efficiency, by_position, bytes_read, summarize
from fastdraft_core.metrics import Cost, memory_bound_speedup, predicted_speedup
from tests.decoding.table import card


def block(drafted: int, accepted: int, at: float = 0.0, context: int = 100, *, stopped: bool = False) -> Pass:
    """A pass over ``drafted`` tokens; one that ended with an accepted stop has no extra token."""
    judged = accepted if stopped else min(accepted + 1, drafted)
    extra = None if stopped else 7
    return Pass(list(range(drafted)), judged, accepted, extra, at, 0.1, 0.3, 0.1, context)


#: gamma 3: a full block, one rejected at once, one after two tokens, a short last block, a stop as second token.
LOG = [block(3, 3, 0.5), block(3, 0, 1.0), block(3, 2, 1.5), block(1, 1, 2.0), block(3, 2, 2.5, stopped=True)]
COST = Cost(card(parameters=1000, weight_bytes=4000), card(parameters=100, weight_bytes=200), 10, 2)


def test_acceptance_is_accepted_over_drafted_pooled() -> None:
    """Pitfall 22: (3+0+2+1+2) / (3+3+3+1+2), not a mean of the blocks' shares; no bonus, nothing past a stop."""
    assert acceptance_rate(LOG) == pytest.approx(8 / 12)


def test_tau_counts_corrected_and_bonus_tokens() -> None:
    """Pitfall 22: 4, 1, 3, 2 and 2 tokens in five target passes."""
    assert block_efficiency(LOG) == pytest.approx(12 / 5)


def test_joint_and_conditional_acceptance_by_position() -> None:
    """Pitfall 22: joint is over blocks that drafted the position, conditional over tokens judged there."""
    joint, conditional = by_position(LOG, 3)
    assert joint == pytest.approx([4 / 5, 3 / 4, 1 / 3])
    assert conditional == pytest.approx([4 / 5, 3 / 3, 1 / 2])


def test_an_empty_run_has_figures_too() -> None:
    """A text that ends with its first token shows zeros, not an error."""
    assert (acceptance_rate([]), block_efficiency([])) == (0, 0)
    metrics = summarize([], 3, COST)
    assert (metrics.tokens, metrics.tokens_per_second, metrics.joint) == (0, 0, [0, 0, 0])


@pytest.mark.parametrize(("accepted", "tau", "mbsu"), [(1107, 2.107, 2.03), (2010, 3.01, 2.90)])
def test_the_papers_figures_come_out(accepted: int, tau: float, mbsu: float) -> None:
    """FastDraft, gamma 3, 50 M against 3.8 B: AR .369 gives tau 2.107 and MBSU 2.03; AR .67 gives 3.01 and 2.90."""
    passes = [block(3, accepted // 1000 + (i < accepted % 1000)) for i in range(1000)]
    cost = Cost(card(parameters=3_800_000_000), card(parameters=50_000_000), 0, 0)
    metrics = summarize(passes, 3, cost)
    assert metrics.acceptance == pytest.approx(accepted / 3000)
    assert metrics.tau == pytest.approx(tau)
    assert metrics.mbsu == pytest.approx(mbsu, abs=0.005)
    assert metrics.tau == pytest.approx(1 + 3 * metrics.acceptance)


def test_mbsu_by_bytes_uses_the_bytes() -> None:
    """A draft of a tenth of the parameters in a quarter of the precision reads a fortieth of the bytes."""
    full = [block(3, 3, 1.0)]
    metrics = summarize(full, 3, Cost(card(parameters=1000, weight_bytes=4000), COST.draft, 0, 0))
    assert metrics.mbsu == pytest.approx(4 / (0.1 * 3 + 1))
    assert metrics.mbsu_bytes == pytest.approx(4 / (0.05 * 3 + 1))
    assert memory_bound_speedup(3.0, 0.0, 5) == 3.0


def test_bytes_of_a_block_worked_by_hand() -> None:
    """Pitfall 23: gamma 3 after 100 tokens: draft passes over 101, 102 and 103, a target pass over 104, the block included."""
    draft = 3 * 200 + 2 * (101 + 102 + 103)
    assert bytes_read(block(3, 1), COST) == draft + 4000 + 10 * 104
    assert bytes_read(block(0, 0), Cost(COST.target, None, 10)) == 4000 + 10 * 101


def test_bandwidth_is_bytes_over_time() -> None:
    """Pitfall 23: not model size times tokens/s, which would count every token as a pass."""
    metrics = summarize(LOG, 3, COST)
    assert metrics.gigabytes_per_second == pytest.approx(sum(bytes_read(p, COST) for p in LOG) / 2.5 / 1e9)
    assert metrics.tokens_per_second == pytest.approx(12 / 2.5)


def test_shares_of_time_are_whole() -> None:
    """Draft, verification and overhead are what the time went to, each counted once."""
    metrics = summarize(LOG, 3, COST)
    assert (metrics.draft_share, metrics.verify_share) == pytest.approx((0.2, 0.6))
    assert metrics.draft_share + metrics.verify_share + metrics.overhead_share == pytest.approx(1)


def test_verification_is_not_free() -> None:
    """Pitfall 24: tau / (v + gamma c + overhead); by hand 3 / (1.2 + 4 x 0.1 + 0.1) = 1.76, not 2.14 as with v = 1."""
    assert predicted_speedup(3.0, 4, 0.1, 1.2, 0.1) == pytest.approx(3 / 1.7)
    assert predicted_speedup(3.0, 4, 0.1, 1.0) == pytest.approx(3 / 1.4)
    assert predicted_speedup(1.0, 0, 0.1, 1.0) == 1
