"""Two results side by side: what differs beyond noise, and what differs in how they were measured."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from fastdraft_core.events import ModelCard, PointMeasured, SweepStarted
from fastdraft_core.results.store import Result


@dataclass(frozen=True, slots=True)
class Difference:
    """One point that both results measured. ``noise`` is how far the logarithm of their ratio may lie from 0 by chance."""

    first: PointMeasured
    second: PointMeasured
    noise: float

    @property
    def ratio(self) -> float:
        """The second speed-up over the first."""
        return self.second.speedup / self.first.speedup

    @property
    def mark(self) -> str:
        """``higher`` or ``lower`` where the second differs beyond noise, else empty."""
        if abs(math.log(self.ratio)) <= self.noise:
            return ""
        return "higher" if self.ratio > 1 else "lower"


def compare(first: Result, second: Result) -> list[Difference]:
    """The points that both measured, the largest difference first; drafts as ``counterparts`` has them.

    The errors are independent, so their intervals' half-widths add as squares, on the logarithmic scale.
    """
    other = {draft: match.name for draft, match in counterparts(first.plan, second.plan).items()}
    shared = [
        Difference(a, b, math.hypot(_half_width(a), _half_width(b)))
        for a in first.measured.values()
        if a.draft in other and (b := second.measured.get(a.key._replace(draft=other[a.draft]))) is not None
    ]
    return sorted(shared, key=lambda d: -abs(math.log(d.ratio)))


@dataclass(frozen=True, slots=True)
class Counterpart:
    """The draft of the second result that one of the first is compared with, and why that one: name, parameters or order."""

    name: str
    by: str


def counterparts(first: SweepStarted, second: SweepStarted) -> dict[str, Counterpart]:
    """By the first result's draft: that of the same name, else of as many parameters, else the next one of equally many.

    A draft that was trained again lies in another folder; its figures are what one wants to compare.
    """
    found: dict[str, Counterpart] = {}
    left, right = list(first.drafts), list(second.drafts)
    rules: list[tuple[str, Callable[[ModelCard, ModelCard], bool]]] = [
        ("name", lambda a, b: a.name == b.name),
        ("parameters", lambda a, b: a.parameters == b.parameters),
        ("order", lambda a, b: len(first.drafts) == len(second.drafts)),
    ]
    for by, same in rules:
        for card in list(left):
            match = next((other for other in right if same(card, other)), None)
            if match is not None:
                found[card.name] = Counterpart(match.name, by)
                left.remove(card)
                right.remove(match)
    return found


def uncompared(first: Result, second: Result) -> str:
    """In words, how many points both planned that ``compare`` has not, and who lacks them; empty where there are none."""
    other = {draft: match.name for draft, match in counterparts(first.plan, second.plan).items()}
    planned = set(second.grid)
    both = [(key, key._replace(draft=other[key.draft])) for key in first.grid if key.draft in other]
    there = Counter((a in first.measured, b in second.measured) for a, b in both if b in planned)
    lacks = {(False, True): "not measured in A", (True, False): "not measured in B", (False, False): "in neither"}
    parts = [f"{there[which]} {words}" for which, words in lacks.items() if there[which]]
    return f"Points of both that are not compared: {', '.join(parts)}." if parts else ""


def conditions(first: SweepStarted, second: SweepStarted) -> Iterator[str]:
    """What differs between two plans that a figure could depend on, in words."""
    matches = counterparts(first, second)
    for name, match in matches.items():
        if match.by != "name":
            yield f"drafts matched by {match.by}: {name} / {match.name}"
    # A fact of a model has its name in the first result.
    ours = {match.name: name for name, match in matches.items()} | {second.target.name: first.target.name}
    alone = [
        ", ".join(card.name for card in plan.drafts if card.name not in known)
        for plan, known in ((first, matches), (second, ours))
    ]
    if any(alone):
        yield f"drafts of one alone: {alone[0] or 'none'} / {alone[1] or 'none'}"
    a, b = _facts(first, {name: name for name in ours.values()}), _facts(second, ours)
    for name in dict.fromkeys((*a, *b)):
        if a.get(name) != b.get(name):
            yield f"{name}: {a.get(name, 'absent')} / {b.get(name, 'absent')}"


def _half_width(point: PointMeasured) -> float:
    return math.log(point.high / point.low) / 2


def _facts(plan: SweepStarted, names: Mapping[str, str]) -> dict[str, object]:
    """What figures depend on, of the models in ``names`` by what these call them. As they ran, not as it was asked for."""
    machine = plan.machine
    facts: dict[str, object] = {
        "machine": machine.get("cpu"),
        "cores": machine.get("physical_cores"),
        "system": machine.get("os"),
        "python": machine.get("python"),
        "fastdraft": machine.get("fastdraft"),
        **machine.get("versions", {}),
        "runtime": plan.runtime,
        "threads": plan.threads,
        "target": plan.target.name,
        **{key: plan.load[key] for key in ("weights", "draft_weights") if plan.load.get(key)},
        "top-k, top-p": (plan.top_k, plan.top_p),
        "seed": plan.seed,
    }
    for card in (plan.target, *(card for card in plan.drafts if card.name in names)):
        name = names[card.name]
        facts[f"weights of {name}"] = plan.hashes.get(card.name)
        kept = f", {card.kv_dtype} keys and values" if card.kv_dtype else ""
        facts[f"precision of {name}"] = f"{card.precision}{kept}"
        facts[f"device of {name}"] = card.device
    for task in plan.tasks:
        facts[f"prompts of {task.name}"] = task.digest
        facts[f"new tokens of {task.name}"] = task.length
        facts[f"chat template for {task.name}"] = "yes" if task.chat else "no"
    return facts
