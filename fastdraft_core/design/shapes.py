"""Candidate shapes of a draft at a fixed number of parameters, by stated rules. Pure arithmetic.

The paper varies depth and width at fixed parameters. The rules here, which it does not give, are this project's: heads of 64 (of 32
where the width is no multiple of 64), as many key-value heads as heads, a gated feed-forward network of 8/3 of the width in
whole multiples of 32, and tied embeddings. The budget counts the whole table, whatever part of it the head scores.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import DesignShape
from fastdraft_core.formatting import count, parse_count

#: Widths are multiples of this; a head of 32 is the narrowest that attention kernels do well.
_STEP = 32
_HEAD = 64
NARROWEST = 64
#: Widths beside the budget's, as shares of it: the same depth, so that latency against width has a curve.
_BESIDE = (0.5, 0.75, 1.25)
#: From this vocabulary on the head is most of a small draft, so a shortlist is part of the default grid.
LARGE_VOCABULARY, SHORTLIST = 16_384, 8_192


@dataclass(frozen=True, slots=True)
class Grid:
    """What is tried: depths, the range of widths, the ids that heads score (0: all), and weight formats (empty: as trained)."""

    layers: Sequence[int]
    widths: tuple[int, int]
    draft_vocabs: Sequence[int]
    weights: Sequence[str]


def parameters_of(
    *, layers: int, width: int, heads: int, kv_heads: int, intermediate: int, vocabulary: int, tie: bool = True
) -> int:
    """Weights of a Llama-like model: embedding, layers with a gated feed-forward network, norms, and a head of its own if not tied."""
    keys = width // heads * kv_heads
    layer = 2 * width * width + 2 * width * keys + 3 * width * intermediate + 2 * width
    return vocabulary * width * (1 if tie else 2) + layers * layer + width


def shape(layers: int, width: int, vocabulary: int, *, budgeted: bool = True) -> DesignShape:
    """The candidate of this depth and width by the rules above."""
    heads = width // (_HEAD if width % _HEAD == 0 else _STEP)
    intermediate = round(8 * width / 3 / 32) * 32
    size = parameters_of(
        layers=layers, width=width, heads=heads, kv_heads=heads, intermediate=intermediate, vocabulary=vocabulary
    )
    return DesignShape(
        layers=layers,
        width=width,
        heads=heads,
        kv_heads=heads,
        intermediate=intermediate,
        parameters=size,
        budgeted=budgeted,
    )


def candidates(budget: int, vocabulary: int, grid: Grid) -> tuple[list[DesignShape], list[str]]:
    """All candidates, and a sentence for each depth that is left out.

    For every depth the widest one within ``budget`` parameters, and at the least depth some widths beside it; each of them with every
    head and weight format of the grid.

    Raises:
        FastdraftError: nothing fits into the budget.
    """
    low, high = grid.widths
    found: list[DesignShape] = []
    skipped: list[str] = []
    for layers in sorted(set(grid.layers)):
        width = _widest(layers, budget, vocabulary, low, high)
        if width is None:
            least = shape(layers, low, vocabulary).parameters
            skipped.append(f"{layers} layers of {low} would have {count(least)} parameters")
        else:
            found.append(shape(layers, width, vocabulary))
    if not found:
        raise FastdraftError(_too_small(budget, vocabulary, min(grid.layers), low))
    shapes = [*found, *_beside(found[0], vocabulary, low, high)]
    return [made for one in shapes for made in _variants(one, vocabulary, grid)], skipped


def _widest(layers: int, budget: int, vocabulary: int, low: int, high: int) -> int | None:
    fitting = (width for width in range(high, low - 1, -_STEP) if shape(layers, width, vocabulary).parameters <= budget)
    return next(fitting, None)


def _beside(first: DesignShape, vocabulary: int, low: int, high: int) -> Iterator[DesignShape]:
    widths = {round(first.width * share / _STEP) * _STEP for share in _BESIDE} - {first.width}
    for width in sorted(widths):
        if max(low, NARROWEST) <= width <= high:
            yield shape(first.layers, width, vocabulary, budgeted=False)


def _variants(one: DesignShape, vocabulary: int, grid: Grid) -> Iterator[DesignShape]:
    import msgspec

    for draft_vocab in grid.draft_vocabs:
        if draft_vocab >= vocabulary:
            raise FastdraftError(
                f"--draft-vocab {draft_vocab} is not below the target's vocabulary of {vocabulary:,} ids; give fewer, or all."
            )
        for weights in grid.weights:
            yield msgspec.structs.replace(one, draft_vocab=draft_vocab, weights=weights)


def _too_small(budget: int, vocabulary: int, layers: int, width: int) -> str:
    least = shape(layers, width, vocabulary).parameters
    table = vocabulary * width
    return (
        f"--params {count(budget)} is too small: {layers} layer{'s' if layers > 1 else ''} of {width}, the narrowest asked for, "
        f"have {count(least)} parameters, {count(table)} of them the embedding of {vocabulary:,} ids. Give at least "
        f"--params {count(least * 1.01)}, or narrower --widths."
    )


def default_draft_vocabs(vocabulary: int) -> list[int]:
    """The whole head, and of a large vocabulary a shortlist beside it."""
    return [0, SHORTLIST] if vocabulary >= LARGE_VOCABULARY else [0]


def parse_range(text: str, option: str, *, step: int = 1) -> list[int]:
    """``1-6`` or ``1,2,4`` as numbers; the ends of a range of ``step`` are what it begins and ends with.

    Raises:
        FastdraftError: it is neither, runs backwards, or a number is below 1.
    """
    numbers: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if first < 1 or last < first:
            raise FastdraftError(f"{option} {text} is not understood; write for example 1-6 or 1,2,4.")
        numbers.update(range(first, last + 1, step) if step == 1 else (first, last))
    return sorted(numbers)


def parse_widths(text: str) -> tuple[int, int]:
    """``128-768`` as the narrowest and the widest width.

    Raises:
        FastdraftError: it is no range, or an end is no multiple of 32 from 64 on, into which heads divide.
    """
    numbers = parse_range(text, "--widths", step=2)
    low, high = numbers[0], numbers[-1]
    if low < NARROWEST or low % _STEP or high % _STEP:
        raise FastdraftError(
            f"--widths {text}: heads of 32 and 64 divide multiples of {_STEP} from {NARROWEST} on; write for example 128-768."
        )
    return low, high


def parse_draft_vocabs(text: str) -> list[int]:
    """``2k,8k,all`` as numbers of ids, 0 for all.

    Raises:
        FastdraftError: a part is neither a number nor ``all``.
    """
    found = []
    for part in text.split(","):
        try:
            found.append(0 if part.strip() == "all" else parse_count(part))
        except FastdraftError as error:
            raise FastdraftError(
                f"--draft-vocab {text} is not understood; write for example 8k, or 2k,8k,all."
            ) from error
    return list(dict.fromkeys(found))
