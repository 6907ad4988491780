"""What a study's costs mean: speed-up by acceptance, break-even, choice, charts; and how studies are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import DesignFinished, DesignProgress, ShapeTrained
from fastdraft_core.metrics import expected_tau
from fastdraft_core.results import designs
from fastdraft_core.results.design_page import as_markdown, choice
from tests.design.studies import GAMMAS, design, measured, plan


def test_tau_of_independent_tokens_is_the_geometric_sum() -> None:
    """Leviathan et al., equation 1; at 1 every block is whole."""
    assert expected_tau(0.6, 3) == pytest.approx((1 - 0.6**4) / (1 - 0.6))
    assert (expected_tau(0, 5), expected_tau(1, 5)) == (1, 6)


def test_break_even_is_where_the_speed_up_is_one() -> None:
    """By the best gamma, and None where not even full acceptance is enough."""
    found = design()
    one = found.measured[found.plan.shapes[0].key]
    even = found.break_even(one)
    assert even is not None
    assert found.speedup(one, even)[0] == pytest.approx(1, abs=1e-6)
    dear = designs.Design(plan())
    slow = measured(dear.plan.shapes[0])
    dear.add(type(slow)(**{f: getattr(slow, f) for f in slow.__struct_fields__} | {"draft": [3.0] * 4}))
    assert dear.break_even(next(iter(dear.measured.values()))) is None


def test_at_equal_acceptance_the_cheapest_is_chosen_and_trained_ones_by_what_they_learned() -> None:
    """An assumed acceptance never makes the paper's inverted U; a trained one may, and then it decides."""
    found = design(train=1000)
    budgeted = [s for s in found.plan.shapes if s.budgeted]
    assert found.best() == budgeted[0].key
    assert "assumed" in choice(found)
    for shape, speed in zip(budgeted, (1.2, 1.5, 1.4, 1.1), strict=True):
        found.add(
            ShapeTrained(
                key=shape.key,
                tokens=1000,
                seconds=1.0,
                acceptance=[0.5] * 4,
                tau=[2.0] * 4,
                speedup=[1.0, speed, 1.0, 1.0],
            )
        )
    assert found.best() == budgeted[1].key
    assert "predicted 1.50x" in choice(found)
    marks = designs.figures(found)["speedup"].panels[0].series[0].marks
    assert [(mark.x, mark.y) for mark in marks] == [(1, 1.2), (2, 1.5), (3, 1.4), (4, 1.1)]


def test_the_charts_are_latency_by_depth_and_width_and_speed_up_by_depth() -> None:
    """Depth at the budget, width at the least depth; one line an assumed acceptance."""
    figures = designs.figures(design())
    assert [mark.x for mark in figures["depth"].panels[0].series[0].marks] == [1, 2, 3, 4]
    widths = [mark.x for mark in figures["width"].panels[0].series[0].marks]
    assert widths == sorted(widths)
    assert len(widths) >= 3
    assert [series.name for series in figures["speedup"].panels[0].series] == ["a = 0.4", "a = 0.6", "a = 0.8"]
    assert all(series.guess for series in figures["speedup"].panels[0].series)


def test_the_page_says_what_is_measured_and_what_is_assumed() -> None:
    """A row a candidate, and the words below it."""
    page = as_markdown(design())
    assert "| 1 x 256 " in page
    assert "(beside)" in page
    assert "predicted from the measured costs" in page
    assert "assumed" in page


def test_a_study_is_kept_and_read_again(home: Path) -> None:
    """Progress is not kept; another version's file is refused by its name."""
    del home
    found = design()
    write = designs.writer(found.plan.name)
    write(found.plan)
    for one in found.measured.values():
        write(one)
    write(DesignProgress(what="x", done=1, total=2))
    write(DesignFinished(reason="complete", chosen=found.best(), seconds=1.0))
    again = designs.read(designs.find("last"))
    assert (again.plan, again.measured) == (found.plan, found.measured)
    assert again.finished is not None
    assert not again.missing
    file = designs.folder(found.plan.name) / "events.jsonl"
    file.write_bytes(file.read_bytes().replace(b"fastdraft.design/1", b"fastdraft.design/9"))
    with pytest.raises(FastdraftError, match=r"fastdraft\.design/9"):
        designs.read(found.plan.name)


def test_costs_are_told_for_every_gamma() -> None:
    """A block has its draft steps, the target's pass and the rest."""
    found = design()
    one = next(iter(found.measured.values()))
    for gamma in GAMMAS:
        assert found.costs(one, gamma) == pytest.approx(found.verify[gamma] + gamma * one.draft[gamma - 1] + 0.01)
