"""A recording on the live screen: it goes through a session of its own, as a live run does."""

from __future__ import annotations

from fastdraft_app.live.recordings import machine_words
from fastdraft_app.live.replay import MODES
from fastdraft_app.live.session import Phase, Session
from fastdraft_app.settings.settings import Settings
from fastdraft_core.events import RunStarted
from fastdraft_core.recordings import Recorded

PAUSE_SECONDS = 2.5
"""How long the end of a recording stays before the next one begins, while the models load."""


class Playback:
    """``session`` is what the recording makes, ``settings`` what it was made with.

    ``intro`` marks one that fills the time until the models are loaded.
    """

    def __init__(self, recorded: Recorded, settings: Settings, *, intro: bool = False) -> None:
        self.recorded = recorded
        self.session = _session(recorded)
        self.settings = settings.as_recorded(recorded.header.load, recorded.header.run)
        self.intro = intro
        self._ended = 0.0

    def over(self, elapsed: float) -> bool:
        """Whether the end has been in sight for long enough, ``elapsed`` seconds after the last call."""
        self._ended += elapsed if self.session.phase is Phase.DONE else 0.0
        return self._ended > PAUSE_SECONDS

    @property
    def machine(self) -> str:
        """Which machine it was made on, and when."""
        return machine_words(self.recorded.header)

    @property
    def speed(self) -> str:
        """How fast it plays, in words."""
        return "at its true speed" if self.session.player.speed == 1 else "in slow motion"

    def remark(self, activity: str) -> str:
        """What else there is to say: what the engine here is at (``activity``), what is missing, what to press."""
        if self.intro:
            return f"here: {activity}"
        return self.recorded.problem or "r decodes here"


def _session(recorded: Recorded) -> Session:
    session = Session()
    session.load()
    for event in recorded.events:
        if isinstance(event, RunStarted) and event.mode == MODES[0]:
            session.run()
        session.receive(event, 0.0)
    if session.phase is not Phase.PLAYING:
        # Cancelled, failed or cut short: what there is plays, too.
        session.replay()
    return session
