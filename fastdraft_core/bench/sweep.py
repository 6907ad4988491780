"""Sweep gamma, drafts, temperatures and tasks: measure costs, predict all of the grid, measure its best points.

``sweep`` is a generator of events. Nothing shares the processor while it is timed; autoregressive and speculative runs of
one prompt stand next to each other in a turn, in an order that turns around, and a point is repeated until its
interval is narrow enough. A turn that something disturbed is run again. Every finished turn is an event, so a sweep that
goes on begins where it ended. Of a slow pair, for which the budget is short, every task is looked at before any is known well.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from fastdraft_core.bench.drafts import Lineup, more_memory
from fastdraft_core.bench.measure import timed_passes, why_fallback
from fastdraft_core.bench.survey import Group, Survey
from fastdraft_core.bench.tally import Run, Tally
from fastdraft_core.bench.tasks import Task
from fastdraft_core.bench.verdict import verdict
from fastdraft_core.decoding.records import Request
from fastdraft_core.decoding.sampling import Sampling
from fastdraft_core.decoding.totals import run_totals
from fastdraft_core.events import Event, PointMeasured, RepeatDropped, SweepFinished, SweepProgress
from fastdraft_core.events.sweeping import PointKey
from fastdraft_core.machine.contention import disturbance, load
from fastdraft_core.machine.meters import Energy, peak_memory
from fastdraft_core.results.overall import overall
from fastdraft_core.results.store import Result

_MIN_REPEATS = 2
#: Repeats of a point before the next ones have their turn: a noisy machine must not spend the whole budget on its first points.
_MAX_REPEATS = 8
#: Turns that a slow pair's most telling points get before anything else is done.
_FIRST_TURNS = 2
#: Of the budget, for costs and predictions; one prompt of each task is read in any case.
_SURVEY_SHARE = 0.25
#: Tries of a turn before the machine counts as busy; then every turn has one.
_TRIES = 3
#: Rounds over the prompts in which costs become precise, unless time or need end them.
_PROBE_ROUNDS = 12


class _Ended(Exception):  # noqa: N818 - no error: the way out of a run that must not go on
    """The budget is spent or somebody asked to stop; ``reason`` is ``SweepFinished``'s."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def sweep(
    lineup: Lineup, tasks: Sequence[Task], result: Result, budget: float, stop: Callable[[], bool] = lambda: False
) -> Iterator[Event]:
    """What ``result`` does not know yet, until all points are measured, ``budget`` seconds are spent, or ``stop()``.

    ``tasks`` are fitted to the lineup. Events are also taken into ``result``; the last are ``SweepVerdict`` and
    ``SweepFinished``.
    """
    for event in _Sweep(lineup, tasks, result, budget, stop).run():
        result.add(event)
        yield event


class _Sweep:
    def __init__(
        self, lineup: Lineup, tasks: Sequence[Task], result: Result, budget: float, stop: Callable[[], bool]
    ) -> None:
        self._lineup = lineup
        self._result = result
        self._plan = result.plan
        self._budget = budget
        self._stop = stop
        self._started = time.monotonic()
        self._measuring_since = self._started
        self._finished_before = self._done()
        self._energy = Energy()
        self._tries = _TRIES
        self._run_seconds = 0.0
        self._pair = next(iter(lineup.values()))
        self._tallies: dict[PointKey, Tally] = {}
        self._groups = {
            (t.name, temperature): self._group(t, temperature) for t in tasks for temperature in self._plan.temperatures
        }

    def run(self) -> Iterator[Event]:
        """All phases, then the verdict, however they ended."""
        reason = "complete"
        try:
            for number, group in enumerate(self._groups.values(), 1):
                share = self._budget * _SURVEY_SHARE * number / len(self._groups)
                before = len(self._result.costs)
                yield from self._survey(group, self._started + share)
                if self._slow:
                    yield from self._look(group, warm=len(self._result.costs) > before)
            self._measuring_since = time.monotonic()
            yield from self._measure_all()
        except _Ended as ended:
            reason = ended.reason
        yield verdict(self._result)
        yield SweepFinished(reason=reason, seconds=time.monotonic() - self._started)

    # --- what passes cost, and what follows from it ---------------------------------------------------

    def _survey(self, group: Group, until: float) -> Iterator[Event]:
        """Costs, acceptance and the predicted surface of every draft that lacks them, from fewer prompts where time is short."""
        task, temperature = group.task.name, group.sampling.temperature
        most = max(self._plan.gammas)
        lacking = {
            name: pair
            for name, pair in self._lineup.items()
            if any((name, gamma, temperature, task) not in self._result.predicted for gamma in self._plan.gammas)
        }
        if not lacking:
            return
        survey, where = Survey(group, lacking, self._plan.gammas), self._result.label(task, temperature)
        try:
            self._warm_up(group, [(name, most) for name in lacking])
            for repeat, number in itertools.product(range(_PROBE_ROUNDS), range(len(group.requests))):
                if survey.begun and (time.monotonic() > until or (repeat and survey.precise)):
                    break
                yield self._progress(f"costs of passes: {where}, prompt {number + 1}")
                survey.step(number, repeat, self._check, until)
        except _Ended:
            # What was paid for is kept: a sweep that goes on probes the other drafts.
            yield from survey.told()
            raise
        yield self._progress(f"acceptance along the texts: {where}")
        yield from survey.told()

    @property
    def _slow(self) -> bool:
        """Whether a first round over the most telling points takes more of the budget than there is to spare."""
        rounds = [
            costs.step_seconds * group.task.length * (1 + BATCH) * len(group.requests)
            for costs in self._result.costs.values()
            if (group := self._groups.get((costs.task, costs.temperature))) is not None
        ]
        return max(rounds, default=0.0) * len(self._groups) > self._budget * _SURVEY_SHARE

    # --- measured points ------------------------------------------------------------------------------

    def _order(self) -> list[PointKey]:
        return measuring_order({key: point.speedup for key, point in self._result.predicted.items()})

    def _look(self, group: Group, *, warm: bool) -> Iterator[Event]:
        """A first few turns of the most telling points of one group."""
        own = [key for key in self._order() if key.is_of(group.task.name, group.sampling.temperature)]
        batch = [key for key in own[:BATCH] if not self._settled(key, _FIRST_TURNS)]
        if batch:
            yield from self._measure(batch, _FIRST_TURNS, warm=warm)

    def _measure_all(self) -> Iterator[Event]:
        """Round after round over all points that are not known well enough."""
        order = self._order()
        step = 1 if self._slow else _MAX_REPEATS
        for repeats in itertools.count(step, step):
            turns = {key: repeats * len(self._groups[key.task, key.temperature].requests) for key in order}
            while batch := next_batch(order, [key for key in order if self._settled(key, turns[key])]):
                yield from self._measure(batch, turns[batch[0]])
            if all(self._reached(key) for key in order):
                return

    def _measure(self, batch: list[PointKey], turns: int, *, warm: bool = False) -> Iterator[Event]:
        """Take turns until each point is known well enough or has so many; what is known at an early end is told too.

        ``warm``: all of it ran a moment ago.
        """
        _, _, temperature, task = batch[0]
        group, tallies = self._groups[task, temperature], [self._tally(key) for key in batch]
        try:
            if not warm:
                self._warm_up(group, [key.setting for key in batch])
                for tally in tallies:
                    tally.warm_ups += 1
            while active := [t for t in tallies if not self._settled(t.key, turns)]:
                # Points that are behind catch up first, so that all of them share the autoregressive runs from there on.
                number = min(len(t.turns) for t in active)
                joining = self._fitting([t for t in active if len(t.turns) == number])
                repeat, prompt = divmod(number, len(group.requests))
                settings = settings_of(t.key for t in joining)
                yield self._progress(f"{self._result.label(task, temperature)}: {settings}, repeat {repeat + 1}")
                yield from self._turn(group, prompt, repeat, joining)
                if repeat + 1 >= _MIN_REPEATS and prompt + 1 == len(group.requests):
                    for tally in joining:
                        yield from self._point(tally, group)
        except _Ended:
            for tally in tallies:
                yield from self._point(tally, group)
            raise
        for tally in tallies:
            yield from self._point(tally, group)

    def _fitting(self, joining: list[Tally]) -> list[Tally]:
        """As many of a slow pair's points as one more turn has time for: half a turn would be lost."""
        if not self._slow or not self._run_seconds:
            return joining
        left = self._budget - (time.monotonic() - self._started)
        # One run of the turn is the autoregressive one.
        room = int(left / self._run_seconds) - 1
        if room < 1:
            raise _Ended("budget")
        return joining[:room]

    def _turn(self, group: Group, prompt: int, repeat: int, active: list[Tally]) -> Iterator[Event]:
        """Both modes on one prompt, again where something disturbed them and there is time for it."""
        tries = 1 if self._slow else self._tries
        for attempt in range(1, tries + 1):
            before = load()
            runs = self._runs(group.request(prompt, repeat), [t.key for t in active], prompt + repeat)
            why = disturbance(before, load(), self._plan.threads)
            last = attempt == tries
            if not why or last:
                break
            for tally in active:
                tally.disturbed += 1
            yield RepeatDropped(task=group.task.name, temperature=group.sampling.temperature, reason=why)
        self._tries = 1 if why else _TRIES
        for tally in active:
            yield tally.add(prompt, runs[None], runs[tally.key], busy=bool(why))

    def _runs(self, request: Request, keys: Sequence[PointKey], turn: int) -> dict[PointKey | None, Run]:
        """One run of each point and an autoregressive one (None), first or last in turn."""
        order: list[PointKey | None] = [None, *keys]
        begun = time.monotonic()
        # Turning the order around every time spreads a drift of the machine over all points.
        runs = {key: self._run(request, key) for key in (order if turn % 2 == 0 else reversed(order))}
        self._run_seconds = (time.monotonic() - begun) / len(order)
        return runs

    def _run(self, request: Request, key: PointKey | None) -> Run:
        self._check()
        pair, gamma = (self._lineup[key.draft], key.gamma) if key else (self._pair, 0)
        before = self._energy.read()
        with peak_memory() as peak:
            passes = timed_passes(pair, request, gamma)
        joules = self._energy.joules(before, self._energy.read())
        return Run(run_totals(passes, gamma, pair.cost()), joules, peak[0])

    def _point(self, tally: Tally, group: Group) -> Iterator[PointMeasured]:
        """What is known of a point now, unless as much of it is told already, also by an earlier sweep."""
        told = self._result.measured.get(tally.key)
        if told is not None and len(told.turns) >= len(tally.turns):
            return
        found = tally.interval(len(group.requests))
        if found is None:
            return
        draft = tally.key.draft
        pair = self._lineup[draft]
        longest = max(len(r.prompt) for r in group.requests) + group.task.length
        yield tally.event(
            found,
            len(group.requests),
            self._plan.precision,
            pair.cost(),
            None if self._result.cached(draft) else self._plan.peak_bandwidth,
            more_memory(pair, longest),
            why_fallback(pair, tally.key[1], group.sampling),
        )

    def _tally(self, key: PointKey) -> Tally:
        if key not in self._tallies:
            self._tallies[key] = Tally(key, list(self._result.turns.get(key, ())))
        return self._tallies[key]

    def _settled(self, key: PointKey, turns: int) -> bool:
        """Whether a point is known well enough, or has had so many turns."""
        return self._reached(key) or len(self._tally(key).turns) >= turns

    def _reached(self, key: PointKey) -> bool:
        point = self._result.measured.get(key)
        return point is not None and point.reached

    # --- around it ------------------------------------------------------------------------------------

    def _group(self, task: Task, temperature: float) -> Group:
        sampling = Sampling(temperature, self._plan.top_k, self._plan.top_p)
        requests = [
            self._pair.request(
                text,
                max_new_tokens=task.length,
                sampling=sampling,
                seed=self._plan.seed + number,
                chat=task.chat,
                ignore_stops=self._plan.ignore_stop,
                verification=self._plan.verification,
            )
            for number, text in enumerate(task.texts)
        ]
        return Group(task, sampling, requests)

    def _warm_up(self, group: Group, settings: Sequence[tuple[str, int]]) -> None:
        self._check()
        self._pair.warm_up("ar", group.requests[0], 0)
        for draft, gamma in settings:
            self._check()
            self._lineup[draft].warm_up("sd", group.requests[0], gamma)

    def _check(self) -> None:
        """Raise ``_Ended`` where the sweep must not go on."""
        if self._stop():
            raise _Ended("stopped")
        if time.monotonic() - self._started > self._budget:
            raise _Ended("budget")

    def _done(self) -> int:
        return sum(map(_over, self._result.measured.values()))

    def _progress(self, what: str) -> SweepProgress:
        now, done, total = time.monotonic(), self._done(), self._result.total
        left = max(0.0, self._budget - (now - self._started))
        fresh = done - self._finished_before
        # Points that stay wider than asked are repeated until the budget ends.
        narrow = all(point.reached for point in self._result.measured.values() if _over(point))
        needed = (now - self._measuring_since) / fresh * (total - done) if fresh and narrow else left
        return SweepProgress(what=what, done=done, total=total, seconds=now - self._started, eta=min(left, needed))


def _over(point: PointMeasured) -> bool:
    """Whether a point has had its share of the first round: it is known well enough, or as well as other points allow."""
    return point.reached or point.repeats >= _MAX_REPEATS


#: Points that share the autoregressive run next to them.
BATCH = 3


def measuring_order(speedups: Mapping[PointKey, float]) -> list[PointKey]:
    """Predicted points, the most telling first.

    Every draft's best gamma comes first, on every task, so that drafts can be compared early. Then by regret: how far a
    point lies below the best of its own task, or its setting below the best setting overall, whichever is less.
    """
    means = overall(speedups)
    best_setting = max(means.values())
    first = {max((s for s in means if s.draft == draft), key=lambda s: means[s]) for draft, _ in means}
    best_of: dict[tuple[str, float], float] = {}
    for key, speedup in speedups.items():
        group = key.task, key.temperature
        best_of[group] = max(speedup, best_of.get(group, 0.0))

    def rank(key: PointKey) -> tuple[bool, float]:
        of_task = best_of[key.task, key.temperature]
        regret = min(of_task / max(speedups[key], 1e-9), best_setting / means[key.setting])
        return key.setting not in first, regret

    return sorted(speedups, key=rank)


def next_batch(order: Sequence[PointKey], finished: Iterable[PointKey]) -> list[PointKey]:
    """The first points that are not finished and share a task and temperature."""
    done = set(finished)
    left = [key for key in order if key not in done]
    return [key for key in left if key.is_of(left[0].task, left[0].temperature)][:BATCH]


def settings_of(keys: Iterable[PointKey]) -> str:
    """Drafts and gammas in words."""
    return ", ".join(f"{draft} gamma {gamma}" for draft, gamma, _, _ in keys)
