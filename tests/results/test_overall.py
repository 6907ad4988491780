"""Drafts and gammas on the whole: one figure over all tasks, and the setting that is to be recommended."""

from __future__ import annotations

from fastdraft_core.events import PointMeasured
from fastdraft_core.events.sweeping import PointKey, Setting
from fastdraft_core.results.overall import overall, recommended
from tests.bench.points import measured


def best(*points: PointMeasured) -> Setting | None:
    """The setting that these points recommend."""
    found = recommended({p.key: p for p in points})
    return found[0] if found else None


def test_the_whole_is_a_geometric_mean() -> None:
    """Twice as fast on one task and half as fast on the other is no gain."""
    assert overall({PointKey("S", 2, 0.0, "code"): 2.0, PointKey("S", 2, 0.0, "text"): 0.5}) == {("S", 2): 1.0}


def test_nothing_measured_recommends_nothing() -> None:
    """The survey's predictions alone are no measurement."""
    assert best() is None


def test_the_recommendation_is_best_on_the_whole() -> None:
    """Not the highest single figure: 2.5x on code and 0.8x on text is less than 1.6x on both."""
    lucky = measured("M", 4, "code", 2.5), measured("M", 4, "text", 0.8)
    assert best(*lucky, measured("S", 2, "code", 1.6), measured("S", 2, "text", 1.6)) == ("S", 2)


def test_a_point_seen_on_one_task_only_does_not_beat_one_seen_on_all() -> None:
    """A budget may end before a promising setting was tried everywhere."""
    points = measured("M", 4, "code", 3.0), measured("S", 2, "code", 1.6), measured("S", 2, "text", 1.5)
    assert best(*points) == ("S", 2)


def test_two_turns_do_not_beat_a_whole_round() -> None:
    """A slow pair's first look may be lucky; where there is nothing else it counts."""
    lucky = measured("M", 4, "code", 3.0, repeats=0, reach=2.0)
    assert best(lucky, measured("S", 2, "code", 1.6)) == ("S", 2)
    assert best(lucky) == ("M", 4)
