"""How fast a draft with a gamma is on the whole: over all tasks and temperatures."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

from fastdraft_core.events import PointMeasured
from fastdraft_core.events.sweeping import PointKey, Setting


def overall(speedups: Mapping[PointKey, float]) -> dict[Setting, float]:
    """The geometric mean over tasks and temperatures, for each draft and gamma."""
    by_setting: dict[Setting, list[float]] = {}
    for key, speedup in speedups.items():
        by_setting.setdefault(key.setting, []).append(math.log(max(speedup, 1e-9)))
    return {setting: math.exp(sum(logs) / len(logs)) for setting, logs in by_setting.items()}


def recommended(measured: Mapping[PointKey, PointMeasured]) -> tuple[Setting, float] | None:
    """The setting with the best mean speed-up, of those measured on the most tasks and temperatures, and that mean.

    Two turns may look good by chance: points with a whole round over the prompts come before those without one.
    """
    counted = {key: point for key, point in measured.items() if point.repeats} or measured
    means = overall({key: point.speedup for key, point in counted.items()})
    counts = Counter(key.setting for key in counted)
    most = max(counts.values(), default=0)
    widest = [(setting, mean) for setting, mean in means.items() if counts[setting] == most]
    return max(widest, key=lambda found: found[1], default=None)


def fallbacks(measured: Iterable[PointMeasured]) -> list[str]:
    """What did not run the fast way of its runtime, each reason once."""
    return list(dict.fromkeys(point.fallback for point in measured if point.fallback))
