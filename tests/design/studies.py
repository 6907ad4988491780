"""A design study without a machine: costs by a formula, for what is computed from them."""

from __future__ import annotations

from fastdraft_core.design.shapes import Grid, candidates
from fastdraft_core.events import DesignShape, DesignStarted, Estimate, ModelCard, ShapeMeasured
from fastdraft_core.results.designs import SCHEMA, Design

GAMMAS = [1, 2, 3, 4]


def plan(train: int = 0) -> DesignStarted:
    """A study of the bundled target's size."""
    shapes, skipped = candidates(2_000_000, 4096, Grid([1, 2, 3, 4], (64, 384), [0], [""]))
    target = ModelCard(
        name="demo", architecture="llama", parameters=22_800_000, weight_bytes=45_600_000, dtype="bfloat16", device="cpu",
        layers=12, hidden_size=384, vocab_size=4096, context_length=512,
    )  # fmt: skip
    return DesignStarted(
        schema=SCHEMA, name="20260101-000000-demo", created="2026-01-01T00:00:00+00:00", command="fastdraft design demo",
        machine={"cpu": "a processor"}, target=target, target_hash="x", load={"runtime": "torch"}, runtime="torch",
        runtime_reason="", threads=2, parameters=2_000_000, architecture="llama", tie=True, context=512, gammas=GAMMAS,
        temperature=0.0, train=train, seed=1, shapes=shapes, skipped=skipped,
    )  # fmt: skip


def measured(shape: DesignShape, step: float = 0.01) -> ShapeMeasured:
    """A draft step costs 2 % of the target's and 3 % a layer more."""
    c = 0.02 + 0.03 * shape.layers
    blocks = [Estimate(c * step * n, c * step * n * 0.9, c * step * n * 1.1, 20) for n in GAMMAS]
    return ShapeMeasured(
        shape=shape, block_seconds=blocks, step_seconds=step, verify=[1.0, 1.05, 1.1, 1.15, 1.2], draft=[c] * 4,
        overhead=0.01, head_share=0.3, weight_bytes=2 * shape.parameters,
    )  # fmt: skip


def design(train: int = 0) -> Design:
    """A study in which every candidate was measured."""
    found = Design(plan(train))
    for shape in found.plan.shapes:
        found.add(measured(shape))
    return found
