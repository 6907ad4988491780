"""A file of events that one process appends to, and any may read: how sweeps and design studies are kept."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import filelock
import msgspec

from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Event, decode_message, encode

FILE = "events.jsonl"


@dataclass(frozen=True, slots=True)
class Writer:
    """Appends to the file of ``name``. As long as there is one, no other process can write there.

    ``what`` names it in a sentence, ``kept`` are the events that are kept, and ``again`` is the command that goes on with it.
    """

    name: str
    what: str
    kept: tuple[type[Event], ...]
    again: str
    _file: BinaryIO
    _lock: filelock.BaseFileLock

    def __call__(self, event: Event) -> None:
        """Append ``event``, if it is one to keep, and let the disk have it at once.

        Raises:
            FastdraftError: it cannot be written, such as to a full disk.
        """
        if not isinstance(event, self.kept):
            return
        try:
            self._file.write(encode(event))
            self._file.flush()
        except OSError as error:
            raise FastdraftError(
                f"{self.what[0].upper()}{self.what[1:]} cannot be written ({error.strerror or error}). What was measured before is "
                f"kept; go on with: {self.again}"
            ) from error


def open_writer(folder: Path, what: str, kept: tuple[type[Event], ...], again: str) -> Writer:
    """The writer of what is kept in ``folder``, which is there or begins.

    Raises:
        FastdraftError: the folder cannot be written, or another process is writing there.
    """
    path = folder / FILE
    lock = filelock.FileLock(path.with_suffix(".lock"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
        file = path.open("ab")
        # Half a line of a process that was killed. Nothing is written anew, so nothing whole can get lost.
        file.truncate(path.read_bytes().rfind(b"\n") + 1)
    except filelock.Timeout as error:
        raise FastdraftError(f"Another process is writing {what}. Wait for it, or stop that one first.") from error
    except OSError as error:
        raise FastdraftError(f"The result {folder} cannot be written ({error.strerror or error}).") from error
    return Writer(folder.name, what, kept, again, file, lock)


def read_lines(path: Path) -> list[bytes]:
    """The whole lines of a file; one that was being written when its process was killed is left out.

    Raises:
        FastdraftError: it cannot be read.
    """
    try:
        return path.read_bytes().split(b"\n")[:-1]
    except OSError as error:
        raise FastdraftError(f"{path} cannot be read ({error.strerror or error}).") from error


def decode_lines(lines: Sequence[bytes], where: str, schema: str) -> list[Event]:
    """The events of ``lines``, the first of which has a ``schema``.

    Raises:
        FastdraftError: a line is no event, or the first one's schema is not this version's.
    """
    if not lines:
        raise FastdraftError(f"{where} is empty.")
    events: list[Event] = []
    for number, line in enumerate(lines, 1):
        try:
            events.append(decode_message(line))
        except msgspec.MsgspecError as error:
            found = re.search(rb'"schema":"([^"]*)"', line[:300])
            named = found[1].decode(errors="replace") if found else schema
            if number == 1 and named != schema:
                raise foreign(where, named, schema) from error
            raise FastdraftError(f"{where}, line {number} is damaged ({error}).") from error
    named = getattr(events[0], "schema", schema)
    if named != schema:
        raise foreign(where, named, schema)
    return events


def foreign(where: str, found: str, schema: str) -> FastdraftError:
    """That another version of fastdraft wrote it."""
    return FastdraftError(f"{where} has the schema {found!r} and this fastdraft reads {schema!r}. Use its version.")


def choose(known: Sequence[str], name: str, what: str, *, begin: str, listed: str) -> str:
    """The one of ``known`` (the newest last) that ``name`` means: a name, the beginning of only one, or ``last``.

    ``what`` is a kept thing in words; ``begin`` and ``listed`` are the commands that make one and list all.

    Raises:
        FastdraftError: there is none, or there are several.
    """
    if not known:
        raise FastdraftError(f"There are no {what}s yet; run {begin} first.")
    if name in known:
        return name
    found = known[-1:] if name == "last" else [n for n in known if n.startswith(name)]
    if len(found) != 1:
        problem = f"{len(found)} {what}s begin with {name!r}" if found else f"There is no {what} {name!r}"
        raise FastdraftError(f"{problem}. {listed} shows them.")
    return found[0]


def dated_name(folder: Path, model: str) -> str:
    """A new name in ``folder`` for something kept about ``model``: the time and the model, as a folder's name."""
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    short = re.sub(r"[^A-Za-z0-9._-]+", "-", model.rstrip("/").rpartition("/")[2])[:40] or "model"
    name, number = f"{now}-{short}", 2
    while (folder / name).exists():
        name, number = f"{now}-{short}-{number}", number + 1
    return name
