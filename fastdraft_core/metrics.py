"""Every figure of a run by one formula: acceptance, tau, MBSU, costs and bandwidth, for core, app and replay alike.

Pure arithmetic on sums, so that whoever only shows figures loads no model library. A rate whose denominator is 0 is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastdraft_core.events import BlockCost, ModelCard, RunMetrics, RunTotals


def tau(tokens: float, passes: float) -> float:
    """Block efficiency: tokens emitted a target pass, the corrected or bonus token included."""
    return tokens / passes if passes else 0.0


def acceptance(accepted: float, drafted: float) -> float:
    """Accepted over drafted tokens, pooled."""
    return accepted / drafted if drafted else 0.0


def memory_bound_speedup(tau: float, c: float, gamma: float) -> float:
    """MBSU = tau / (c·gamma + 1), with c the draft's share of the target's memory traffic."""
    return tau / (c * gamma + 1)


def expected_tau(acceptance: float, gamma: int) -> float:
    """tau of blocks of ``gamma`` tokens, each accepted with that probability whatever the others: (1 - a^(gamma + 1)) / (1 - a)."""
    return sum(acceptance**n for n in range(gamma + 1))


def predicted_speedup(tau: float, gamma: float, c: float, v: float, overhead: float = 0.0) -> float:
    """tau / (v + gamma·c + overhead), all in units of one autoregressive step.

    ``v`` is the measured cost of a target pass over gamma + 1 tokens, ``c`` of one draft step.
    """
    return tau / (v + gamma * c + overhead)


def break_even_acceptance(cost: float, drafted: float, extra: float = 1.0) -> float:
    """The accepted share of ``drafted`` tokens a block at which a block gives as many tokens as it costs.

    ``cost`` is of one block in autoregressive steps, ``extra`` the target's own tokens a block. From
    tau = extra + drafted·acceptance and speed-up = tau / cost = 1. Above 1: no acceptance is enough.
    """
    return max(0.0, cost - extra) / drafted


def gigabytes_per_second(num_bytes: float, seconds: float) -> float:
    """Bandwidth in GB/s, of 10^9 bytes."""
    return num_bytes / seconds / 1e9 if seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What a pass reads: parameters, weight bytes, and key-value bytes a token of context, by model."""

    target: ModelCard
    draft: ModelCard | None
    target_kv_bytes: int
    draft_kv_bytes: int = 0


def block_cost(ar: RunMetrics, sd: RunMetrics) -> BlockCost | None:
    """Where a block's time went, from both runs of one comparison; None where nothing was timed.

    The speed-up measured is exactly ``sd.tau / block_cost(ar, sd).total``. Where nothing was drafted, no acceptance breaks even.
    """
    if not (ar.tokens and ar.seconds and sd.blocks):
        return None
    step = ar.seconds / ar.tokens
    drafted, steps_a_block = sd.drafted / sd.blocks, sd.seconds / sd.blocks / step
    draft, verify = sd.draft_share * steps_a_block, sd.verify_share * steps_a_block
    return BlockCost(
        drafted=drafted,
        draft=draft / drafted if drafted else 0.0,
        verify=verify,
        overhead=steps_a_block - draft - verify,
        break_even=(
            break_even_acceptance(steps_a_block, drafted, (sd.tokens - sd.accepted) / sd.blocks) if drafted else 0.0
        ),
    )


def pooled(runs: Sequence[RunTotals]) -> RunTotals:
    """The sums of several runs of one gamma, as if one had followed the other."""
    return RunTotals(
        tokens=sum(r.tokens for r in runs),
        seconds=sum(r.seconds for r in runs),
        passes=sum(r.passes for r in runs),
        proposed=sum(r.proposed for r in runs),
        drafted=sum(r.drafted for r in runs),
        accepted=sum(r.accepted for r in runs),
        draft_seconds=sum(r.draft_seconds for r in runs),
        verify_seconds=sum(r.verify_seconds for r in runs),
        bytes=sum(r.bytes for r in runs),
        positions=[_added(at) for at in zip(*(r.positions for r in runs), strict=True)],
        beyond_context=sum(r.beyond_context for r in runs),
    )


def figures(totals: RunTotals, cost: Cost) -> RunMetrics:
    """All figures of the runs that ``totals`` sums up."""
    seconds = totals.seconds
    efficiency = tau(totals.tokens, totals.passes)
    mean_drafted = totals.proposed / totals.passes if totals.passes else 0.0
    by_parameters = cost.draft.parameters / cost.target.parameters if cost.draft else 0.0
    by_bytes = cost.draft.weight_bytes / cost.target.weight_bytes if cost.draft else 0.0
    joint, conditional = position_shares(totals.positions)

    def share(part: float) -> float:
        return part / seconds if seconds else 0.0

    draft, verify = totals.draft_seconds, totals.verify_seconds
    return RunMetrics(
        tokens=totals.tokens,
        seconds=seconds,
        tokens_per_second=share(totals.tokens),
        blocks=totals.passes,
        drafted=totals.drafted,
        accepted=totals.accepted,
        acceptance=acceptance(totals.accepted, totals.drafted),
        tau=efficiency,
        mbsu=memory_bound_speedup(efficiency, by_parameters, mean_drafted),
        mbsu_bytes=memory_bound_speedup(efficiency, by_bytes, mean_drafted),
        joint=joint,
        conditional=conditional,
        draft_share=share(draft),
        verify_share=share(verify),
        overhead_share=share(max(0.0, seconds - draft - verify)),
        gigabytes_per_second=gigabytes_per_second(totals.bytes, seconds),
        beyond_context=totals.beyond_context,
    )


def _added(counts: Sequence[tuple[int, int, int]]) -> tuple[int, int, int]:
    return sum(c[0] for c in counts), sum(c[1] for c in counts), sum(c[2] for c in counts)


def position_shares(positions: Sequence[tuple[int, int, int]]) -> tuple[list[float], list[float]]:
    """Joint and conditional acceptance from the blocks that drafted, judged and accepted each position."""
    joint = [accepted / drafted if drafted else 0.0 for drafted, _, accepted in positions]
    conditional = [accepted / judged if judged else 0.0 for _, judged, accepted in positions]
    return joint, conditional
