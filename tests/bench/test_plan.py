"""Which points are measured first: those that a recommendation could be made of."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fastdraft_core.bench.sweep import BATCH, measuring_order, next_batch
from fastdraft_core.events.sweeping import PointKey

GRID = st.dictionaries(
    st.builds(PointKey, st.sampled_from("SM"), st.integers(1, 4), st.just(0.0), st.sampled_from(["code", "text"])),
    st.floats(0.2, 4),
    min_size=1,
)


def grid(curves: dict[tuple[str, str], list[float]]) -> dict[PointKey, float]:
    """Speed-ups by (draft, task) for gamma 1, 2 and so on."""
    return {
        PointKey(draft, gamma, 0.0, task): speedup
        for (draft, task), curve in curves.items()
        for gamma, speedup in enumerate(curve, 1)
    }


def test_each_draft_at_its_best_comes_first_on_every_task() -> None:
    """After one batch a task, every draft is compared where it is best on the whole."""
    order = measuring_order(
        grid({
            ("S", "code"): [1.1, 1.5, 1.2],
            ("S", "text"): [1.0, 1.4, 1.1],
            ("M", "code"): [1.2, 1.6, 1.9],
            ("M", "text"): [0.9, 0.8, 0.7],
        })
    )  # fmt: skip
    assert set(order[:4]) == {
        ("S", 2, 0.0, "code"),
        ("S", 2, 0.0, "text"),
        ("M", 3, 0.0, "code"),
        ("M", 3, 0.0, "text"),
    }


def test_a_tasks_own_best_point_is_not_left_for_last() -> None:
    """Text alone would use gamma 1, though gamma 3 is best on the whole."""
    order = measuring_order(grid({("S", "code"): [1.0, 1.4, 3.0], ("S", "text"): [1.5, 1.3, 1.2]}))
    assert order.index(("S", 1, 0.0, "text")) == 2


@given(GRID)
def test_every_point_is_measured_once(speedups: dict[PointKey, float]) -> None:
    """Batches share a task, are small, and together are the grid."""
    order, done = measuring_order(speedups), set[PointKey]()
    while batch := next_batch(order, done):
        assert len({key[2:] for key in batch}) == 1
        assert 0 < len(batch) <= BATCH
        assert not done.intersection(batch)
        done.update(batch)
    assert done == speedups.keys()
