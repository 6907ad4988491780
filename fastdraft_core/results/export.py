"""A result as Markdown, CSV and JSON. Measured and predicted figures are told apart in each of them."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from fastdraft_core.events import PointMeasured, PointPredicted, TaskCard
from fastdraft_core.events.sweeping import PointKey
from fastdraft_core.formatting import safe
from fastdraft_core.results.overall import fallbacks
from fastdraft_core.results.store import Result

_COLUMNS = (
    "draft", "gamma", "temperature", "task", "predicted_speedup", "predicted_tau", "predicted_acceptance",
    "speedup", "low", "high", "prompts_low", "prompts_high", "reached", "repeats", "warm_ups", "disturbed", "busy",
    "tokens_per_second", "baseline_tokens_per_second", "acceptance", "tau", "mbsu_parameters", "mbsu_bytes",
    "c", "v", "overhead", "break_even_acceptance", "gigabytes_per_second", "bandwidth_share", "joules_per_token",
    "baseline_joules_per_token", "peak_memory", "more_memory", "fallback", "joint", "conditional",
)  # fmt: skip


def parts(result: Result) -> dict[str, Any]:
    """All of a result for programs: ``schema``, the plan with the machine's card, and every event's fields by kind."""
    return {
        "schema": result.plan.schema,
        "plan": result.plan,
        "verdict": result.verdict,
        "finished": result.finished,
        "costs": list(result.costs.values()),
        "predicted": list(result.predicted.values()),
        "measured": list(result.measured.values()),
        "dropped": result.dropped,
    }


def as_json(result: Result) -> str:
    """``parts`` as one object of JSON."""
    return msgspec.json.format(msgspec.json.encode(parts(result))).decode() + "\n"


def as_csv(result: Result) -> str:
    """A row a point of the grid; what was not measured is empty. Lists are joined by spaces."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for key in result.grid:
        row = _row(key, result.predicted.get(key), result.measured.get(key))
        writer.writerow([row.get(column, "") for column in _COLUMNS])
    return out.getvalue()


def as_markdown(result: Result) -> str:
    """The verdict first, then the tables, then how it was measured."""
    parts = [f"# {result.plan.name}", *_verdict(result)]
    for task, temperature in result.groups:
        parts.append(f"## Speed-up by gamma: {task}, T {temperature:g}")
        parts.append(table(*_surface(result, task, temperature)))
    parts.append("Measured; ~ predicted from measured costs and acceptance, not timed; – unknown yet.")
    if result.measured:
        parts += ["## Measured points", *_points(result), _LEGEND]
        parts += [f"\\* not the fast way: {_safe(reason)}." for reason in fallbacks(result.measured.values())]
    parts += ["## How it was measured", "\n".join(f"- {line}" for line in _conditions(result))]
    return "\n\n".join(parts) + "\n"


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with even columns; the first column is text, the others stand to the right."""
    cells = [[_safe(cell) for cell in row] for row in (headers, *rows)]
    widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(headers))]

    def line(row: Sequence[str]) -> str:
        padded = [
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = [":" + "-" * (w - 1) if i == 0 else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    return "\n".join([line(cells[0]), line(rule), *map(line, cells[1:])])


_LEGEND = (
    "Speed-up: decode tokens/s over the autoregressive runs next to it, with the 95 % interval for these prompts "
    "(Student t over repeats, stratified by prompt; ? where it is wider than asked). others: the 95 % interval for other prompts of "
    "the kind, by bootstrap over prompts. accepted: accepted/drafted, pooled. tau: tokens a target pass, bonus included. MBSU: "
    "tau / (c·gamma + 1), c by parameters, and by bytes. c, v, overhead: a draft step, the target's pass over a block, and the "
    "rest of a block, in autoregressive steps. GB/s: bytes that passes read, computed, over measured time. peak MB: of the whole "
    "process; more MB: the draft's weights and cache, computed. dropped: warm-ups + disturbed repeats."
)


def _verdict(result: Result) -> Iterator[str]:
    if result.verdict is None:
        yield "This sweep has no verdict yet: it did not come to its end. Go on with fastdraft sweep --resume."
        return
    first, *others = map(_safe, result.verdict.words)
    yield f"**{first}**"
    if others:
        yield " ".join(others)


def _surface(result: Result, task: str, temperature: float) -> tuple[list[str], list[list[str]]]:
    gammas = result.plan.gammas
    rows = [
        [card.name, *(_cell(result, PointKey(card.name, gamma, temperature, task)) for gamma in gammas)]
        for card in result.plan.drafts
    ]
    return ["draft", *(f"{gamma}" for gamma in gammas)], rows


def _cell(result: Result, key: PointKey) -> str:
    if point := result.measured.get(key):
        return f"{point.speedup:.2f}"
    guess = result.predicted.get(key)
    return f"~{guess.speedup:.2f}" if guess else "–"


def _points(result: Result) -> Iterator[str]:
    """How fast, why, and at what price: three tables of the measured points, the fastest first."""
    points = sorted(result.measured.values(), key=lambda p: -p.speedup)
    for headers, cells in (_SPEED, _REASONS, _PRICE):
        rows = [
            [
                f"{p.draft} gamma {p.gamma}, {result.label(p.task, p.temperature)}{'*' * bool(p.fallback)}",
                *cells(result, p),
            ]
            for p in points
        ]
        # What no point knows, such as energy, has no column.
        kept = [i for i in range(len(headers)) if any(row[i] for row in rows)]
        yield table([headers[i] for i in kept], [[row[i] for i in kept] for row in rows])


def _speed(result: Result, point: PointMeasured) -> list[str]:
    guess = result.predicted.get(point.key)
    return [
        f"{point.speedup:.2f} ({point.low:.2f}–{point.high:.2f})" + ("" if point.reached else "?"),
        "" if point.prompts_low is None else f"{point.prompts_low:.2f}–{point.prompts_high:.2f}",
        f"{guess.speedup:.2f}" if guess else "",
        f"{point.metrics.tokens_per_second:.1f}",
        f"{point.baseline.tokens_per_second:.1f}",
    ]


def _reasons(_: Result, point: PointMeasured) -> list[str]:
    m, cost = point.metrics, point.cost
    return [
        f"{m.acceptance:.3f}",
        f"{m.tau:.2f}",
        f"{m.mbsu:.2f}",
        f"{m.mbsu_bytes:.2f}",
        f"{cost.draft:.3f}",
        f"{cost.verify:.2f}",
        f"{cost.overhead:.2f}",
    ]


def _price(result: Result, point: PointMeasured) -> list[str]:
    share = "" if point.bandwidth_share is None else f"{point.bandwidth_share:.0%}"
    return [
        f"{point.metrics.gigabytes_per_second:.1f}",
        "cache-bound" if result.cached(point.draft) else share,
        "" if point.joules_per_token is None else f"{point.joules_per_token:.2f}",
        "" if point.baseline_joules_per_token is None else f"{point.baseline_joules_per_token:.2f}",
        "" if point.peak_memory is None else f"{point.peak_memory / 1e6:.0f}",
        f"{point.more_memory / 1e6:.0f}",
        f"{point.repeats}",
        f"{point.warm_ups} + {point.disturbed}" + (f", {point.busy} busy" if point.busy else ""),
    ]


_SPEED = (("point", "speed-up (95 %)", "others", "predicted", "t/s", "AR t/s"), _speed)
_REASONS = (("point", "accepted", "tau", "MBSU", "by bytes", "c", "v", "overhead"), _reasons)
_PRICE = (("point", "GB/s", "of peak", "J/token", "AR J/token", "peak MB", "more MB", "repeats", "dropped"), _price)


def _conditions(result: Result) -> Iterator[str]:
    plan, machine = result.plan, result.plan.machine
    versions = ", ".join(f"{k} {v}" for k, v in machine.get("versions", {}).items() if v != "absent")
    yield f"`{_safe(plan.command)}`, {plan.created}, schema {plan.schema}"
    for card in (plan.target, *plan.drafts):
        role = "target" if card is plan.target else "draft"
        size = (
            f"{card.parameters / 1e6:.2f} M parameters, {card.precision} on {card.device}"
            if card.is_model
            else "no model"
        )
        yield f"{role} {_safe(card.name)}: {card.architecture}, {size}, hash {plan.hashes.get(card.name, 'unknown')}"
    yield f"{machine.get('cpu')}, {machine.get('physical_cores')} cores, {plan.threads} threads, {machine.get('os')}"
    yield f"fastdraft {machine.get('fastdraft')}, Python {machine.get('python')}, runtime {plan.runtime}{f' ({_safe(plan.runtime_reason)})' if plan.runtime_reason else ''}, {versions}"
    for task in plan.tasks:
        yield _task(task)
    yield (
        f"temperatures {', '.join(f'{t:g}' for t in plan.temperatures)}, top-k {plan.top_k}, top-p {plan.top_p:g}, seed {plan.seed}, "
        f"{plan.verification} verification; "
        f"interval asked ±{plan.precision:.1%}, budget {plan.budget:.0f} s; "
        + (
            "stops are ignored, so that all runs have one length"
            if plan.ignore_stop
            else "texts end where the model ends them"
        )
    )
    if result.all_cached:
        yield "cache-bound: the weights fit into the last-level cache, so no share of the memory's peak bandwidth is told"
    elif plan.peak_bandwidth:
        yield f"peak memory bandwidth {plan.peak_bandwidth:.1f} GB/s, measured; no share of it is told where weights fit into the last-level cache"
    if result.dropped:
        reasons = Counter(d.reason for d in result.dropped)
        yield f"disturbed turns, run again: {', '.join(f'{n}, because {_safe(why)}' for why, n in reasons.most_common())}"


def _task(task: TaskCard) -> str:
    cut = f", {task.cut} cut to fit the context" if task.cut else ""
    turns = f" and {task.later} later turns after the target's own greedy answers" if task.later else ""
    unfit = f", {task.unfit} later turns left out that do not fit the context" if task.unfit else ""
    template = _safe(task.template.replace("\n", "\\n"))
    return (
        f"task {_safe(task.name)}: {task.prompts} prompts{turns} ({_safe(task.source)}{cut}{unfit}), {task.length} new tokens, "
        f"{'chat template' if task.chat else 'no chat template'}, prompt `{template}`, digest {task.digest}"
    )


def _row(key: PointKey, guess: PointPredicted | None, point: PointMeasured | None) -> dict[str, object]:
    row: dict[str, object] = dict(zip(("draft", "gamma", "temperature", "task"), key, strict=True))
    if guess:
        row |= {
            "predicted_speedup": guess.speedup,
            "predicted_tau": guess.tau,
            "predicted_acceptance": guess.acceptance,
        }
    if point:
        fields = msgspec.structs.asdict(point)
        metrics = msgspec.structs.asdict(point.metrics)
        row |= {c: fields[c] for c in _COLUMNS if c in fields}
        row |= {c: metrics[c] for c in ("tokens_per_second", "acceptance", "tau", "mbsu_bytes", "gigabytes_per_second")}
        row |= {
            "baseline_tokens_per_second": point.baseline.tokens_per_second,
            "mbsu_parameters": point.metrics.mbsu,
            "c": point.cost.draft,
            "v": point.cost.verify,
            "overhead": point.cost.overhead,
            "break_even_acceptance": point.cost.break_even,
            "joint": " ".join(f"{j:.4f}" for j in point.metrics.joint),
            "conditional": " ".join(f"{j:.4f}" for j in point.metrics.conditional),
        }
    return {c: "" if value is None else value for c, value in row.items()}


def _safe(text: str) -> str:
    """Text of a file for a line of Markdown, without a line or a column of its own."""
    return safe(text).replace("\n", " ").replace("\t", " ").replace("|", "\\|")
