"""What a job's events add up to: read as they come, kept as a chart needs them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from fastdraft_core.events import (
    Checkpointed,
    Evaluated,
    JobEnded,
    JobStarted,
    Message,
    Mixed,
    Progress,
    Sampled,
    Scored,
    StageAcceptance,
    StageFinished,
    StageStarted,
    Step,
    Synthesized,
    Tokenized,
    decode_message,
)
from fastdraft_core.jobs.curve import Curve, curve_of
from fastdraft_core.jobs.eta import Aside, aside


class EventLog:
    """``events.jsonl``, read on from where the last call stopped.

    ``damaged`` counts lines that are no event, such as one that a crash cut short; ``cut`` is whether
    the file ends inside a line, which a living job may be writing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged = 0
        self.cut = False
        self._offset = 0

    def read(self) -> list[Message]:
        """The events since the last call; a missing file has none. Only whole lines are taken."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except OSError:
            return []
        whole = data.rfind(b"\n") + 1
        self.cut = whole < len(data)
        self._offset += whole
        return [event for line in data[:whole].split(b"\n") if line and (event := self._event(line)) is not None]

    def _event(self, line: bytes) -> Message | None:
        try:
            return decode_message(line)
        except msgspec.MsgspecError:
            self.damaged += 1
            return None


@dataclass(slots=True)
class StageHistory:
    """One stage: what it is to do, its steps and evaluations so far."""

    num_steps: int = 0
    tokens_per_step: int = 0
    parameters: int = 0
    done: int = 0
    finished: bool = False
    steps: list[Step] = field(default_factory=list)
    evaluations: list[Evaluated] = field(default_factory=list)
    losses: Curve = field(default_factory=Curve)
    learning_rates: Curve = field(default_factory=Curve)
    rates: Curve = field(default_factory=Curve)

    def take(self, step: Step) -> None:
        """The next step."""
        self.steps.append(step)
        self.done, self.num_steps = step.step, step.num_steps
        self.losses.add(step.tokens, step.loss)
        self.learning_rates.add(step.tokens, step.learning_rate)
        self.rates.add(step.tokens, step.tokens_per_second)

    def start(self, event: StageStarted) -> None:
        """Begin, or go on from a checkpoint: later steps were lost and are done again."""
        self.num_steps, self.tokens_per_step = event.num_steps, event.tokens_per_step
        self.parameters, self.done, self.finished = event.parameters, event.step, False
        before = len(self.steps)
        for kept in (self.steps, self.evaluations):
            while kept and kept[-1].step > event.step:
                kept.pop()
        if len(self.steps) < before:
            self.losses = curve_of((step.tokens, step.loss) for step in self.steps)
            self.learning_rates = curve_of((step.tokens, step.learning_rate) for step in self.steps)
            self.rates = curve_of((step.tokens, step.tokens_per_second) for step in self.steps)


@dataclass(slots=True)
class History:
    """A job as its events tell it; ``add`` takes them in their order.

    ``stage`` is the one that was heard of last, ``doing`` what goes on beside training steps and ``aside`` how far that is
    where it counts tokens; ``rates`` are the tokens/s that this run's steps have measured.
    """

    stages: dict[str, StageHistory] = field(default_factory=dict)
    acceptance: dict[str, StageAcceptance] = field(default_factory=dict)
    samples: dict[str, Sampled] = field(default_factory=dict)
    stage: str = ""
    doing: str = ""
    rates: list[float] = field(default_factory=list)
    aside: Aside | None = None
    started: JobStarted | None = None
    ended: JobEnded | None = None

    def add(self, events: Iterable[Message]) -> None:
        """Take further events."""
        for event in events:
            # Steps are nearly all there is.
            if isinstance(event, Step):
                self._step(event)
            else:
                self._other(event)

    def _step(self, event: Step) -> None:
        stage = self._stage(event.stage)
        stage.take(event)
        self.rates.append(event.tokens_per_second)

    def _other(self, event: Message) -> None:
        match event:
            case Progress():
                self._beside(event.what)
            case Synthesized() | Scored() | Tokenized():
                self.aside = aside(event)
                self.doing = str(self.aside)
            case Mixed():
                self._beside("")
            case JobStarted():
                self.started, self.ended, self.rates = event, None, []
                self._beside("")
            case JobEnded():
                self.ended = event
                self._beside("")
            case StageAcceptance():
                self.acceptance[event.stage] = event
            case Sampled():
                self.samples[event.source] = event
            case StageStarted() | Evaluated() | Checkpointed() | StageFinished():
                self._of_stage(event, self._stage(event.stage))

    def _of_stage(self, event: StageStarted | Evaluated | Checkpointed | StageFinished, stage: StageHistory) -> None:
        match event:
            case StageStarted():
                stage.start(event)
                self.rates = []
                self._beside("")
            case Evaluated():
                stage.evaluations.append(event)
            case Checkpointed():
                stage.done = event.step
            case StageFinished():
                stage.finished = True

    def _beside(self, what: str) -> None:
        """Something else goes on now; or, without a word, training."""
        self.doing, self.aside = what, None

    def _stage(self, name: str) -> StageHistory:
        self.stage = name
        return self.stages.setdefault(name, StageHistory())
