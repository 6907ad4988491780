"""``fastdraft train RECIPE --plan``: what a training will take, in a table."""

from __future__ import annotations

import os
from collections.abc import Iterator

from fastdraft_core.cli import print_json
from fastdraft_core.events import Planned
from fastdraft_core.formatting import in_bytes, span
from fastdraft_core.training.recipe import Recipe


def show_plan(recipe: Recipe, *, stage: str, device: str, json: bool) -> None:
    """Print the plan; nothing is written but the measured matrix peak."""
    from fastdraft_core.jobs.device import look_up, occupy

    occupy(look_up(device), os.environ)
    from fastdraft_core.training.plan import plan

    planned = plan(recipe, only=stage or None)
    if json:
        print_json(planned)
        return
    for line in plan_lines(planned):
        print(line)


def plan_lines(plan: Planned) -> Iterator[str]:
    """The plan on a page of lines; every figure says whether it is measured, modelled or scaled by hand."""
    yield f"{plan.name}: {plan.architecture}, {plan.parameters:,} parameters"
    if plan.catalogued:
        yield "The target's config.json is not here: its architecture, vocabulary and context are from fastdraft's catalogue."
    yield f"on {plan.device} in {plan.dtype}; measured matrix peak {plan.matrix_peak / 1e9:,.0f} GFLOP/s"
    yield ""
    yield f"{'stage':<6}{'tokens':>16}{'steps':>9}{'tokens/step':>13}{'tokens/s':>10}{'time':>13}{'memory':>11}"
    for stage in plan.stages:
        yield (
            f"{stage.stage:<6}{stage.tokens:>16,}{stage.steps:>9,}{stage.tokens_per_step:>13,}"
            f"{stage.tokens_per_second:>10,.0f}{span(stage.seconds):>13}{in_bytes(stage.memory):>11}"
        )
    writing = _writing_seconds(plan)
    if writing is not None:
        rate = f"{plan.synthesis_tokens_per_second:>32,.0f}"
        yield f"{'writes':<6}{plan.synthesis_tokens:>16,}{rate}{span(writing):>13}"
    seconds = sum(s.seconds for s in plan.stages) + (writing or 0.0)
    yield f"{'all':<6}{sum(s.tokens for s in plan.stages):>16,}{span(seconds):>45}"
    yield ""
    yield "tokens/s: measured here, uncompiled, on untrained weights and random tokens, with the following micro-batch:"
    yield f"  {', '.join(f'{s.stage} {s.measured_tokens:,} tokens' for s in plan.stages)}; larger ones are scaled by FLOPs."
    yield "The time leaves out what is tokenized, once a source, and how the draft is judged on the way and at the end."
    yield f"memory: modelled, of one device; {_free(plan)}"
    if plan.server_seconds is not None:
        yield f"on {plan.server}: {span(plan.server_seconds)}; scaled by hand from FLOPs, not measured"
        yield "  (the paper says of this machine: about 10 B tokens in under 24 h)"
    yield ""
    yield from _disk(plan)
    if plan.synthesis_tokens:
        yield from _writing(plan)


def _writing_seconds(plan: Planned) -> float | None:
    """How long the target writes for FT; None where it does not, or where nobody knows how fast."""
    if not plan.synthesis_tokens or plan.synthesis_tokens_per_second is None:
        return None
    return plan.synthesis_tokens / plan.synthesis_tokens_per_second


def _writing(plan: Planned) -> Iterator[str]:
    from fastdraft_core.engine.runtime_choice import TITLES

    told = f"The target writes {plan.synthesis_tokens:,} tokens for FT"
    if plan.synthesis_tokens_per_second is None:
        yield f"{told}; the time for that is in no figure, since its weights are not here, or do not fit."
        return
    yield f"{told}; the time for that is a row of the table, and part of the whole."
    yield (
        f"  modelled from {plan.synthesis_tokens_per_second:,.0f} tokens/s, measured here on {TITLES[plan.synthesis_engine]} with "
        f"{plan.synthesis_sequences} sequences at once and short texts; longer texts take longer"
    )


def _disk(plan: Planned) -> Iterator[str]:
    rows = [(f"shard of {source}, at most", size) for source, size in plan.shard_bytes.items()]
    rows.append(("what the target writes", plan.synthesis_bytes))
    for stage in plan.stages:
        rows += [
            (f"{stage.stage}: the target's stored probabilities", stage.logits_bytes),
            (f"{stage.stage}: checkpoints", stage.checkpoint_bytes),
        ]
    for what, size in rows:
        if size:
            yield f"{what:<44}{in_bytes(size):>12}"
    whole = sum(size for _, size in rows)
    yield f"{'disk, modelled':<44}{in_bytes(whole):>12}   free: {in_bytes(plan.free_disk)}"
    if whole > plan.free_disk:
        yield "This does not fit: free some space, or set FASTDRAFT_HOME to a folder on a larger disk."


def _free(plan: Planned) -> str:
    if plan.free_memory is None:
        return "how much is free is not known"
    free = f"{in_bytes(plan.free_memory)} are free"
    too_large = [s.stage for s in plan.stages if s.memory > plan.free_memory]
    if too_large:
        return f"{free}, too few for {', '.join(too_large)}: lower micro_batch, or set activation_checkpointing = true"
    return free
