"""A job as a screen or a table shows it: one summary of its folder, its record and the process table."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Evaluated, Sampled, StageAcceptance, Step
from fastdraft_core.jobs import processes
from fastdraft_core.jobs.curve import Curve, Point, smooth, thin
from fastdraft_core.jobs.eta import Aside, TimeLeft, training_left, uncounted
from fastdraft_core.jobs.folder import EVENTS, job_folders, job_recipe, size, trained_model
from fastdraft_core.jobs.history import EventLog, History, StageHistory
from fastdraft_core.jobs.record import ACTIVE, Record, State, Wish, read_record
from fastdraft_core.training.recipe import Recipe, num_steps, tokens_per_step

_ORDER: dict[State, int] = {"running": 0, "queued": 1}


@dataclass(frozen=True, slots=True)
class StageView:
    """Progress of one stage; ``tokens`` and ``total_tokens`` count training tokens, ``offset`` those of stages before."""

    name: str
    tokens: int
    total_tokens: int
    offset: int
    finished: bool

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return min(1.0, self.tokens / self.total_tokens) if self.total_tokens else float(self.finished)


@dataclass(frozen=True, slots=True)
class JobView:
    """Everything that a job's row or screen shows.

    ``wish`` is what a running job was asked to do. ``doing`` is what goes on beside training steps, or what a queued job
    waits for; ``aside`` is how far that is, where it counts tokens. ``target`` is the recipe's, a relative path completed.
    ``last`` is the newest step. ``loss``, ``smoothed`` (the same, averaged), ``learning_rates``, ``rates`` (tokens/s), ``held_out`` losses and
    ``expected`` acceptance (both by source) run over training tokens of all stages, thinned. ``acceptance`` and
    ``evaluations`` (the newest) are by stage, ``samples`` by source. ``model`` is the folder of the newest whole model.
    ``error`` is why the job failed or was lost; ``problem`` is what is wrong with its folder. ``host`` is the machine that
    it waits or runs on, where that is another one; ``heard`` is when it last told something.
    """

    name: str
    folder: Path
    state: State
    device: str = ""
    wish: Wish = ""
    ticket: int = 0
    pid: int | None = None
    created: float = 0.0
    changed: float = 0.0
    recipe: Recipe | None = None
    stages: tuple[StageView, ...] = ()
    stage: str = ""
    doing: str = ""
    aside: Aside | None = None
    target: str = ""
    left: TimeLeft | None = None
    last: Step | None = None
    loss: tuple[Point, ...] = ()
    smoothed: tuple[Point, ...] = ()
    learning_rates: tuple[Point, ...] = ()
    rates: tuple[Point, ...] = ()
    held_out: dict[str, tuple[Point, ...]] = field(default_factory=dict)
    expected: dict[str, tuple[Point, ...]] = field(default_factory=dict)
    evaluations: dict[str, Evaluated] = field(default_factory=dict)
    acceptance: dict[str, StageAcceptance] = field(default_factory=dict)
    samples: dict[str, Sampled] = field(default_factory=dict)
    error: str = ""
    problem: str = ""
    size: int = 0
    model: Path | None = None
    host: str = ""
    heard: float = 0.0

    @property
    def share(self) -> float:
        """Training tokens done over all of the recipe's, from 0 to 1."""
        total = sum(stage.total_tokens for stage in self.stages)
        return sum(stage.tokens for stage in self.stages) / total if total else 0.0


class JobReader:
    """Follows one job folder; every ``view`` reads what was appended since the last one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.history = History()
        self._log = EventLog(folder / EVENTS)
        self._recipe: Recipe | None = None

    def view(self, points: int = 240) -> JobView:
        """The job now, its curves with at most ``points`` points; a damaged folder is described, never fatal."""
        record, problems = read_record(self.folder), []
        if self._recipe is None:
            try:
                self._recipe = job_recipe(self.folder)
            except FastdraftError as error:
                problems.append(error.message)
        # The state first: events of a job that has just ended are then all there.
        state = processes.state(record) if record else None
        self.history.add(self._log.read())
        if record is None:
            problems.append("It has no readable job.json, so what it was asked to do is not known.")
        if self._log.damaged or (self._log.cut and state not in ACTIVE):
            lines = self._log.damaged + self._log.cut
            problems.append(
                f"{lines} line{'s' * (lines > 1)} of {EVENTS} cannot be read and {'are' if lines > 1 else 'is'} left out."
            )
        problem = " ".join(problems)
        return summarise(self.folder, self._recipe, record, state, self.history, size(self.folder), problem, points)


def list_jobs() -> list[JobView]:
    """All jobs: running ones, the queue in its order, then the others, the newest first."""
    return in_order(JobReader(folder).view(points=2) for folder in job_folders())


def in_order(views: Iterable[JobView]) -> list[JobView]:
    """Running jobs, the queue in its order, then the others, the newest first."""
    return sorted(
        views, key=lambda v: (_ORDER.get(v.state, 2), v.ticket if v.state == "queued" else -v.changed, v.name)
    )


def summarise(
    folder: Path,
    recipe: Recipe | None,
    record: Record | None,
    state: State | None,
    history: History,
    size: int,
    problem: str = "",
    points: int = 240,
) -> JobView:
    """A job's summary from its parts; ``state`` is None where no record tells it."""
    stages = _stages(recipe, record, history)
    state = state or ("finished" if stages and all(stage.finished for stage in stages) else "lost")
    host = processes.place(record) if record else ""
    last = next((found[-1] for stage in reversed(stages) if (found := _heard(history, stage.name).steps)), None)

    def curve(of: Callable[[StageHistory], Curve]) -> tuple[Point, ...]:
        parts = (of(_heard(history, stage.name)).points(stage.offset) for stage in stages)
        return tuple(thin(list(chain.from_iterable(parts)), points))

    means = chain.from_iterable(_heard(history, stage.name).losses.means(stage.offset) for stage in stages)
    return JobView(
        name=folder.name,
        folder=folder,
        state=state,
        device=record.device or record.asked if record else "",
        wish=record.wish if record and state == "running" else "",
        ticket=record.ticket if record else 0,
        pid=record.process.pid if record and record.process and state in ACTIVE and not host else None,
        created=record.created if record else 0.0,
        changed=record.changed if record else 0.0,
        recipe=recipe,
        stages=stages,
        stage=history.stage,
        doing=history.doing if state in ACTIVE else "",
        aside=history.aside if state == "running" else None,
        target=_target(recipe, record),
        left=_time_left(recipe, stages, history) if state not in ("finished", "cancelled") else None,
        last=last,
        loss=curve(lambda stage: stage.losses),
        smoothed=tuple(thin(smooth(list(means)), points)),
        learning_rates=curve(lambda stage: stage.learning_rates),
        rates=curve(lambda stage: stage.rates),
        held_out=_evaluated(history, stages, lambda event: event.loss, points),
        expected=_evaluated(history, stages, lambda event: event.acceptance, points),
        evaluations={name: stage.evaluations[-1] for name, stage in history.stages.items() if stage.evaluations},
        acceptance=dict(history.acceptance),
        samples=dict(history.samples),
        error=_error(record, state),
        problem=problem,
        size=size,
        model=trained_model(folder, record),
        host=host,
        heard=_heard_at(folder, record),
    )


def _evaluated(
    history: History, stages: tuple[StageView, ...], figures: Callable[[Evaluated], dict[str, float]], points: int
) -> dict[str, tuple[Point, ...]]:
    """Figures of the evaluations by source, over the training tokens of all stages, with at most ``points`` points."""
    found: dict[str, list[Point]] = {}
    for view in stages:
        stage = _heard(history, view.name)
        for event in stage.evaluations:
            for source, figure in figures(event).items():
                found.setdefault(source, []).append((view.offset + event.step * stage.tokens_per_step, figure))
    return {source: tuple(thin(found[source], points)) for source in sorted(found)}


def _stages(recipe: Recipe | None, record: Record | None, history: History) -> tuple[StageView, ...]:
    """The stages that the job runs, or those that were heard of where the recipe cannot be read."""
    # Whole steps of whole rows.
    planned = {n: num_steps(s) * tokens_per_step(s) for n, s in recipe.stages.items()} if recipe else {}
    if record and record.stage:
        planned = {record.stage: planned.get(record.stage, 0)}
    views, offset = [], 0
    for name in planned or history.stages:
        heard = _heard(history, name)
        total = heard.num_steps * heard.tokens_per_step or planned.get(name, 0)
        done = total if heard.finished else heard.done * heard.tokens_per_step
        views.append(StageView(name, done, total, offset, heard.finished))
        offset += total
    return tuple(views)


def _time_left(recipe: Recipe | None, stages: tuple[StageView, ...], history: History) -> TimeLeft | None:
    remaining = sum(stage.total_tokens - stage.tokens for stage in stages)
    ahead = [stage.name for stage in stages if not _heard(history, stage.name).num_steps]
    return training_left(remaining, history.rates, bool(ahead), uncounted(recipe, ahead, history.aside))


def _target(recipe: Recipe | None, record: Record | None) -> str:
    """The target as any program finds it: a relative path of the recipe begins in the job's own working folder."""
    target = recipe.target if recipe else None
    if target is None:
        return ""
    here = Path(record.folder) / target if record else Path(target)
    return str(here) if record and here.exists() else target


def _error(record: Record | None, state: State) -> str:
    if state != "lost" or record is None:
        return record.error if record else ""
    return "Its process vanished without a word: killed, out of memory, or the machine went down. It can be resumed."


def _heard_at(folder: Path, record: Record | None) -> float:
    """The Unix time of the newest event or of the newest change of state."""
    changed = record.changed if record else 0.0
    try:
        return max(changed, (folder / EVENTS).stat().st_mtime)
    except OSError:
        return changed


def _heard(history: History, stage: str) -> StageHistory:
    return history.stages.get(stage) or StageHistory()
