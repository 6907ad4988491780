"""One target with several drafts in memory: what a sweep chooses among."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from fastdraft_core.engine.load_options import LoadOptions
from fastdraft_core.engine.pair import Pair, load_pair, with_draft
from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.catalog import bundled_drafts
from fastdraft_core.models.draft_spec import model_of, parse_draft

Lineup = dict[str, Pair]
"""By the draft's name; all pairs have the same target in memory."""

_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "int8": 1.0, "int4": 0.5}


def choose_drafts(target: str, asked: Sequence[str]) -> list[str]:
    """The drafts that were asked for, or all bundled ones of the target.

    Raises:
        FastdraftError: there are none, or one is named twice.
    """
    drafts = list(asked) or bundled_drafts(target)
    if not drafts:
        raise FastdraftError("A sweep needs at least one draft: add --draft, once for each.")
    if len(set(drafts)) < len(drafts):
        raise FastdraftError("--draft names a draft twice.")
    return drafts


def load_lineup(
    target: str, drafts: Sequence[str], options: LoadOptions, report: Callable[[str], None] = lambda step: None
) -> Lineup:
    """Load the target once and every draft beside it, the first one of a model with it: that one chooses the runtime.

    Raises:
        FastdraftError: a model cannot be loaded, or a draft's vocabulary is not the target's.
    """
    lead = next((name for name in drafts if model_of(parse_draft(name))), drafts[0])
    first = load_pair(target, lead, options, report)
    alone = replace(
        options,
        runtime=first.runtime,
        device=options.draft_device or options.device,
        draft_device="",
        weights=options.draft_weights,
        draft_weights="",
    )
    return {name: first if name == lead else with_draft(first, target, name, alone, report) for name in drafts}


def more_memory(pair: Pair, tokens: int) -> int:
    """Bytes that the draft takes beside the target, computed: its weights, and its cache for ``tokens`` tokens."""
    assert pair.draft is not None
    card = pair.draft.card
    # An embedding table of its own is in memory though a token reads but one row of it.
    weights = max(card.weight_bytes, int(card.parameters * _BYTES.get(card.dtype, 0)))
    return weights + tokens * pair.draft.kv_bytes_per_token
