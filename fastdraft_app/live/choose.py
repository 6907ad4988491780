"""The keys that choose what to run: gamma, temperature, pair, prompt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from textual import events, on
from textual.timer import Timer

from fastdraft_app.dialogs.choices import Source, model_source
from fastdraft_app.dialogs.picker import PickerScreen
from fastdraft_app.history import read_history
from fastdraft_app.live.run import RunActions
from fastdraft_app.live.session import Phase
from fastdraft_app.messages import SettingsChanged
from fastdraft_app.settings.settings import OFF, Changes, Settings
from fastdraft_core import places
from fastdraft_core.models.catalog import DEMO, demo_drafts

DEBOUNCE_SECONDS = 0.4


class ChoiceActions(RunActions):
    """A change takes effect shortly after the last of several quick ones, and is remembered."""

    _debounce: Timer | None = None
    _reload = False

    @on(events.Mount)
    def _follow_settings(self) -> None:
        self._changed.subscribe(self, self._take_changes)

    def action_gamma(self, change: int) -> None:
        """Draft more or fewer tokens a block."""
        self._change(self.settings.with_gamma(change))

    def action_temperature(self, change: int) -> None:
        """Sample hotter or colder; 0 is greedy."""
        self._change(self.settings.with_temperature(change))

    def action_next_draft(self, change: int = 1) -> None:
        """Load the next draft, or the one before."""
        self._change(self.settings.with_next_draft(self._drafts(), change))

    def _drafts(self) -> list[str]:
        """Drafts to go through: of the bundled target its own, else those given before; then none."""
        known = demo_drafts() if self.settings.target == DEMO else read_history(places.history()).models
        others = [name for name in known if name != self.settings.target]
        return [*others, *([self.settings.draft] if self.settings.draft not in (*others, OFF) else []), OFF]

    def action_runtime(self) -> None:
        """Load the pair into the next runtime."""
        self._change(self.settings.with_next_runtime())
        self.notify(f"Runtime: {self.settings.runtime}")

    def action_target(self) -> None:
        """Choose a target of those on this machine, or name one."""
        self._choose("Target", model_source(drafts=False), self.settings.target, self._take_target)

    def action_draft(self) -> None:
        """Choose a draft of those on this machine, or name one."""
        pair = self.session.pair
        vocab_size = pair.target.vocab_size if pair is not None else None
        self._choose("Draft", model_source(drafts=True, vocab_size=vocab_size), self.settings.draft, self._take_draft)

    def _choose(self, title: str, source: Source, current: str, take: Callable[[str | None], None]) -> None:
        hint = "part of a name, a model folder, a .gguf file, or a hub id (owner/model)"
        picker = PickerScreen(title, source, current=current, hint=hint, empty="no such model here")
        self.app.push_screen(picker, take)

    def _take_target(self, name: str | None) -> None:
        if name is not None:
            self._change(replace(self.settings, target=name))

    def _take_draft(self, name: str | None) -> None:
        if name is not None:
            self._change(replace(self.settings, draft=name))

    def action_prompt(self) -> None:
        """Ask for a prompt."""
        from fastdraft_app.live.prompt_screen import PromptScreen

        earlier = read_history(places.history()).prompts
        self.app.push_screen(PromptScreen(self._presets, earlier, self.shown_settings.prompt), self._take_prompt)

    def _take_prompt(self, prompt: str | None) -> None:
        if prompt is not None:
            self._change(replace(self.settings, prompt=prompt), at_once=True)
            self._remember_prompt()

    # --- taking effect ------------------------------------------------------------------------

    def _change(self, settings: Settings, *, at_once: bool = False) -> None:
        """Take ``settings`` and have them remembered."""
        if self.playback is not None and not self._engine.running:
            self.notify("This is a recording. Press r to decode on this machine first.")
            return
        changes = self.settings.changes_to(settings)
        if changes:
            self.post_message(SettingsChanged(changes))
        if changes or at_once:
            self._use(settings, at_once=at_once)

    def _take_changes(self, changes: Changes) -> None:
        """Follow what was changed elsewhere, such as on the settings screen."""
        settings = self.settings.with_changes(changes)
        if settings != self.settings:
            self._use(settings)

    def _use(self, settings: Settings, *, at_once: bool = False) -> None:
        old, self.settings = self.settings, settings
        if self.playback is not None and not self._engine.running:
            return
        self._reload = self._reload or settings.load() != old.load()
        if not (at_once or self._reload or settings.run() != old.run()):
            return
        if self.playback is not None and not self.playback.intro:
            self.playback = None
        if self.live.phase is Phase.TIMING:
            self._cancel()
        if self._debounce is not None:
            self._debounce.stop()
        self._debounce = self.set_timer(0.01 if at_once else DEBOUNCE_SECONDS, self._apply)
        self._tick()

    def _load(self) -> None:
        """Load the present settings; a load that was about to come is this one."""
        self._reload = False
        if self._debounce is not None:
            self._debounce.stop()
        super()._load()

    def _apply(self) -> None:
        reload, self._reload = self._reload, False
        if not self._engine.running:
            return
        if reload or (self.live.pair is None and self.live.phase is not Phase.LOADING):
            self._load()
        elif self.live.pair is not None:
            self._run()
        self._tick()
