"""One target with several drafts in memory: what a sweep chooses among."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from fastdraft_core.engine.load_options import LoadOptions
from fastdraft_core.engine.pair import Pair, check_vocabularies, load_draft, load_pair
from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.catalog import bundled_drafts

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
    """Load the target once and every draft beside it.

    Raises:
        FastdraftError: a model cannot be loaded, or a draft's vocabulary is not the target's.
    """
    first = load_pair(target, drafts[0], options, report)
    lineup = {drafts[0]: first}
    alone = replace(
        options,
        runtime=first.runtime,
        device=options.draft_device or options.device,
        draft_device="",
        weights=options.draft_weights,
        draft_weights="",
    )
    for name in drafts[1:]:
        draft, tokenizer = load_draft(name, alone, report)
        check_vocabularies(first.tokenizer.get_vocab(), tokenizer.get_vocab(), target, name)
        if draft.vocab_size != first.target.vocab_size:
            raise FastdraftError(
                f"{target} scores {first.target.vocab_size} ids and {name} {draft.vocab_size}; a draft must know "
                "every id of its target."
            )
        lineup[name] = replace(first, draft=draft)
    return lineup


def more_memory(pair: Pair, tokens: int) -> int:
    """Bytes that the draft takes beside the target, computed: its weights, and its cache for ``tokens`` tokens."""
    assert pair.draft is not None
    card = pair.draft.card
    # An embedding table of its own is in memory though a token reads but one row of it.
    weights = max(card.weight_bytes, int(card.parameters * _BYTES.get(card.dtype, 0)))
    return weights + tokens * pair.draft.kv_bytes_per_token
