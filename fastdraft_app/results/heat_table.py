"""Gamma against draft as a table of one figure: measured in full, predicted told apart, the best in brackets."""

from __future__ import annotations

from collections.abc import Iterator

from textual.content import Content

from fastdraft_app.results.surface import METRICS, Metric, Place, best, recommended
from fastdraft_app.theme.palette import SERIES, Marks
from fastdraft_core.events import ModelCard
from fastdraft_core.formatting import count, elide, one_line, short
from fastdraft_core.results.store import Result

CELL = 7
NAME = 16
GAP = 4
_SHADES = (8, 18, 30, 42)
"""Percent of the theme's colour behind a cell, weakest first."""


def heat_rows(result: Result, place: Place, width: int, mark: Marks, *, plain: bool) -> list[Content]:
    """The group of ``place`` with the cursor in it, and beside it as many others as fit ``width``.

    ``plain`` is without shades, where a terminal has 16 colours.
    """
    one = NAME + CELL * len(result.plan.gammas)
    groups = len(result.groups)
    beside = min(max((width + GAP) // (one + GAP), 1), groups)
    tables = [
        list(_table(result, place, (place.group + number) % groups, width if beside == 1 else one, mark, plain))
        for number in range(beside)
    ]
    return [Content(" " * GAP).join(row) for row in zip(*tables, strict=True)]


def _table(result: Result, place: Place, group: int, width: int, mark: Marks, plain: bool) -> Iterator[Content]:
    metric, active = METRICS[place.metric], group == place.group
    columns = _columns(len(result.plan.gammas), place.gamma, width)
    gammas = [result.plan.gammas[column] for column in columns]
    label = elide(one_line(_label(result, group), " ", " "), NAME - len(mark.gamma) - 2, mark.more)
    head = Content.assemble(
        (label, "bold" if active else "$muted"), (f"{mark.gamma:>{NAME - len(label) - 1}} ", "$muted")
    )
    yield head + Content.styled("".join(f"{gamma:>{CELL - 1}} " for gamma in gammas), "$muted")
    top = best(result, group)
    wanted = recommended(result) or (top[0][:2] if top and top[1] else None)
    most = _range(result, group, metric)
    for number, card in enumerate(result.plan.drafts):
        cells = []
        for column, gamma in zip(columns, gammas, strict=True):
            here = active and (number, column) == (place.draft, place.gamma)
            cells.append(
                _cell(result, (card.name, gamma), group, metric, most, (card.name, gamma) == wanted, here, mark, plain)
            )
        yield Content("").join([_name(number, card, mark), *cells])


def _columns(columns: int, cursor: int, width: int) -> range:
    """The columns that fit, with the cursor's among them."""
    room = max((width - NAME) // CELL, 1)
    first = min(max(cursor - room + 1, 0), max(columns - room, 0)) if columns > room else 0
    return range(first, min(first + room, columns))


def _label(result: Result, group: int) -> str:
    task, temperature = result.groups[group]
    return f"{task}, T {temperature:g}"


def _name(number: int, card: ModelCard, mark: Marks) -> Content:
    colour = f"$token-{SERIES[number % len(SERIES)].name}"
    size = count(card.parameters)
    name = elide(one_line(short(card.name), " ", " "), NAME - len(size) - 4, mark.more)
    return Content.assemble(
        (f"{mark.points[number % len(mark.points)]} ", colour), name, (f" {size}".ljust(NAME - 2 - len(name)), "$muted")
    )


def _range(result: Result, group: int, metric: Metric) -> tuple[float, float]:
    task, temperature = result.groups[group]
    keys = [key for key in {*result.measured, *result.predicted} if key[2:] == (temperature, task)]
    found = [value[0] for key in keys if (value := metric.value(result, key)) is not None]
    return min(found, default=0.0), max(found, default=0.0)


def _cell(
    result: Result,
    setting: tuple[str, int],
    group: int,
    metric: Metric,
    most: tuple[float, float],
    wanted: bool,
    here: bool,
    mark: Marks,
    plain: bool,
) -> Content:
    task, temperature = result.groups[group]
    value = metric.value(result, (*setting, temperature, task))
    if value is None:
        text, style = mark.unknown, "$muted"
    else:
        text = f"{'' if value[1] else mark.guess}{value[0]:.{metric.digits}f}"
        style = f"{'$foreground' if value[1] else '$muted'}{'' if plain else _shade(value[0], most, metric)}"
    framed = f"[{text}]" if wanted and value is not None else f"{text} "
    weight = " bold" if wanted else ""
    return Content.styled(framed.rjust(CELL), f"{style}{weight}{' reverse' if here else ''}")


def _shade(value: float, most: tuple[float, float], metric: Metric) -> str:
    """Stronger the nearer to the best; a speed-up below 1 is a loss."""
    if metric.unit == "×" and value < 1:
        return " on $error 20%"
    low, high = most
    share = (value - low) / (high - low) if high > low else 0.0
    return f" on $success {_SHADES[min(int(share * len(_SHADES)), len(_SHADES) - 1)]}%"
