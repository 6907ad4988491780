"""What every chart on the screen shares."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fastdraft_app.widgets.plot import ticks


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_enclose_the_values_evenly(low: float, span: float) -> None:
    """An axis begins at or below its least value, ends at or above its largest, and is not crowded."""
    high = low + span
    marks = ticks(low, high)
    slack = 1e-6 * max(abs(low), abs(high), 1)
    assert marks[0] <= low + slack
    assert marks[-1] >= high - slack
    assert 2 <= len(marks) <= 9
