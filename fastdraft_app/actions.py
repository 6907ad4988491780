"""What the keys that work everywhere do."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import partial
from time import monotonic

from textual import on
from textual.app import SystemCommand
from textual.screen import Screen
from textual.signal import Signal

from fastdraft_app.live.recordings import Recorder
from fastdraft_app.messages import SettingsChanged
from fastdraft_app.settings.preferences import Preferences
from fastdraft_app.settings.settings import Changes, Settings
from fastdraft_app.terminal.guard import GuardedApp
from fastdraft_app.theme.palette import look, theme_variables
from fastdraft_app.theme.themes import THEMES, chosen, draw_scroll_bars, following
from fastdraft_core import places

INTERRUPT_SECONDS = 2.0


class AppActions(GuardedApp):
    """Themes, settings, help, pictures, the palette's commands, and the two ways out."""

    def __init__(self, preferences: Preferences) -> None:
        super().__init__()
        self.preferences = preferences
        self.recorder = Recorder(places.recordings(), preferences.current.recordings)
        self.settings_changed: Signal[Changes] = Signal(self, "settings-changed")
        self._interrupted = 0.0
        for theme in THEMES.values():
            self.register_theme(theme)
        self._use(preferences.current)
        self.set_class(preferences.current.ascii, "-ascii")
        draw_scroll_bars(preferences.current.ascii)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """The token colours belong to every theme, also to Textual's own."""
        return theme_variables(look(self.current_theme))

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
        from fastdraft_app.settings.screen import SettingsScreen

        self.push_screen(SettingsScreen(self.preferences))

    def action_help(self) -> None:
        """Explain the keys of the present screen."""
        from fastdraft_app.dialogs.help import HelpScreen

        self.push_screen(HelpScreen(self.screen, ascii_only=self.preferences.current.ascii))

    def action_picture(self) -> None:
        """Save the screen and say where."""
        from fastdraft_app.live.export import export_folder

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
