"""What the gauges show: the figures of both runs and their history, as rows for every size of terminal. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from textual.content import Content

from fastdraft_app.live.replay import MODES, NO_FIGURES, RUN_NAMES, Figures, Mode
from fastdraft_app.live.time_buckets import Slice
from fastdraft_app.theme.palette import Marks
from fastdraft_app.widgets.bars import LABEL_WIDTH, bar, figure, label, or_dash
from fastdraft_app.widgets.line import fields, first_fitting
from fastdraft_app.widgets.spark import peak, spark
from fastdraft_core.events import BlockCost
from fastdraft_core.formatting import in_bytes, percent

_SHORT_LABEL_WIDTH = 9
_SHORT_HISTORY = 8
_PITCH = 4
_POSITION_LABEL = 12
_NARROWEST = 50


@dataclass(frozen=True)
class Memory:
    """What the machine's memory can do, measured, and whether the models are read from it at all."""

    peak: float
    """GB/s with as many threads as the models use."""
    lower_bound: bool
    """Whether other work disturbed the measurement."""
    cache_bound: bool
    """Whether the weights fit in the last-level cache, so that they are not read from memory."""


@dataclass(frozen=True)
class EngineLoad:
    """What the engine process takes: resident bytes and cores, the newest last."""

    memory: Sequence[int] = ()
    cores: Sequence[float] = ()


class FirstTokens(NamedTuple):
    """Seconds to the first token of the autoregressive and of the speculative run; None where there is none yet."""

    slow: float | None = None
    fast: float | None = None


NO_FIRST_TOKENS = FirstTokens()


@dataclass(frozen=True)
class GaugeState:
    """Everything the gauges show at a moment."""

    slow: Figures = NO_FIGURES
    fast: Figures = NO_FIGURES
    gamma: int = 1
    speculating: bool = True
    """Whether there is or will be a speculative run."""
    first: FirstTokens = NO_FIRST_TOKENS
    seconds: float = 0.0
    """Length of the time axis of every history."""
    history: Callable[[Mode, int], list[Slice]] = lambda mode, columns: []
    """The slices of a run (``ar`` or ``sd``) on that axis, cut into so many columns."""
    joint: Sequence[float | None] = ()
    conditional: Sequence[float | None] = ()
    cost: BlockCost | None = None
    memory: Memory | None = None
    load: EngineLoad = EngineLoad()


def compact_rows(state: GaugeState, width: int, mark: Marks) -> list[Content]:
    """Acceptance, the split of the time, then speed and machine: three rows."""
    return [*speculation_rows(state, width, mark), speed_row(state, width, mark)]


def medium_rows(state: GaugeState, width: int, mark: Marks) -> list[Content]:
    """The same where ``race_rows`` stand above them and tell the speed."""
    return [*speculation_rows(state, width, mark), machine_row(state, width, mark)]


def race_rows(state: GaugeState, width: int, mark: Marks) -> list[Content]:
    """Tokens/s of both runs, now and over time, on one scale."""
    room = max(width - LABEL_WIDTH - 16, 8)
    histories = {mode: [s.tokens_per_second for s in state.history(mode, room)] for mode in MODES}
    top = peak(*histories.values())
    rows = zip(MODES, (state.slow, state.fast), ("$muted", "$primary"), strict=True)
    return [
        label(RUN_NAMES[mode])
        + rate(figures)
        + Content.styled("  " + spark(histories[mode], top, room, mark)[0], style)
        for mode, figures, style in rows
    ]


def speculation_rows(state: GaugeState, width: int, mark: Marks) -> list[Content]:
    """Acceptance with its break-even, tau, MBSU and acceptance by position; then where the time went."""
    figures = state.fast
    numbers = fields(
        Content(or_dash(figures.acceptance, percent).rjust(5)),
        figure(mark.tau, or_dash(figures.tau, lambda tau: f"{tau:.1f}/{state.gamma + 1}")),
        figure("MBSU", or_dash(figures.mbsu, lambda mbsu: f"{mbsu:.2f}")),
    )
    even = figure("break-even", break_even(state.cost)) if state.cost is not None else None
    joint = _positions("joint", state.joint, state.gamma, mark)
    conditional = _positions("cond.", state.conditional, state.gamma, mark)
    words = _share_words(figures)
    room = max(min(width - _SHORT_LABEL_WIDTH - 2 - words.cell_length, 30), 8)

    def row(*parts: Content | None) -> Content:
        tail = fields(numbers, *parts)
        bar_width = max(min(room, width - _SHORT_LABEL_WIDTH - 2 - tail.cell_length), 8)
        return label("accepted", _SHORT_LABEL_WIDTH) + acceptance_bar(state, bar_width, mark) + "  " + tail

    return [
        first_fitting(width, row(even, joint, conditional), row(joint, conditional), row(joint), row()),
        label("time", _SHORT_LABEL_WIDTH) + bar(shares(figures), room, mark) + "  " + words,
    ]


def speed_row(state: GaugeState, width: int, mark: Marks) -> Content:
    """The speed of both over time, the memory bandwidth, and what the engine takes."""
    read, engine = bandwidth(state, mark), engine_words(state.load)
    long, middle, short = (_both_speeds(state, columns, mark) for columns in (_SHORT_HISTORY, 6, 4))
    return first_fitting(
        width,
        fields(long, read, engine),
        *(fields(speeds, read, engine, gap=2) for speeds in (long, middle, short)),
        fields(long, read),
        long,
    )


def _both_speeds(state: GaugeState, columns: int, mark: Marks) -> Content:
    histories = {mode: [s.tokens_per_second for s in state.history(mode, columns)] for mode in MODES}
    top = peak(*histories.values())
    slow, fast = (spark(histories[mode], top, columns, mark)[0] for mode in MODES)
    words = Content.assemble(("AR ", "$muted"), (slow, "$muted"), (" SD ", "$muted"), (fast, "$primary"))
    return label("tok/s", _SHORT_LABEL_WIDTH) + words


def machine_row(state: GaugeState, width: int, mark: Marks) -> Content:
    """The memory bandwidth and what the engine takes, each with its history."""
    mode: Mode = "sd" if state.speculating else "ar"
    reads = [s.gigabytes_per_second for s in state.history(mode, _SHORT_HISTORY)]
    read, engine = bandwidth(state, mark), engine_words(state.load)
    if read is not None:
        read += Content.styled("  " + spark(reads, ceiling(state, reads), _SHORT_HISTORY, mark)[0], "$secondary")
    if engine is not None:
        chart = spark(state.load.cores, max(1.0, peak(state.load.cores)), _SHORT_HISTORY, mark)[0]
        engine += Content.styled(f"  {chart}", "$muted")
    return label("memory", _SHORT_LABEL_WIDTH) + first_fitting(
        width - _SHORT_LABEL_WIDTH, fields(read or Content("-"), engine), read or Content("-")
    )


def bandwidth(state: GaugeState, mark: Marks) -> Content | None:
    """Effective memory bandwidth and its share of the measured peak; labelled where that would mislead."""
    rate = (state.fast if state.speculating else state.slow).gigabytes_per_second
    if rate is None:
        return None
    words = peak_words(rate, state.memory, mark)
    return Content.assemble(f"{rate:.1f}", (" GB/s", "$muted"), (f" {words}", "$muted") if words else "")


def peak_words(rate: float, memory: Memory | None, mark: Marks) -> str:
    """What ``rate`` is of the peak, in words."""
    if memory is None:
        return ""
    if memory.cache_bound:
        return "cache-bound"
    return f"{mark.at_most + ' ' if memory.lower_bound else ''}{percent(rate / memory.peak)} of peak"


def ceiling(state: GaugeState, rates: Sequence[float]) -> float:
    """The top of a chart of bandwidth: the peak, where it bounds anything."""
    bound = state.memory.peak if state.memory is not None and not state.memory.cache_bound else 0.0
    return max(bound, peak(rates))


def engine_words(load: EngineLoad) -> Content | None:
    """Memory and processor time of the engine in a few words."""
    if not load.memory:
        return None
    return Content.assemble(
        ("engine ", "$muted"), in_bytes(load.memory[-1]), f" {percent(load.cores[-1])}", (" CPU", "$muted")
    )


def break_even(cost: BlockCost) -> str:
    """The acceptance at which speculation breaks even."""
    return percent(cost.break_even) if cost.break_even <= 1 else f"> {percent(1)}"


def acceptance_bar(state: GaugeState, width: int, mark: Marks) -> Content:
    """The accepted share, with a notch where speculation breaks even."""
    cells = bar([(state.fast.acceptance or 0.0, "$token-accepted")], width, mark)
    cost = state.cost
    if cost is None or not 0 < cost.break_even <= 1 or state.fast.acceptance is None:
        return cells
    place = min(int(cost.break_even * width), width - 1)
    notch = Content.styled(mark.notch, "$foreground")
    return cells[:place] + notch + cells[place + 1 :]


def shares(figures: Figures) -> list[tuple[float, str]]:
    """Draft, verify and overhead as parts of a bar."""
    return [
        (figures.draft_share or 0.0, "$secondary"),
        (figures.verify_share or 0.0, "$primary"),
        (figures.overhead_share or 0.0, "$muted"),
    ]


def rate(figures: Figures) -> Content:
    """Tokens/s in fixed width."""
    value = f"{figures.tokens_per_second:6.1f}" if figures.tokens else "-".rjust(6)
    return Content.assemble(value, (" tok/s", "$muted"))


def _positions(name: str, values: Sequence[float | None], gamma: int, mark: Marks) -> Content:
    chart = spark(values, 1.0, gamma, mark)[0]
    return Content.assemble((f"{name} ", "$muted"), (chart, "$token-accepted"))


def _share_words(figures: Figures) -> Content:
    names = (("draft", figures.draft_share), ("verify", figures.verify_share), ("overhead", figures.overhead_share))
    styles = ("$secondary", "$primary", "$muted")
    return fields(
        *(
            Content.assemble((f"{name} ", style), f"{or_dash(share, percent):>4}")
            for (name, share), style in zip(names, styles, strict=True)
        ),
        gap=2,
    )


# --- the columns of a large terminal -----------------------------------------------------------------


def acceptance_width(gamma: int) -> int:
    """Cells that the acceptance column needs, a figure for each position included."""
    return max(_NARROWEST, _POSITION_LABEL + _PITCH * gamma + 2)


def speed_column(state: GaugeState, width: int, mark: Marks) -> list[Content]:
    """Tokens/s of both runs and the memory bandwidth, each over the time of the comparison."""
    runs = [state.history(mode, width) for mode in MODES]
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
        _between(label("autoregressive") + rate(state.slow), *_first(state.first.slow), width=width),
        _chart(speeds[0], top, width, "$muted", mark),
        _between(label("speculative") + rate(state.fast), *_first(state.first.fast), width=width),
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


def _first(seconds: float | None) -> tuple[Content, ...]:
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
