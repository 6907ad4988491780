"""A result is a folder with one file of events, written line by line as they come."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import filelock
import msgspec

from fastdraft_core import places
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import (
    CostsMeasured,
    Event,
    PointMeasured,
    PointPredicted,
    RepeatDropped,
    SweepFinished,
    SweepStarted,
    SweepVerdict,
    TurnMeasured,
    cache_bound,
    decode_message,
    encode,
)
from fastdraft_core.events.sweeping import PointKey

#: Changes when a field of a kept event changes its meaning.
SCHEMA = "fastdraft.sweep/1"
#: What is kept; the rest is for whoever watches.
KEPT = (
    SweepStarted,
    CostsMeasured,
    PointPredicted,
    TurnMeasured,
    PointMeasured,
    RepeatDropped,
    SweepVerdict,
    SweepFinished,
)
_FILE = "events.jsonl"


@dataclass(slots=True)
class Result:
    """A sweep as far as it got. Of several measurements of one point the last counts."""

    plan: SweepStarted
    costs: dict[tuple[str, str, float], CostsMeasured] = field(default_factory=dict)
    predicted: dict[PointKey, PointPredicted] = field(default_factory=dict)
    turns: dict[PointKey, list[TurnMeasured]] = field(default_factory=dict)
    measured: dict[PointKey, PointMeasured] = field(default_factory=dict)
    dropped: list[RepeatDropped] = field(default_factory=list)
    verdict: SweepVerdict | None = None
    finished: SweepFinished | None = None

    @property
    def groups(self) -> list[tuple[str, float]]:
        """Every task at every temperature, as asked for."""
        return [(task.name, temperature) for task in self.plan.tasks for temperature in self.plan.temperatures]

    @property
    def grid(self) -> list[PointKey]:
        """Every point that was asked for."""
        return [
            PointKey(card.name, gamma, temperature, task)
            for task, temperature in self.groups
            for card in self.plan.drafts
            for gamma in self.plan.gammas
        ]

    @property
    def total(self) -> int:
        """Points of the whole grid."""
        return len(self.groups) * len(self.plan.drafts) * len(self.plan.gammas)

    def add(self, event: Event) -> None:
        """Take in one event; what is not kept changes nothing."""
        match event:
            case CostsMeasured():
                self.costs[event.name, event.task, event.temperature] = event
            case PointPredicted():
                self.predicted[event.key] = event
            case TurnMeasured():
                self.turns.setdefault(event.key, []).append(event)
            case PointMeasured():
                self.measured[event.key] = event
            case RepeatDropped():
                self.dropped.append(event)
            case SweepVerdict():
                self.verdict = event
            case SweepFinished():
                self.finished = event

    def cached(self, draft: str) -> bool:
        """Whether target and that draft lie in the processor's cache, so that no share of the memory's peak has a meaning."""
        card = next((card for card in self.plan.drafts if card.name == draft), None)
        return cache_bound(self.plan.target, card, self.plan.last_level_cache)

    @property
    def all_cached(self) -> bool:
        """Whether that holds for every draft."""
        return all(self.cached(card.name) for card in self.plan.drafts)

    def label(self, task: str, temperature: float) -> str:
        """A task in words; the temperature is named where there are several."""
        return task if len(self.plan.temperatures) == 1 else f"{task} at T {temperature:g}"


def new_name(target: str) -> str:
    """A name for a new result: the time and the target, as a folder's name."""
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    short = re.sub(r"[^A-Za-z0-9._-]+", "-", target.rstrip("/").rpartition("/")[2])[:40] or "model"
    name, number = f"{now}-{short}", 2
    while (places.results() / name).exists():
        name, number = f"{now}-{short}-{number}", number + 1
    return name


def names() -> list[str]:
    """All results, the newest last."""
    return sorted(path.parent.name for path in places.results().glob(f"*/{_FILE}"))


def find(name: str) -> str:
    """The one result that ``name`` means: a name, the beginning of only one, or ``last``.

    Raises:
        FastdraftError: there is none, or there are several.
    """
    known = names()
    if not known:
        raise FastdraftError("There are no results yet; run fastdraft sweep first.")
    if name in known:
        return name
    found = known[-1:] if name == "last" else [n for n in known if n.startswith(name)]
    if len(found) != 1:
        problem = f"{len(found)} results begin with {name!r}" if found else f"There is no result {name!r}"
        raise FastdraftError(f"{problem}. fastdraft results list shows them.")
    return found[0]


def folder(name: str) -> Path:
    """Where a result lies."""
    return places.results() / name


def read(name: str) -> Result:
    """The result of that very name.

    Raises:
        FastdraftError: its file cannot be read, or another version of fastdraft wrote it.
    """
    path = folder(name) / _FILE
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise FastdraftError(f"{path} cannot be read ({error.strerror or error}).") from error
    # A sweep that was killed may leave half a line.
    return parse(lines[:-1], str(path))


def parse(lines: Sequence[bytes], where: str) -> Result:
    """A result from its lines, the first of which is the plan.

    Raises:
        FastdraftError: a line is no event, or the schema is not this version's.
    """
    result: Result | None = None
    for number, line in enumerate(lines, 1):
        try:
            event = decode_message(line)
        except msgspec.MsgspecError as error:
            schema = re.search(rb'"schema":"([^"]*)"', line[:300])
            named = schema[1].decode(errors="replace") if schema else SCHEMA
            if number == 1 and named != SCHEMA:
                raise _foreign(where, named) from error
            raise FastdraftError(f"{where}, line {number} is damaged ({error}).") from error
        if result is not None:
            result.add(event)
        elif isinstance(event, SweepStarted):
            if event.schema != SCHEMA:
                raise _foreign(where, event.schema)
            result = Result(event)
        else:
            raise FastdraftError(f"{where} does not begin with the plan of a sweep.")
    if result is None:
        raise FastdraftError(f"{where} is empty.")
    return result


@dataclass(frozen=True, slots=True)
class Writer:
    """Appends to the result ``name``. As long as there is one, no other process can write there."""

    name: str
    _file: BinaryIO
    _lock: filelock.BaseFileLock

    def __call__(self, event: Event) -> None:
        """Append ``event``, if it is one to keep, and let the disk have it at once.

        Raises:
            FastdraftError: it cannot be written, such as to a full disk.
        """
        if not isinstance(event, KEPT):
            return
        try:
            self._file.write(encode(event))
            self._file.flush()
        except OSError as error:
            raise FastdraftError(
                f"The result {self.name} cannot be written ({error.strerror or error}). What was measured before is kept; "
                f"go on with: fastdraft sweep --resume {self.name}"
            ) from error


def writer(name: str) -> Writer:
    """The writer of a result that is there or begins.

    Raises:
        FastdraftError: the folder cannot be written, or another process is writing this result.
    """
    path = folder(name) / _FILE
    lock = filelock.FileLock(path.with_suffix(".lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
        file = path.open("ab")
        # Half a line of a sweep that was killed. Nothing is written anew, so nothing whole can get lost.
        file.truncate(path.read_bytes().rfind(b"\n") + 1)
    except filelock.Timeout as error:
        raise FastdraftError(
            f"Another process is writing the result {name}. Wait for it, or stop that sweep first."
        ) from error
    except OSError as error:
        raise FastdraftError(f"The result {path.parent} cannot be written ({error.strerror or error}).") from error
    return Writer(name, file, lock)


def _foreign(where: str, schema: str) -> FastdraftError:
    return FastdraftError(f"{where} has the schema {schema!r} and this fastdraft reads {SCHEMA!r}. Use its version.")
