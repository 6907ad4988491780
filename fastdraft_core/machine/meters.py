"""What the machine tells beside the clock: energy and memory.

Nothing here is read while a run is timed: before and after it, differences are taken.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psutil

_POWERCAP = Path("/sys/class/powercap")
_PROC = Path("/proc/self")


class Energy:
    """Joules of the processor packages by RAPL, where Linux lets this process read them."""

    def __init__(self, root: Path = _POWERCAP) -> None:
        # A package is intel-rapl:0; intel-rapl:0:0 is a part of it and would count twice, as packages would in psys.
        zones = [
            zone for zone in sorted(root.glob("intel-rapl:*")) if zone.name.count(":") == 1 and not _platform(zone)
        ]
        self._zones = [zone for zone in zones if _number(zone / "energy_uj") is not None]

    def read(self) -> list[int] | None:
        """Microjoules by package since some moment in the past; None where the machine does not tell."""
        values = [_number(zone / "energy_uj") for zone in self._zones]
        found = [v for v in values if v is not None]
        return found if found and len(found) == len(self._zones) else None

    def joules(self, before: list[int] | None, after: list[int] | None) -> float | None:
        """Energy between two readings; a counter that began anew went once through its range."""
        if before is None or after is None:
            return None
        total = 0
        for zone, first, last in zip(self._zones, before, after, strict=True):
            total += last - first if last >= first else last - first + (_number(zone / "max_energy_range_uj") or 0)
        return total / 1e6


@contextlib.contextmanager
def peak_memory() -> Iterator[list[int]]:
    """The largest resident memory of this process inside the block, in bytes: the one item of the list afterwards.

    Linux can begin its record anew. Elsewhere it is what is resident at the end: decoding frees little.
    """
    found: list[int] = []
    with contextlib.suppress(OSError):
        (_PROC / "clear_refs").write_text("5")
    yield found
    found.append(_high_water() or psutil.Process().memory_info().rss)


def _high_water() -> int | None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in (_PROC / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None


def _platform(zone: Path) -> bool:
    """Whether a zone is the whole platform, which laptops count beside the packages in it."""
    with contextlib.suppress(OSError):
        return (zone / "name").read_text().strip() == "psys"
    return False


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
