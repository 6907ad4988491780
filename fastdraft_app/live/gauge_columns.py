"""The gauges of a large terminal: speed, acceptance, and the time of a block, side by side."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from fastdraft_app.live.replay import Figures
from fastdraft_app.theme.palette import Marks
from fastdraft_app.widgets.gauges import (
    GaugeState,
    acceptance_bar,
    bar,
    break_even,
    ceiling,
    figure,
    label,
    or_dash,
    peak_words,
    rate,
    shares,
)
from fastdraft_app.widgets.line import fields, first_fitting
from fastdraft_app.widgets.spark import peak, spark
from fastdraft_core.formatting import in_bytes, percent

_PITCH = 4
_POSITION_LABEL = 12
_NARROWEST = 50


def acceptance_width(gamma: int) -> int:
    """Cells that the acceptance column needs, a figure for each position included."""
    return max(_NARROWEST, _POSITION_LABEL + _PITCH * gamma + 2)


def speed_column(state: GaugeState, width: int, mark: Marks) -> list[Content]:
    """Tokens/s of both runs and the memory bandwidth, each over the time of the comparison."""
    runs = [state.history(mode, width) for mode in ("ar", "sd")]
    speeds = [[s.tokens_per_second for s in run] for run in runs]
    top = peak(*speeds)
    reads = [s.gigabytes_per_second for s in runs[state.speculating]]
    shown = (state.fast if state.speculating else state.slow).gigabytes_per_second
    memory = Content.assemble(or_dash(shown, lambda r: f"{r:.1f}").rjust(6), (" GB/s", "$muted"))
    share = Content.styled(peak_words(shown, state.memory, mark) if shown is not None else "", "$muted")
    measured = state.memory is not None and shown is not None and not state.memory.cache_bound
    long = share + Content.styled(f" {state.memory.peak:.1f}", "$muted") if measured and state.memory else share
    return [
        _title("Speed", "over the time of the comparison"),
        _between(label("autoregressive") + rate(state.slow), *_first(state.first[0]), width=width),
        _chart(speeds[0], top, width, "$muted", mark),
        _between(label("speculative") + rate(state.fast), *_first(state.first[1]), width=width),
        _chart(speeds[1], top, width, "$primary", mark),
        _between(label("memory read") + memory, long, share, width=width),
        _chart(reads, ceiling(state, reads), width, "$secondary", mark),
        _axis(state.seconds, width),
    ]


def acceptance_column(state: GaugeState, width: int, mark: Marks) -> list[Content]:
    """The accepted share with its break-even, tau and MBSU, and acceptance at each position of a block."""
    figures = state.fast
    tail = Content("") if state.cost is None else "  " + figure("break-even", break_even(state.cost))
    room = max(width - _POSITION_LABEL - 6 - tail.cell_length, 8)
    ratios = fields(
        Content(or_dash(figures.tau, lambda tau: f"{tau:.2f}/{state.gamma + 1}")),
        figure("MBSU", or_dash(figures.mbsu, lambda mbsu: f"{mbsu:.2f}")),
    )
    chart = max(width - _POSITION_LABEL - ratios.cell_length - 2, 0)
    history = [s.acceptance for s in state.history("sd", chart)]
    return [
        _title("Acceptance", "accepted / drafted"),
        label("accepted", _POSITION_LABEL)
        + Content(or_dash(figures.acceptance, percent).ljust(6))
        + acceptance_bar(state, room, mark)
        + tail,
        label(f"{mark.tau} tokens", _POSITION_LABEL)
        + ratios
        + Content.styled("  " + spark(history, 1.0, chart, mark)[0], "$token-accepted"),
        label("position", _POSITION_LABEL) + _cells([str(i + 1) for i in range(state.gamma)], width, "$muted"),
        *_position_rows("joint", state.joint, width, mark),
        *_position_rows("conditional", state.conditional, width, mark),
    ]


def block_column(state: GaugeState, width: int, mark: Marks) -> list[Content]:
    """Where the time of a block goes, and what the engine takes of the machine."""
    figures = state.fast
    name, value = 10, 16
    room = max(width - name - value, 4)
    run = state.history("sd", room)
    parts = [[s.milliseconds[part] for s in run] for part in range(3)]
    top, shown = peak(*parts), shares(figures)
    rows = [
        label(word, name)
        + Content(_milliseconds(figures, share).rjust(8) + f"{percent(share) if figures.tokens else '-':>6}  ")
        + Content.styled(spark(parts[part], top, room, mark)[0], style)
        for part, (word, (share, style)) in enumerate(zip(("draft", "verify", "overhead"), shown, strict=True))
    ]
    return [
        _title("Time of a block", "mean, and over time"),
        label("shares", name) + bar(shown, width - name, mark),
        *rows,
        _cost_row(state, width, name),
        *_engine_rows(state, width, name, value, mark),
    ]


def _chart(values: Sequence[float], top: float, width: int, style: str, mark: Marks) -> Content:
    return Content.styled(spark(values, top, width, mark)[0], style)


def _first(seconds: float | None) -> tuple[Content, Content]:
    """The time to the first token, in more and in fewer words."""
    value = or_dash(seconds, lambda s: f"{1000 * s:.0f} ms")
    return figure("first token", value), figure("first", value)


def _between(left: Content, *choices: Content, width: int) -> Content:
    """``left``, and at the other end of the row the first of ``choices`` that fits."""
    right = first_fitting(width - left.cell_length - 2, *choices)
    return left + " " * max(width - left.cell_length - right.cell_length, 2) + right


def _cost_row(state: GaugeState, width: int, name: int) -> Content:
    cost = state.cost
    if cost is None:
        return label("AR steps", name) + Content.styled("known after both runs" if state.speculating else "-", "$muted")
    figures = (
        figure("v", f"{cost.verify:.2f}"),
        figure("c", f"{cost.draft:.3f}"),
        figure("a block", f"{cost.total:.2f}"),
    )
    return label("AR steps", name) + first_fitting(width - name, fields(*figures), fields(*figures, gap=1))


def _engine_rows(state: GaugeState, width: int, name: int, value: int, mark: Marks) -> list[Content]:
    memory, cores = state.load.memory, state.load.cores
    room = max(width - name - value, 4)
    rows = (
        ("engine", f"{in_bytes(memory[-1])} memory" if memory else "-", memory, peak(memory)),
        ("", f"{percent(cores[-1])} CPU" if cores else "-", cores, max(1.0, peak(cores))),
    )
    return [
        label(word, name) + f"{figures:>14}  " + Content.styled(spark(values, top, room, mark)[0], "$muted")
        for word, figures, values, top in rows
    ]


def _position_rows(name: str, values: Sequence[float | None], width: int, mark: Marks) -> list[Content]:
    numbers = [or_dash(value, lambda share: f"{100 * share:.0f}") for value in values]
    bars = [cell * (_PITCH - 1) for cell in spark(values, 1.0, len(values), mark)[0]]
    return [
        label(name, _POSITION_LABEL) + _cells(numbers, width, "$foreground") + Content.styled(" %", "$muted"),
        label("", _POSITION_LABEL) + _cells(bars, width, "$token-accepted"),
    ]


def _cells(texts: Sequence[str], width: int, style: str) -> Content:
    """A column for each position, as many as fit."""
    fit = max((width - _POSITION_LABEL - 2) // _PITCH, 0)
    return Content.styled("".join(f"{text:>{_PITCH - 1}} " for text in texts[:fit]).rstrip() if fit else "", style)


def _milliseconds(figures: Figures, share: float) -> str:
    if figures.tau is None or not figures.tokens:
        return "-"
    return f"{1000 * share * figures.seconds * figures.tau / figures.tokens:.2f} ms"


def _title(name: str, note: str) -> Content:
    return Content.assemble((name, "bold"), (f"  {note}", "$muted"))


def _axis(seconds: float, room: int) -> Content:
    end = f"{seconds:.2f} s" if seconds else ""
    return Content.styled("0" + end.rjust(room - 1), "$muted") if seconds and room > len(end) + 1 else Content("")
