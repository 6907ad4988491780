"""Why speculation was slower: the term to blame, and the break-even that would have to be reached."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fastdraft_core.decoding.explain import blame, losses, why_slower
from fastdraft_core.events import RunMetrics
from fastdraft_core.metrics import block_cost, break_even_acceptance, predicted_speedup

STEP = 0.01


def autoregressive(tokens: int = 100) -> RunMetrics:
    """A baseline of ``STEP`` seconds a token."""
    return _metrics(tokens=tokens, seconds=tokens * STEP, blocks=tokens)


def speculative(
    gamma: int = 4, acceptance: float = 0.5, *, draft: float = 0.1, verify: float = 1.2, overhead: float = 0.05
) -> RunMetrics:
    """1000 blocks of ``gamma`` drafted tokens; costs in autoregressive steps, ``draft`` of one draft step."""
    blocks = 1000
    drafted, accepted = blocks * gamma, round(blocks * gamma * acceptance)
    total = gamma * draft + verify + overhead
    return _metrics(
        tokens=blocks + accepted,
        seconds=blocks * total * STEP,
        blocks=blocks,
        drafted=drafted,
        accepted=accepted,
        acceptance=accepted / drafted,
        tau=1 + accepted / blocks,
        draft_share=gamma * draft / total,
        verify_share=verify / total,
        overhead_share=overhead / total,
    )


def _metrics(*, tokens: int, seconds: float, blocks: int, **others: float) -> RunMetrics:
    zeros = dict.fromkeys(("drafted", "accepted"), 0) | dict.fromkeys(
        ("acceptance", "tau", "mbsu", "mbsu_bytes", "draft_share", "verify_share", "overhead_share"), 0.0
    )
    rest = {**zeros, **others, "joint": [], "conditional": [], "gigabytes_per_second": 0.0}
    return RunMetrics(tokens=tokens, seconds=seconds, tokens_per_second=tokens / seconds, blocks=blocks, **rest)  # type: ignore[arg-type]


RUNS = st.builds(
    speculative,
    st.integers(1, 12),
    st.floats(0, 1),
    draft=st.floats(0, 3),
    verify=st.floats(0.5, 10),
    overhead=st.floats(0, 3),
)


def test_costs_worked_by_hand() -> None:
    """Gamma 4, c 0.1, v 1.2, overhead 0.05: a block costs 1.65 steps, so 0.65 of 4 tokens must be accepted."""
    cost = block_cost(autoregressive(), speculative(4, 0.5))
    assert cost is not None
    assert (cost.drafted, cost.draft, cost.verify, cost.overhead) == pytest.approx((4, 0.1, 1.2, 0.05))
    assert cost.total == pytest.approx(1.65)
    assert cost.break_even == pytest.approx(0.65 / 4)
    assert break_even_acceptance(0.9, 4) == 0


@given(RUNS)
def test_break_even_parts_faster_from_slower(sd: RunMetrics) -> None:
    """The very definition: above the break-even acceptance it is faster, below it slower."""
    ar = autoregressive()
    cost = block_cost(ar, sd)
    assume(cost is not None)
    assert cost is not None
    speedup = sd.tokens_per_second / ar.tokens_per_second
    assume(abs(speedup - 1) > 1e-6)
    assert (sd.acceptance > cost.break_even) is (speedup > 1) or cost.break_even == 0
    assert bool(why_slower(ar, sd)) is (speedup < 1)
    assert predicted_speedup(sd.tau, cost.drafted, cost.draft, cost.verify, cost.overhead) == pytest.approx(speedup)


@given(RUNS)
def test_slower_means_more_lost_than_drafted(sd: RunMetrics) -> None:
    """The account is whole: the losses exceed the steps there are to win exactly when it is slower."""
    cost = block_cost(autoregressive(), sd)
    assert cost is not None
    lost = sum(losses(cost, sd).values())
    assume(abs(lost - cost.drafted) > 1e-6)
    assert (lost > cost.drafted) is (sd.tau < cost.total)


@pytest.mark.parametrize(
    ("sd", "term", "needed"),
    [
        # 5 drafted tokens, one accepted: 1.5 tokens for 1.75 steps.
        (speculative(5, 0.1, draft=0.1, verify=1.2), "acceptance", "break-even is 15%"),
        # Seven steps of half the price are more than 5.9 tokens leave after verifying.
        (speculative(7, 0.7, draft=0.8, verify=1.2), "draft", f"at most {(5.9 - 1.2 - 0.05) / 7:.2f}"),
        (speculative(4, 0.7, draft=0.1, verify=4.0), "verify", f"at most {3.8 - 0.4 - 0.05:.2f}"),
        (speculative(2, 0.9, draft=0.1, verify=1.0, overhead=2.0), "overhead", f"at most {2.8 - 1.0 - 0.2:.2f}"),
        # Even full acceptance would be too little: acceptance is not to blame, though it is what loses most.
        (speculative(4, 0.05, draft=0.5, verify=4.0), "verify", "not even the price of one"),
        (speculative(4, 0.05, draft=2.0, verify=1.5), "draft", "not even a free one would pay"),
    ],
)
def test_the_right_term_is_blamed(sd: RunMetrics, term: str, needed: str) -> None:
    """Each cause alone is found, with the figure that would have to be reached."""
    ar = autoregressive()
    cost = block_cost(ar, sd)
    assert cost is not None
    assert blame(cost, sd) == term
    words = why_slower(ar, sd)
    assert needed in words
    assert f"gives {sd.tau:.2f} tokens" in words


@given(RUNS)
def test_reaching_what_the_words_ask_for_is_enough(sd: RunMetrics) -> None:
    """The figure that the sentence names is true: with it, the same run would break even."""
    ar = autoregressive()
    found = re.search(r"at most (\d+\.\d+)", why_slower(ar, sd))
    assume(found is not None)
    assert found is not None
    cost = block_cost(ar, sd)
    assert cost is not None
    term, value = blame(cost, sd), float(found[1])
    terms = {"v": cost.verify, "c": cost.draft, "overhead": cost.overhead}
    terms[{"verify": "v", "draft": "c"}.get(term, term)] = value
    changed = predicted_speedup(sd.tau, cost.drafted, terms["c"], terms["v"], terms["overhead"])
    # The sentence rounds to hundredths, of which a block has one for each drafted token.
    assert changed == pytest.approx(1, abs=0.005 * (cost.drafted + 1) / (sd.tau - 0.005 * (cost.drafted + 1)) + 1e-9)


def test_nothing_to_explain() -> None:
    """Runs without a draft, without tokens or faster than the target alone get no explanation."""
    assert why_slower(autoregressive(), autoregressive()) == ""
    assert why_slower(_metrics(tokens=0, seconds=1.0, blocks=0), speculative()) == ""
    assert why_slower(autoregressive(), speculative()) == ""


def test_a_draft_that_saw_only_the_end_of_the_text_is_told() -> None:
    """A prompt longer than the draft's context explains an acceptance that nothing else does."""
    slow = speculative(4, 0.0)
    assert "context" not in why_slower(autoregressive(), slow)
    cut = msgspec.structs.replace(slow, beyond_context=900)
    assert "900 of 1000 blocks were drafted from the last part" in why_slower(autoregressive(), cut)
