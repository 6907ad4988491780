"""What a kept sweep says about a pair: the gamma that was the fastest here, for whoever names none."""

from __future__ import annotations

from collections import defaultdict
from statistics import geometric_mean
from typing import NamedTuple

from fastdraft_core.errors import FastdraftError
from fastdraft_core.results.store import Result, names, read

#: For a pair that no sweep has measured here.
USUAL_GAMMA = 4
_NEWEST = 20


class Advice(NamedTuple):
    """The gamma to use, and the words that say where it comes from."""

    gamma: int
    words: str


def calibrated_gamma(target: str, draft: str, temperature: float, cpu: str) -> Advice:
    """The gamma with the highest measured speed-up (geometric mean over tasks) in the newest sweep that has the pair.

    A sweep counts if it was made on the processor called ``cpu``, with the models of these names, at this temperature. Without
    one it is the usual 4.
    """
    for name in reversed(names()[-_NEWEST:]):
        try:
            result = read(name)
        except FastdraftError:
            # Another version's, or damaged; `fastdraft results` says so.
            continue
        if result.plan.target.name != target or result.plan.machine.get("cpu") != cpu:
            continue
        means = _means(result, draft, temperature)
        if means:
            best = max(means, key=means.__getitem__)
            return Advice(best, f"gamma {best}, the fastest of the kept sweep {name} ({means[best]:.2f}x, measured)")
    return Advice(USUAL_GAMMA, "")


def _means(result: Result, draft: str, temperature: float) -> dict[int, float]:
    """Speed-up by gamma over all tasks; a gamma that some task lacks is left out."""
    found: dict[int, dict[str, float]] = defaultdict(dict)
    for (name, gamma, heat, task), point in result.measured.items():
        if name == draft and heat == temperature:
            found[gamma][task] = point.speedup
    whole = max((len(tasks) for tasks in found.values()), default=0)
    return {gamma: geometric_mean(tasks.values()) for gamma, tasks in found.items() if len(tasks) == whole}
