"""A live controller with its surroundings, for tests: a fake engine, and an onlooker in the screen's place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic

from fastdraft_app.client.engine import EngineClient
from fastdraft_app.live.controller import LiveController
from fastdraft_app.live.recordings import Recorder
from fastdraft_app.live.session import Phase
from fastdraft_app.settings.preferences import Preferences
from fastdraft_app.settings.settings import Changes
from fastdraft_core import places
from fastdraft_core.events import Command
from tests.app.helpers import fake_command


@dataclass
class Onlooker:
    """Notes what a screen would be asked to do."""

    in_front: bool = True
    told: list[str] = field(default_factory=list)
    remembered: list[Changes] = field(default_factory=list)

    def wake(self) -> None:
        """The tests tick all the time."""

    def changed(self) -> None:
        """The same."""

    def tell(self, words: str, seconds: float | None = None) -> None:
        """A notice."""
        del seconds
        self.told.append(words)

    def remember(self, changes: Changes) -> None:
        """A choice of the user."""
        self.remembered.append(changes)


class Engine(EngineClient):
    """The fake engine; notes every command."""

    def __init__(self, log: Path, *options: str) -> None:
        super().__init__(log, fake_command(*options))
        self.recorder = Recorder(places.recordings(), keep=0)
        self.sent: list[Command] = []

    def send(self, command: Command) -> None:
        """Note it and send it."""
        self.sent.append(command)
        super().send(command)

    def commands(self, kind: type[Command]) -> list[Command]:
        """Those of one kind, in order."""
        return [command for command in self.sent if isinstance(command, kind)]


@dataclass
class Bench:
    """A controller with its surroundings."""

    controller: LiveController
    engine: Engine
    view: Onlooker
    preferences: Preferences
    sweeping: bool = False

    async def until(self, what: Callable[[], object], seconds: float = 120.0) -> None:
        """Tick until ``what`` is true; fail where it does not come true in time."""
        end = monotonic() + seconds
        while not what():
            assert monotonic() < end, f"this did not come true in time; {self.controller.session.phase}"
            self.controller.tick()
            await asyncio.sleep(0.01)

    async def at(self, *phases: Phase) -> None:
        """Tick until one of the phases."""
        await self.until(lambda: self.controller.session.phase in phases)

    def change(self, **changes: object) -> None:
        """The user chooses other values."""
        self.controller.change(replace(self.controller.settings, **changes))  # type: ignore[arg-type]


MakeBench = Callable[..., Bench]
FAST = ("--speed", "20")


async def begun(bench: Bench) -> Bench:
    """Start the engine, as a screen does after its first picture."""
    assert bench.controller.open()
    await bench.controller.start()
    return bench
