"""The sweep screen: is it worth it on this machine, with which draft and which gamma?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.signal import Signal
from textual.timer import Timer

from fastdraft_app.client.sweep import SweepClient
from fastdraft_app.dialogs.choices import model_source
from fastdraft_app.dialogs.picker import PickerScreen
from fastdraft_app.messages import SettingsChanged
from fastdraft_app.result_view.lines import plan_line
from fastdraft_app.result_view.point_screen import POINT_BINDINGS, PointScreen
from fastdraft_app.result_view.surface import Cursor, recommended
from fastdraft_app.result_view.sweep_view import SweepView
from fastdraft_app.settings.preferences import Preferences
from fastdraft_app.settings.settings import OFF, Changes
from fastdraft_app.sweep.session import SweepSession
from fastdraft_app.sweep.setup import drafts_of, new_sweep, resumed_sweep, with_draft
from fastdraft_app.sweep.sweep_line import asked_line, progress_line
from fastdraft_app.theme.palette import marks
from fastdraft_app.widgets.banner import Banner
from fastdraft_app.widgets.key_bar import KeyBar
from fastdraft_app.widgets.line import TextLine
from fastdraft_core.errors import FastdraftError
from fastdraft_core.results import store
from fastdraft_core.results.store import Result

RATE = 3.0
"""Repaints a second while something is timed: enough to see points come, too few to disturb them."""

CHOICES = (
    "target", "sweep_preset", "sweep_gamma", "sweep_temp", "sweep_task", "sweep_file", "sweep_field", "sweep_prompts", "sweep_length", "sweep_within", "sweep_budget",
    "top_k", "top_p", "seed", "runtime", "threads",
)  # fmt: skip
"""Settings that a sweep is made with; its drafts have a key of their own."""


class SweepScreen(PointScreen):
    """One sweep at a time, as a process of its own; its points appear as they are measured."""

    CSS_PATH = "../result_view/points.tcss"
    AUTO_FOCUS = None
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "run_or_stop", "run/stop", id="sweep.toggle", tooltip="start the sweep that the line on top shows, or stop the one under way"),
        *POINT_BINDINGS[:3],
        Binding("c", "choose", "choose", id="sweep.choose", tooltip="choose target, gamma, temperature, tasks, budget of the next sweep"),
        Binding("d", "draft", "drafts", id="sweep.drafts", tooltip="add a draft to the next sweep, or take one away"),
        *POINT_BINDINGS[3:],
        Binding("r", "new", "new", id="sweep.new", tooltip="start a new sweep, whatever is on screen"),
        Binding("x,escape", "stop", "stop", id="sweep.stop", show=False,
                tooltip="stop after the run in progress; again: at once. What was measured is kept"),
        Binding("u", "resume", "resume", id="sweep.resume", show=False, tooltip="go on with the sweep on screen, from what is kept of it"),
    ]  # fmt: skip

    def __init__(
        self,
        client: SweepClient,
        preferences: Preferences,
        changed: Signal[Changes],
        *,
        rest: Callable[[], Awaitable[bool]],
        choose: Callable[[Sequence[str], str], None],
    ) -> None:
        """``rest`` ends the live engine, so that nothing shares the processor with what is timed.

        ``choose`` opens the settings of the names given, under a title.
        """
        super().__init__(preferences)
        self.session = SweepSession()
        self._client = client
        self._changed = changed
        self._rest = rest
        self._choose = choose
        self._marks = marks(self._ascii)
        # How the sweep on screen was begun; None where it is a kept one.
        self._asked: list[str] | None = None
        self._beat = 0
        self._clock: Timer | None = None

    @property
    def shown_result(self) -> Result | None:
        """The sweep in progress, or the one that ended last."""
        return self.session.result

    def compose(self) -> ComposeResult:
        """What is asked, how far it is, and what was found."""
        yield TextLine(id="setup")
        yield TextLine(id="progress")
        yield Banner(id="banner")
        yield SweepView(ascii_only=self._ascii, id="view")
        yield KeyBar(ascii_only=self._ascii, id="keys")

    def on_mount(self) -> None:
        """Paint first; nothing is started unasked."""
        self._changed.subscribe(self, lambda _: self._draw())
        self._clock = self.set_interval(1 / RATE, self._tick, pause=True)
        self.call_after_refresh(self._tick)

    # --- the clock --------------------------------------------------------------------------------

    def _wake(self) -> None:
        """Something arrived: take it at the next tick, or say so where another screen is shown."""
        if self._clock is not None and self.is_current:
            self._clock.resume()
        elif not self._client.running:
            self.app.notify("The sweep has ended. Press 2 for what it found.")

    def _tick(self) -> None:
        while self._client.incoming:
            before = self.session.result
            self.session.receive(self._client.incoming.popleft())
            self._follow(before)
        self._beat += 1
        self._draw()
        if self._clock is not None and not self.session.under_way:
            self._clock.pause()

    def _follow(self, before: Result | None) -> None:
        """A new sweep has a new cursor; a verdict takes it to what is recommended, unless it was moved by hand."""
        result = self.session.result
        if result is not before:
            self.cursor, self._moved = Cursor(metric=self.cursor.metric), False
        wanted = recommended(result) if result is not None else None
        if result is not None and wanted is not None and not self._moved:
            self.cursor = self.cursor.inside(result).at(result, *wanted)

    @on(events.ScreenSuspend)
    def _sleep(self) -> None:
        if self._clock is not None:
            self._clock.pause()

    @on(events.ScreenResume)
    def _go_on(self) -> None:
        if self._clock is not None:
            self._clock.resume()

    def draw_result(self) -> None:
        """Everything depends on the size of the screen."""
        self._draw()

    def _draw(self) -> None:
        session, width = self.session, self.size.width - 2
        line = self.query_one("#setup", TextLine)
        settings = self._preferences.current
        if session.result is None:
            line.show(asked_line(settings, width, self._marks))
        elif not session.under_way and self._asked != new_sweep(settings):
            line.show(asked_line(settings, width, self._marks, lead="next: "))
        else:
            line.show(plan_line(session.result, width, self._marks))
        words = progress_line(session, monotonic(), self._beat, width, self._marks)
        self.query_one("#progress", TextLine).show(words)
        self.query_one(Banner).show(session.error)
        super().draw_result()

    # --- start and stop ---------------------------------------------------------------------------

    async def action_run_or_stop(self) -> None:
        """Start what the line on top shows, or stop what is under way; going on has a key of its own."""
        if self.session.under_way:
            self.action_stop()
        else:
            await self._begin(None)

    async def action_new(self) -> None:
        """Start from nothing."""
        if self.session.under_way:
            self.notify("A sweep is under way; x stops it first.")
        else:
            await self._begin(None)

    async def action_resume(self) -> None:
        """Go on with what is on screen."""
        if self.session.unfinished:
            await self._begin(self.session.result)
        else:
            self.notify("There is no unfinished sweep here. Kept ones are on screen 5.")

    async def resume(self, name: str) -> None:
        """Go on with the kept sweep of that name."""
        if self.session.under_way:
            self.notify("Another sweep is under way; x stops it first.", severity="warning")
            return
        try:
            await self._begin(store.read(name))
        except FastdraftError as error:
            self.notify(error.message, severity="error", markup=False, timeout=10)

    def action_stop(self) -> None:
        """Ask it to end after the run in progress; the second time at once."""
        if not self.session.under_way:
            self.notify("No sweep is under way. Space starts one.")
            return
        self.session.stop()
        self._client.ask_to_stop()
        self._draw()

    async def _begin(self, result: Result | None) -> None:
        settings = self._preferences.current
        if result is None and not drafts_of(settings):
            self.notify("A sweep needs a draft: press d.", severity="warning")
            return
        if result is None:
            self._asked = new_sweep(settings)
        elif result is not self.session.result:
            self._asked = None
        self.session.start(monotonic(), result)
        self._draw()
        cancelled = await self._rest()
        if cancelled:
            self.notify("The live run was cancelled: nothing else may use the processor while a sweep is timed.")
        arguments = new_sweep(settings) if result is None else resumed_sweep(result, settings)
        try:
            await self._client.start(arguments, self._wake)
        except OSError as error:
            self.session.fail(f"The sweep could not be started ({error.strerror or error}). Space tries again.")
        if self._clock is not None:
            self._clock.resume()
        self._tick()

    # --- what to measure --------------------------------------------------------------------------

    def action_choose(self) -> None:
        """Change what the next sweep measures."""
        self._choose(CHOICES, "The next sweep")

    def action_draft(self) -> None:
        """Add a draft to the next sweep, or take one away."""
        settings = self._preferences.current
        among = drafts_of(settings)
        title = f"Drafts of the next sweep: {', '.join(among) or 'none'}"
        hint = "a draft to add; one that is among them is taken away"
        source = model_source(drafts=True)
        self.app.push_screen(PickerScreen(title, source, hint=hint, empty="no such model here"), self._take_draft)

    def _take_draft(self, name: str | None) -> None:
        if name in (None, OFF):
            return
        assert name is not None
        if drafts_of(self._preferences.current) == [name]:
            self.notify("A sweep needs a draft: add another one, then this one can be taken away.", severity="warning")
            return
        self.post_message(SettingsChanged({"sweep_drafts": with_draft(self._preferences.current, name)}))
        self.call_after_refresh(lambda: self.notify(f"Drafts of the next sweep: {self._next_drafts()}", markup=False))

    def _next_drafts(self) -> str:
        return ", ".join(drafts_of(self._preferences.current)) or "none"
