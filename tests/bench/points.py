"""Plans and points as a sweep would find them, with figures made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastdraft_core.events import (
    BlockCost,
    ModelCard,
    PointMeasured,
    PointPredicted,
    RunMetrics,
    SweepStarted,
    TaskCard,
    Turn,
)
from fastdraft_core.results.store import SCHEMA, Result
from tests.decoding.table import card

TASKS = ("code", "text")


def model(name: str, parameters: int = 100) -> ModelCard:
    return card(name, parameters=parameters)


def task_card(name: str, **changes: Any) -> TaskCard:
    values: dict[str, Any] = dict(
        name=name,
        request=name,
        field="",
        source="bundled prompts",
        template="{text}",
        prompts=2,
        length=64,
        cut=0,
        chat=False,
        digest="d" * 16,
    )
    return TaskCard(**{**values, **changes})


def plan(
    drafts: tuple[str, ...] = ("S", "M"),
    gammas: tuple[int, ...] = (1, 2, 4),
    tasks: Sequence[str | TaskCard] = TASKS,
    temperatures: tuple[float, ...] = (0.0,),
    **changes: Any,
) -> SweepStarted:
    values: dict[str, Any] = dict(
        schema=SCHEMA,
        name="20250101-120000-table",
        created="2025-01-01T12:00:00+00:00",
        command="fastdraft sweep table",
        machine={"cpu": "A Processor", "physical_cores": 2, "os": "An OS", "versions": {"torch": "2.13.0"}},
        target=model("table", 10_000_000),
        drafts=[model(name, 1_000_000 * (i + 1)) for i, name in enumerate(drafts)],
        hashes={"table": "0" * 16, **{name: f"{i}" * 16 for i, name in enumerate(drafts, 1)}},
        load={"runtime": "torch", "threads": 2},
        runtime="torch",
        runtime_reason="",
        threads=2,
        tasks=[task if isinstance(task, TaskCard) else task_card(task) for task in tasks],
        gammas=list(gammas),
        temperatures=list(temperatures),
        top_k=0,
        top_p=1.0,
        precision=0.03,
        budget=300.0,
        seed=1,
        peak_bandwidth=20.0,
        last_level_cache=100,
    )  # fmt: skip
    return SweepStarted(**{**values, **changes})


def metrics(tokens: int, seconds: float, gamma: int = 0, acceptance: float = 0.0, **changes: Any) -> RunMetrics:
    blocks = round(tokens / (1 + gamma * acceptance))
    values: dict[str, Any] = dict(
        tokens=tokens,
        seconds=seconds,
        tokens_per_second=tokens / seconds,
        blocks=blocks,
        drafted=blocks * gamma,
        accepted=round(blocks * gamma * acceptance),
        acceptance=acceptance,
        tau=tokens / blocks,
        mbsu=1.5,
        mbsu_bytes=1.4,
        joint=[acceptance] * gamma,
        conditional=[acceptance] * gamma,
        draft_share=0.2,
        verify_share=0.7,
        overhead_share=0.1,
        gigabytes_per_second=8.0,
    )
    return RunMetrics(**{**values, **changes})


def measured(
    draft: str = "S",
    gamma: int = 2,
    task: str = "code",
    speedup: float = 1.5,
    reach: float = 1.02,
    *,
    temperature: float = 0.0,
    acceptance: float = 0.6,
    **changes: Any,
) -> PointMeasured:
    """A point whose interval reaches ``reach`` times up and down."""
    baseline = metrics(1000, 10.0)
    fast = metrics(1000, 10.0 / speedup, gamma, acceptance)
    total = fast.tau / speedup
    values: dict[str, Any] = dict(
        draft=draft,
        gamma=gamma,
        temperature=temperature,
        task=task,
        speedup=speedup,
        low=speedup / reach,
        high=speedup * reach,
        prompts_low=speedup * 0.8,
        prompts_high=speedup * 1.2,
        reached=reach <= 1.03,
        repeats=3,
        warm_ups=1,
        disturbed=0,
        busy=0,
        metrics=fast,
        baseline=baseline,
        cost=BlockCost(
            drafted=gamma, draft=0.2 * total / gamma, verify=0.7 * total, overhead=0.1 * total, break_even=0.4
        ),
        bandwidth_share=0.4,
        joules_per_token=None,
        baseline_joules_per_token=None,
        peak_memory=500_000_000,
        more_memory=27_000_000,
        turns=[Turn(0, 1.0, 1 / speedup), Turn(1, 1.0, 1 / speedup)],
    )
    return PointMeasured(**{**values, **changes})


def predicted(
    draft: str = "S", gamma: int = 2, task: str = "code", speedup: float = 1.5, *, temperature: float = 0.0
) -> PointPredicted:
    return PointPredicted(
        draft=draft,
        gamma=gamma,
        temperature=temperature,
        task=task,
        speedup=speedup,
        tau=1 + 0.6 * gamma,
        acceptance=0.6,
        joint=[0.6] * gamma,
        cost=BlockCost(drafted=gamma, draft=0.1, verify=1.1, overhead=0.0, break_even=0.3),
    )


def result(*events: PointMeasured | PointPredicted, **changes: Any) -> Result:
    """A result of a plan and these points."""
    found = Result(plan(**changes))
    for event in events:
        found.add(event)
    return found
