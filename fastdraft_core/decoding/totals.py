"""The sums and shares of a run's passes, from which ``metrics`` computes its figures."""

from __future__ import annotations

from collections.abc import Sequence

from fastdraft_core.decoding.records import Pass
from fastdraft_core.events import RunMetrics, RunTotals
from fastdraft_core.metrics import Cost, acceptance, figures, position_shares, tau


def block_efficiency(passes: Sequence[Pass]) -> float:
    """tau: mean tokens emitted a target pass, the corrected or bonus token included."""
    return tau(sum(len(p.emitted) for p in passes), len(passes))


def acceptance_rate(passes: Sequence[Pass]) -> float:
    """Accepted over drafted tokens, pooled; tokens drafted past an accepted stop are not counted (pitfall 11)."""
    return acceptance(sum(p.accepted for p in passes), sum(p.counted for p in passes))


def by_position(passes: Sequence[Pass], gamma: int) -> tuple[list[float], list[float]]:
    """Joint and conditional acceptance at each position of a block, each ``[gamma]``.

    Joint: of blocks that drafted position i, the share whose tokens 0..i were all accepted.
    Conditional: of tokens judged at position i, the share accepted.
    """
    return position_shares(_positions(passes, gamma))


def _positions(passes: Sequence[Pass], gamma: int) -> list[tuple[int, int, int]]:
    """Blocks that drafted, judged and accepted each position."""
    return [
        (sum(p.counted > i for p in passes), sum(p.judged > i for p in passes), sum(p.accepted > i for p in passes))
        for i in range(gamma)
    ]


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
