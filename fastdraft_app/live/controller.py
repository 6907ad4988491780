"""The live session without a screen: the engine, the settings of the next run, and a recording in its place.

A screen calls :meth:`LiveController.tick` at the pace of :attr:`LiveController.pace`, shows ``session``, and is told
through :class:`LiveView` of what happens between two ticks. Nothing here draws or imports Textual.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Literal, Protocol, get_args

from msgspec import structs

from fastdraft_app.client.engine import EngineClient, EngineStopped
from fastdraft_app.live import prompts, recordings
from fastdraft_app.live.gamma import CalibratedGamma
from fastdraft_app.live.playback import Playback
from fastdraft_app.live.prompts import Asked, Preset
from fastdraft_app.live.session import BUSY, REPLAY, Phase, Session
from fastdraft_app.settings.preferences import Preferences
from fastdraft_app.settings.settings import OFF, Changes, Settings
from fastdraft_core import places
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Cancel, Exchange, Machine, Message, PairLoaded
from fastdraft_core.history import read_history, remember_models, remember_prompt
from fastdraft_core.models.catalog import SMOLLM2, bundled_drafts, first_pair
from fastdraft_core.recordings import Recorded, read_recording

BUSY_RATE = 6.0
"""Repaints a second while the engine works: enough to see it live, too few to disturb it."""

INTRO_RATE = 15.0
"""Repaints a second of a recording while the models load: the loading needs the processor more."""

DEBOUNCE_SECONDS = 0.4
"""From the last of several quick changes to the run with all of them."""

AT_ONCE_SECONDS = 0.01
ADVICE_SECONDS = 10.0
"""How long it stays on screen where a gamma comes from."""

Waiting = Literal["step", "slow", "export", "copy", "ask"]
"""The actions that need a run."""
WAITING: tuple[Waiting, ...] = get_args(Waiting)


class LiveView(Protocol):
    """What the controller needs of whoever shows the session."""

    @property
    def in_front(self) -> bool:
        """Whether the session is looked at, with no dialog over it."""

    def wake(self) -> None:
        """Something arrived: tick soon."""

    def changed(self) -> None:
        """Something took effect: tick now."""

    def tell(self, words: str, seconds: float | None = None) -> None:
        """Show ``words`` for some seconds, by default as long as any notice."""

    def remember(self, changes: Changes) -> None:
        """The user chose ``changes``: they hold from now on, in every screen and in the next session."""


class LiveController:
    """Feeds the session from the engine, starts runs, and takes changes of the settings.

    A change takes effect shortly after the last of several quick ones.
    """

    def __init__(
        self,
        engine: EngineClient,
        preferences: Preferences,
        view: LiveView,
        replay: Recorded | None = None,
        sweeping: Callable[[], bool] = lambda: False,
    ) -> None:
        """``replay`` is shown in place of a live run; ``sweeping`` says whether a sweep is timed, which nothing may disturb."""
        settings = preferences.current
        self.live = Session()
        """What the engine makes."""
        self.playback = Playback(replay, settings) if replay is not None else None
        """The recording that is shown in its place."""
        self.settings = self.playback.settings if self.playback is not None else settings
        """What the next live run is made with."""
        self._texts, self._questions = prompts.presets(places.assets()), prompts.questions(places.assets())
        self._earlier: tuple[Exchange, ...] = ()
        self._engine = engine
        self._preferences = preferences
        self._view = view
        self.sweeping = sweeping
        """Whether a sweep is timed."""
        self._intro = itertools.cycle(recordings.bundled() if settings.intro and replay is None else ())
        # A recording that was asked for brings a gamma of its own.
        self._gamma = CalibratedGamma(preferences, view.wake, recorded=replay is not None)
        self._debounce: asyncio.TimerHandle | None = None
        self._reload = False
        self._last = monotonic()

    # --- what is shown --------------------------------------------------------------------------------

    @property
    def session(self) -> Session:
        """What is shown: a recording or the live run."""
        return self.playback.session if self.playback is not None else self.live

    @property
    def shown_settings(self) -> Settings:
        """The settings of what is shown."""
        return self.playback.settings if self.playback is not None else self._complete(self.settings)

    @property
    def shown_recording(self) -> Recorded | None:
        """Every event of what is shown; None before there is a run."""
        if self.playback is not None:
            return self.playback.recorded
        return self._engine.recorder.recorded if self._engine.recorder is not None else None

    @property
    def timed(self) -> str:
        """What nothing else on this machine may disturb now, in words; empty for nothing."""
        if self.sweeping():
            return "a sweep is being timed"
        # While another screen is shown, what the engine says waits here.
        if not self._engine.running or not self.live.still_busy(self._engine.incoming):
            return ""
        return "models are being loaded" if self.live.phase is Phase.LOADING else "a live run is being timed"

    def hindrance(self, action: Waiting) -> str:
        """Why ``action`` can do nothing at the moment, in words for a person; empty where it can."""
        match action:
            case "step" | "slow" if not self.session.replayable:
                busy = self.session.phase in BUSY
                return "The run is timed at its true speed first." if busy else "There is nothing to play yet."
            case "copy" if not self.session.recording.tracks:
                return "There is nothing to copy yet."
            case "export" if self.shown_recording is None:
                return "There is nothing to export yet. Press r to run."
            case "ask" if not self.asking:
                return "Only a target with a chat template is asked; m chooses one."
            case "ask" if not self._turns():
                return "There is no answer yet that a next turn could follow."
        return ""

    def _complete(self, settings: Settings) -> Settings:
        return replace(settings, prompt=settings.prompt or self.presets[0].text)

    # --- conversations --------------------------------------------------------------------------------

    @property
    def chats(self) -> bool:
        """Whether the loaded target has a chat template."""
        return self.live.pair is not None and self.live.pair.chat

    @property
    def asking(self) -> bool:
        """Whether prompts are questions to the target, not texts to continue."""
        return self.chats and self.settings.prompt_form == "template"

    @property
    def presets(self) -> list[Preset]:
        """The prompts to choose from; the first one is what is decoded where nobody chose any."""
        if not self.chats:
            return self._texts
        return [*self._questions, *self._texts] if self.asking else [*self._texts, *self._questions]

    @property
    def asked(self) -> Asked:
        """What is decoded, for a dialog that begins anew."""
        settings = self.shown_settings
        return Asked(settings.prompt, settings.prompt_form, settings.system)

    @property
    def next_turn(self) -> Asked:
        """The conversation on screen, for a dialog that goes on with it."""
        return Asked("", "template", self.settings.system, self._turns())

    def _turns(self) -> tuple[Exchange, ...]:
        """The conversation with its last answer; empty before there is one of this machine and hour."""
        track = self.live.track("sd") or self.live.track("ar")
        if self.playback is not None or self.live.phase in BUSY or track is None or track.finished is None:
            return ()
        if not track.started.chat:
            return ()
        return (*self._earlier, Exchange(track.started.prompt, track.finished.text, track.finished.ids))

    def ask(self, asked: Asked) -> None:
        """Decode what a dialog returned."""
        settings = replace(self.settings, prompt=asked.prompt, prompt_form=asked.form, system=asked.system)
        self.change(settings, at_once=True)
        if self.settings == settings:
            # The run is yet to begin.
            self._earlier = asked.earlier
            self.remember_prompt()

    # --- the clock ------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Take what arrived and move the replay on by the time since the last tick."""
        now = monotonic()
        elapsed, self._last = now - self._last, now
        self.session.advance(elapsed)
        while self._engine.incoming:
            self._receive(self._engine.incoming.popleft(), now)
        if self.playback is not None and self.playback.intro:
            self._go_on_with_intro(elapsed)
        self._heed_advice()

    @property
    def pace(self) -> float:
        """Ticks a second that the present state is worth; 0 where nothing moves."""
        fps = min(self.settings.fps, BUSY_RATE) if self.sweeping() else self.settings.fps
        if self.session.phase is Phase.PLAYING:
            return min(INTRO_RATE, fps) if self.playback is not None and self.playback.intro else fps
        busy = self.live.phase in BUSY and self._engine.running
        return min(BUSY_RATE, fps) if busy else 0.0

    def skip_time(self) -> None:
        """The time since the last tick is no time of the replay, which stood still."""
        self._last = monotonic()

    def _receive(self, message: Message | EngineStopped, now: float) -> None:
        self.live.receive(message, now)
        if isinstance(message, PairLoaded) and self.live.phase is Phase.READY:
            self._loaded()
        # The processor is known now; the first pair takes longer to load than looking into the kept sweeps.
        if isinstance(message, Machine):
            self._ask_for_gamma()

    def _loaded(self) -> None:
        """The pair is there: run it, unless somebody looks at a recording and would disturb the timing."""
        self.remember_prompt()
        remember_models(places.history(), [self.settings.target, self.settings.draft if self.live.speculating else ""])
        if self.playback is None or self.playback.intro:
            self.run()

    # --- recordings -----------------------------------------------------------------------------------

    def play(self, path: Path) -> None:
        """Show the recording at ``path``; a run that is being timed is called off, since drawing would disturb it.

        Raises:
            FastdraftError: it cannot be read.
        """
        recorded = read_recording(path)
        if self.live.phase is Phase.TIMING:
            self._call_off()
        self.playback = Playback(recorded, self.settings)

    def _next_intro(self) -> None:
        """Play the next bundled recording while the first models load; one that cannot be read is left out."""
        path = next(self._intro, None)
        with suppress(FastdraftError):
            self.playback = None if path is None else Playback(read_recording(path), self.settings, intro=True)

    def _go_on_with_intro(self, elapsed: float) -> None:
        assert self.playback is not None
        if self.live.phase is not Phase.LOADING:
            self.playback = None
        elif self.playback.over(elapsed):
            self._next_intro()

    # --- the engine -----------------------------------------------------------------------------------

    def open(self) -> bool:
        """Have something for the first picture; whether an engine is wanted, which a recording asked for does without."""
        if self.playback is not None:
            return False
        self.live.start(monotonic())
        self._next_intro()
        return True

    async def start(self) -> None:
        """Start a fresh engine and load the pair, or let it rest while a sweep is timed."""
        self.live.start(monotonic())
        try:
            await self._engine.start(self._view.wake)
        except OSError as error:
            self.live.fail(f"The engine could not be started ({error}). Press r to try again.")
        else:
            if self.sweeping():
                await self.rest()
            else:
                self.load()
        self._view.changed()

    async def rest(self) -> bool:
        """Leave processor and memory to a sweep; whether that called a run off."""
        timing = self.live.phase is Phase.TIMING
        if self._engine.running:
            await self._engine.stop()
            self.live.rest()
        return timing

    @property
    def rested(self) -> bool:
        """Whether the engine was ended for a sweep that is over by now."""
        return self.live.resting and not self.sweeping()

    async def run_settings(self) -> None:
        """Run the present settings, in place of any recording, with a fresh engine where there is none."""
        self.playback = None
        if not self._engine.running:
            await self.start()

    def load(self) -> None:
        """Load the present settings; a load that was about to come is this one."""
        self._reload = False
        if self._debounce is not None:
            self._debounce.cancel()
        self.live.load()
        self._engine.send(self.settings.load())
        # Meanwhile there is time to look.
        self._ask_for_gamma()

    # --- runs -----------------------------------------------------------------------------------------

    def run(self) -> None:
        """A live run, shown in place of any recording."""
        self.playback = None
        self.live.run()
        self._engine.send(structs.replace(self._complete(self.settings).run(), earlier=self._earlier))

    def run_or_pause(self) -> None:
        """Pause or go on; replay after the end; call off while timing."""
        match self.session.phase:
            case Phase.TIMING:
                self._call_off()
            case Phase.PLAYING:
                self.session.phase = Phase.PAUSED
            case Phase.PAUSED:
                self.skip_time()
                self.session.phase = Phase.PLAYING
            case Phase.DONE:
                self.skip_time()
                self.session.replay()
            case Phase.CANCELLED | Phase.READY if self.session.pair is not None:
                self.run()
            case Phase.CANCELLED:
                self._view.tell("No models are loaded. Press r to load them.")

    async def restart(self) -> None:
        """Run again, in place of any recording; where the engine is gone or has no pair, get it there first."""
        if self.sweeping():
            self._view.tell("A sweep is being timed. Press 2 for it; x stops it.")
        elif not self._engine.running:
            self.playback = None
            await self.start()
        elif self.live.phase is Phase.LOADING:
            self._view.tell("The models are still being loaded.")
        elif self.live.pair is None:
            self.playback = None
            self.load()
        else:
            self.run()

    async def cancel(self) -> None:
        """Call the run or the loading in progress off, or leave the recording."""
        if self.playback is not None and self._engine.running:
            self.playback = None
        elif self.session.phase is Phase.TIMING:
            self._call_off()
        elif self.session.phase is Phase.LOADING:
            # A library that reads or converts a model for minutes listens to nobody.
            await self._engine.stop()
            # What it said last may be that the pair is there.
            self._engine.incoming.clear()
            self.live.stop_loading()

    def _call_off(self) -> None:
        self._engine.send(Cancel())
        self.live.cancel()

    def slow_down(self) -> None:
        """Play at the next slower speed; after the slowest at the true one again."""
        if self.session.phase is not Phase.PLAYING:
            self.skip_time()
        self.session.slow_down()

    # --- settings -------------------------------------------------------------------------------------

    def drafts(self) -> list[str]:
        """Drafts to go through: of a target with bundled drafts those, else those given before; then none."""
        known = bundled_drafts(self.settings.target) or read_history(places.history()).models
        others = [name for name in known if name != self.settings.target]
        return [*others, *([self.settings.draft] if self.settings.draft not in (*others, OFF) else []), OFF]

    def take_arrival(self) -> str:
        """smollm2 is here now: open it with its draft, unless somebody has chosen a pair. Returns what to say."""
        target, draft = first_pair()
        if target != SMOLLM2:
            return f"{SMOLLM2} is here. No draft for it comes with this release: m takes it alone, 3 trains a draft for it."
        if self._preferences.chosen("target") or self._preferences.chosen("draft"):
            return f"{SMOLLM2} is here, with {draft}; m takes it."
        pair = {"target": target, "draft": draft}
        self._preferences.advise(pair)
        self._use(self.settings.with_changes(pair))
        return f"{SMOLLM2} is here, and loaded with {draft}. From now on the app opens on it; m has the bundled one."

    def remember_prompt(self) -> None:
        """Keep a prompt of the user's own for the editor's list; the presets are there anyway."""
        if self.settings.prompt not in [preset.text for preset in (*self._texts, *self._questions)]:
            remember_prompt(places.history(), self.settings.prompt)

    def change(self, settings: Settings, *, at_once: bool = False) -> None:
        """The user chose ``settings``: have them remembered and run them, ``at_once`` even where nothing changed."""
        if self.playback is not None and not self._engine.running:
            self._view.tell("This is a recording. Press r to decode on this machine first.")
            return
        changes = self.settings.changes_to(settings)
        if changes:
            self._view.remember(changes)
        if changes or at_once:
            self._use(settings, at_once=at_once)

    def follow(self, changes: Changes) -> None:
        """Take what was changed elsewhere, such as on the settings screen."""
        settings = self.settings.with_changes(changes)
        if settings != self.settings and self._use(settings):
            self._view.changed()
        # A gamma that was set back to its default is nobody's choice any more.
        if "temperature" in changes or "gamma" in changes:
            self._ask_for_gamma()

    def _use(self, settings: Settings, *, at_once: bool = False) -> bool:
        """Use ``settings`` from now on; whether that leads to another run."""
        old, self.settings = self.settings, settings
        if (settings.target, settings.prompt, settings.prompt_form) != (old.target, old.prompt, old.prompt_form):
            # What another target answered, or what another question followed, is no part of it.
            self._earlier = ()
        if self.playback is not None and not self._engine.running:
            return False
        self._reload = self._reload or settings.load() != old.load()
        if not (at_once or self._reload or settings.run() != old.run()):
            return False
        if self.playback is not None and not self.playback.intro:
            self.playback = None
        if self.live.phase is Phase.TIMING:
            self._call_off()
        if self._debounce is not None:
            self._debounce.cancel()
        seconds = AT_ONCE_SECONDS if at_once else DEBOUNCE_SECONDS
        self._debounce = asyncio.get_running_loop().call_later(seconds, self._apply)
        return True

    def _apply(self) -> None:
        reload, self._reload = self._reload, False
        if not self._engine.running:
            return
        if reload or (self.live.pair is None and self.live.phase is not Phase.LOADING):
            self.load()
        elif self.live.pair is not None:
            self.run()
        self._view.changed()

    # --- the calibrated gamma -------------------------------------------------------------------------

    def _ask_for_gamma(self) -> None:
        if self.live.machine is not None:
            self._gamma.ask(self.settings, self.live.machine.cpu)

    def _heed_advice(self) -> None:
        """Take the gamma of the last answer and say where it comes from.

        Under a dialog, which may be the one with the settings, gamma stays as it is.
        """
        advice = self._gamma.take(self.settings) if self._view.in_front else None
        if advice is None:
            return
        if words := self._gamma.news(advice):
            self._view.tell(words, ADVICE_SECONDS)
        if advice.gamma != self.settings.gamma:
            self._calibrate(advice.gamma)

    def _calibrate(self, gamma: int) -> None:
        settings = replace(self.settings, gamma=gamma)
        self._preferences.advise({"gamma": gamma})
        if self.playback is None and self.live.phase in (Phase.TIMING, *REPLAY):
            self._use(settings)
        else:
            # What comes next runs with it; a recording that is shown goes on.
            self.settings = settings
