"""What the live screen knows: the phase, the recording, the replay's clock. It draws nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

from fastdraft_app.client.engine import EngineStopped
from fastdraft_app.live.replay import MODES, NO_FIGURES, Figures, Mode, Player, Recording, Track
from fastdraft_app.live.time_buckets import AcceptanceByPosition, ByPosition, Slice, slices
from fastdraft_core.events import (
    Block,
    Compared,
    Failed,
    FirstToken,
    Machine,
    Message,
    PairLoaded,
    PeakBandwidth,
    Progress,
    RunFinished,
    RunStarted,
    cache_bound,
)
from fastdraft_core.formatting import context_room, percent


class Phase(Enum):
    """What is going on."""

    LOADING = "loading"
    READY = "ready"
    TIMING = "timing"
    PLAYING = "playing"
    PAUSED = "paused"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"
    STOPPED = "stopped"


BUSY = (Phase.LOADING, Phase.TIMING)
"""Phases in which the engine works and the app keeps quiet."""

REPLAY = (Phase.PLAYING, Phase.PAUSED, Phase.DONE)
"""Phases in which a whole comparison is on screen."""

Verdict = Literal["", "same", "tie", "differs", "alike"]
"""How the texts of both runs compare."""

RESTING = "A sweep has the processor for itself, so that its figures count; live runs wait until it ends."


@dataclass
class LoadStep:
    """One named step of loading, as far as it has come."""

    what: str
    begun: float
    ended: float | None = None
    share: float | None = None


@dataclass
class Session:
    """Takes the engine's messages and answers what to show."""

    phase: Phase = Phase.LOADING
    recording: Recording = field(default_factory=Recording)
    player: Player = field(default_factory=Player)
    pair: PairLoaded | None = None
    machine: Machine | None = None
    """What the engine runs on."""
    peak: PeakBandwidth | None = None
    """What the machine's memory can do, where that was measured."""
    steps: list[LoadStep] = field(default_factory=list)
    activity: str = ""
    """What the engine does at the moment, in its own words."""
    error: str = ""
    """What went wrong and what to do, or nothing."""
    resting: bool = False
    """Whether the engine was ended so that a sweep has the processor for itself."""
    _awaiting_run: bool = False
    _loads: int = 0
    _positions: ByPosition = field(default_factory=ByPosition)

    @property
    def warning(self) -> str:
        """Why speculation is off although a draft was asked for, or why it was slower; or nothing."""
        if self.pair is not None and self.pair.draft_problem:
            return f"Speculation is off: {self.pair.draft_problem}"
        compared = self.recording.compared
        return compared.slower if compared is not None and self.phase in REPLAY else ""

    @property
    def hint(self) -> str:
        """That speculation is off because nobody asked for it, and how to turn it on; or nothing."""
        if self.resting:
            return RESTING
        if room := self._room():
            return room
        if self.pair is None or self.speculating or self.pair.draft_problem:
            return ""
        return "Speculation is off: no draft was chosen. Press d for one."

    def _room(self) -> str:
        """That the context does not hold as many new tokens as were asked for; or nothing."""
        track = self.track("ar")
        if self.pair is None or track is None:
            return ""
        started = track.started
        return context_room(started.prompt_tokens, started.max_new_tokens, self.pair.target.context_length)

    @property
    def speculating(self) -> bool:
        """Whether a draft is loaded."""
        return self.pair is not None and self.pair.draft is not None

    def start(self, now: float) -> None:
        """A fresh engine is being started."""
        self.phase, self.pair, self.error, self.resting = Phase.LOADING, None, "", False
        self._loads = 0
        self.steps = []
        self.activity = "starting the engine"
        self._step(self.activity, None, now)

    def rest(self) -> None:
        """The engine was ended for a sweep; whatever it was doing is called off."""
        self.phase, self.pair, self.activity, self.resting = Phase.STOPPED, None, "", True

    def load(self) -> None:
        """A pair has been asked for; only the answer to the last such request counts."""
        self.phase, self.pair, self.error = Phase.LOADING, None, ""
        self._loads += 1

    def run(self) -> None:
        """A run has been asked for; whatever still comes from an earlier one does not count."""
        self.phase, self.activity, self.error = Phase.TIMING, "warming up", ""
        self._awaiting_run = True

    def cancel(self) -> None:
        """The run has been called off; what it decoded stays."""
        self.phase, self.activity = Phase.CANCELLED, ""

    def stop_loading(self) -> None:
        """The engine was ended while it loaded: whatever step that was, nothing of it goes on."""
        self.phase, self.pair, self.activity, self.steps = Phase.CANCELLED, None, "", []

    def fail(self, message: str) -> None:
        """Something the user must know."""
        self.phase, self.error, self.activity = Phase.FAILED, message, ""

    def replay(self) -> None:
        """Show the comparison from the start."""
        self.player = Player(self.recording.seconds, speed=self.player.speed)
        self.phase = Phase.PLAYING

    def still_busy(self, waiting: Iterable[Message | EngineStopped]) -> bool:
        """Whether the engine works on, as far as the messages tell that are ``waiting`` to be received."""
        ends: tuple[type, ...] = (EngineStopped, Failed)
        if self.phase is Phase.LOADING:
            ends += (PairLoaded,)
        else:
            ends += (Compared,) if self.speculating else (Compared, RunFinished)
        return self.phase in BUSY and not any(isinstance(message, ends) for message in waiting)

    @property
    def replayable(self) -> bool:
        """Whether there is something to play and nothing that it would disturb."""
        return self.phase not in BUSY and self.recording.seconds > 0

    def step(self) -> None:
        """Hold the replay at the next event: a block is drafted, or it is judged. After the end, at the first."""
        if self.phase not in (Phase.PLAYING, Phase.PAUSED):
            self.replay()
        self.player.step(self.recording.moment_after(self.player.position))
        self.phase = Phase.DONE if self.player.at_end else Phase.PAUSED

    def slow_down(self) -> None:
        """Play at the next slower speed; after the end from the start."""
        self.player.slow_down()
        if self.phase not in (Phase.PLAYING, Phase.PAUSED) and self.player.speed < 1:
            self.replay()

    def advance(self, elapsed: float) -> None:
        """The clock has moved on."""
        if self.phase is Phase.PLAYING:
            self.player.advance(elapsed)
            if self.player.at_end:
                self.phase = Phase.DONE

    def receive(self, message: Message | EngineStopped, now: float) -> None:
        """Take one message of the engine."""
        match message:
            case EngineStopped():
                self.phase, self.pair, self.activity = Phase.STOPPED, None, ""
                self.error = f"The engine stopped ({message.reason}). Press r to restart it. Log: {message.log}"
            case Failed():
                self._loads = max(self._loads - (self.pair is None), 0)
                self.fail(f"{message.message} Log: {message.log}" if message.log else message.message)
            case Progress():
                self._progress(message, now)
            case Machine():
                self.machine = message
            case PeakBandwidth():
                self.peak = message
            case PairLoaded():
                self._loaded(message, now)
            case RunStarted():
                self._run_started(message)
            case FirstToken() | Block() | RunFinished() | Compared() if not self._awaiting_run:
                self._run_event(message)
            case _:
                pass

    def _progress(self, message: Progress, now: float) -> None:
        share = f" {percent(message.done / message.total)}" if message.total > 0 and self.phase is Phase.TIMING else ""
        self.activity = message.what + share
        if self.phase is Phase.LOADING:
            self._step(message.what, message.done / message.total if message.total > 0 else None, now)

    def _step(self, what: str, share: float | None, now: float) -> None:
        last = self.steps[-1] if self.steps else None
        if last is None or last.what != what:
            if last is not None:
                last.ended = now
            last = LoadStep(what, now)
            self.steps.append(last)
        last.share = share

    def _loaded(self, message: PairLoaded, now: float) -> None:
        self._loads -= 1
        if self._loads > 0:
            return
        self.pair, self.phase, self.activity = message, Phase.READY, ""
        if self.steps:
            self.steps[-1].ended = now

    def _run_started(self, message: RunStarted) -> None:
        if self.phase is not Phase.TIMING:
            return
        if message.mode == MODES[0]:
            self._awaiting_run = False
            self.recording = Recording()
        self.activity = ""
        self.recording.add(message)

    def _run_event(self, message: FirstToken | Block | RunFinished | Compared) -> None:
        self.recording.add(message)
        if self.phase is Phase.TIMING and self._complete(message):
            self.replay()

    def _complete(self, message: FirstToken | Block | RunFinished | Compared) -> bool:
        alone = isinstance(message, RunFinished) and not self.speculating
        return (alone or isinstance(message, Compared)) and not self.recording.cancelled

    def track(self, mode: Mode) -> Track | None:
        """The recorded run of ``mode``."""
        return self.recording.tracks.get(mode)

    def visible_steps(self, mode: Mode) -> int:
        """How many steps of ``mode`` are on screen: all while they come in, else what the replay has reached."""
        track = self.track(mode)
        if track is None:
            return 0
        return track.steps_at(self.player.position) if self.phase in REPLAY else track.num_steps

    def pending(self, mode: Mode) -> int:
        """How many drafted tokens of the block in progress to show: those of a replay that leaves time to see them."""
        track = self.track(mode)
        shown = track is not None and self.phase in REPLAY and self.player.slow
        return track.drafted_at(self.player.position) if track is not None and shown else 0

    def figures(self, mode: Mode) -> Figures:
        """The figures of what is on screen."""
        track = self.track(mode)
        return NO_FIGURES if track is None else track.figures(self.visible_steps(mode), self._cost())

    def _cost(self) -> float | None:
        if self.pair is None or self.pair.draft is None:
            return None
        return self.pair.draft.parameters / self.pair.target.parameters

    def history(self, mode: Mode, columns: int) -> list[Slice]:
        """What is on screen of ``mode``, in slices of the axis that both runs share."""
        return slices(self.track(mode), self.visible_steps(mode), self.recording.seconds, columns)

    def by_position(self) -> AcceptanceByPosition:
        """Joint and conditional acceptance at each position, of what is on screen."""
        return self._positions.at(self.track("sd"), self.visible_steps("sd"))

    def cache_bound(self) -> bool:
        """Whether all weights fit in the last-level cache, so that main memory does not bound the speed."""
        if self.pair is None or self.peak is None:
            return False
        return cache_bound(self.pair.target, self.pair.draft, self.peak.last_level_cache)

    def speedup(self) -> float | None:
        """Speculative over autoregressive tokens/s: so far during the replay, measured at its end."""
        compared = self.recording.compared
        if compared is None:
            return None
        if self.phase not in (Phase.PLAYING, Phase.PAUSED):
            return compared.speedup
        slow, fast = (self.figures(mode).tokens_per_second for mode in MODES)
        return fast / slow if slow and fast else None

    def verdict(self) -> Verdict:
        """``same``, ``tie`` or ``differs`` (greedy), ``alike`` (sampled: same distribution), or nothing yet."""
        compared = self.recording.compared
        if compared is None:
            return ""
        if compared.identical is None:
            return "alike"
        if compared.identical:
            return "same"
        return "tie" if compared.parted is not None and compared.parted.tie else "differs"
