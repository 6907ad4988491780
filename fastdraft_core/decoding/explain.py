"""Why speculation was slower than the target alone, in words, from what one comparison measured.

A block drafts g tokens. At best it gives 1 + g tokens for the price of one autoregressive step, so g steps are
there to lose: to refused tokens, to the draft's own steps, to a target pass that costs more than one step, and to
overhead. Speculation is slower exactly when more than g steps are lost, and the largest loss is to blame.
"""

from __future__ import annotations

from fastdraft_core.events import BlockCost, RunMetrics
from fastdraft_core.metrics import block_cost

#: What a lookup does on a text without repetition.
NOTHING_DRAFTED = (
    "Nothing was drafted: the text never came to tokens that it had had before. A draft model would propose some."
)


def why_slower(ar: RunMetrics, sd: RunMetrics) -> str:
    """Which term is to blame and what it would have to be; empty where speculation was not slower.

    ``ar`` and ``sd`` are both runs of one request on one machine.
    """
    cost = block_cost(ar, sd)
    if cost is None or sd.tau >= cost.total:
        return ""
    if not sd.drafted:
        # An autoregressive run has no positions to draft at.
        return NOTHING_DRAFTED if sd.joint else ""
    term = blame(cost, sd)
    account = (
        f"A block costs {cost.total:.2f} autoregressive steps (draft {cost.drafted * cost.draft:.2f}, "
        f"verify {cost.verify:.2f}, overhead {cost.overhead:.2f}) and gives {sd.tau:.2f} tokens."
    )
    return " ".join(part for part in (_SENTENCES[term](cost, sd), account, beyond_context(sd)) if part)


def beyond_context(sd: RunMetrics) -> str:
    """That the draft saw only the last part of the text, where its context is shorter; else empty."""
    if not sd.beyond_context:
        return ""
    return (
        f"The draft's context is shorter than the text: {sd.beyond_context} of {sd.blocks} blocks were drafted from the last part of "
        "it alone. A draft with a longer context would agree more."
    )


def what_limits(cost: BlockCost, sd: RunMetrics) -> str:
    """What a block loses most to and the acceptance that would pay for it, in words, whether it was slower or not."""
    if not sd.drafted:
        return NOTHING_DRAFTED
    lost = losses(cost, sd)
    term = max(lost, key=lambda name: lost[name])
    return (
        f"Of the {cost.drafted:.1f} steps that a block could save, most are lost to {_LOST[term]} ({lost[term]:.2f}); "
        f"break-even acceptance is {cost.break_even:.0%}, measured {sd.acceptance:.0%}."
    )


def losses(cost: BlockCost, sd: RunMetrics) -> dict[str, float]:
    """Autoregressive steps that a block loses, by term; together more than ``cost.drafted`` when slower.

    ``acceptance`` counts a refused token as the step that it would have saved.
    """
    return {
        "acceptance": (sd.drafted - sd.accepted) / sd.blocks,
        "draft": cost.drafted * cost.draft,
        "verify": cost.verify - 1,
        "overhead": cost.overhead,
    }


def blame(cost: BlockCost, sd: RunMetrics) -> str:
    """The term with the largest loss; acceptance only where a better one could be enough."""
    lost = losses(cost, sd)
    if cost.break_even > 1:
        del lost["acceptance"]
    return max(lost, key=lambda term: lost[term])


def _acceptance(cost: BlockCost, sd: RunMetrics) -> str:
    return (
        f"Slower because too few drafted tokens are accepted: {sd.acceptance:.0%}, break-even is {cost.break_even:.0%}. "
        "A draft that agrees more, or a smaller gamma, would help."
    )


def _draft(cost: BlockCost, sd: RunMetrics) -> str:
    affordable = (sd.tau - cost.verify - cost.overhead) / cost.drafted
    limit = (
        f"and at this acceptance may cost at most {affordable:.2f}. A smaller draft would help."
        if affordable > 0
        else "and at this acceptance not even a free one would pay. A smaller draft that agrees more would help."
    )
    return (
        f"Slower because the draft is slow: one of its steps costs {cost.draft:.2f} of an autoregressive step, {limit}"
    )


def _verify(cost: BlockCost, sd: RunMetrics) -> str:
    affordable = sd.tau - cost.drafted * cost.draft - cost.overhead
    limit = (
        f"and at this acceptance may cost at most {affordable:.2f}. A smaller gamma would help."
        if affordable > 1
        else "and at this acceptance not even the price of one would pay. A smaller gamma and a better draft would help."
    )
    return f"Slower because verifying is dear: the target pass of a block costs {cost.verify:.2f} steps, {limit}"


def _overhead(cost: BlockCost, sd: RunMetrics) -> str:
    affordable = sd.tau - cost.verify - cost.drafted * cost.draft
    limit = (
        f"which may be at most {affordable:.2f}"
        if affordable > 0
        else "and without it the rest would still be too dear"
    )
    return (
        f"Slower because of the time outside both models: {cost.overhead:.2f} steps a block, {limit}. "
        "A larger target, or a machine with nothing else to do, would help."
    )


_LOST = {
    "acceptance": "refused tokens",
    "draft": "the draft's own steps",
    "verify": "verifying several tokens at once",
    "overhead": "the time outside both models",
}
_SENTENCES = {"acceptance": _acceptance, "draft": _draft, "verify": _verify, "overhead": _overhead}
