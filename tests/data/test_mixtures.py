"""Mixtures: exact shares, an order that is computed, every row of an epoch once."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdraft_core.data.mixtures import Mixture, interleave, source_rows, tokens_of_rows
from fastdraft_core.data.shards import Shard, ShardIndex
from fastdraft_core.errors import FastdraftError
from fastdraft_core.training.processes import row_shares

LENGTH = 7


def shard(num_tokens: int, *, first: int = 0, masked: bool = False) -> Shard:
    """A shard whose ids count up from ``first``, so that an id tells its place."""
    tokens = np.arange(first, first + num_tokens, dtype=np.uint32)
    index = ShardIndex("text", "abc", "uint32", num_tokens, 1, "", masked)
    return Shard(Path("none"), index, tokens, (tokens % 2).astype(np.uint8) if masked else None)


def mixture(num_rows: int, *, seed: int = 1, sizes: tuple[int, ...] = (200, 90)) -> Mixture:
    """Two sources, three parts to one; the second one's ids start at 1,000,000."""
    shards = [shard(size, first=i * 1_000_000) for i, size in enumerate(sizes)]
    return Mixture(shards, [3.0, 1.0], LENGTH, num_rows, seed)


weights = st.lists(st.floats(0, 10), min_size=1, max_size=5).filter(lambda w: sum(w) > 1e-3)


@given(weights, st.integers(0, 2000))
def test_shares_are_exact(parts: list[float], num_rows: int) -> None:
    """A recipe that asks for 45 % code gets 45 % code: each count is within one row of its share."""
    sources = interleave(parts, num_rows)
    counts = np.bincount(sources, minlength=len(parts))
    assert len(sources) == num_rows
    assert np.all(np.abs(counts - np.array(parts) / sum(parts) * num_rows) < 1)
    assert all(count == 0 for count, part in zip(counts, parts, strict=True) if part == 0)


@given(st.lists(st.integers(1, 9), min_size=2, max_size=4), st.integers(50, 500))
def test_shares_are_even_from_the_start(parts: list[int], num_rows: int) -> None:
    """No stretch of the training sees only one source: every beginning has nearly its share of each."""
    sources = interleave([float(p) for p in parts], num_rows)
    for source, part in enumerate(parts):
        seen = np.cumsum(sources == source)
        due = np.arange(1, num_rows + 1) * part / sum(parts)
        assert np.abs(seen - due).max() < len(parts) + 1


@pytest.mark.parametrize("parts", [[], [0.0, 0.0], [1.0, -1.0], [float("nan")], [float("inf"), 1.0]])
def test_impossible_weights_are_refused(parts: list[float]) -> None:
    """Weights that mean nothing are one sentence, not a strange mixture."""
    with pytest.raises(FastdraftError, match="weights"):
        interleave(parts, 10)


@settings(max_examples=25)
@given(st.integers(0, 5), st.integers(0, 79), st.integers(1, 30))
def test_rows_depend_only_on_seed_and_number(seed: int, start: int, count: int) -> None:
    """A resumed run, or one on more devices, asks for other stretches and must see the same rows."""
    stop = min(80, start + count)
    whole, _ = mixture(80, seed=seed).rows(0, 80)
    part, _ = mixture(80, seed=seed).rows(start, stop)
    assert np.array_equal(part, whole[start:stop])


def test_another_seed_gives_another_order() -> None:
    """Two seeds are two trainings."""
    assert not np.array_equal(mixture(40, seed=1).rows(0, 40)[0], mixture(40, seed=2).rows(0, 40)[0])


@settings(max_examples=25)
@given(st.integers(0, 50), st.integers(2 * (LENGTH + 1), 150))
def test_an_epoch_visits_every_row_once(seed: int, num_tokens: int) -> None:
    """Data is not seen twice while other data waits: one epoch is a permutation of whole, disjoint rows."""
    per_epoch = num_tokens // (LENGTH + 1) - 1
    rows, _ = Mixture([shard(num_tokens)], [1.0], LENGTH, 3 * per_epoch, seed).rows(0, 3 * per_epoch)
    assert np.array_equal(rows, rows[:, :1] + np.arange(LENGTH + 1))
    for epoch in range(3):
        starts = np.sort(rows[epoch * per_epoch : (epoch + 1) * per_epoch, 0])
        assert np.all(np.diff(starts) == LENGTH + 1)


def test_epochs_cut_and_order_differently() -> None:
    """Small corpora are seen several times: another offset and order each time."""
    rows, _ = Mixture([shard(400)], [1.0], LENGTH, 98, seed=1).rows(0, 98)
    assert {int(i) % 8 for i in rows[:49, 0]} != {int(i) % 8 for i in rows[49:, 0]}
    assert Counter(rows[:49, 0].tolist()) != Counter(rows[49:, 0].tolist())


def growing(num_tokens: int, window: int) -> Shard:
    """A shard that may grow further; its ids tell their places."""
    whole = shard(num_tokens)
    return dataclasses.replace(whole, index=dataclasses.replace(whole.index, window=window, whole=False))


@settings(max_examples=50)
@given(st.integers(0, 50), st.integers(1, 60), st.integers(0, 40), st.integers(0, 400), st.sampled_from([3, 64, 200]))
def test_a_larger_budget_changes_no_row(seed: int, num_rows: int, before: int, more: int, window: int) -> None:
    """What is needed of a source holds all rows of a stage, and they stay the same however far it is tokenized."""
    needed = tokens_of_rows(before + num_rows, LENGTH, window)
    first, later = (
        Mixture([growing(size, window)], [1.0], LENGTH, num_rows, seed, before=[before])
        for size in (needed, needed + more)
    )
    rows = first.rows(0, num_rows)[0]
    assert np.array_equal(rows, later.rows(0, num_rows)[0])
    assert len({int(start) for start in rows[:, 0]}) == num_rows
    if before == 0:
        longer = Mixture([growing(needed + more, window)], [1.0], LENGTH, min(num_rows + 5, first._per_epoch(0)), seed)
        assert np.array_equal(longer.rows(0, num_rows)[0], rows)


def test_an_epoch_in_stretches_visits_every_row_once() -> None:
    """The last stretch of a source is a shorter one, and the next epoch orders all of them anew."""
    rows, _ = Mixture([growing(403, 64)], [1.0], LENGTH, 98, seed=1).rows(0, 98)
    first, second = np.sort(rows[:49, 0]), np.sort(rows[49:, 0])
    assert np.all(np.diff(first) == LENGTH + 1)
    assert np.all(np.diff(second) == LENGTH + 1)
    assert not np.array_equal(rows[:49, 0] - first[0], rows[49:, 0] - second[0])
    # Mixed within a stretch, and not across.
    assert not np.array_equal(rows[:8, 0], np.sort(rows[:8, 0]))
    assert rows[:8, 0].max() < rows[8:16, 0].min()


@pytest.mark.parametrize("place", [0, 1])
def test_a_later_stage_goes_on_where_the_earlier_one_ended(place: int) -> None:
    """Two small stages must not read the same beginning twice, in whatever place of its list the second names the source."""
    one = growing(800, 256)
    earlier = Mixture([one], [1.0], LENGTH, 20, seed=1).rows(0, 20)[0]
    other = dataclasses.replace(shard(300, first=10_000), index=dataclasses.replace(shard(300).index, source="other"))
    sources = [one, other] if place == 0 else [other, one]
    weights = [1.0, 0.0] if place == 0 else [0.0, 1.0]
    before = [20, 0] if place == 0 else [0, 20]
    later = Mixture(sources, weights, LENGTH, 20, seed=1, before=before).rows(0, 20)[0]
    assert not {int(start) for start in earlier[:, 0]} & {int(start) for start in later[:, 0]}


def test_rows_of_sources_are_counted_as_they_are_drawn() -> None:
    """What is tokenized follows from it."""
    assert source_rows([3.0, 1.0], 40) == [30, 10]
    assert source_rows([1.0, 0.0], 3) == [3, 0]


def test_the_mask_belongs_to_its_row() -> None:
    """Loss counts where the shard says so, wherever the row was cut."""
    ids, mask = Mixture([shard(200, masked=True)], [1.0], LENGTH, 10, seed=3).rows(0, 10)
    assert np.array_equal(mask, ids % 2 == 1)


def test_a_source_that_is_too_short_is_named() -> None:
    """Too little text for one row: the source is named with its size before anything runs."""
    with pytest.raises(FastdraftError, match=r"'text' holds 15 tokens"):
        Mixture([shard(15)], [1.0], LENGTH, 1, seed=1)


documents = st.lists(st.integers(1, 12), min_size=8, max_size=30)


@settings(max_examples=50)
@given(documents, st.integers(0, 9))
def test_positions_begin_anew_with_every_document(lengths: list[int], seed: int) -> None:
    """document_mask: an id's position is how far its document's beginning lies back, within its row."""
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    num_tokens = max(sum(lengths), 2 * (LENGTH + 1))
    source = dataclasses.replace(shard(num_tokens), starts=starts.astype(np.int64))
    rows = Mixture([source], [1.0], LENGTH, 5, seed)
    ids, _ = rows.rows(0, 5)
    for row, positions in zip(ids, rows.positions(0, 5), strict=True):
        # The ids of this shard are their own places.
        begins = [max(int(starts[starts <= place].max()), int(row[0])) for place in row]
        assert positions.tolist() == [place - begin for place, begin in zip(row.tolist(), begins, strict=True)]


def test_epochs_and_tokens_are_counted() -> None:
    """The paper's tokens are exact by source, and a small source tells how often it was seen."""
    rows = mixture(40)
    assert rows.tokens == [30 * LENGTH, 10 * LENGTH]
    assert rows.epochs == [30 / 24, 10 / 10]
    assert Mixture([shard(90), shard(90)], [1.0, 0.0], LENGTH, 3, seed=1).epochs == [0.3, 0.0]


def test_tokens_as_weights_are_exact() -> None:
    """5 B of code and 2.5 B of text: two rows of one for each of the other, to the row."""
    shards = [shard(200), shard(200)]
    assert Mixture(shards, [5e9, 2.5e9], LENGTH, 300, seed=1).tokens == [200 * LENGTH, 100 * LENGTH]


@settings(max_examples=25)
@given(st.integers(1, 12), st.integers(1, 6), st.integers(1, 6), st.integers(1, 4), st.integers(0, 4))
def test_a_resume_on_other_processes_sees_the_same_rows(
    rows_per_step: int, before: int, after: int, micro_batch: int, resume_at: int
) -> None:
    """Steps before on some processes and after on others: every row of the stage once, in its step."""
    rows = mixture(5 * rows_per_step)
    seen = []
    for step in range(5):
        world = before if step < resume_at else after
        for rank in range(world):
            shares, _ = row_shares(rows_per_step, world, rank, micro_batch)
            seen += [rows.rows(step * rows_per_step + r, step * rows_per_step + r + 1)[0] for s in shares for r in s]
    assert np.array_equal(np.concatenate(seen), rows.rows(0, 5 * rows_per_step)[0])
