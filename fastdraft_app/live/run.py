"""The keys that start, hold and end a run."""

from __future__ import annotations

from time import monotonic

from fastdraft_app.live.base import LiveBase
from fastdraft_app.live.session import Phase
from fastdraft_core.events import Cancel


class RunActions(LiveBase):
    """Run, pause, restart, cancel."""

    def action_run_or_pause(self) -> None:
        """Pause or go on; replay after the end; cancel while timing."""
        match self.session.phase:
            case Phase.TIMING:
                self._cancel()
            case Phase.PLAYING:
                self.session.phase = Phase.PAUSED
            case Phase.PAUSED:
                self._last = monotonic()
                self.session.phase = Phase.PLAYING
            case Phase.DONE:
                self._last = monotonic()
                self.session.replay()
            case Phase.CANCELLED | Phase.READY:
                self._run()
        self._tick()

    async def action_restart(self) -> None:
        """Run again, in place of any recording; where the engine is gone or has no pair, get it there first."""
        if self._sweeping():
            self.notify("A sweep is being timed. Press 2 for it; x stops it.")
        elif not self._engine.running:
            self.playback = None
            await self._start_engine()
        elif self.live.phase is Phase.LOADING:
            self.notify("The models are still being loaded.")
        elif self.live.pair is None:
            self.playback = None
            self._load()
        else:
            self._run()
        self._tick()

    def action_cancel(self) -> None:
        """Call the run in progress off, or leave the recording."""
        if self.playback is not None and self._engine.running:
            self.playback = None
        elif self.session.phase is Phase.TIMING:
            self._cancel()
        self._tick()

    def _cancel(self) -> None:
        self._engine.send(Cancel())
        self.live.cancel()
