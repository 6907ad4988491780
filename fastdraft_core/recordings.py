"""Recordings: one comparison as JSON lines, a header first, then every event as it came.

A file that stops early, because its program was killed, is read as far as it goes. Anything else
that is wrong with it is one sentence.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import msgspec

from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import (
    Compared,
    Load,
    Machine,
    Message,
    PairLoaded,
    RecordingHeader,
    Run,
    RunFinished,
    RunStarted,
    decode_message,
    encode,
)

SCHEMA = 1
#: A first line longer than this is no header; the rest of a foreign file is not read.
_HEADER_LIMIT = 1 << 20
#: A million tokens with their candidates fit; a disk image does not.
_SIZE_LIMIT = 1 << 30


class _FirstLine(msgspec.Struct):
    """What the first line of a recording of any schema has."""

    type: str
    schema: int


@dataclass(frozen=True)
class Recorded:
    """A recording in memory; ``problem`` says what is missing at its end, or is empty."""

    header: RecordingHeader
    events: list[Message]
    problem: str = ""


def begin(load: Load, run: Run, machine: Machine | None, made: datetime) -> RecordingHeader:
    """The header of a recording of ``run`` on the pair of ``load``."""
    return RecordingHeader(schema=SCHEMA, made=made.isoformat(timespec="seconds"), load=load, run=run, machine=machine)


def write_recording(path: Path, recorded: Recorded) -> None:
    """Write ``recorded`` to ``path``, replacing what is there once all is written.

    Raises:
        FastdraftError: it cannot be written.
    """
    building = path.with_name(f".{path.name}.building")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        building.write_bytes(b"".join(map(encode, [recorded.header, *recorded.events])))
        building.replace(path)
    except OSError as error:
        building.unlink(missing_ok=True)
        raise FastdraftError(f"{path} cannot be written ({error.strerror or error}).") from error


def read_header(path: Path) -> RecordingHeader:
    """The header alone.

    Raises:
        FastdraftError: the file is missing, foreign, or of a newer schema.
    """
    with _open(path) as file:
        return _header(file, path)


def read_recording(path: Path) -> Recorded:
    """The recording in ``path``.

    Raises:
        FastdraftError: the file is missing, foreign, damaged, of a newer schema, or holds no run.
    """
    with _open(path) as file:
        header = _header(file, path)
        if path.stat().st_size > _SIZE_LIMIT:
            raise FastdraftError(f"{path} is larger than a recording can be; give one that fastdraft wrote.")
        lines = file.read().split(b"\n")
    # What follows the last line end is nothing, or a line that was never finished.
    cut = bool(lines.pop())
    events = [_event(line, number, path) for number, line in enumerate(lines, 2) if line.strip()]
    if not any(isinstance(event, RunStarted) for event in events):
        raise FastdraftError(f"{path} holds no run: it ends before the first token. Choose another recording.")
    problem = "" if finished(events) and not cut else f"{path.name} is cut short; it is shown as far as it goes."
    return Recorded(header, events, problem)


def finished(events: list[Message]) -> bool:
    """Whether the last run came to its end, be it by a cancel."""
    pair = next((event for event in events if isinstance(event, PairLoaded)), None)
    alone = pair is not None and pair.draft is None
    return any(
        isinstance(event, Compared) or (isinstance(event, RunFinished) and (alone or event.reason == "cancelled"))
        for event in events
    )


def _open(path: Path) -> BinaryIO:
    if path.is_dir():
        raise FastdraftError(f"{path} is a folder; give a recording (.jsonl) in it.")
    if path.exists() and not path.is_file():
        raise FastdraftError(f"{path} is no file; give a recording (.jsonl).")
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise FastdraftError(f"There is no recording at {path}. Check the path.") from None
    except OSError as error:
        raise FastdraftError(f"{path} cannot be read ({error.strerror or error}).") from error


def _header(file: BinaryIO, path: Path) -> RecordingHeader:
    line = file.readline(_HEADER_LIMIT)
    try:
        first = msgspec.json.decode(line, type=_FirstLine)
        if first.type != "recording":
            raise ValueError(first.type)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError):
        raise FastdraftError(
            f"{path} is no recording of fastdraft: its first line is no header. Give a .jsonl file that fastdraft wrote."
        ) from None
    if first.schema > SCHEMA:
        raise FastdraftError(
            f"{path} was recorded by a newer fastdraft (format {first.schema}, this one reads up to {SCHEMA}). Update fastdraft."
        )
    try:
        return msgspec.json.decode(line, type=RecordingHeader)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise FastdraftError(f"{path} is damaged in line 1 ({error}). Record the run again.") from error


def _event(line: bytes, number: int, path: Path) -> Message:
    try:
        return decode_message(line)
    except msgspec.MsgspecError as error:
        raise FastdraftError(f"{path} is damaged in line {number} ({error}). Record the run again.") from error
