"""``fastdraft-app``: the screens, the keys that work everywhere, and the two ways out. Also ``python -m fastdraft_app.app``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from time import monotonic
from typing import ClassVar, TextIO

from textual import on, work
from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.signal import Signal

from fastdraft_app import navigation
from fastdraft_app.cli import Options, parse
from fastdraft_app.client.engine import EngineClient
from fastdraft_app.client.jobs import JobsClient
from fastdraft_app.client.sweep import SweepClient
from fastdraft_app.exports import export_folder
from fastdraft_app.jobs.notices import JobNotices
from fastdraft_app.live.recordings import Recorder
from fastdraft_app.live.screen import LiveScreen
from fastdraft_app.logs import log_to
from fastdraft_app.messages import DesignAsked, PointChosen, SettingsChanged, SweepResumed
from fastdraft_app.settings.settings import Changes, Settings
from fastdraft_app.terminal.guard import GuardedApp, end_on_signals
from fastdraft_app.terminal.modes import tolerate_old_mouse_bytes
from fastdraft_app.theme.palette import look, theme_variables
from fastdraft_app.theme.themes import THEMES, chosen, draw_scroll_bars, following
from fastdraft_core import places
from fastdraft_core.errors import FastdraftError

INTERRUPT_SECONDS = 2.0


class FastdraftApp(GuardedApp):
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
        super().__init__()
        self.preferences = options.preferences
        self.engine = engine
        self.sweeper = sweeper or SweepClient(places.log_file("sweep"))
        self.designer = SweepClient(places.log_file("design"))
        self.recorder = Recorder(places.recordings(), options.settings.recordings)
        self.jobs = JobsClient()
        self.notices = JobNotices(self, self.jobs)
        self.settings_changed: Signal[Changes] = Signal(self, "settings-changed")
        self._interrupted = 0.0
        self._dress(options.settings)
        engine.recorder = self.recorder
        self.live = LiveScreen(
            engine,
            self.preferences,
            self.settings_changed,
            options.replay,
            lambda: self.sweeper.running or self.designer.running,
            bring=options.download,
        )
        self.add_mode("live", lambda: self.live)
        self.add_mode("sweep", self._sweep)
        self.add_mode("train", self._train)
        self.add_mode("jobs", self._jobs)
        self.add_mode("results", self._results)
        self.add_mode("models", self._models)
        self.add_mode("system", self._system)

    def _dress(self, settings: Settings) -> None:
        """Themes and characters, before anything is drawn."""
        for theme in THEMES.values():
            self.register_theme(theme)
        self._use(settings)
        self.set_class(settings.ascii, "-ascii")
        draw_scroll_bars(settings.ascii)

    def on_mount(self) -> None:
        """Open the live screen, keep an eye on the jobs, and say what is wrong with the settings file."""
        self.switch_mode("live")
        self.notices.start()
        self.tell_problems()

    async def on_unmount(self) -> None:
        """Leave no engine and no sweep behind; what a sweep measured is kept."""
        self.recorder.end()
        await self.engine.stop()
        await self.sweeper.stop()
        await self.designer.stop()

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """The token colours belong to every theme, also to Textual's own."""
        return theme_variables(look(self.current_theme))

    # --- screens ----------------------------------------------------------------------------------

    def _sweep(self) -> Screen[None]:
        from fastdraft_app.sweep.screen import SweepScreen

        return SweepScreen(
            self.sweeper,
            self.preferences,
            self.settings_changed,
            rest=self.live.controller.rest,
            choose=self.open_settings,
        )

    def _train(self) -> Screen[None]:
        from fastdraft_app.wizard.screen import WizardScreen

        settings = self.preferences.current
        return WizardScreen(self.jobs, target=settings.target, ascii_only=settings.ascii)

    def _jobs(self) -> Screen[None]:
        from fastdraft_app.jobs.screen import JobsScreen

        return JobsScreen(self.jobs, ascii_only=self.preferences.current.ascii)

    def _results(self) -> Screen[None]:
        from fastdraft_app.results.screen import ResultsScreen

        return ResultsScreen(self.preferences)

    def _models(self) -> Screen[None]:
        from fastdraft_app.models.screen import ModelsScreen

        return ModelsScreen(
            self.jobs,
            lambda: self.preferences.current.trust_remote_code,
            ascii_only=self.preferences.current.ascii,
        )

    def _system(self) -> Screen[None]:
        from fastdraft_app.system.screen import SystemScreen

        return SystemScreen(self.engine, lambda: self.live.controller.timed, self.preferences)

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

    @on(DesignAsked)
    def open_design(self, event: DesignAsked) -> None:
        """Study shapes of drafts for a target; the shape that is taken goes to the wizard."""
        self._study(event.target)

    @work(exclusive=True, group="design")
    async def _study(self, target: str) -> None:
        from fastdraft_app.design.screen import DesignScreen
        from fastdraft_app.wizard.screen import WizardScreen

        if self.sweeper.running:
            self.notify("A sweep is being timed, which a study would disturb. x stops it.", severity="warning")
            return
        screen = DesignScreen(
            target,
            self.designer,
            self.preferences,
            self.settings_changed,
            rest=self.live.controller.rest,
            choose=self.open_settings,
        )
        shape = await self.push_screen_wait(screen)
        if shape is None:
            return
        await self.switch_mode("train")
        if isinstance(self.screen, WizardScreen):
            await self.screen.take_shape(target, shape)

    # --- settings ---------------------------------------------------------------------------------

    @on(SettingsChanged)
    def take_settings(self, event: SettingsChanged) -> None:
        """Remember what was changed and tell every screen."""
        self.preferences.change(event.changes, chosen=event.chosen)
        self._use(self.preferences.current)
        self.settings_changed.publish(event.changes)
        self.tell_problems()

    def try_settings(self, changes: Changes) -> None:
        """Use what a point of a sweep was measured with, in this session only, and tell every screen."""
        self.preferences.use(changes)
        self._use(self.preferences.current)
        self.settings_changed.publish(changes)

    def _use(self, settings: Settings) -> None:
        self.theme = chosen(settings.theme, self.console.color_system).name
        self.recorder.keep = settings.recordings

    def tell_problems(self) -> None:
        """Say what the settings file has wrong, each sentence once."""
        for problem in self.preferences.take_problems():
            self.notify(problem, title="Settings", severity="warning", timeout=12, markup=False)

    def open_settings(self, only: Sequence[str] = (), title: str = "Settings") -> None:
        """Open the settings with the names in ``only``, or all of them."""
        from fastdraft_app.settings.screen import SettingsScreen

        self.push_screen(SettingsScreen(self.preferences, only, title))

    # --- keys that work everywhere ----------------------------------------------------------------

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The palette has every action that has a key here and now, and no other."""
        seen = set()
        for active in screen.active_bindings.values():
            binding, node = active.binding, active.node
            if binding.id is None or not active.enabled or (binding.action, node) in seen:
                continue
            seen.add((binding.action, node))
            words = active.tooltip or binding.tooltip or binding.description
            run = partial(self.run_action, binding.action, node)
            yield SystemCommand(words, f"{binding.description}, key {self.get_key_display(binding)}", run)

    def action_next_theme(self) -> None:
        """Use the next theme and remember it."""
        self.take_settings(SettingsChanged({"theme": following(self.theme)}))

    def action_zoom(self) -> None:
        """Give the whole screen to the pane in use, or take it back."""
        if self.screen.maximized is not None:
            self.screen.minimize()
        elif self.screen.focused is not None:
            self.screen.maximize(self.screen.focused)

    def action_settings(self) -> None:
        """Open everything that can be set."""
        self.open_settings()

    def action_help(self) -> None:
        """Explain the keys of the present screen."""
        from fastdraft_app.dialogs.help import HelpScreen

        self.push_screen(HelpScreen(self.screen, ascii_only=self.preferences.current.ascii))

    def action_picture(self) -> None:
        """Save the screen and say where."""
        try:
            folder = export_folder(self.preferences.current)
            path = self.save_screenshot(f"fastdraft-{datetime.now():%Y%m%d-%H%M%S}.svg", str(folder))
        except OSError as error:
            self.notify(f"The picture cannot be saved ({error}).", severity="error", markup=False)
        else:
            self.notify(f"Saved {path}", markup=False, timeout=8)

    def action_interrupt(self) -> None:
        """Leave on the second ctrl+c within two seconds."""
        now = monotonic()
        if now - self._interrupted < INTERRUPT_SECONDS:
            self.exit()
        self._interrupted = now
        self.notify("Press ctrl+c again to quit.", timeout=INTERRUPT_SECONDS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the app; the console script ``fastdraft-app``. What is wrong with the place it is to run in is one sentence."""
    try:
        return _run(list(sys.argv[1:] if arguments is None else arguments))
    except FastdraftError as error:
        if sys.stderr is not None:
            sys.stderr.write(f"{error.message}\n")
        return 2


def _run(given: list[str]) -> int:
    if given[:1] == ["serve"]:
        from fastdraft_app.web import serve

        return serve.main(given[1:])
    options = parse(given)
    if "TEXTUAL_DRIVER" not in os.environ and not (_is_terminal(sys.stdin) and _is_terminal(sys.stderr)):
        raise FastdraftError("fastdraft-app draws on a terminal; its input and standard error must be one.")
    log_to(places.log_file("app"), options.settings.log_level)
    tolerate_old_mouse_bytes()
    engine = EngineClient(places.log_file("engine"))
    app = FastdraftApp(options, engine)

    def release() -> None:
        engine.kill()
        app.sweeper.kill()
        app.designer.kill()

    end_on_signals(app, release)
    try:
        app.run(mouse=options.settings.mouse)
    finally:
        release()
    return app.return_code or 0


def _is_terminal(stream: TextIO | None) -> bool:
    """Whether ``stream`` is one; a closed stream is None."""
    return stream is not None and stream.isatty()


if __name__ == "__main__":
    sys.exit(main())
