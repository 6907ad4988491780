"""Batched continuation by the target: every row is what it would be alone (pitfall 10)."""

from __future__ import annotations

import numpy as np
import pytest

from fastdraft_core.data.generation import Batch, continue_batch
from tests.runtimes.models import VOCABULARY, WINDOW, small_model

EOS = {2}


def prefixes(rows: int, length: int) -> np.ndarray:
    return np.random.default_rng(1).integers(3, VOCABULARY, (rows, length))


@pytest.mark.parametrize("architecture", ["llama", "phi3", "gpt2"])
def test_a_batch_of_four_equals_four_singles(architecture: str) -> None:
    """Pitfall 10: positions and masks of a row do not depend on its neighbours, past a window either."""
    model, ids = small_model(architecture), prefixes(4, WINDOW + 3)
    together = continue_batch(model, Batch(ids, np.zeros(4), 20, EOS, seed=1)).rows
    alone = [continue_batch(model, Batch(ids[i : i + 1], np.zeros(1), 20, EOS, seed=1)).rows[0] for i in range(4)]
    assert together == alone
    assert [row[: WINDOW + 3] for row in together] == ids.tolist()


def test_each_row_ends_at_its_own_eos() -> None:
    """Pitfall 11: a row that ended is cut there, whatever its neighbours still write; an eos in the prefix cuts nothing."""
    model, ids = small_model("llama"), prefixes(4, 5)
    rows = continue_batch(model, Batch(ids, np.zeros(4), 20, EOS, seed=1)).rows
    eos = rows[2][9]
    ids[1, 2] = eos
    cut = continue_batch(model, Batch(ids, np.zeros(4), 20, {eos}, seed=1)).rows
    assert cut[2] == rows[2][: rows[2].index(eos, 5) + 1]
    for row in cut:
        assert eos not in row[5:-1]
        assert len(row) == 25 or row[-1] == eos


def test_sampled_rows_follow_their_own_temperature() -> None:
    """Greedy and sampled rows in one batch: the greedy one is the greedy text, the others differ from it."""
    model, ids = small_model("llama"), prefixes(1, 5).repeat(4, 0)
    rows = continue_batch(model, Batch(ids, np.array([0.0, 1.0, 1.0, 0.0]), 20, EOS, seed=1)).rows
    assert rows[0] == rows[3] == continue_batch(model, Batch(ids[:1], np.zeros(1), 20, EOS, seed=5)).rows[0]
    assert len({tuple(rows[0]), tuple(rows[1]), tuple(rows[2])}) == 3
