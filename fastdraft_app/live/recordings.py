"""The recordings on disk: every run of the app is written as it goes; the oldest make room.

Rule: the newest ``keep`` runs stay, and of those as many as fit into 64 MiB. Recordings that the
user exported lie elsewhere and are never touched.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import BinaryIO

from fastdraft_app.dialogs.choices import Choice, ChoiceGroup, Source, matching, paths_from
from fastdraft_app.live.replay import MODES
from fastdraft_app.settings.settings import OFF
from fastdraft_core import places
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import (
    Block,
    Cancel,
    Command,
    Compared,
    Event,
    Failed,
    FirstToken,
    Load,
    Machine,
    Message,
    Progress,
    RecordingHeader,
    Run,
    RunFinished,
    RunStarted,
    decode_message,
    encode,
)
from fastdraft_core.recordings import Recorded, begin, read_header

MOST_BYTES = 64 << 20
_PATTERN = "*.jsonl"
_TAIL = 1 << 16
_TRADE_WORDS = re.compile(r"\((?:R|TM)\)|\b(?:CPU|Processor)\b", re.IGNORECASE)
_OF_A_RUN = (RunStarted, FirstToken, Block, RunFinished, Compared, Failed, Progress, Machine)
"""What belongs to one run alone; anything else, such as the pair, also holds for the next runs."""

logger = logging.getLogger(__name__)


@dataclass
class Recorder:
    """Sees what goes to the engine and what comes back, and writes each run to a file of its own."""

    folder: Path
    keep: int
    recorded: Recorded | None = None
    """The run in progress or the last one."""
    _machine: Machine | None = None
    _load: Load | None = None
    _run: Run | None = None
    _context: dict[type[Event], Message] = field(default_factory=dict)
    _path: Path | None = None
    _file: BinaryIO | None = None
    _running: bool = False

    def sent(self, command: Command) -> None:
        """A command goes to the engine."""
        if isinstance(command, Cancel):
            return
        self.end()
        if isinstance(command, Load):
            self._load, self._context = command, {}
        elif isinstance(command, Run):
            self._run = command

    def received(self, message: Message) -> None:
        """A message came from the engine."""
        if isinstance(message, Machine):
            self._machine = message
        elif not isinstance(message, _OF_A_RUN):
            self._context[type(message)] = message
        if isinstance(message, RunStarted) and message.mode == MODES[0]:
            self._begin()
        if self._running and self.recorded is not None:
            self.recorded.events.append(message)
            self._write(encode(message), flush=isinstance(message, RunFinished | Compared | Failed))

    def end(self) -> None:
        """No more events of this run will come."""
        self._running, self._run = False, None
        self._close()

    def _begin(self) -> None:
        if self._load is None or self._run is None:
            return
        if self._running and self._path is not None:
            # What began before was a run that had been called off when this one was asked for.
            self._close()
            with contextlib.suppress(OSError):
                self._path.unlink()
        now = datetime.now().astimezone()
        header = begin(self._load, self._run, self._machine, now)
        self._running, self.recorded = True, Recorded(header, list(self._context.values()))
        if self.keep:
            self._open(self.folder / f"{now:%Y%m%d-%H%M%S-%f}.jsonl")
            self._write(b"".join(map(encode, [header, *self.recorded.events])))

    def _open(self, path: Path) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._path, self._file = path, path.open("xb")
        except OSError as error:
            logger.warning("this run is not recorded: %s", error)
        prune(self.folder, self.keep)

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                file.close()

    def _write(self, lines: bytes, *, flush: bool = False) -> None:
        if self._file is None:
            return
        try:
            self._file.write(lines)
            if flush:
                self._file.flush()
        except OSError as error:
            logger.warning("the recording ends here: %s", error)
            self._close()


def prune(folder: Path, keep: int) -> None:
    """Delete all but the newest ``keep`` recordings, and those that go beyond ``MOST_BYTES`` in all."""
    total = 0
    for number, path in enumerate(sorted(folder.glob(_PATTERN), reverse=True)):
        with contextlib.suppress(OSError):
            total += path.stat().st_size
            if number >= keep or total > MOST_BYTES:
                path.unlink()


@dataclass(frozen=True)
class Listed:
    """A recording in a list. ``speedup`` is absent where nothing was compared."""

    path: Path
    header: RecordingHeader
    speedup: float | None
    bundled: bool


def listed() -> list[Listed]:
    """The user's recordings, newest first, then the bundled ones; files that are none are left out."""
    own = sorted(places.recordings().glob(_PATTERN), reverse=True)
    return [*_list(own, bundled=False), *_list(bundled(), bundled=True)]


def bundled() -> list[Path]:
    """The recordings that the installation brings along, in the order in which they play."""
    return sorted((places.assets() / "recordings").glob(_PATTERN))


def _list(paths: list[Path], *, bundled: bool) -> Iterator[Listed]:
    for path in paths:
        with contextlib.suppress(FastdraftError, OSError):
            yield Listed(path, read_header(path), _speedup(path), bundled)


def _speedup(path: Path) -> float | None:
    """The measured speed-up, from the last lines alone."""
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - _TAIL, 0))
        lines = file.read().splitlines()
    for line in reversed(lines):
        with contextlib.suppress(ValueError):
            if isinstance(message := decode_message(line), Compared):
                return message.speedup
    return None


def machine_words(header: RecordingHeader) -> str:
    """On what and when: ``Intel Xeon @ 2.50GHz, 2 cores, 2026-07-27``."""
    machine = header.machine
    if machine is None:
        return f"an unknown machine, {header.made[:10]}"
    name = " ".join(_TRADE_WORDS.sub(" ", machine.cpu).split())
    cores = f"{machine.physical_cores} core" + ("s" if machine.physical_cores != 1 else "")
    return f"{name}, {cores}, {header.made[:10]}"


def recording_source() -> Source:
    """Recordings of this machine, the bundled ones, and a path typed."""

    @cache
    def known() -> list[ChoiceGroup]:
        found = listed()
        return [
            ChoiceGroup("recorded here", [_recording_row(entry) for entry in found if not entry.bundled]),
            ChoiceGroup("bundled", [_recording_row(entry) for entry in found if entry.bundled]),
        ]

    def source(typed: str) -> list[ChoiceGroup]:
        return [*matching(known(), typed), *paths_from(typed, ".jsonl")]

    return source


def _recording_row(entry: Listed) -> Choice:
    load, run = entry.header.load, entry.header.run
    pair = f"{_short(load.target)} + {_short(load.draft) or OFF}"
    speed = f", {entry.speedup:.2f}x" if entry.speedup is not None else ""
    title = f"{entry.header.made[:16].replace('T', ' ')}  {pair}  {' '.join(run.prompt.split())}"
    return Choice(str(entry.path), title, f"gamma {run.gamma}, T {run.temperature:g}{speed}")


def _short(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2]
