"""The sweeps that are kept, as lists show them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fastdraft_app.dialogs.choices import Choice, ChoiceGroup, Source
from fastdraft_app.result_view import surface
from fastdraft_app.result_view.surface import complete
from fastdraft_core.errors import FastdraftError
from fastdraft_core.results import store
from fastdraft_core.results.store import Result


@dataclass(frozen=True)
class StoredSweep:
    """A kept sweep: its result, or why it cannot be read."""

    name: str
    result: Result | None
    problem: str = ""

    @property
    def made(self) -> str:
        """When it was begun, to the minute."""
        return surface.made(self.result) if self.result is not None else ""

    @property
    def title(self) -> str:
        """Target and drafts."""
        return surface.title(self.result) if self.result is not None else self.name

    @property
    def facts(self) -> str:
        """How far it got, and how it was made."""
        if self.result is None:
            return "cannot be read"
        plan = self.result.plan
        state = "complete" if complete(self.result) else "unfinished"
        tasks = ",".join(task.name for task in plan.tasks)
        return f"{tasks}, {plan.runtime}, {len(self.result.measured)}/{self.result.total} points, {state}"

    @property
    def verdict(self) -> str:
        """The first sentence that can be said of it."""
        return self.problem or (surface.words(self.result)[0] if self.result is not None else "")


def stored_sweeps() -> list[StoredSweep]:
    """Every kept sweep, the newest first; one that cannot be read is listed with the reason. Reads the disk."""
    return [_read(name) for name in reversed(store.names())]


def _read(name: str) -> StoredSweep:
    try:
        return StoredSweep(name, store.read(name))
    except FastdraftError as error:
        return StoredSweep(name, None, error.message)


def sweep_source(entries: Callable[[], list[StoredSweep]]) -> Source:
    """Those of the ``entries`` that can be read; they are asked for where the source is, outside the event loop."""

    def source(typed: str) -> list[ChoiceGroup]:
        parts = typed.lower().split()
        rows = [
            Choice(entry.name, f"{entry.made}  {entry.title}", entry.facts)
            for entry in entries()
            if entry.result is not None
        ]
        return [
            ChoiceGroup(
                "kept sweeps",
                [row for row in rows if all(part in f"{row.value} {row.title}".lower() for part in parts)],
            )
        ]

    return source
