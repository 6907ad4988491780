"""This machine in words: what it does at the moment, whether that disturbs a measurement, and what the checks found.

Pure, without widgets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from fastdraft_core.events import Check, CheckStatus
from fastdraft_core.formatting import percent

BUSY = 0.2
"""The share of all cores from which other work disturbs a measurement of the memory, as in ``bandwidth.py``."""
RECENT = 5
"""Readings that are averaged before other programs are blamed."""
_NAMED = 2


@dataclass(frozen=True)
class Reading:
    """The machine at a moment. Memory and disk are in bytes; a load is from 0 to 1.

    ``cores`` is empty and ``history``, the mean load of all cores, the newest last, too before there are two looks.
    ``engine`` is the engine's resident memory, ``engine_cores`` its processor time (2.0 is two whole cores). ``jobs`` are
    the names of those that run. Nothing is known of a disk of 0 bytes.
    """

    cores: Sequence[float] = ()
    history: Sequence[float] = ()
    memory_total: int = 0
    memory_available: int = 0
    disk_total: int = 0
    disk_free: int = 0
    engine: int | None = None
    engine_cores: float = 0.0
    jobs: Sequence[str] = ()


def disturbance(reading: Reading, timed: str, *, checking: bool, readings: int) -> str:
    """Why a measurement now would not be comparable, in words; empty where nothing disturbs.

    ``timed`` is what is being timed already. While ``checking`` the load of the cores is our own; ``readings`` were taken
    since, the first of them with a part of it.
    """
    if timed:
        return timed
    if reading.jobs:
        named = ", ".join(reading.jobs[:_NAMED])
        more = f" and {len(reading.jobs) - _NAMED} more" if len(reading.jobs) > _NAMED else ""
        verb = "is" if len(reading.jobs) == 1 else "are"
        return f"job{'s' if len(reading.jobs) > 1 else ''} {named}{more} {verb} running"
    if checking:
        return "the checks are under way"
    recent = reading.history[-min(RECENT, readings - 1) :] if readings > 1 else ()
    used = sum(recent) / len(recent) * len(reading.cores) if recent else 0.0
    foreign = used - reading.engine_cores
    if foreign > BUSY * len(reading.cores):
        return f"other programs use {foreign:.1f} of {len(reading.cores)} cores"
    return ""


def idle_words(reading: Reading) -> str:
    """That nothing would disturb a measurement."""
    if not reading.history:
        return "looking at what the cores do"
    return f"nothing here would disturb a measurement, the cores are {percent(1 - reading.history[-1])} idle"


def merged(before: Sequence[Check], now: Sequence[Check]) -> list[Check]:
    """The checks that have come ``now``, each in its place among those of ``before`` that have not come again yet."""
    rows = {check.name: check for check in (*before, *now)}.values()
    order = list(dict.fromkeys(check.group for check in rows))
    return sorted(rows, key=lambda check: order.index(check.group))


def counts(checks: Sequence[Check]) -> list[tuple[str, str]]:
    """Failures and warnings, then how many checks: a status and words each; statuses that nothing has are left out."""
    found = Counter(check.status for check in checks)
    kinds: tuple[tuple[CheckStatus, str], ...] = (("fail", "failure"), ("warn", "warning"))
    told: list[tuple[str, str]] = [(kind, _plural(found[kind], what)) for kind, what in kinds if found[kind]]
    return [*told, ("", f"in {len(checks)} checks")] if told else [("ok", f"all {len(checks)} checks are fine")]


def gravest(checks: Sequence[Check]) -> Check | None:
    """The first failure, else the first warning; None where all is well."""
    bad = [check for check in checks if check.status != "ok"]
    return next((check for check in bad if check.status == "fail"), bad[0] if bad else None)


def age(seconds: float) -> str:
    """How long ago something was, in the largest whole unit."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit} ago"
    return "just now"


def _plural(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"
