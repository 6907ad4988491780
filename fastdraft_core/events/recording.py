"""The machine that a run was measured on, and the first line of a recording."""

from __future__ import annotations

from fastdraft_core.events.base import Event
from fastdraft_core.events.commands import Load, Run


class Machine(Event, frozen=True):
    """What the engine runs on: its first message. Memory is in bytes; there is no host or user name.

    ``versions`` maps a library to its version or ``absent``.
    """

    fastdraft: str
    python: str
    versions: dict[str, str]
    os: str
    cpu: str
    physical_cores: int
    logical_cores: int
    memory_total: int


class RecordingHeader(Event, frozen=True, tag="recording"):
    """First line of a recording: what was asked, when (ISO 8601) and on which machine.

    ``schema`` is the number of the format; a reader refuses one greater than it knows.
    """

    schema: int
    made: str
    load: Load
    run: Run
    machine: Machine | None = None
