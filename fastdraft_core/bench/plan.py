"""In which order points are measured: what could be recommended first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from fastdraft_core.events.sweeping import PointKey
from fastdraft_core.results.overall import overall

#: Points that share the autoregressive run next to them.
BATCH = 3


def measuring_order(speedups: Mapping[PointKey, float]) -> list[PointKey]:
    """Predicted points, the most telling first.

    Every draft's best gamma comes first, on every task, so that drafts can be compared early. Then by regret: how far a
    point lies below the best of its own task, or its setting below the best setting overall, whichever is less.
    """
    means = overall(speedups)
    best_setting = max(means.values())
    first = {max((s for s in means if s[0] == draft), key=lambda s: means[s]) for draft, _ in means}
    best_of: dict[tuple[str, float], float] = {}
    for (_, _, temperature, task), speedup in speedups.items():
        best_of[task, temperature] = max(speedup, best_of.get((task, temperature), 0.0))

    def rank(key: PointKey) -> tuple[bool, float]:
        draft, gamma, temperature, task = key
        regret = min(best_of[task, temperature] / max(speedups[key], 1e-9), best_setting / means[draft, gamma])
        return (draft, gamma) not in first, regret

    return sorted(speedups, key=rank)


def next_batch(order: Sequence[PointKey], finished: Iterable[PointKey]) -> list[PointKey]:
    """The first points that are not finished and share a task and temperature."""
    done = set(finished)
    left = [key for key in order if key not in done]
    return [key for key in left if key[2:] == left[0][2:]][:BATCH]


def settings_of(keys: Iterable[PointKey]) -> str:
    """Drafts and gammas in words."""
    return ", ".join(f"{draft} gamma {gamma}" for draft, gamma, _, _ in keys)
