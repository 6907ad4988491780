"""What the machine does at the moment, as rows: cores, memory, disk, the engine, and whether to measure now."""

from __future__ import annotations

from textual.content import Content

from fastdraft_app.system.machine import Reading, idle_words
from fastdraft_app.theme.palette import Marks
from fastdraft_app.widgets.bars import bar, label
from fastdraft_app.widgets.line import fields, first_fitting
from fastdraft_app.widgets.spark import spark
from fastdraft_core.formatting import elide, in_bytes, one_line, percent

_LABEL = 11
_BAR, _SHORTEST_BAR = 30, 4
_PERCENT = 8
"""Cells of a share and of what stands around it."""
_SHORT_HISTORY = 16
_CHART_ROWS = 3
_PITCH = 4
"""Cells of a core, the gap included, where there is room."""
_FULL = 0.9
_NOT_COMPARABLE = ("a measurement now would not be comparable: ", "not comparable now: ")


def short_rows(reading: Reading, disturbed: str, width: int, mark: Marks) -> list[Content]:
    """Five rows; ``disturbed`` is why a measurement now would not be comparable, or nothing."""
    load, (each, history) = _load(reading, width, mark), _cores(reading, _SHORT_HISTORY, mark)
    return [
        first_fitting(width, *(fields(load, *more) for more in ([each, history], [each], [])), load),
        *_rest(reading, disturbed, width, mark),
    ]


def tall_rows(reading: Reading, disturbed: str, width: int, mark: Marks) -> list[Content]:
    """The same with the load of the last two minutes as a chart."""
    cells = max(width - _LABEL, 0)
    chart = spark(reading.history, 1.0, cells, mark, rows=_CHART_ROWS)
    each = spark(reading.cores, 1.0, min(len(reading.cores), cells), mark)[0]
    if len(each) * _PITCH <= cells:
        each = " ".join(level * (_PITCH - 1) for level in each)
    names = ("last 2 min", *[""] * (_CHART_ROWS - 1))
    return [
        _load(reading, width, mark),
        label("each core", _LABEL) + Content.styled(each, "$primary"),
        *(label(name, _LABEL) + Content.styled(row, "$secondary") for name, row in zip(names, chart, strict=True)),
        *_rest(reading, disturbed, width, mark),
    ]


def _rest(reading: Reading, disturbed: str, width: int, mark: Marks) -> list[Content]:
    return [
        _memory(reading, width, mark),
        _disk(reading, width, mark),
        _engine(reading),
        _comparable(reading, disturbed, width, mark),
    ]


def _load(reading: Reading, width: int, mark: Marks) -> Content:
    if not reading.cores:
        return label("processor", _LABEL) + Content.styled(mark.dash, "$muted")
    used = sum(reading.cores)
    words = f"{used:.1f} of {len(reading.cores)} cores busy"
    return _meter("processor", used / len(reading.cores), words, width, mark)


def _cores(reading: Reading, columns: int, mark: Marks) -> tuple[Content | None, Content | None]:
    """The load of each core, and of all over time."""
    if not reading.cores:
        return None, None
    each, history = (
        spark(reading.cores, 1.0, len(reading.cores), mark)[0],
        spark(reading.history, 1.0, columns, mark)[0],
    )
    return (
        Content.assemble(("each ", "$muted"), (each, "$primary")),
        Content.styled(history, "$secondary"),
    )


def _memory(reading: Reading, width: int, mark: Marks) -> Content:
    total, used = reading.memory_total, reading.memory_total - reading.memory_available
    if not total:
        return label("memory", _LABEL) + Content.styled(mark.dash, "$muted")
    return _meter("memory", used / total, f"{in_bytes(used)} of {in_bytes(total)} used", width, mark)


def _disk(reading: Reading, width: int, mark: Marks) -> Content:
    total, free = reading.disk_total, reading.disk_free
    if not total:
        return label("disk", _LABEL) + Content.styled(mark.dash, "$muted")
    return _meter("disk", 1 - free / total, f"{in_bytes(free)} of {in_bytes(total)} free", width, mark)


def _engine(reading: Reading) -> Content:
    if reading.engine is None:
        return label("engine", _LABEL) + Content.styled("none runs", "$muted")
    words = f" resident, {reading.engine_cores:.1f} cores busy"
    return label("engine", _LABEL) + Content.assemble(in_bytes(reading.engine), (words, "$muted"))


def _meter(name: str, share: float, words: str, width: int, mark: Marks) -> Content:
    """A share of a whole as a bar and in words; in another colour where it is nearly full."""
    words = elide(words, max(width - _LABEL - _SHORTEST_BAR - _PERCENT, 0), mark.more)
    room = max(min(width - _LABEL - _PERCENT - len(words), _BAR), _SHORTEST_BAR)
    cells = bar([(share, "$warning" if share > _FULL else "$primary")], room, mark)
    return Content.assemble(label(name, _LABEL), cells, f"{percent(share):>6}  ", (words, "$muted"))


def _comparable(reading: Reading, disturbed: str, width: int, mark: Marks) -> Content:
    """Whether something would disturb a measurement, and what."""
    if not disturbed:
        return Content.assemble(
            (f"{mark.done} ", "$success"), (elide(idle_words(reading), width - 2, mark.more), "$muted")
        )
    why = one_line(disturbed, " ", " ")
    told = [Content.assemble((f"{mark.warned} ", "$warning"), lead, (why, "bold")) for lead in _NOT_COMPARABLE]
    short = elide(f"{_NOT_COMPARABLE[-1]}{why}", width - 2, mark.more)
    return first_fitting(width, *told, Content.assemble((f"{mark.warned} ", "$warning"), short))
