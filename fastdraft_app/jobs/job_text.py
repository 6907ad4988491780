"""A job in words, bars and curves: its stages, its newest step, evaluations and samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from statistics import fmean

from rich.cells import cell_len
from textual.content import Content

from fastdraft_app.theme.palette import SERIES, Marks
from fastdraft_app.widgets.bars import bar
from fastdraft_app.widgets.chart import Point, Series
from fastdraft_core.events import Sampled
from fastdraft_core.formatting import count, elide, in_bytes, one_line, percent, safe
from fastdraft_core.jobs.view import JobView, StageView
from fastdraft_core.models.paper import ACCEPTANCE, SETTING, TASKS

_AFTER = 13
_CELL = 12


def figures(view: JobView, width: int) -> Content:
    """The newest step in one line: rate, memory, learning rate, and what else fits ``width``."""
    step = view.last
    if step is None:
        return Content.styled("no training step yet", "$muted")
    parts = [
        ("loss", f"{step.loss:.4f} nats/token"),
        ("", f"{step.tokens_per_second:,.0f} tokens/s"),
        ("rate", f"{step.learning_rate:.2e}"),
        *([("memory", in_bytes(step.memory))] if step.memory else []),
        *([("peak", percent(step.utilisation))] if step.utilisation is not None else []),
        ("norm", f"{step.gradient_norm:.2f}"),
        ("data wait", percent(step.data_wait_share)),
    ]
    gap, shown = 3, list[Content]()
    for name, text in parts:
        part = Content.assemble((f"{name} " if name else "", "$muted"), text)
        width -= part.cell_length + gap
        if width < -gap:
            break
        shown.append(part)
    return Content(" " * gap).join(shown)


def acceptance_words(view: JobView) -> str:
    """The mean acceptance after the first stage and after the last one, where both were measured."""
    measured = list(view.acceptance.values())
    if not measured:
        return ""
    rates = [sum(event.acceptance.values()) / max(len(event.acceptance), 1) for event in measured]
    first = f"acceptance after {measured[0].stage.upper()} {rates[0]:.3f}"
    return first if len(rates) == 1 else f"{first}, after {measured[-1].stage.upper()} {rates[-1]:.3f}"


def evaluation_table(view: JobView, width: int, mark: Marks) -> Content:
    """By stage: acceptance in real decoding and expected, held-out loss and perplexity; then the paper's own figures."""
    return Content("\n").join(list(_tables(view, width, mark)))


Rows = dict[str, dict[str, float]]
"""Figures by stage and by source."""


def _tables(view: JobView, width: int, mark: Marks) -> Iterator[Content]:
    room = max((width - _AFTER) // _CELL, 1)
    shown = [(title, rows) for title, rows in _measured(view) if rows]
    for title, rows in shown:
        yield from _table(title, rows, room, mark)
    if not shown:
        yield Content.styled("Nothing is evaluated yet; the first figures come during the first stage.", "$muted")
        yield Content("")
    for pair, stages in ACCEPTANCE.items():
        by_stage = {name: dict(zip(TASKS, rates, strict=True)) for name, rates in stages.items()}
        yield from _table(f"the paper: {pair}, {SETTING}, other data", by_stage, room, mark, "$muted")


def _measured(view: JobView) -> Iterator[tuple[str, Rows]]:
    """What was measured here: in real decoding, along texts of the target, and on held-out positions."""
    decoded, newest = view.acceptance, view.evaluations
    if decoded:
        gamma, temperature = next((e.gamma, e.temperature) for e in decoded.values())
        rows = {name: event.acceptance for name, event in decoded.items()}
        yield f"accepted/drafted here, measured, gamma {gamma}, T {temperature:g}", rows
    along = {name: event.accepted for name, event in newest.items() if event.accepted}
    if along:
        gamma, temperature = next((e.gamma, e.temperature) for e in newest.values() if e.accepted)
        yield f"accepted/drafted expected along the target's texts, gamma {gamma}, T {temperature:g}", along
    expected = {name: event.acceptance for name, event in newest.items() if event.acceptance}
    yield "expected acceptance of one token, measured, T 1", expected
    yield "held-out loss, measured, nats a token", {name: event.loss for name, event in newest.items()}
    yield "held-out perplexity, measured", {name: event.perplexity for name, event in newest.items()}


def _table(title: str, rows: Rows, room: int, mark: Marks, style: str = "$foreground") -> Iterator[Content]:
    """A table with at most ``room`` columns of figures beside each other; the others follow under the first."""
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    for start in range(0, len(columns), room):
        more = f", columns {start + 1} to {min(start + room, len(columns))} of {len(columns)}"
        heading = title + more * (len(columns) > room)
        yield Content.styled(heading, "bold" if style == "$foreground" else f"bold {style}")
        yield from _block(rows, columns[start : start + room], mark, style)
        yield Content("")


def _block(rows: Rows, columns: Sequence[str], mark: Marks, style: str) -> Iterator[Content]:
    names = "".join(f"{elide(one_line(name, ' ', ' '), _CELL - 1, mark.more):>{_CELL}}" for name in columns)
    yield Content.styled(f"{'after':<{_AFTER}}{names}", "$muted")
    arrow = mark.tab if len(mark.tab) == 1 else ">"
    done: list[str] = []
    for name, row in rows.items():
        done = [*done, name.upper()]
        cells = "".join(_figure(row[column]) if column in row else " " * _CELL for column in columns)
        yield Content.styled(f"{arrow.join(done):<{_AFTER}}{cells}", style)


def _figure(number: float) -> str:
    """Three decimals, or what fits of a large number."""
    return f"{number:>{_CELL}.3f}" if number < 1e4 else f"{number:>{_CELL}.3g}"


def samples(found: Sequence[Sampled], ascii_only: bool) -> Content:
    """What the draft wrote lately, beside what its target writes after the same prompt."""
    if not found:
        return Content.styled("No samples yet; they come with the evaluations.", "$muted")
    parts: list[Content] = []
    for event in found:
        heading = f"{one_line(event.source, ' ', ' ')}, {event.stage.upper()} step {event.step:,}, greedy"
        parts.append(Content.styled(heading, "bold"))
        parts.append(Content.assemble(("prompt  ", "$muted"), (safe(event.prompt, ascii_only), "$muted")))
        parts.append(Content.assemble(("draft   ", "$primary"), safe(event.text, ascii_only)))
        if event.target_text:
            parts.append(Content.assemble(("target  ", "$success"), safe(event.target_text, ascii_only)))
        parts.append(Content(""))
    return Content("\n").join(parts)


def when(at: float) -> str:
    """A Unix time as a date and a clock."""
    return datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M") if at else ""


_LEAST = 6


def stage_bar(view: JobView, width: int, mark: Marks) -> Content:
    """``PT ━━━━ 100 %  CP ━━── 45 %  FT ──── 0 %``, the stage at work in bold."""
    if not view.stages:
        return Content.styled("no stage is known: the recipe cannot be read", "$muted")
    labels = [(f"{stage.name.upper()} ", f" {percent(stage.share)}") for stage in view.stages]
    gaps = 2 * (len(labels) - 1)
    room = max(width - gaps - sum(cell_len(a) + cell_len(b) for a, b in labels), _LEAST * len(labels))
    widths = _shares([stage.total_tokens for stage in view.stages], room)
    parts = [
        Content.assemble(
            (before, "bold" if stage.name == view.stage else "$muted"), _bar(stage, cells, mark), (after, "$muted")
        )
        for stage, cells, (before, after) in zip(view.stages, widths, labels, strict=True)
    ]
    return Content("  ").join(parts)


def progress_words(view: JobView) -> str:
    """Tokens done of all and the time left with what it rests on; ``doing`` where something else goes on."""
    total = sum(stage.total_tokens for stage in view.stages)
    tokens = f"{count(sum(s.tokens for s in view.stages))} of {count(total)} training tokens" if total else ""
    left = str(view.left) if view.left else ""
    # What is cut off at the end is what one sees elsewhere, too.
    parts = [view.doing, left, tokens] if view.aside else [view.doing, tokens, left]
    return "; ".join(filter(None, parts))


def _bar(stage: StageView, width: int, mark: Marks) -> Content:
    if stage.finished:
        return Content.styled(mark.bars[0] * width, "$success")
    return bar([(stage.share, "$primary")], width, mark)


def _shares(weights: list[int], room: int) -> list[int]:
    """``room`` cells split by ``weights``, none below a least width."""
    spare, whole = room - _LEAST * len(weights), sum(weights) or 1
    return [_LEAST + spare * weight // whole for weight in weights]


def loss_series(view: JobView, *, smooth: bool, other: JobView | None = None) -> list[Series]:
    """The training loss, averaged or as it came, and the held-out losses, over training tokens; or that of two jobs."""
    training = "training, smoothed" if smooth else "training"
    if other is not None:
        return [Series(f"{one.name}: {training}", one.smoothed if smooth else one.loss) for one in (view, other)]
    held_out = (Series(f"held out: {source}", points) for source, points in view.held_out.items())
    return [Series(training, view.smoothed if smooth else view.loss), *held_out]


def acceptance_series(view: JobView, other: JobView | None = None) -> list[Series]:
    """Expected acceptance by source; of two jobs by source where there are marks for all, else the mean of each."""
    if other is None:
        return [Series(source, points) for source, points in view.expected.items()]
    if len(view.expected) + len(other.expected) > len(SERIES):
        return [Series(f"{one.name}: mean of {len(one.expected)} sources", _mean(one)) for one in (view, other)]
    return [Series(f"{one.name}: {source}", points) for one in (view, other) for source, points in one.expected.items()]


def _mean(view: JobView) -> tuple[Point, ...]:
    """The mean over sources, where all were evaluated."""
    values: dict[float, list[float]] = {}
    for points in view.expected.values():
        for x, y in points:
            values.setdefault(x, []).append(y)
    return tuple((x, fmean(ys)) for x, ys in sorted(values.items()) if len(ys) == len(view.expected))


def rate_series(view: JobView) -> list[Series]:
    """Tokens a second."""
    return [Series("tokens/s", view.rates)]


def schedule_series(view: JobView) -> list[Series]:
    """The learning rate."""
    return [Series("learning rate", view.learning_rates)]
