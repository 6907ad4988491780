"""A design study as Markdown, and its choice in one sentence. Measured, predicted and assumed figures are told apart."""

from __future__ import annotations

from collections.abc import Sequence

from fastdraft_core.events import ShapeMeasured, ShapeTrained
from fastdraft_core.formatting import count, percent, safe
from fastdraft_core.results.designs import ASSUMED, Design, variant
from fastdraft_core.results.export import table

_UNKNOWN = "–"


def as_markdown(design: Design) -> str:
    """The choice first, then the candidates, then how they were measured."""
    plan = design.plan
    parts = [f"# {plan.name}", *_choice(design), "## Candidates", candidates(design), _LEGEND]
    if design.trained:
        parts += ["## Trained", trained(design), _TRAINED_LEGEND.format(tokens=count(plan.train))]
    if plan.skipped:
        parts.append(f"Left out, since they do not fit into {count(plan.parameters)}: {'; '.join(plan.skipped)}.")
    parts += ["## How it was measured", "\n".join(f"- {line}" for line in _conditions(design))]
    return "\n\n".join(parts) + "\n"


def candidates(design: Design) -> str:
    """A row a measured candidate, in the order of the plan."""
    gamma = design.plan.gammas[-1]
    headers = ["shape", "head", "params", f"block of {gamma}, ms", "± ms", "c", "head share", "break-even a"]
    headers += [f"at a = {a}" for a in ASSUMED]
    rows = [_row(design, design.measured[s.key], gamma) for s in design.plan.shapes if s.key in design.measured]
    return table(headers, rows)


def _row(design: Design, one: ShapeMeasured, gamma: int) -> Sequence[str]:
    block, shape = one.block_seconds[gamma - 1], one.shape
    even = design.break_even(one)
    cells = [
        f"{shape.layers} x {shape.width}{'' if shape.budgeted else ' (beside)'}",
        variant(shape),
        count(shape.parameters),
        f"{block.mean * 1e3:.2f}",
        f"{(block.high - block.mean) * 1e3:.2f}",
        f"{one.draft[gamma - 1]:.3f}",
        _UNKNOWN if one.head_share is None else percent(one.head_share),
        "above 1" if even is None else f"{even:.2f}",
    ]
    for acceptance in ASSUMED:
        speed, best = design.speedup(one, acceptance)
        cells.append(f"{speed:.2f}x g{best}")
    return cells


def trained(design: Design) -> str:
    """A row a trained candidate."""
    headers = ["shape", "head", "acceptance", "tau", "predicted speed-up", "gamma", "trained in, s"]
    return table(headers, [_trained_row(design, one) for one in design.trained.values()])


def _trained_row(design: Design, one: ShapeTrained) -> Sequence[str]:
    at = max(range(len(one.speedup)), key=lambda n: one.speedup[n])
    return [
        f"{one.key.layers} x {one.key.width}",
        variant(one.key),
        f"{one.acceptance[at]:.3f}",
        f"{one.tau[at]:.2f}",
        f"{one.speedup[at]:.2f}x",
        str(design.plan.gammas[at]),
        f"{one.seconds:.0f}",
    ]


def choice(design: Design) -> str:
    """The chosen shape and on what that rests; empty before anything is measured."""
    chosen = design.best()
    if chosen is None:
        return ""
    shape = design.measured[chosen].shape
    words = f"{shape.layers} layer{'s' if shape.layers > 1 else ''} of {shape.width}, {variant(shape)} ({count(shape.parameters)})"
    if design.trained:
        best = max(design.trained[chosen].speedup)
        return (
            f"Fastest as trained: {words}, predicted {best:.2f}x from measured costs and the acceptance that {count(design.plan.train)} "
            "tokens of training gave it."
        )
    speed, gamma = design.speedup(design.measured[chosen], ASSUMED[1])
    return (
        f"Cheapest at equal acceptance: {words}. It would give {speed:.2f}x with gamma {gamma} if every candidate were accepted with a = "
        f"{ASSUMED[1]}, which is assumed; --train measures what each learns."
    )


def _choice(design: Design) -> list[str]:
    found = choice(design)
    return [safe(found)] if found else []


_LEGEND = (
    "Block, c (a draft step in autoregressive steps of the target) and head share (what the head takes of a block) are measured, with random "
    "weights; ± is half of the 95 % interval. Break-even a and the speed-ups are predicted from the measured costs: a is the chance of each "
    "drafted token to be accepted, assumed equal and independent; g is the best gamma. A shape beside the budget has another number of "
    "parameters; it is there for latency against width."
)
_TRAINED_LEGEND = (
    "Every candidate was trained on the same {tokens} tokens of the built-in code and text; acceptance (accepted/drafted) is read from the "
    "target's own texts, the speed-up is predicted from it and the measured costs."
)


def _conditions(design: Design) -> list[str]:
    plan = design.plan
    verify = ", ".join(f"v({n}) {v:.2f}" for n, v in enumerate(design.verify, 1)) if design.measured else _UNKNOWN
    step = next(iter(design.measured.values())).step_seconds * 1e3 if design.measured else None
    return [
        f"Target {safe(plan.target.name)}, {count(plan.target.parameters)} parameters, vocabulary {plan.target.vocab_size:,}, "
        f"{plan.target.precision} on {plan.target.device}; {plan.runtime}, {plan.threads} threads.",
        f"Its measured passes in autoregressive steps{f' of {step:.2f} ms' if step else ''}: {verify}.",
        f"Temperature {plan.temperature:g}; architecture {plan.architecture}, tied embeddings, heads of 64, feed-forward network 8/3 of the "
        "width.",
        f"Machine: {safe(str(plan.machine.get('cpu', 'unknown')))}, {plan.created}.",
        f"Command: `{safe(plan.command)}`.",
    ]
