"""A curve that grows: kept in few stretches, so that a long training costs no more to draw than a short one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

Point = tuple[float, float]

#: Stretches at which two become one: a few for every column of the widest chart.
_MOST = 1024


@dataclass(slots=True)
class _Stretch:
    """Some points that follow each other: their ends, their peaks, and their sum."""

    first: Point
    last: Point
    low: Point
    high: Point
    total: float
    number: int

    def add(self, point: Point) -> None:
        """Take one more point."""
        self.last = point
        if point[1] < self.low[1]:
            self.low = point
        elif point[1] > self.high[1]:
            self.high = point
        self.total += point[1]
        self.number += 1

    def take(self, other: _Stretch) -> None:
        """Become this stretch and the ``other`` after it."""
        self.last = other.last
        self.low = min(self.low, other.low, key=_height)
        self.high = max(self.high, other.high, key=_height)
        self.total += other.total
        self.number += other.number


@dataclass(slots=True)
class Curve:
    """Points in the order of x. No peak is ever lost; means are over stretches, single points while there are few."""

    _stretches: list[_Stretch] = field(default_factory=list)
    _width: int = 1

    def add(self, x: float, y: float) -> None:
        """Take the next point; its cost does not depend on how many there are."""
        point = (x, y)
        if self._stretches and self._stretches[-1].number < self._width:
            self._stretches[-1].add(point)
            return
        if len(self._stretches) == _MOST:
            self._halve()
        self._stretches.append(_Stretch(point, point, point, point, y, 1))

    def points(self, offset: float = 0.0) -> list[Point]:
        """The lowest and the highest point of every stretch and both ends, ``offset`` added to each x."""
        if not self._stretches:
            return []
        inner = {point for one in self._stretches for point in (one.low, one.high)}
        found = sorted(inner | {self._stretches[0].first, self._stretches[-1].last})
        return [(x + offset, y) for x, y in found]

    def means(self, offset: float = 0.0) -> list[Point]:
        """The mean of every stretch at its end, ``offset`` added to each x."""
        return [(one.last[0] + offset, one.total / one.number) for one in self._stretches]

    def _halve(self) -> None:
        pairs = zip(self._stretches[::2], self._stretches[1::2], strict=True)
        for one, other in pairs:
            one.take(other)
        self._stretches = self._stretches[::2]
        self._width *= 2


def curve_of(points: Iterable[Point]) -> Curve:
    """A curve of these points."""
    curve = Curve()
    for x, y in points:
        curve.add(x, y)
    return curve


def smooth(points: Sequence[Point]) -> list[Point]:
    """``points`` averaged exponentially over about a fiftieth of them, without the pull of the start (as Adam corrects it)."""
    keep = 1 - 1 / max(1.0, len(points) / 50)
    mean, weight, smoothed = 0.0, 0.0, []
    for x, y in points:
        mean, weight = keep * mean + (1 - keep) * y, keep * weight + (1 - keep)
        smoothed.append((x, mean / weight))
    return smoothed


def thin(points: Sequence[Point], limit: int) -> list[Point]:
    """At most ``limit`` of ``points`` with every peak kept: of each stretch its lowest and its highest, and both ends."""
    if len(points) <= max(limit, 4):
        return list(points)
    stretches = max(1, (limit - 2) // 2)
    kept = [points[0]]
    inner = points[1:-1]
    for number in range(stretches):
        part = inner[number * len(inner) // stretches : (number + 1) * len(inner) // stretches]
        # In their order along x; once where one point is both.
        kept += sorted({min(part, key=_height), max(part, key=_height)})
    return [*kept, points[-1]]


def _height(point: Point) -> float:
    return point[1]
