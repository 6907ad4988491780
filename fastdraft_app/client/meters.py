"""The machine as it is at this moment: cores, memory, disk, the engine, and the jobs that run."""

from __future__ import annotations

import os
import shutil
from collections import deque
from collections.abc import Sequence

import psutil

from fastdraft_app.client.system import KEPT, UsageMonitor
from fastdraft_app.system.machine import Reading
from fastdraft_core import places
from fastdraft_core.jobs import processes
from fastdraft_core.jobs.folder import records
from fastdraft_core.jobs.record import Record
from fastdraft_core.machine.limits import memory

_BUSY = ("user", "nice", "system", "irq", "softirq", "interrupt", "dpc", "steal")
_IDLE = ("idle", "iowait")


class Meters:
    """Asks the operating system; a thread of its own should call it, since a disk may be slow."""

    def __init__(self) -> None:
        self._engine = UsageMonitor()
        self._history: deque[float] = deque(maxlen=KEPT)
        self._before: list[tuple[float, float]] = []

    def read(self, engine: int | None) -> Reading:
        """What the machine does now; ``engine`` is the process id of the engine, where there is one."""
        cores = self._cores()
        if cores:
            self._history.append(sum(cores) / len(cores))
        self._engine.poll(engine)
        total, available = memory()
        disk = _disk()
        samples = self._engine.samples
        return Reading(
            cores=cores,
            history=tuple(self._history),
            memory_total=total,
            memory_available=available,
            disk_total=disk[0],
            disk_free=disk[1],
            engine=samples[-1].memory if samples else None,
            engine_cores=samples[-1].cpu if samples else 0.0,
            jobs=tuple(folder.name for folder, record in records().items() if _runs_here(record)),
        )

    def _cores(self) -> tuple[float, ...]:
        """The load of each core that this process may run on, since the call before; nothing at the first one."""
        before, self._before = self._before, _core_times()
        return tuple(_share(then, now) for then, now in zip(before, self._before, strict=False))


def _runs_here(record: Record) -> bool:
    """Whether a job takes something of this machine; those of others in the same folder do not."""
    return record.state == "running" and processes.alive(record.process)


def _core_times() -> list[tuple[float, float]]:
    """Seconds that each core was busy and idle."""
    # Not psutil's own percentages: it keeps what was before thread by thread.
    cores = psutil.cpu_times(percpu=True)
    mine = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(len(cores))
    return [(_sum(cores[core], _BUSY), _sum(cores[core], _IDLE)) for core in mine if core < len(cores)]


def _sum(times: object, kinds: Sequence[str]) -> float:
    return sum(getattr(times, kind, 0.0) for kind in kinds)


def _share(then: tuple[float, float], now: tuple[float, float]) -> float:
    """The busy part of the time between two moments, from 0 to 1."""
    busy, idle = (max(after - before, 0.0) for before, after in zip(then, now, strict=True))
    return busy / (busy + idle) if busy + idle else 0.0


def _disk() -> tuple[int, int]:
    """Bytes in all and free on the disk of fastdraft's folders; nothing where it cannot be read."""
    try:
        usage = shutil.disk_usage(places.existing_parent(places.cache()))
    except OSError:
        return 0, 0
    return usage.total, usage.free
