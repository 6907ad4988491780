"""The live screen: one prompt decoded both ways, timed apart, replayed together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import ClassVar

from textual import events, on
from textual.actions import SkipAction
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, Vertical
from textual.screen import Screen
from textual.signal import Signal
from textual.timer import Timer

from fastdraft_app.client.engine import EngineClient
from fastdraft_app.dialogs.choices import Source, model_source
from fastdraft_app.dialogs.exporting import save
from fastdraft_app.dialogs.picker import PickerScreen
from fastdraft_app.live.arrival import Arrival
from fastdraft_app.live.block_strip import BlockStrip, legend
from fastdraft_app.live.controller import BUSY_RATE, WAITING, LiveController, Waiting
from fastdraft_app.live.export import EXPORTS, export
from fastdraft_app.live.gauge_panel import GaugePanel
from fastdraft_app.live.inspector import Inspector
from fastdraft_app.live.lines import prompt_kind, prompt_line, setup_line, source_line, status_line
from fastdraft_app.live.loading import LoadingCard
from fastdraft_app.live.prompts import Asked, preset_name
from fastdraft_app.live.recordings import recording_source
from fastdraft_app.live.replay import RUN_NAMES, Mode, Place
from fastdraft_app.live.run_pane import RunPane, ViewChoice, given_text, pane_state
from fastdraft_app.live.session import BUSY, Phase, Session
from fastdraft_app.live.token_layout import TokenMove
from fastdraft_app.live.token_view import TokenView
from fastdraft_app.messages import SettingsChanged
from fastdraft_app.settings.preferences import Preferences
from fastdraft_app.settings.settings import Changes, Settings
from fastdraft_app.terminal.copying import copy
from fastdraft_app.theme.palette import marks
from fastdraft_app.widgets.banner import Banner
from fastdraft_app.widgets.key_bar import KeyBar
from fastdraft_app.widgets.line import TextLine
from fastdraft_core import places
from fastdraft_core.errors import FastdraftError
from fastdraft_core.formatting import safe
from fastdraft_core.history import read_history
from fastdraft_core.recordings import Recorded

GAUGE_RATE = 8.0
"""Repaints of the gauges a second while a run is replayed: faster than one reads, and little for a slow line."""

_GAMMA = Binding.Group("γ", compact=True)
_TEMPERATURE = Binding.Group("T", compact=True)
_DRAFT = Binding.Group("draft", compact=True)

_MOVES: dict[TokenMove, tuple[str, str]] = {
    "left": ("left,h", "inspect the token before"),
    "right": ("right,l", "inspect the token after"),
    "up": ("up,k", "inspect a token of the line above"),
    "down": ("down,j", "inspect a token of the line below"),
    "page_up": ("pageup", "inspect a token a page up"),
    "page_down": ("pagedown", "inspect a token a page down"),
    "home": ("home", "inspect the first token"),
    "end": ("end", "inspect the last token"),
}
"""Keys and tooltips of the inspector's cursor."""


class LiveScreen(Screen[None]):
    """Two panes, a strip of blocks, gauges; one clock that sleeps while nothing moves.

    What there is to show, and what keys make of it, is the controller's; this class draws it and asks the user.
    """

    CSS_PATH = "live.tcss"
    AUTO_FOCUS = None
    HORIZONTAL_BREAKPOINTS = [(0, "-slim"), (80, "-narrow"), (140, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (20, "-normal"), (36, "-tall"), (44, "-roomy")]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "run_or_pause", "pause", id="live.toggle", tooltip="pause or go on; while timing: cancel"),
        Binding("n", "step", "step", id="live.step", tooltip="replay by half blocks: what was drafted, then what became of it"),
        Binding("left_square_bracket", "gamma(-1)", "γ", id="live.gamma-down", key_display="[", group=_GAMMA,
                tooltip="draft one token less a block"),
        Binding("right_square_bracket", "gamma(1)", "γ", id="live.gamma-up", key_display="]", group=_GAMMA,
                tooltip="draft one token more a block"),
        Binding("d", "draft", "draft", id="live.draft", tooltip="choose a draft"),
        Binding("p", "prompt", "prompt", id="live.prompt", tooltip="choose or write a prompt"),
        Binding("a", "ask", "ask", id="live.ask", tooltip="ask the next question of the conversation, of a chat target"),
        Binding("i", "inspect", "inspect", id="live.inspect", tooltip="all about one token; arrows choose it, i closes"),
        Binding("v", "view", "view", id="live.view", tooltip="final text, history with what was thrown away, or plain"),
        Binding("r", "restart", "restart", id="live.restart", tooltip="run again; restarts a stopped engine"),
        Binding("s", "slow", "slow", id="live.slow", tooltip="replay in slow motion: 1/4, 1/10, 1/50, true speed again"),
        Binding("minus", "temperature(-1)", "T", id="live.temperature-down", key_display="-", group=_TEMPERATURE,
                tooltip="sample colder; 0 is greedy"),
        Binding("equals_sign", "temperature(1)", "T", id="live.temperature-up", key_display="=", group=_TEMPERATURE,
                tooltip="sample hotter"),
        Binding("m", "target", "target", id="live.target", tooltip="choose a target"),
        Binding("b", "bring", "smollm2", id="live.bring", show=False,
                tooltip="bring smollm2, a published target of 135 M parameters, or try again"),
        Binding("o", "runtime", "runtime", id="live.runtime", tooltip="load into the next runtime: auto, torch, openvino"),
        Binding("e", "export", "export", id="live.export", tooltip="write what is shown to a file: Markdown, text, JSONL, SVG"),
        Binding("y", "copy", "copy", id="live.copy", tooltip="copy what the mouse selected, or the text of this pane"),
        Binding("less_than_sign", "next_draft(-1)", "draft", id="live.draft-before", key_display="<", group=_DRAFT,
                show=False, tooltip="load the draft before this one"),
        Binding("greater_than_sign", "next_draft(1)", "draft", id="live.draft-after", key_display=">", group=_DRAFT,
                show=False, tooltip="load the next draft; one of them is off"),
        Binding("R", "recordings", "recordings", id="live.recordings", tooltip="play a recording, of this machine or another"),
        Binding("escape", "back", "back", id="live.cancel", show=False,
                tooltip="close the inspector, else cancel the run or the loading, or leave the recording"),
        # They come before the keys that scroll.
        *(Binding(keys, f"move('{move}')", move, id=f"live.move-{move}", show=False, priority=True, tooltip=words)
          for move, (keys, words) in _MOVES.items()),
    ]  # fmt: skip

    def __init__(
        self,
        engine: EngineClient,
        preferences: Preferences,
        changed: Signal[Changes],
        replay: Recorded | None = None,
        sweeping: Callable[[], bool] = lambda: False,
        *,
        bring: bool = False,
    ) -> None:
        """``replay`` is shown in place of a live run; ``sweeping`` says whether a sweep is timed, which nothing may disturb.

        With ``bring`` smollm2 is brought to this machine meanwhile.
        """
        super().__init__()
        self.controller = LiveController(engine, preferences, self, replay, sweeping)
        self._settings_changed = changed
        self._ascii = preferences.current.ascii
        self._marks = marks(self._ascii)
        self._panes: dict[Mode, RunPane] = {
            "ar": RunPane("Autoregressive", ascii_only=self._ascii, id="ar"),
            "sd": RunPane("Speculative", ascii_only=self._ascii, id="sd"),
        }
        self._view = ViewChoice()
        self._inspector = Inspector(self._panes["sd"].view, ascii_only=self._ascii, id="inspector")
        self._arrival = Arrival(begin=bring, id="arrival")
        self._gauges = GaugePanel(lambda: engine.pid, ascii_only=self._ascii, id="figures")
        self._clock: Timer | None = None
        self._rate = 0.0
        self._beat = 0
        self._asking = False

    def compose(self) -> ComposeResult:
        """Setup on top, panes, then what explains them."""
        with Vertical(id="top"):
            yield TextLine(id="setup")
            yield TextLine(id="prompt")
        yield TextLine(id="source")
        yield Banner(id="banner")
        yield self._arrival
        with Container(id="stage"):
            with Horizontal(id="panes"):
                yield from self._panes.values()
                yield self._inspector
            with Container(id="card"):
                yield LoadingCard(id="loading")
        yield TextLine(id="status")
        with Container(id="bottom"):
            with Vertical(id="blocks"):
                yield BlockStrip(ascii_only=self._ascii, id="strip")
                yield TextLine(id="legend")
            yield self._gauges
        yield KeyBar(ascii_only=self._ascii, id="keys")

    def on_mount(self) -> None:
        """Paint first, then start the engine, unless a recording was asked for."""
        self._settings_changed.subscribe(self, self.controller.follow)
        self.add_class("-first-load")
        self.call_after_refresh(self.controller.start if self.controller.open() else self._tick)

    @property
    def session(self) -> Session:
        """What is shown: a recording or the live run."""
        return self.controller.session

    # --- what the controller asks of its view -----------------------------------------------------

    @property
    def in_front(self) -> bool:
        """Whether no dialog lies over this screen, and no other is shown."""
        return self.app.screen is self

    def wake(self) -> None:
        """Something arrived: make sure that the clock will take it."""
        if self._clock is None and self.is_current:
            self._set_rate(BUSY_RATE)

    def changed(self) -> None:
        """Something took effect between two ticks."""
        self.call_later(self._tick)

    def tell(self, words: str, seconds: float | None = None) -> None:
        """Show a notice."""
        self.notify(words, markup=False, timeout=seconds)

    def remember(self, changes: Changes) -> None:
        """Have the app keep ``changes``."""
        self.post_message(SettingsChanged(changes))

    # --- the clock ------------------------------------------------------------------------------------

    def _tick(self) -> None:
        """Have the controller take what arrived, draw, and choose the next pace."""
        self.controller.tick()
        self._beat += 1
        self._draw()
        self._set_rate(self.controller.pace)
        if self._asking is not self.controller.asking:
            self._asking = self.controller.asking
            self.refresh_bindings()

    def _set_rate(self, rate: float) -> None:
        if rate == self._rate:
            return
        self._rate = rate
        if self._clock is not None:
            self._clock.stop()
        self._clock = self.set_interval(1 / rate, self._tick) if rate else None

    @on(events.ScreenSuspend)
    def _sleep(self) -> None:
        self._set_rate(0.0)
        self._gauges.watch_engine(False)

    @on(events.ScreenResume)
    def _go_on(self) -> None:
        self.controller.skip_time()
        self._gauges.watch_engine(True)
        if self.controller.rested:
            self.call_after_refresh(self.controller.start)
        self.call_after_refresh(self._tick)

    def on_resize(self) -> None:
        """Fit the texts to the new width."""
        self.call_after_refresh(self._tick)

    # --- drawing --------------------------------------------------------------------------------------

    def _draw(self) -> None:
        self._draw_loading()
        self._draw_top()
        self._inspector.follow(self.session)
        recorded = self.controller.playback is not None
        for mode, pane in self._panes.items():
            pane.show(pane_state(self.session, mode, self._view.shown, self._marks, recorded=recorded))
        self._inspector.show(self.session)
        self._draw_bottom()

    def _draw_loading(self) -> None:
        first = self.session.phase is Phase.LOADING and not self.session.recording.tracks
        if self.has_class("-first-load") and not first:
            # Only now are the panes there to take the arrow keys.
            self.call_after_refresh(self._tokens("sd").focus, scroll_visible=False)
        self.set_class(first, "-first-load")
        if first:
            self.query_one(LoadingCard).show(self.session.steps, monotonic(), self._beat, self._marks)

    def _draw_top(self) -> None:
        mark, settings = self._marks, self.controller.shown_settings
        line = self._line("setup")
        line.show(setup_line(settings, self.session.pair, line.size.width, mark))
        line, name = self._line("prompt"), preset_name(settings.prompt, self.controller.presets)
        asked = prompt_kind(self.session, self.controller.asking)
        line.show(prompt_line(asked, name, settings.prompt, line.size.width, mark, self._ascii))
        self._draw_source()
        self.query_one(Banner).show(self.session.error, self.session.warning, self.session.hint)
        line = self._line("status")
        line.show(status_line(self.session, self._beat, line.size.width, mark))

    def _draw_source(self) -> None:
        playback = self.controller.playback
        self.set_class(playback is not None, "-recording")
        if playback is not None:
            remark = playback.remark(self.controller.live.activity)
            words = source_line(playback.machine, playback.speed, remark, self.size.width - 2, self._marks)
            self._line("source").show(words)

    def _draw_bottom(self) -> None:
        track, gamma = self.session.track("sd"), self.controller.shown_settings.gamma
        strip = self.query_one(BlockStrip)
        if track is None:
            strip.show([], 0, gamma, 0, self._inspector.place)
        else:
            shown = max(self.session.visible_steps("sd") - 1, 0)
            strip.show(track.blocks, shown, track.started.gamma, self.session.pending("sd"), self._inspector.place)
        line = self._line("legend")
        line.show(legend(self._ascii, line.size.width))
        if self.session.phase is not Phase.PLAYING or not self._beat % max(round(self._rate / GAUGE_RATE), 1):
            self._gauges.follow(self.session, gamma, recorded=self.controller.playback is not None)
        grey = frozenset(action for action in WAITING if self.controller.hindrance(action))
        self.query_one(KeyBar).show_grey(grey)

    def _line(self, name: str) -> TextLine:
        return self.query_one(f"#{name}", TextLine)

    def _tokens(self, mode: Mode) -> TokenView:
        return self._panes[mode].view

    # --- runs -----------------------------------------------------------------------------------------

    def action_run_or_pause(self) -> None:
        """Pause or go on; replay after the end; cancel while timing."""
        self.controller.run_or_pause()
        self._tick()

    async def action_restart(self) -> None:
        """Run again, in place of any recording; where the engine is gone or has no pair, get it there first."""
        await self.controller.restart()
        self._tick()

    async def action_cancel(self) -> None:
        """Call the run or the loading in progress off, or leave the recording."""
        await self.controller.cancel()
        self._tick()

    def action_step(self) -> None:
        """Go on by half a block: its drafted tokens, then what became of them."""
        if self._hindered("step"):
            return
        self.session.step()
        self._inspector.place = None
        self._tick()

    def action_slow(self) -> None:
        """Play at the next slower speed; after the slowest at the true one again."""
        if self._hindered("slow"):
            return
        self.controller.slow_down()
        self._tick()

    def _hindered(self, action: Waiting) -> bool:
        """Whether ``action`` can do nothing now; says why."""
        why = self.controller.hindrance(action)
        if why:
            self.tell(why)
        return bool(why)

    # --- what is run ----------------------------------------------------------------------------------

    def action_gamma(self, change: int) -> None:
        """Draft more or fewer tokens a block."""
        self._change(self.controller.settings.with_gamma(change))

    def action_temperature(self, change: int) -> None:
        """Sample hotter or colder; 0 is greedy."""
        self._change(self.controller.settings.with_temperature(change))

    def action_next_draft(self, change: int = 1) -> None:
        """Load the next draft, or the one before."""
        self._change(self.controller.settings.with_next_draft(self.controller.drafts(), change))

    def action_runtime(self) -> None:
        """Load the pair into the next runtime."""
        self._change(self.controller.settings.with_next_runtime())
        self.tell(f"Runtime: {self.controller.settings.runtime}")

    def action_target(self) -> None:
        """Choose a target of those on this machine, or name one."""
        self._choose("Target", model_source(drafts=False), self.controller.settings.target, self._take_target)

    def action_draft(self) -> None:
        """Choose a draft of those on this machine, or name one."""
        pair = self.session.pair
        source = model_source(drafts=True, vocab_size=pair.target.vocab_size if pair is not None else None)
        self._choose("Draft", source, self.controller.settings.draft, self._take_draft)

    def _choose(self, title: str, source: Source, current: str, take: Callable[[str | None], None]) -> None:
        hint = "part of a name, a model folder, a .gguf file, or a hub id (owner/model)"
        picker = PickerScreen(title, source, current=current, hint=hint, empty="no such model here")
        self.app.push_screen(picker, take)

    def _take_target(self, name: str | None) -> None:
        if name is not None:
            self._change(self.controller.settings.with_target(name))

    def action_bring(self) -> None:
        """Bring smollm2 to this machine, unless that would disturb a sweep."""
        if self.controller.sweeping():
            self.tell("A sweep is being timed, which a download would disturb. Press 2 for it; x stops it.")
        else:
            self._arrival.bring()
        self.refresh_bindings()

    @on(Arrival.Arrived)
    def _take_arrival(self) -> None:
        self.tell(self.controller.take_arrival(), 12)
        self.refresh_bindings()
        self._tick()

    def _take_draft(self, name: str | None) -> None:
        if name is not None:
            self._change(replace(self.controller.settings, draft=name))

    def action_prompt(self) -> None:
        """Ask for a prompt."""
        from fastdraft_app.live.prompt_screen import PromptScreen

        earlier, controller = read_history(places.history()).prompts, self.controller
        self.app.push_screen(PromptScreen(controller.asked, controller.presets, earlier, controller.chats), self._ask)

    def action_ask(self) -> None:
        """Ask for the next question of the conversation."""
        from fastdraft_app.live.prompt_screen import PromptScreen

        if not self._hindered("ask"):
            self.app.push_screen(PromptScreen(self.controller.next_turn), self._ask)

    def _ask(self, asked: Asked | None) -> None:
        if asked is not None:
            self.controller.ask(asked)
            self._tick()

    def _change(self, settings: Settings) -> None:
        self.controller.change(settings)
        self._tick()

    # --- files ----------------------------------------------------------------------------------------

    def action_recordings(self) -> None:
        """Choose a recording and play it here."""
        picker = PickerScreen(
            "Recordings",
            recording_source(),
            hint="part of a prompt or a model, or a path",
            empty="there is no such recording",
        )
        self.app.push_screen(picker, self._play)

    def _play(self, path: str | None) -> None:
        if path is None:
            return
        try:
            self.controller.play(Path(path).expanduser())
        except FastdraftError as error:
            self.notify(error.message, severity="error", markup=False, timeout=10)
        else:
            self._tick()

    def action_export(self) -> None:
        """Ask for a format and write the file."""
        from fastdraft_app.dialogs.formats import ExportScreen

        if not self._hindered("export"):
            self.app.push_screen(ExportScreen(EXPORTS), self._export)

    def _export(self, kind: str | None) -> None:
        recorded, settings = self.controller.shown_recording, self.controller.settings
        if kind is None or recorded is None:
            return
        picture = self.app.export_screenshot
        # The picture is of this screen, so it waits until the dialog is gone.
        self.call_after_refresh(save, self, lambda: export(kind, recorded, settings, picture))

    # --- the inspector --------------------------------------------------------------------------------

    def action_view(self) -> None:
        """Switch to the next view: final text, history with what was thrown away, plain."""
        self._view.next()
        self._tick()

    def action_inspect(self) -> None:
        """Open or close the inspector."""
        if self._inspector.is_open:
            self._close_inspector()
        else:
            self._open_inspector(None)

    def _open_inspector(self, place: Place | None) -> None:
        self._inspector.open(place)
        self._view.begin_inspecting()
        if self.session.phase is Phase.PLAYING:
            self.session.phase = Phase.PAUSED
        self._inspector_moved()

    def _close_inspector(self) -> None:
        self._inspector.close()
        self._view.end_inspecting()
        self._inspector_moved()

    def _inspector_moved(self) -> None:
        self.set_class(self._inspector.is_open, "-inspecting")
        self.refresh_bindings()
        self.call_after_refresh(self._tick)

    async def action_back(self) -> None:
        """Drop the selection, else close the inspector, else cancel what is going on."""
        if self.selections:
            self.clear_selection()
        elif self._inspector.is_open:
            self._close_inspector()
        else:
            await self.action_cancel()

    def action_move(self, move: TokenMove) -> None:
        """Inspect another token."""
        if self._inspector.move(move):
            self._tick()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The arrows move the inspector's cursor while there is one, else they scroll; only a chat target is asked."""
        if action == "move":
            return self._inspector.place is not None
        if action == "ask":
            return self.controller.asking
        if action == "bring":
            return self._arrival.wanted
        return super().check_action(action, parameters)

    @on(TokenView.TokenPicked, "#sd-tokens")
    def _pick_token(self, event: TokenView.TokenPicked) -> None:
        if self._inspector.is_open:
            self._inspect(event.place)

    @on(BlockStrip.BlockPicked)
    def _pick_block(self, event: BlockStrip.BlockPicked) -> None:
        self._inspect(event.place)

    def _inspect(self, place: Place) -> None:
        if self.session.phase in BUSY:
            return
        if self._inspector.is_open:
            self._view.show_all()
            self._inspector.place = place
        else:
            self._open_inspector(place)
        self._tick()

    # --- copying --------------------------------------------------------------------------------------

    def action_copy(self) -> None:
        """Copy the selection, or else the text of the pane that has the focus."""
        selected = self.get_selected_text()
        if selected:
            copy(self, selected, "the selection")
            return
        mode: Mode = "ar" if self._tokens("ar").has_focus else "sd"
        if self.session.track(mode) is None:
            mode = "ar"
        track = self.session.track(mode)
        if self._hindered("copy") or track is None:
            return
        text = given_text(track.started, self._marks) + track.text(self.session.visible_steps(mode))
        copy(self, safe(text), f"the {RUN_NAMES[mode]} text")

    def action_copy_text(self) -> None:
        """Textual's own key for copying a selection takes the same ways."""
        selected = self.get_selected_text()
        if not selected:
            raise SkipAction
        copy(self, selected, "the selection")
