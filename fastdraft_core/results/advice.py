"""What a kept sweep says about a pair: the gamma that was the fastest here, for whoever names none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import SweepStarted
from fastdraft_core.results.overall import recommended
from fastdraft_core.results.store import names, read

#: For a pair that no sweep has measured here.
USUAL_GAMMA = 4
_NEWEST = 20


class Advice(NamedTuple):
    """The gamma to use, and the words that say where it comes from."""

    gamma: int
    words: str


#: Of how a pair is loaded, what figures depend on beside the runtime.
_LOAD = ("device", "draft_device", "dtype", "weights", "draft_weights", "kv_precision")


def calibrated_gamma(target: str, draft: str, temperature: float, cpu: str, load: Mapping[str, object]) -> Advice:
    """The gamma with the highest measured speed-up over all tasks, as ``recommended`` counts, in the newest sweep that has the pair.

    A sweep counts if it was made on the processor called ``cpu``, with the models of these names (``catalog.lasting`` ones), at
    this temperature, and loaded as ``load`` says (the fields of ``LoadOptions``): the fastest gamma of one runtime, device or
    precision is not that of another. Without one it is the usual 4.
    """
    for name in reversed(names()[-_NEWEST:]):
        try:
            result = read(name)
        except FastdraftError:
            # Another version's, or damaged; `fastdraft results` says so.
            continue
        if result.plan.target.name != target or result.plan.machine.get("cpu") != cpu:
            continue
        if not _loaded_so(result.plan, load):
            continue
        own = {
            key: point
            for key, point in result.measured.items()
            if key.draft == draft and key.temperature == temperature
        }
        found = recommended(own)
        if found:
            (_, gamma), speedup = found
            return Advice(gamma, f"gamma {gamma}, the fastest of the kept sweep {name} ({speedup:.2f}x, measured)")
    return Advice(USUAL_GAMMA, "")


def _loaded_so(plan: SweepStarted, load: Mapping[str, object]) -> bool:
    """Whether a sweep's pair was loaded as asked. A runtime that nobody chose is the same one wherever nobody chose it."""
    chosen = load.get("runtime", "auto")
    same_runtime = bool(plan.runtime_reason) if chosen == "auto" else plan.runtime == chosen
    return same_runtime and all((plan.load.get(name) or "") == (load.get(name) or "") for name in _LOAD)
