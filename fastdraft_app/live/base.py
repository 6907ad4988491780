"""What every part of the live screen shares: the session, the engine and one clock."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from time import monotonic

from textual import events, on
from textual.screen import Screen
from textual.signal import Signal
from textual.timer import Timer

from fastdraft_app.client.engine import EngineClient, EngineStopped
from fastdraft_app.history import remember_models, remember_prompt
from fastdraft_app.live import prompts, recordings
from fastdraft_app.live.playback import Playback
from fastdraft_app.live.session import BUSY, Phase, Session
from fastdraft_app.settings.preferences import Preferences
from fastdraft_app.settings.settings import Changes, Settings
from fastdraft_app.theme.palette import marks
from fastdraft_core import places
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Message, PairLoaded
from fastdraft_core.recordings import Recorded, read_recording

BUSY_RATE = 6.0
"""Repaints a second while the engine works: enough to see it live, too few to disturb it."""

INTRO_RATE = 15.0
"""Repaints a second of a recording while the models load: the loading needs the processor more."""


class LiveBase(Screen[None]):
    """Feeds the session from the engine and ticks; the groups of actions and the drawing build on it."""

    def __init__(
        self,
        engine: EngineClient,
        preferences: Preferences,
        changed: Signal[Changes],
        replay: Recorded | None = None,
        sweeping: Callable[[], bool] = lambda: False,
    ) -> None:
        """``sweeping`` says whether a sweep is timed, which nothing here may disturb."""
        super().__init__()
        settings = preferences.current
        self._preferences = preferences
        self._sweeping = sweeping
        self.live = Session()
        """What the engine makes."""
        self.playback = Playback(replay, settings) if replay is not None else None
        """The recording that is shown in its place."""
        self.settings = self.playback.settings if self.playback is not None else settings
        """What the next live run is made with."""
        # Such a recording brings a gamma of its own.
        self._began_with_recording = replay is not None
        self._engine = engine
        self._changed = changed
        self._presets = prompts.presets(places.assets())
        self._intro = itertools.cycle(recordings.bundled() if settings.intro and replay is None else ())
        self._ascii = settings.ascii
        self._marks = marks(self._ascii)
        self._clock: Timer | None = None
        self._rate = 0.0
        self._last = monotonic()
        self._beat = 0

    @property
    def session(self) -> Session:
        """What is shown: a recording or the live run."""
        return self.playback.session if self.playback is not None else self.live

    @property
    def shown_settings(self) -> Settings:
        """The settings of what is shown."""
        return self.playback.settings if self.playback is not None else self._complete(self.settings)

    def _complete(self, settings: Settings) -> Settings:
        return replace(settings, prompt=settings.prompt or self._presets[0].text)

    def on_mount(self) -> None:
        """Paint first, then start the engine, unless a recording was asked for."""
        self.add_class("-first-load")
        if self.playback is not None:
            self.call_after_refresh(self._tick)
            return
        self.live.start(monotonic())
        self._next_intro()
        self.call_after_refresh(self._start_engine)

    def _next_intro(self) -> None:
        """Play the next bundled recording while the first models load; one that cannot be read is left out."""
        path = next(self._intro, None)
        with suppress(FastdraftError):
            self.playback = None if path is None else Playback(read_recording(path), self.settings, intro=True)

    @property
    def timed(self) -> str:
        """What nothing else on this machine may disturb now, in words; empty for nothing."""
        if self._sweeping():
            return "a sweep is being timed"
        # While another screen is shown, what the engine says waits here.
        if not self._engine.running or not self.live.still_busy(self._engine.incoming):
            return ""
        return "models are being loaded" if self.live.phase is Phase.LOADING else "a live run is being timed"

    # --- the engine ---------------------------------------------------------------------------

    async def _start_engine(self) -> None:
        self.live.start(monotonic())
        try:
            await self._engine.start(self._wake)
        except OSError as error:
            self.live.fail(f"The engine could not be started ({error}). Press r to try again.")
        else:
            if self._sweeping():
                await self.rest()
            else:
                self._load()
        self._tick()

    async def rest(self) -> bool:
        """Leave processor and memory to a sweep; whether that called a run off."""
        timing = self.live.phase is Phase.TIMING
        if self._engine.running:
            await self._engine.stop()
            self.live.rest()
        return timing

    async def run_settings(self) -> None:
        """Run the present settings, in place of any recording, with a fresh engine where there is none."""
        self.playback = None
        if not self._engine.running:
            await self._start_engine()

    def _load(self) -> None:
        self.live.load()
        self._engine.send(self.settings.load())

    def _run(self) -> None:
        """A live run, shown in place of any recording."""
        self.playback = None
        self.live.run()
        self._engine.send(self._complete(self.settings).run())

    def _wake(self) -> None:
        """Something arrived: make sure that the clock will take it."""
        if self._clock is None and self.is_current:
            self._set_rate(BUSY_RATE)

    # --- the clock ----------------------------------------------------------------------------

    def _tick(self) -> None:
        """Take what arrived, move the replay, draw, and choose the next pace."""
        now = monotonic()
        elapsed, self._last = now - self._last, now
        self.session.advance(elapsed)
        while self._engine.incoming:
            self._receive(self._engine.incoming.popleft(), now)
        if self.playback is not None and self.playback.intro:
            self._go_on_with_intro(elapsed)
        self._beat += 1
        self._draw(now)
        self._set_rate(self._pace())

    def _receive(self, message: Message | EngineStopped, now: float) -> None:
        self.live.receive(message, now)
        if isinstance(message, PairLoaded) and self.live.phase is Phase.READY:
            self._loaded()

    def _loaded(self) -> None:
        """The pair is there: run it, unless somebody looks at a recording and would disturb the timing."""
        self._remember_prompt()
        remember_models(places.history(), [self.settings.target, self.settings.draft if self.live.speculating else ""])
        if self.playback is None or self.playback.intro:
            self._run()

    def _remember_prompt(self) -> None:
        """Keep a prompt of the user's own for the editor's list; the presets are there anyway."""
        if self.settings.prompt not in [preset.text for preset in self._presets]:
            remember_prompt(places.history(), self.settings.prompt)

    def _go_on_with_intro(self, elapsed: float) -> None:
        assert self.playback is not None
        if self.live.phase is not Phase.LOADING:
            self.playback = None
        elif self.playback.over(elapsed):
            self._next_intro()

    def _pace(self) -> float:
        fps = min(self.settings.fps, BUSY_RATE) if self._sweeping() else self.settings.fps
        if self.session.phase is Phase.PLAYING:
            return min(INTRO_RATE, fps) if self.playback is not None and self.playback.intro else fps
        busy = self.live.phase in BUSY and self._engine.running
        return min(BUSY_RATE, fps) if busy else 0.0

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

    @on(events.ScreenResume)
    def _go_on(self) -> None:
        self._last = monotonic()
        if self.live.resting and not self._sweeping():
            self.call_after_refresh(self._start_engine)
        self.call_after_refresh(self._tick)

    # --- what cannot be done now --------------------------------------------------------------

    def hindrance(self, action: str) -> str:
        """Why ``action`` can do nothing at the moment, in words for a person; empty where it can."""
        return ""

    def _hindered(self, action: str) -> bool:
        """Whether ``action`` can do nothing now; says why."""
        why = self.hindrance(action)
        if why:
            self.notify(why)
        return bool(why)

    def _draw(self, now: float) -> None:
        """Show the session as it is at ``now``."""
        raise NotImplementedError
