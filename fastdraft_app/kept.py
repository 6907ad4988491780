"""The sweeps that are kept, as lists show them."""

from __future__ import annotations

from dataclasses import dataclass

from fastdraft_app.choices import Group, Row, Source
from fastdraft_app.surface import words
from fastdraft_app.sweeping import complete
from fastdraft_app.text import short
from fastdraft_core.errors import FastdraftError
from fastdraft_core.results import store
from fastdraft_core.results.store import Result


@dataclass(frozen=True)
class Kept:
    """A kept sweep: its result, or why it cannot be read."""

    name: str
    result: Result | None
    problem: str = ""

    @property
    def made(self) -> str:
        """When it was begun, to the minute."""
        return self.result.plan.created[:16].replace("T", " ") if self.result is not None else ""

    @property
    def title(self) -> str:
        """Target and drafts."""
        if self.result is None:
            return self.name
        plan = self.result.plan
        return f"{short(plan.target.name)} + {' '.join(short(card.name) for card in plan.drafts)}"

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
        return self.problem or (words(self.result)[0] if self.result is not None else "")


def kept() -> list[Kept]:
    """Every kept sweep, the newest first; one that cannot be read is listed with the reason. Reads the disk."""
    return [_read(name) for name in reversed(store.names())]


def _read(name: str) -> Kept:
    try:
        return Kept(name, store.read(name))
    except FastdraftError as error:
        return Kept(name, None, error.message)


def kept_source(entries: list[Kept], but: str) -> Source:
    """What another sweep can be compared with: all that can be read, less the one called ``but``."""
    rows = [
        Row(entry.name, f"{entry.made}  {entry.title}", entry.facts)
        for entry in entries
        if entry.result is not None and entry.name != but
    ]

    def source(typed: str) -> list[Group]:
        parts = typed.lower().split()
        return [
            Group(
                "kept sweeps",
                [row for row in rows if all(part in f"{row.value} {row.title}".lower() for part in parts)],
            )
        ]

    return source
