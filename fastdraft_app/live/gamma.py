"""The gamma that a kept sweep found to be the fastest, for whoever has chosen none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from textual import events, on, work
from textual.message import Message as ScreenMessage
from textual.worker import get_current_worker

from fastdraft_app.client.engine import EngineStopped
from fastdraft_app.live.choose import ChoiceActions
from fastdraft_app.live.session import REPLAY, Phase
from fastdraft_app.settings.settings import GAMMA_RANGE, OFF, Changes, Settings
from fastdraft_core.events import Machine, Message
from fastdraft_core.models.catalog import lasting

if TYPE_CHECKING:
    from fastdraft_core.results.advice import Advice

USUAL = "gamma {gamma}, the usual one: no kept sweep of this machine has this pair at this temperature"


class CalibratedGamma(ChoiceActions):
    """Looks into the kept sweeps, in a thread, for every pair and temperature, as long as nobody has chosen a gamma."""

    @dataclass
    class Advised(ScreenMessage):
        """What the kept sweeps say of the pair and the temperature of the settings ``asked``."""

        asked: Settings
        advice: Advice

    _advised: Advised | None = None
    _told = ""

    def _load(self) -> None:
        """Load the present settings; meanwhile there is time to look."""
        super()._load()
        self._ask()

    def _receive(self, message: Message | EngineStopped, now: float) -> None:
        super()._receive(message, now)
        # The processor is known now; the first pair takes longer to load than this.
        if isinstance(message, Machine):
            self._ask()

    def _take_changes(self, changes: Changes) -> None:
        super()._take_changes(changes)
        # A gamma that was set back to its default is nobody's choice any more.
        if "temperature" in changes or "gamma" in changes:
            self._ask()

    @property
    def _free(self) -> bool:
        """Whether gamma is nobody's choice and matters."""
        chosen = self._began_with_recording or self._preferences.chosen("gamma")
        return not chosen and self.settings.draft not in ("", OFF)

    def _ask(self) -> None:
        if self._free and self.live.machine is not None:
            self._look(self.settings, self.live.machine.cpu)

    @work(thread=True, exclusive=True, group="gamma", exit_on_error=False)
    def _look(self, asked: Settings, cpu: str) -> None:
        from fastdraft_core.results.advice import calibrated_gamma

        advice = calibrated_gamma(lasting(asked.target), lasting(asked.draft), asked.temperature, cpu)
        if not get_current_worker().is_cancelled and advice.gamma <= GAMMA_RANGE[1]:
            self.post_message(self.Advised(asked, advice))

    @on(Advised)
    def _hear(self, event: Advised) -> None:
        self._advised = event
        self._heed()

    @on(events.ScreenResume)
    def _heed_late(self) -> None:
        """Under a dialog, which may be the one with the settings, gamma stays as it is."""
        self.call_after_refresh(self._heed)

    def _heed(self) -> None:
        """Take the gamma of the last answer, unless the question is another one by now, and say where it comes from."""
        if self._advised is None or self.app.screen is not self:
            return
        event, self._advised = self._advised, None
        if not self._free or _question(event.asked) != _question(self.settings):
            return
        gamma, words = event.advice
        if words != self._told:
            self._told = words
            self.notify(words or USUAL.format(gamma=gamma), markup=False, timeout=10)
        if gamma != self.settings.gamma:
            self._calibrate(gamma)

    def _calibrate(self, gamma: int) -> None:
        settings = replace(self.settings, gamma=gamma)
        self._preferences.advise({"gamma": gamma})
        if self.playback is None and self.live.phase in (Phase.TIMING, *REPLAY):
            self._use(settings)
        else:
            # What comes next runs with it; a recording that is shown goes on.
            self.settings = settings
            self._tick()


def _question(settings: Settings) -> tuple[str, str, float, int]:
    """What an answer depends on, and the gamma that it is to replace."""
    return settings.target, settings.draft, settings.temperature, settings.gamma
