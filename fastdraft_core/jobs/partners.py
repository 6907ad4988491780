"""Which pair a model of this machine goes live in: with the partner that is known to be the best, and why that one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from fastdraft_core.errors import FastdraftError
from fastdraft_core.jobs.view import JobView
from fastdraft_core.models.catalog import OWN_TARGETS, usual_draft
from fastdraft_core.models.local_models import ShelfModel, drafts_for, targets_for
from fastdraft_core.results import store

HOW = "a bundled target's own draft S, else the draft with the highest acceptance in kept sweeps or in its job, else the smallest"
"""How a draft is chosen where several fit."""


@dataclass(frozen=True)
class KnownAcceptance:
    """Mean accepted/drafted by the names of target and draft. Sweeps and jobs ask other prompts, so they are not mixed."""

    sweeps: Mapping[tuple[str, str], float] = field(default_factory=dict)
    jobs: Mapping[tuple[str, str], float] = field(default_factory=dict)


@dataclass(frozen=True)
class Pair:
    """What goes live, and why the one that was not asked for; an empty ``draft`` is none."""

    target: str
    draft: str
    why: str


def pair(model: ShelfModel, models: Sequence[ShelfModel], known: KnownAcceptance) -> Pair:
    """The pair of ``model`` and the partner that suits it best; a target that has bundled drafts comes before others."""
    targets, drafts = targets_for(model, models), drafts_for(model, models)
    if targets:
        target = next((one for one in targets if one.name in OWN_TARGETS), targets[0])
        own = target.name in OWN_TARGETS
        return Pair(target.name, model.name, "fastdraft's own target" if own else "the largest that it fits")
    if not drafts:
        return Pair(model.name, "", "no draft here fits it")
    return _with_draft(model.name, drafts, known)


def _with_draft(target: str, drafts: Sequence[ShelfModel], known: KnownAcceptance) -> Pair:
    names = [draft.name for draft in drafts]
    if (usual := usual_draft(target)) in names:
        return Pair(target, usual, "the bundled draft that it is shown with")
    for rates, where in ((known.sweeps, "in kept sweeps"), (known.jobs, "after its training")):
        rated = {name: rates[target, name] for name in names if (target, name) in rates}
        if rated:
            best = max(rated, key=rated.__getitem__)
            return Pair(target, best, f"acceptance {rated[best]:.2f} {where}, the highest known")
    return Pair(target, names[0], "the smallest that fits")


def known_acceptance(jobs: Iterable[JobView]) -> KnownAcceptance:
    """What kept sweeps and ``jobs`` have found out. Reads the disk."""
    judged = {
        (view.target, str(view.model)): fmean(last.acceptance.values())
        for view in jobs
        if view.acceptance and (last := list(view.acceptance.values())[-1]).acceptance
    }
    return KnownAcceptance(_in_sweeps(), judged)


def _in_sweeps() -> dict[tuple[str, str], float]:
    """Of each pair the mean over the grid, read from the target's own text."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for name in store.names():
        try:
            result = store.read(name)
        except FastdraftError:
            continue
        for point in result.predicted.values():
            found[result.plan.target.name, point.draft].append(point.acceptance)
    return {names: fmean(rates) for names, rates in found.items()}
