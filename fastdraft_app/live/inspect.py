"""The keys that look into a run: views, steps, slow motion, the inspector, copying."""

from __future__ import annotations

from time import monotonic

from textual import on
from textual.actions import SkipAction

from fastdraft_app.live.block_strip import BlockStrip
from fastdraft_app.live.inspection import Facts
from fastdraft_app.live.inspector import Inspector
from fastdraft_app.live.replay import VIEWS, Place, Track, View
from fastdraft_app.live.run import RunActions
from fastdraft_app.live.session import BUSY, Phase
from fastdraft_app.live.status import RUN_NAMES
from fastdraft_app.live.token_moves import FIRST
from fastdraft_app.live.token_view import TokenView
from fastdraft_app.terminal.copying import copy
from fastdraft_core.formatting import safe

WAIT = "The tokens can be inspected when the runs have been timed."
NOTHING = "There is no speculative run to inspect. Press r to run, or d for a draft."


class InspectActions(RunActions):
    """What is shown of a run, when, and of which token everything."""

    _view: View = "clean"
    _view_before: View | None = None
    """What to go back to when the inspector closes, where opening it changed the view."""
    _place: Place | None = None
    _inspected_track: Track | None = None

    # --- what is shown ------------------------------------------------------------------------

    def action_view(self) -> None:
        """Switch to the next view: final text, history with what was thrown away, plain."""
        self._view, self._view_before = VIEWS[(VIEWS.index(self._view) + 1) % len(VIEWS)], None
        self._tick()

    def action_step(self) -> None:
        """Go on by half a block: its drafted tokens, then what became of them."""
        if self._hindered("step"):
            return
        self.session.step()
        if self.inspecting:
            self._place = None
        self._tick()

    def action_slow(self) -> None:
        """Play at the next slower speed; after the slowest at the true one again."""
        if self._hindered("slow"):
            return
        if self.session.phase is not Phase.PLAYING:
            self._last = monotonic()
        self.session.slow_down()
        self._tick()

    def hindrance(self, action: str) -> str:
        """Nothing can be replayed before it was timed, and nothing copied before there is text."""
        if action in ("step", "slow") and not self.session.replayable:
            busy = self.session.phase in BUSY
            return "The run is timed at its true speed first." if busy else "There is nothing to play yet."
        if action == "copy" and not self.session.recording.tracks:
            return "There is nothing to copy yet."
        return super().hindrance(action)

    # --- the inspector ------------------------------------------------------------------------

    @property
    def inspecting(self) -> bool:
        """Whether the inspector is open."""
        return self.has_class("-inspecting")

    def action_inspect(self) -> None:
        """Open or close the inspector."""
        if self.inspecting:
            self._close_inspector()
        else:
            self._open_inspector(None)

    def _open_inspector(self, place: Place | None) -> None:
        self.add_class("-inspecting")
        self._place = place
        if self.session.phase is Phase.PLAYING:
            self.session.phase = Phase.PAUSED
        if self._view == "clean":
            # The clean view hides tokens that can be inspected.
            self._view, self._view_before = "history", "clean"
        self.refresh_bindings()
        self.call_after_refresh(self._tick)

    def _close_inspector(self) -> None:
        self.remove_class("-inspecting")
        self._view, self._view_before = self._view_before or self._view, None
        self._place = None
        self.refresh_bindings()
        self.call_after_refresh(self._tick)

    def action_back(self) -> None:
        """Drop the selection, else close the inspector, else cancel what is going on."""
        if self.selections:
            self.clear_selection()
        elif self.inspecting:
            self._close_inspector()
        else:
            self.action_cancel()

    def action_move(self, move: str) -> None:
        """Inspect another token."""
        place = self._tokens.moved(self._place or FIRST, move)
        if place is not None:
            self._place = place
            self._tick()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The arrows move the inspector's cursor while there is one, else they scroll."""
        if action == "move":
            return self._place is not None
        return super().check_action(action, parameters)

    @on(TokenView.Picked, "#sd-tokens")
    def _pick_token(self, event: TokenView.Picked) -> None:
        if self.inspecting:
            self._inspect(event.place)

    @on(BlockStrip.Picked)
    def _pick_block(self, event: BlockStrip.Picked) -> None:
        self._inspect(event.place)

    def _inspect(self, place: Place) -> None:
        if self.session.phase in BUSY:
            return
        if not self.inspecting:
            self._open_inspector(place)
        elif self._view != "history":
            self._view, self._view_before = "history", self._view_before
        self._place = place
        self._tick()

    @property
    def _tokens(self) -> TokenView:
        return self.query_one("#sd-tokens", TokenView)

    def _follow_run(self) -> None:
        """Before drawing: a token of another run is none of this one."""
        track = self.session.track("sd")
        if track is not self._inspected_track or self.session.phase in BUSY:
            self._inspected_track, self._place = track, None

    def _draw_inspector(self) -> None:
        """After drawing the tokens: settle on one that is shown, and tell about it."""
        if not self.inspecting:
            self._tokens.inspect(None)
            return
        track, busy = self.session.track("sd"), self.session.phase in BUSY
        if track is not None and not busy:
            had = self._place
            self._place = self._tokens.moved(had or FIRST, "stay" if had else "end")
            self._tokens.inspect(self._place)
            if had is None:
                self.refresh_bindings()
        facts = None
        if track is not None and self._place is not None:
            pending = self._place.step >= self.session.visible_steps("sd")
            facts = Facts(track, self._place, pending)
        self.query_one(Inspector).show(facts, WAIT if busy else NOTHING)

    # --- copying ------------------------------------------------------------------------------

    def action_copy(self) -> None:
        """Copy the selection, or else the text of the pane that has the focus."""
        selected = self.get_selected_text()
        if selected:
            copy(self, selected, "the selection")
            return
        mode = "ar" if self.query_one("#ar-tokens").has_focus else "sd"
        track = self.session.track(mode) or self.session.track("ar")
        if self._hindered("copy") or track is None:
            return
        text = track.started.prompt + track.text(self.session.visible_steps(track.started.mode))
        copy(self, safe(text), f"the {RUN_NAMES[track.started.mode]} text")

    def action_copy_text(self) -> None:
        """Textual's own key for copying a selection takes the same ways."""
        selected = self.get_selected_text()
        if not selected:
            raise SkipAction
        copy(self, selected, "the selection")
