"""Acceptance, block efficiency, MBSU and bandwidth of a run; definitions in docs/paper.md, section 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastdraft_core.decoding.records import Pass
from fastdraft_core.events import BlockCost, ModelCard, RunMetrics, RunTotals


@dataclass(frozen=True, slots=True)
class Cost:
    """What a pass reads: parameters, weight bytes, and key-value bytes a token of context, by model."""

    target: ModelCard
    draft: ModelCard | None
    target_kv_bytes: int
    draft_kv_bytes: int = 0


def block_efficiency(passes: Sequence[Pass]) -> float:
    """tau: mean tokens emitted a target pass, the corrected or bonus token included."""
    return sum(len(p.emitted) for p in passes) / len(passes) if passes else 0.0


def acceptance_rate(passes: Sequence[Pass]) -> float:
    """Accepted over drafted tokens, pooled; tokens drafted past an accepted stop are not counted (pitfall 11)."""
    drafted = sum(p.counted for p in passes)
    return sum(p.accepted for p in passes) / drafted if drafted else 0.0


def memory_bound_speedup(tau: float, c: float, gamma: float) -> float:
    """MBSU = tau / (c·gamma + 1), with c the draft's share of the target's memory traffic."""
    return tau / (c * gamma + 1)


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


def block_cost(ar: RunMetrics, sd: RunMetrics) -> BlockCost | None:
    """Where a block's time went, from both runs of one comparison; None where nothing was drafted or timed.

    The speed-up measured is exactly ``sd.tau / block_cost(ar, sd).total``.
    """
    if not (ar.tokens and ar.seconds and sd.blocks and sd.drafted):
        return None
    step = ar.seconds / ar.tokens
    drafted, steps_a_block = sd.drafted / sd.blocks, sd.seconds / sd.blocks / step
    draft, verify = sd.draft_share * steps_a_block, sd.verify_share * steps_a_block
    return BlockCost(
        drafted=drafted,
        draft=draft / drafted,
        verify=verify,
        overhead=steps_a_block - draft - verify,
        break_even=break_even_acceptance(steps_a_block, drafted, (sd.tokens - sd.accepted) / sd.blocks),
    )


def by_position(passes: Sequence[Pass], gamma: int) -> tuple[list[float], list[float]]:
    """Joint and conditional acceptance at each position of a block, each ``[gamma]``.

    Joint: of blocks that drafted position i, the share whose tokens 0..i were all accepted.
    Conditional: of tokens judged at position i, the share accepted.
    """
    return _shares(_positions(passes, gamma))


def _positions(passes: Sequence[Pass], gamma: int) -> list[tuple[int, int, int]]:
    """Blocks that drafted, judged and accepted each position."""
    return [
        (sum(p.counted > i for p in passes), sum(p.judged > i for p in passes), sum(p.accepted > i for p in passes))
        for i in range(gamma)
    ]


def _added(counts: Sequence[tuple[int, int, int]]) -> tuple[int, int, int]:
    return sum(c[0] for c in counts), sum(c[1] for c in counts), sum(c[2] for c in counts)


def _shares(positions: Sequence[tuple[int, int, int]]) -> tuple[list[float], list[float]]:
    joint = [accepted / drafted if drafted else 0.0 for drafted, _, accepted in positions]
    conditional = [accepted / judged if judged else 0.0 for _, judged, accepted in positions]
    return joint, conditional


def bytes_read(block: Pass, cost: Cost) -> int:
    """Bytes that one block reads: every draft step and the target pass, weights and cache (pitfall 23).

    A pass attends to what was cached and to its own tokens: the target's to the whole block.
    """
    total = cost.target.weight_bytes + cost.target_kv_bytes * (block.context + 1 + len(block.drafted))
    if cost.draft is not None:
        for step in range(len(block.drafted)):
            total += cost.draft.weight_bytes + cost.draft_kv_bytes * (block.context + 1 + step)
    return total


def summarize(passes: Sequence[Pass], gamma: int, cost: Cost) -> RunMetrics:
    """All figures of one run; ``gamma`` is 0 for autoregressive decoding."""
    return figures(run_totals(passes, gamma, cost), cost)


def run_totals(passes: Sequence[Pass], gamma: int, cost: Cost) -> RunTotals:
    """The sums of one run; ``gamma`` is 0 for autoregressive decoding."""
    return RunTotals(
        tokens=sum(len(p.emitted) for p in passes),
        seconds=passes[-1].at if passes else 0.0,
        passes=len(passes),
        proposed=sum(len(p.drafted) for p in passes),
        drafted=sum(p.counted for p in passes),
        accepted=sum(p.accepted for p in passes),
        draft_seconds=sum(p.draft_seconds for p in passes),
        verify_seconds=sum(p.verify_seconds for p in passes),
        bytes=sum(bytes_read(p, cost) for p in passes),
        positions=_positions(passes, gamma),
        beyond_context=sum(p.skipped > 0 for p in passes),
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
    tau = totals.tokens / totals.passes if totals.passes else 0.0
    mean_drafted = totals.proposed / totals.passes if totals.passes else 0.0
    by_parameters = cost.draft.parameters / cost.target.parameters if cost.draft else 0.0
    by_bytes = cost.draft.weight_bytes / cost.target.weight_bytes if cost.draft else 0.0
    joint, conditional = _shares(totals.positions)

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
        acceptance=totals.accepted / totals.drafted if totals.drafted else 0.0,
        tau=tau,
        mbsu=memory_bound_speedup(tau, by_parameters, mean_drafted),
        mbsu_bytes=memory_bound_speedup(tau, by_bytes, mean_drafted),
        joint=joint,
        conditional=conditional,
        draft_share=share(draft),
        verify_share=share(verify),
        overhead_share=share(max(0.0, seconds - draft - verify)),
        gigabytes_per_second=share(totals.bytes / 1e9),
        beyond_context=totals.beyond_context,
    )
