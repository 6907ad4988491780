"""``fastdraft-app``: modes and bindings, nothing else. Also ``python -m fastdraft_app.app``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.screen import Screen

from fastdraft_app import navigation
from fastdraft_app.cli import Options, parse
from fastdraft_app.client.engine import EngineClient
from fastdraft_app.client.sweep import SweepClient
from fastdraft_app.jobs.notices import JobNotices
from fastdraft_app.live.screen import LiveScreen
from fastdraft_app.logs import log_to
from fastdraft_app.messages import PointChosen, SweepResumed
from fastdraft_app.terminal.guard import end_on_signals
from fastdraft_app.terminal.modes import tolerate_old_mouse_bytes
from fastdraft_core import places


class FastdraftApp(JobNotices):
    """The screens share one engine, one set of preferences and the themes."""

    TITLE = "fastdraft"
    BINDINGS: ClassVar[list[BindingType]] = [
        *navigation.bindings(),
        Binding("t", "next_theme", "theme", id="app.theme", tooltip="next theme: dark, light, 16 colours"),
        Binding("f2", "settings", "settings", id="app.settings", key_display="F2", tooltip="everything that can be set"),
        Binding("question_mark", "help", "help", id="app.help", key_display="?", tooltip="this page"),
        Binding("f1", "help", "help", id="app.help-f1", key_display="F1", show=False, tooltip="this page"),
        Binding("f8", "picture", "picture", id="app.picture", key_display="F8", show=False,
                tooltip="save the screen as an SVG picture"),
        Binding("z", "zoom", "zoom", id="app.zoom", show=False, tooltip="the pane in use alone, then all of them again"),
        Binding("ctrl+p", "command_palette", "palette", id="app.palette", show=False, tooltip="find any action by name"),
        Binding("q", "quit", "quit", id="app.quit", tooltip="leave; engine and sweep end too, what was measured is kept (also ctrl+c twice)"),
        Binding("ctrl+c", "interrupt", "quit", id="app.interrupt", show=False, tooltip="twice: leave"),
    ]  # fmt: skip

    def __init__(self, options: Options, engine: EngineClient, sweeper: SweepClient | None = None) -> None:
        super().__init__(options.preferences)
        self.engine = engine
        self.sweeper = sweeper or SweepClient(places.log_file("sweep"))
        self._options = options
        engine.recorder = self.recorder
        self.live = LiveScreen(
            engine, self.preferences, self.settings_changed, options.replay, lambda: self.sweeper.running
        )
        self.add_mode("live", lambda: self.live)
        self.add_mode("sweep", self._sweep)
        self.add_mode("train", self._train)
        self.add_mode("jobs", self._jobs)
        self.add_mode("results", self._results)
        self.add_mode("models", self._shelf)
        self.add_mode("system", self._system)

    def _sweep(self) -> Screen[None]:
        from fastdraft_app.sweep.screen import SweepScreen

        return SweepScreen(self.sweeper, self.preferences, self.settings_changed, self.live.controller.rest)

    def _results(self) -> Screen[None]:
        from fastdraft_app.results.screen import ResultsScreen

        return ResultsScreen(self.preferences)

    @on(PointChosen)
    async def open_point(self, event: PointChosen) -> None:
        """Run a point of a sweep in the live screen, unless that would disturb a sweep."""
        if self.sweeper.running:
            self.notify("A sweep is being timed, which a live run would disturb. x stops it.", severity="warning")
            return
        self.try_settings(event.changes)
        await self.live.controller.run_settings()
        await self.switch_mode("live")

    @on(SweepResumed)
    async def resume_sweep(self, event: SweepResumed) -> None:
        """Go on with a kept sweep in the sweep screen."""
        from fastdraft_app.sweep.screen import SweepScreen

        await self.switch_mode("sweep")
        if isinstance(self.screen, SweepScreen):
            await self.screen.resume(event.name)

    def _jobs(self) -> Screen[None]:
        from fastdraft_app.jobs.screen import JobsScreen

        return JobsScreen(self.jobs, ascii_only=self.preferences.current.ascii)

    def _train(self) -> Screen[None]:
        from fastdraft_app.wizard.screen import WizardScreen

        return WizardScreen(self.jobs, ascii_only=self.preferences.current.ascii)

    def _shelf(self) -> Screen[None]:
        from fastdraft_app.models.screen import ModelsScreen

        return ModelsScreen(self.jobs, ascii_only=self.preferences.current.ascii)

    def _system(self) -> Screen[None]:
        from fastdraft_app.system.screen import SystemScreen

        return SystemScreen(self.engine, lambda: self.live.controller.timed, self.preferences)

    def on_mount(self) -> None:
        """Open the live screen, say what is wrong with the settings file, and keep an eye on the jobs."""
        self.switch_mode("live")
        self.watch_jobs()
        self.tell_problems()

    async def on_unmount(self) -> None:
        """Leave no engine and no sweep behind; what a sweep measured is kept."""
        self.recorder.end()
        await self.engine.stop()
        await self.sweeper.stop()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the app; the console script ``fastdraft-app``."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["serve"]:
        from fastdraft_app.web import serve

        return serve.main(given[1:])
    options = parse(given)
    if "TEXTUAL_DRIVER" not in os.environ and not (sys.stdin.isatty() and sys.stderr.isatty()):
        sys.stderr.write("fastdraft-app draws on a terminal; its input and standard error must be one.\n")
        return 2
    log_to(places.log_file("app"), options.settings.log_level)
    tolerate_old_mouse_bytes()
    engine = EngineClient(places.log_file("engine"))
    app = FastdraftApp(options, engine)

    def release() -> None:
        engine.kill()
        app.sweeper.kill()

    end_on_signals(app, release)
    try:
        app.run(mouse=options.settings.mouse)
    finally:
        release()
    return app.return_code or 0


if __name__ == "__main__":
    sys.exit(main())
