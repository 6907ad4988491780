"""Begin a sweep, or go on with one: everything that a repetition needs is written down first, and checked again later."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from fastdraft_core.bench.drafts import Lineup
from fastdraft_core.bench.tasks import Task, file_task, load_tasks
from fastdraft_core.decoding.records import TOKEN
from fastdraft_core.engine.device_peak import device_peak
from fastdraft_core.engine.load_options import LoadOptions
from fastdraft_core.engine.pair import Pair
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import SweepStarted
from fastdraft_core.machine.bandwidth import measured_peak_bandwidth
from fastdraft_core.machine.devices import machine_card
from fastdraft_core.models.identity import draft_hash, model_hash
from fastdraft_core.results.store import SCHEMA, new_name

#: Of the machine's card, what figures depend on.
_SAME = ("cpu", "physical_cores", "versions", "fastdraft")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a sweep was asked to do; ``precision`` is a share, ``budget`` seconds; ``ignore_stop`` lets texts go on past their end."""

    gammas: list[int]
    temperatures: list[float]
    top_k: int
    top_p: float
    precision: float
    budget: float
    seed: int
    ignore_stop: bool = False
    verification: str = TOKEN


def new_plan(
    lineup: Lineup, load: LoadOptions, tasks: Sequence[Task], settings: Settings, command: str
) -> SweepStarted:
    """The plan of a new sweep of a lineup that was loaded so; measures the peak bandwidth if it is not known yet."""
    pair = next(iter(lineup.values()))
    target = pair.target.card
    machine = machine_card()
    return SweepStarted(
        schema=SCHEMA,
        name=new_name(target.name),
        created=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        command=command,
        machine=msgspec.to_builtins(machine),
        target=target,
        drafts=[p.draft.card for p in lineup.values() if p.draft is not None],
        hashes=hashes_of(target.name, list(lineup)),
        # Whose code may run is asked anew every time.
        load={key: value for key, value in asdict(load).items() if key != "trust_remote_code"}
        | {"runtime": pair.runtime, "threads": pair.threads},
        runtime=pair.runtime,
        runtime_reason=pair.runtime_reason,
        threads=pair.threads,
        tasks=[task.card(pair) for task in tasks],
        gammas=settings.gammas,
        temperatures=settings.temperatures,
        top_k=settings.top_k,
        top_p=settings.top_p,
        precision=settings.precision,
        budget=settings.budget,
        seed=settings.seed,
        ignore_stop=settings.ignore_stop,
        verification=settings.verification,
        peak_bandwidth=_peak(pair),
        last_level_cache=machine.last_level_cache,
    )


def hashes_of(target: str, drafts: Sequence[str]) -> dict[str, str]:
    """What names mean now, by digest."""
    return {target: model_hash(target), **{name: draft_hash(name, target) for name in drafts}}


def _peak(pair: Pair) -> float | None:
    """Peak GB/s of the memory that the target's weights lie in; None of an NPU, which reads in its own way."""
    device = pair.target.card.device
    if device != "cpu":
        return None if device.startswith("npu") else device_peak(pair.runtime, device)
    found = measured_peak_bandwidth()
    return found.single_thread if pair.threads == 1 else found.all_threads


def tasks_of(plan: SweepStarted) -> list[Task]:
    """The tasks of a plan, read again.

    Raises:
        FastdraftError: one cannot be read any more.
    """
    tasks = []
    for card in plan.tasks:
        if card.field:
            tasks.append(file_task(Path(card.request), card.field, card.prompts, card.length))
        else:
            tasks += load_tasks(card.request, card.prompts, card.length)
    return tasks


def check_same(plan: SweepStarted, lineup: Lineup, tasks: Sequence[Task]) -> None:
    """That models, prompts, machine and libraries are what the plan's figures belong to.

    Raises:
        FastdraftError: something changed; figures of both would not belong together.
    """
    pair = next(iter(lineup.values()))
    now_hashed = hashes_of(plan.target.name, [card.name for card in plan.drafts])
    changed = [name for name, digest in plan.hashes.items() if now_hashed[name] != digest]
    cards = {card.name: card for card in plan.tasks}
    changed += [f"the prompts of {t.name}" for t in tasks if t.card(pair).digest != cards[t.name].digest]
    here = msgspec.to_builtins(machine_card())
    kept = {"threads": plan.threads, **{key: plan.machine.get(key) for key in _SAME}}
    now = {"threads": pair.threads, **{key: here.get(key) for key in _SAME}}
    changed += [f"{key} ({kept[key]} then, {now[key]} now)" for key in kept if kept[key] != now[key]]
    if changed:
        raise FastdraftError(f"{plan.name} cannot go on: {', '.join(changed)} changed. Start a new sweep.")
