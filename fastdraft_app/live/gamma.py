"""The gamma that a kept sweep found to be the fastest, for whoever has chosen none. Without a screen."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import asdict

from fastdraft_app.settings.preferences import Preferences
from fastdraft_app.settings.settings import GAMMA_RANGE, OFF, Settings
from fastdraft_core.events import Load
from fastdraft_core.models.catalog import lasting
from fastdraft_core.models.draft_spec import lasting_draft

if TYPE_CHECKING:
    from fastdraft_core.results.advice import Advice

USUAL = "gamma {gamma}, the usual one: no kept sweep of this machine has this pair at this temperature"

logger = logging.getLogger(__name__)


class _Question(NamedTuple):
    """What an answer depends on, and the gamma that it is to replace."""

    load: Load
    temperature: float
    gamma: int


class _Answer(NamedTuple):
    question: _Question
    advice: Advice


class CalibratedGamma:
    """Looks into the kept sweeps, in a thread, as long as nobody has chosen a gamma.

    The answer to the last question waits here until it is taken; ``arrived`` is called when it is there.
    """

    def __init__(self, preferences: Preferences, arrived: Callable[[], None], *, recorded: bool) -> None:
        """A session that began with a recording (``recorded``) keeps the gamma of that."""
        self._preferences = preferences
        self._arrived = arrived
        self._recorded = recorded
        self._looking: asyncio.Task[None] | None = None
        self._answer: _Answer | None = None
        self._told = ""

    def free(self, settings: Settings) -> bool:
        """Whether gamma is nobody's choice and matters."""
        chosen = self._recorded or self._preferences.chosen("gamma")
        return not chosen and settings.draft not in ("", OFF)

    def ask(self, settings: Settings, cpu: str) -> None:
        """Look for the pair and the temperature of ``settings`` on the processor ``cpu``; forget an earlier question."""
        if not self.free(settings):
            return
        if self._looking is not None:
            self._looking.cancel()
        self._looking = asyncio.get_running_loop().create_task(self._look(_question(settings), cpu), name="gamma")

    async def _look(self, question: _Question, cpu: str) -> None:
        try:
            advice = await asyncio.to_thread(_advice, question, cpu)
        except Exception:
            # The kept sweeps are a convenience; whatever is wrong with them, the session goes on with its gamma.
            logger.exception("the kept sweeps could not be searched for a gamma")
            return
        if advice.gamma <= GAMMA_RANGE[1]:
            self._answer = _Answer(question, advice)
            self._arrived()

    def take(self, settings: Settings) -> Advice | None:
        """The answer that has come, once; None where the question is another one by now or gamma was chosen."""
        if self._answer is None:
            return None
        (question, advice), self._answer = self._answer, None
        return advice if self.free(settings) and question == _question(settings) else None

    def news(self, advice: Advice) -> str:
        """Where the gamma of ``advice`` comes from, in words; empty where that was the last thing said."""
        if advice.words == self._told:
            return ""
        self._told = advice.words
        return advice.words or USUAL.format(gamma=advice.gamma)


def _question(settings: Settings) -> _Question:
    return _Question(settings.load(), settings.temperature, settings.gamma)


def _advice(question: _Question, cpu: str) -> Advice:
    from fastdraft_core.results.advice import calibrated_gamma

    load = question.load
    return calibrated_gamma(lasting(load.target), lasting_draft(load.draft), question.temperature, cpu, asdict(load))
