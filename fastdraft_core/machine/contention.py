"""Whether the machine had nothing else to do while something was timed.

Counters are read before and after, never while a run is timed.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass

import psutil

#: Shares of the time of the cores in use. A scheduler's tick is a hundredth of a second, so a run of a second resolves a few percent.
_MOST_FOREIGN = 0.1
_MOST_STEAL = 0.02


@dataclass(frozen=True, slots=True)
class Load:
    """Counters of the cores that this process may run on up to a moment, all in seconds but ``faults`` and ``cores``.

    ``busy`` is of everybody on these cores, ``own`` of this process alone, ``steal`` what a hypervisor gave to other machines.
    ``faults`` counts pages that came from disk. A container's quota may let this process use fewer ``cores`` at a time than
    are counted here, and others the rest.
    """

    clock: float
    busy: float
    own: float
    steal: float
    faults: int
    cores: int


def load() -> Load:
    """The counters now."""
    cores = psutil.cpu_times(percpu=True)
    mine = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(len(cores))
    used = [cores[i] for i in mine if i < len(cores)]
    busy = sum(sum(getattr(c, kind, 0.0) for kind in ("user", "nice", "system", "irq", "softirq")) for c in used)
    steal = sum(getattr(c, "steal", 0.0) for c in used)
    return Load(time.perf_counter(), busy, time.process_time(), steal, _page_faults(), max(len(used), 1))


def crowded(before: Load, after: Load, threads: int) -> str:
    """Who else used the cores between two moments, in words; empty where nobody did who disturbs.

    Other work disturbs as far as it cannot have run on the cores that ``threads`` threads leave free.
    """
    seconds, cores = after.clock - before.clock, after.cores
    if seconds <= 0:
        return ""
    needed = min(threads, cores) * seconds
    foreign = max(0.0, (after.busy - before.busy) - (after.own - before.own))
    share = (foreign - (cores * seconds - needed)) / needed
    if share > _MOST_FOREIGN:
        return "other programs used the cores"
    steal = (after.steal - before.steal) / (cores * seconds)
    if steal > _MOST_STEAL:
        return "the hypervisor gave the cores to other machines"
    return ""


def disturbance(before: Load, after: Load, threads: int) -> str:
    """Why what ran between two moments does not count, in words: it was crowded, or waited for a disk; empty otherwise."""
    if why := crowded(before, after, threads):
        return why
    return "pages were read from disk" if after.faults > before.faults else ""


def _page_faults() -> int:
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_majflt
