"""Long rows in two steps give what one step gives: the largest, the k largest, and draws by the same law."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdraft_core.decoding.rows import BLOCK, argmax_rows, draw_rows, topk_rows

#: A multiple of the blocks, one more, one less, and a short row that takes one step.
WIDTHS = (64 * BLOCK, 64 * BLOCK + 1, 70 * BLOCK - 1, 300)


@given(st.sampled_from(WIDTHS), st.integers(0, 2**31), st.integers(1, 3), st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_largest_is_what_one_step_finds(width: int, seed: int, rows: int, even: bool) -> None:
    """The first of equal ones, of which rounded logits have many."""
    logits = torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))
    logits = logits.round() if even else logits
    assert torch.equal(argmax_rows(logits), logits.argmax(-1, keepdim=True))


@given(st.sampled_from(WIDTHS), st.integers(0, 2**31), st.sampled_from([1, 8, 32]))
@settings(max_examples=40, deadline=None)
def test_the_k_largest_are_what_one_step_finds(width: int, seed: int, k: int) -> None:
    """In their order, even where they share a block."""
    logits = torch.randn(2, width, generator=torch.Generator().manual_seed(seed))
    logits[0, 5:45] += 20
    values, ids = topk_rows(logits, k)
    expected = logits.topk(k, -1)
    assert torch.equal(values, expected.values)
    assert torch.equal(ids, expected.indices)


def test_no_number_counts_as_the_largest() -> None:
    """So that whoever looks at the winner alone sees that a row is damaged."""
    logits = torch.zeros(1, WIDTHS[1])
    logits[0, 700] = torch.nan
    assert argmax_rows(logits).item() == 700


@pytest.mark.parametrize("width", WIDTHS)
def test_a_draw_inverts_the_cumulative_sum(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every token comes from its own stretch of [0, 1), laid out exactly by powers of two; none without probability does."""
    places = [0, 3, BLOCK, BLOCK + 1, width - 1]
    law = torch.zeros(1, width)
    law[0, places] = torch.tensor([0.25, 0.25, 0.125, 0.25, 0.125])
    edges = [0.0, 0.25, 0.5, 0.625, 0.875, 1.0]
    for token, low, high in zip(places, edges, edges[1:], strict=False):
        for uniform in (low, (low + high) / 2, high - 1e-9):
            monkeypatch.setattr(torch, "rand", lambda shape, u=uniform, **_: torch.full(shape, u, dtype=torch.float64))
            assert draw_rows(law, torch.Generator()).item() == token
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.ones(shape, dtype=torch.float64))
    assert draw_rows(law, torch.Generator()).item() == places[-1], "a number that rounding made one"


@pytest.mark.parametrize("width", WIDTHS)
def test_rows_that_are_no_numbers_draw_the_id_after_the_last(width: int) -> None:
    """And disturb no other row."""
    laws = torch.full((2, width), 1 / width)
    laws[0, width // 2] = torch.nan
    damaged, sound = draw_rows(laws, torch.Generator().manual_seed(0))[:, 0].tolist()
    assert damaged == width
    assert sound < width


def test_long_rows_are_drawn_by_their_law() -> None:
    """A hundred thousand draws from a peaked law over many blocks."""
    width = 64 * BLOCK
    law = torch.rand(width, generator=torch.Generator().manual_seed(3)) ** 40
    law[::3] = 0
    law /= law.sum()
    stream = torch.Generator().manual_seed(4)
    drawn = torch.cat([draw_rows(law.expand(500, -1), stream) for _ in range(200)])
    counts = torch.bincount(drawn[:, 0], minlength=width)
    assert torch.equal(counts[::3], torch.zeros_like(counts[::3]))
    blocks = counts.view(-1, BLOCK).sum(-1).double() / len(drawn)
    expected = law.double().view(-1, BLOCK).sum(-1)
    assert torch.all((blocks - expected).abs() < 5 * (expected / len(drawn)).sqrt() + 1e-4), "five standard deviations"
