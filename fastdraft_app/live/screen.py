"""The live screen: one prompt decoded both ways, timed apart, replayed together."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Horizontal, Vertical

from fastdraft_app.live.block_strip import BlockStrip, legend
from fastdraft_app.live.files import FileActions
from fastdraft_app.live.gamma import CalibratedGamma
from fastdraft_app.live.gauge_actions import Gauges
from fastdraft_app.live.gauge_panel import GaugePanel
from fastdraft_app.live.inspect import InspectActions
from fastdraft_app.live.inspector import Inspector
from fastdraft_app.live.keys import CAN_BE_GREY, LIVE_BINDINGS
from fastdraft_app.live.loading import LoadingCard
from fastdraft_app.live.prompts import preset_name
from fastdraft_app.live.run_pane import RunPane
from fastdraft_app.live.session import Phase
from fastdraft_app.live.setup_bar import prompt_line, setup
from fastdraft_app.live.source_line import source
from fastdraft_app.live.status import status
from fastdraft_app.live.view import pane_state
from fastdraft_app.widgets.banner import Banner
from fastdraft_app.widgets.key_bar import KeyBar
from fastdraft_app.widgets.line import TextLine


class LiveScreen(CalibratedGamma, InspectActions, FileActions, Gauges):
    """Two panes, a strip of blocks, gauges; one clock that sleeps while nothing moves.

    ``LiveBase`` holds session, engine and clock; the keys stand in ``live_keys``, each group of actions
    in a module of its own.
    """

    CSS_PATH = "live.tcss"
    AUTO_FOCUS = None
    HORIZONTAL_BREAKPOINTS = [(0, "-slim"), (80, "-narrow"), (140, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (20, "-normal"), (36, "-tall"), (44, "-roomy")]
    BINDINGS: ClassVar[list[BindingType]] = LIVE_BINDINGS

    def compose(self) -> ComposeResult:
        """Setup on top, panes, then what explains them."""
        with Vertical(id="top"):
            yield TextLine(id="setup")
            yield TextLine(id="prompt")
        yield TextLine(id="source")
        yield Banner(id="banner")
        with Container(id="stage"):
            with Horizontal(id="panes"):
                yield RunPane("Autoregressive", ascii_only=self._ascii, id="ar")
                yield RunPane("Speculative", ascii_only=self._ascii, id="sd")
                yield Inspector(ascii_only=self._ascii, id="inspector")
            with Container(id="card"):
                yield LoadingCard(id="loading")
        yield TextLine(id="status")
        with Container(id="bottom"):
            with Vertical(id="blocks"):
                yield BlockStrip(ascii_only=self._ascii, id="strip")
                yield TextLine(id="legend")
            yield GaugePanel(ascii_only=self._ascii, id="figures")
        yield KeyBar(ascii_only=self._ascii, id="keys")

    def _draw(self, now: float) -> None:
        first = self.session.phase is Phase.LOADING and not self.session.recording.tracks
        if self.has_class("-first-load") and not first:
            # Only now are the panes there to take the arrow keys.
            self.call_after_refresh(self.query_one("#sd-tokens").focus, scroll_visible=False)
        self.set_class(first, "-first-load")
        if first:
            self.query_one(LoadingCard).show(self.session.steps, now, self._beat, self._marks)
        self._draw_top()
        self._follow_run()
        for mode in ("ar", "sd"):
            pane = self.query_one(f"#{mode}", RunPane)
            pane.show(pane_state(self.session, mode, self._view, self._marks, recorded=self.playback is not None))
        self._draw_inspector()
        self._draw_bottom()

    def _draw_top(self) -> None:
        mark = self._marks
        settings = self.shown_settings
        name = preset_name(settings.prompt, self._presets)
        line = self._line("setup")
        line.show(setup(settings, self.session.pair, line.size.width, mark))
        line = self._line("prompt")
        line.show(prompt_line(name, settings.prompt, line.size.width, mark, self._ascii))
        self._draw_source()
        self.query_one(Banner).show(self.session.error, self.session.warning, self.session.hint)
        line = self._line("status")
        line.show(status(self.session, self._beat, line.size.width, mark))

    def _draw_source(self) -> None:
        playback, line = self.playback, self._line("source")
        self.set_class(playback is not None, "-recording")
        if playback is not None:
            remark = playback.remark(self.live.activity)
            line.show(source(playback.machine, playback.speed, remark, self.size.width - 2, self._marks))

    def _draw_bottom(self) -> None:
        track = self.session.track("sd")
        gamma = track.started.gamma if track is not None else self.shown_settings.gamma
        blocks, shown = (track.blocks, max(self.session.visible_steps("sd") - 1, 0)) if track is not None else ([], 0)
        self.query_one(BlockStrip).show(blocks, shown, gamma, self.session.pending("sd"), self._place)
        line = self._line("legend")
        line.show(legend(self._ascii, line.size.width))
        self._draw_gauges()
        self.query_one(KeyBar).show_grey(frozenset(action for action in CAN_BE_GREY if self.hindrance(action)))

    def _line(self, name: str) -> TextLine:
        return self.query_one(f"#{name}", TextLine)

    def on_resize(self) -> None:
        """Fit the texts to the new width."""
        self.call_after_refresh(self._tick)
