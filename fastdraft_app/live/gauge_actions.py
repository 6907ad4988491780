"""The gauges of the live screen: from the session to what they show, and what the engine takes of the machine."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events, on
from textual.timer import Timer

from fastdraft_app.client.system import Usage, UsageMonitor
from fastdraft_app.live.base import LiveBase
from fastdraft_app.live.gauge_panel import GaugePanel
from fastdraft_app.live.session import Phase, Session
from fastdraft_app.widgets.gauges import GaugeState, Load, Memory

POLL_SECONDS = 1.0
"""Between two looks at the engine process."""

GAUGE_RATE = 8.0
"""Repaints of the gauges a second while a run is replayed: faster than one reads, and little for a slow line."""


class Gauges(LiveBase):
    """Draws the gauges and asks after the engine process, both only while they can be seen."""

    _usage: UsageMonitor
    _poll_timer: Timer

    def on_mount(self) -> None:
        """Begin to look at the engine."""
        self._usage = UsageMonitor()
        self._poll_timer = self.set_interval(POLL_SECONDS, self._poll)

    def _poll(self) -> None:
        self._usage.poll(self._engine.pid)
        self._draw_gauges()

    @on(events.ScreenSuspend)
    def _stop_polling(self) -> None:
        self._poll_timer.pause()

    @on(events.ScreenResume)
    def _poll_again(self) -> None:
        self._poll_timer.resume()

    def _draw_gauges(self) -> None:
        if self.session.phase is Phase.PLAYING and self._beat % max(round(self._rate / GAUGE_RATE), 1):
            return
        panel = self.query_one(GaugePanel)
        if panel.display:
            samples = () if self.playback is not None else self._usage.samples
            panel.show(gauge_state(self.session, self.shown_settings.gamma, tuple(samples)))


def gauge_state(session: Session, gamma: int, samples: Sequence[Usage]) -> GaugeState:
    """The gauges at this moment; ``gamma`` is that of the next run, shown until there is one."""
    track, peak, compared = session.track("sd"), session.peak, session.recording.compared
    joint, conditional = session.by_position()
    return GaugeState(
        slow=session.figures("ar"),
        fast=session.figures("sd"),
        gamma=track.started.gamma if track is not None else gamma,
        speculating=session.pair is None or session.speculating,
        first=(_first(session, "ar"), _first(session, "sd")),
        seconds=session.recording.seconds,
        history=session.history,
        joint=joint,
        conditional=conditional,
        cost=compared.cost if compared is not None else None,
        memory=None
        if peak is None
        else Memory(peak.gigabytes_per_second, peak.lower_bound, cache_bound=session.cache_bound()),
        load=Load([sample.memory for sample in samples], [sample.cpu for sample in samples]),
    )


def _first(session: Session, mode: str) -> float | None:
    track = session.track(mode)
    return track.first.prefill_seconds if track is not None and track.first is not None else None
