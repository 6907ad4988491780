"""The figures of both runs and their history: what they are made of, and the rows of a small terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from textual.content import Content

from fastdraft_app.live.replay import NO_FIGURES, Figures
from fastdraft_app.live.time_buckets import Slice
from fastdraft_app.theme.palette import Marks
from fastdraft_app.widgets.line import fields, first_fitting
from fastdraft_app.widgets.spark import peak, spark
from fastdraft_core.events import BlockCost
from fastdraft_core.formatting import in_bytes, percent

LABEL_WIDTH = 15
_SHORT_LABEL_WIDTH = 9
_SHORT_HISTORY = 8


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
class Load:
    """What the engine process takes: resident bytes and cores, the newest last."""

    memory: Sequence[int] = ()
    cores: Sequence[float] = ()


@dataclass(frozen=True)
class GaugeState:
    """Everything the gauges show at a moment."""

    slow: Figures = NO_FIGURES
    fast: Figures = NO_FIGURES
    gamma: int = 1
    speculating: bool = True
    """Whether there is or will be a speculative run."""
    first: tuple[float | None, float | None] = (None, None)
    """Seconds to the first token, autoregressive and speculative."""
    seconds: float = 0.0
    """Length of the time axis of every history."""
    history: Callable[[str, int], list[Slice]] = lambda mode, columns: []
    """The slices of a run (``ar`` or ``sd``) on that axis, cut into so many columns."""
    joint: Sequence[float | None] = ()
    conditional: Sequence[float | None] = ()
    cost: BlockCost | None = None
    memory: Memory | None = None
    load: Load = Load()


def compact_rows(state: GaugeState, width: int, mark: Marks) -> list[Content]:
    """Acceptance, the split of the time, then speed and machine: three rows."""
    return [*speculation_rows(state, width, mark), speed_row(state, width, mark)]


def medium_rows(state: GaugeState, width: int, mark: Marks) -> list[Content]:
    """The same where ``race_rows`` stand above them and tell the speed."""
    return [*speculation_rows(state, width, mark), machine_row(state, width, mark)]


def race_rows(state: GaugeState, width: int, mark: Marks) -> list[Content]:
    """Tokens/s of both runs, now and over time, on one scale."""
    room = max(width - LABEL_WIDTH - 16, 8)
    histories = {mode: [s.tokens_per_second for s in state.history(mode, room)] for mode in ("ar", "sd")}
    top = peak(*histories.values())
    rows = (("autoregressive", "ar", state.slow, "$muted"), ("speculative", "sd", state.fast, "$primary"))
    return [
        label(name) + rate(figures) + Content.styled("  " + spark(histories[mode], top, room, mark)[0], style)
        for name, mode, figures, style in rows
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
    histories = {mode: [s.tokens_per_second for s in state.history(mode, columns)] for mode in ("ar", "sd")}
    top = peak(*histories.values())
    slow, fast = (spark(histories[mode], top, columns, mark)[0] for mode in ("ar", "sd"))
    words = Content.assemble(("AR ", "$muted"), (slow, "$muted"), (" SD ", "$muted"), (fast, "$primary"))
    return label("tok/s", _SHORT_LABEL_WIDTH) + words


def machine_row(state: GaugeState, width: int, mark: Marks) -> Content:
    """The memory bandwidth and what the engine takes, each with its history."""
    mode = "sd" if state.speculating else "ar"
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


def engine_words(load: Load) -> Content | None:
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


def bar(parts: Sequence[tuple[float, str]], width: int, mark: Marks) -> Content:
    """Coloured shares of a whole, then the empty rest. Neighbours differ in their mark, too."""
    cells: list[tuple[str, str]] = []
    used, total = 0, 0.0
    for index, (share, style) in enumerate(parts):
        total += share
        end = min(round(total * width), width)
        cells.append((mark.bars[index % len(mark.bars)] * (end - used), style))
        used = end
    return Content.assemble(*cells, (mark.rail * (width - used), "$border-blurred"))


def shares(figures: Figures) -> list[tuple[float, str]]:
    """Draft, verify and overhead as parts of a bar."""
    return [
        (figures.draft_share or 0.0, "$secondary"),
        (figures.verify_share or 0.0, "$primary"),
        (figures.overhead_share or 0.0, "$muted"),
    ]


def label(name: str, width: int = LABEL_WIDTH) -> Content:
    """The name of a row."""
    return Content.styled(name.ljust(width), "$muted")


def figure(name: str, value: str) -> Content:
    """A figure with its name before it."""
    return Content.assemble((f"{name} ", "$muted"), value)


def rate(figures: Figures) -> Content:
    """Tokens/s in fixed width."""
    value = f"{figures.tokens_per_second:6.1f}" if figures.tokens else "-".rjust(6)
    return Content.assemble(value, (" tok/s", "$muted"))


def or_dash(value: float | None, form: Callable[[float], str]) -> str:
    """``value`` in its form, or a dash."""
    return "-" if value is None else form(value)


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
