"""Kept design studies: what each candidate costs, and what that means for a speed-up. Light: the app reads them too.

The acceptance of a candidate that was not trained is nobody's to know, so its speed-up is told as a function of the acceptance that it
would need: each drafted token accepted with probability a, independent of the others, tau = (1 - a^(gamma + 1)) / (1 - a)
(Leviathan et al., 2211.17192, equation 1).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fastdraft_core import places
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import (
    DesignFinished,
    DesignShape,
    DesignStarted,
    Event,
    ShapeMeasured,
    ShapeTrained,
)
from fastdraft_core.events.designing import ShapeKey
from fastdraft_core.metrics import expected_tau, predicted_speedup
from fastdraft_core.results.event_file import FILE, Writer, choose, decode_lines, open_writer, read_lines
from fastdraft_core.results.panels import Chart, Mark, Panel, Series

#: Changes when a field of a kept event changes its meaning.
SCHEMA = "fastdraft.design/1"
KEPT = (DesignStarted, ShapeMeasured, ShapeTrained, DesignFinished)
#: Acceptances that are assumed where nothing was trained: the paper's drafts lie between the first two, greedy code near the last.
ASSUMED = (0.4, 0.6, 0.8)
#: Halvings of the interval in which a break-even acceptance lies.
_HALVINGS = 30


@dataclass(slots=True)
class Design:
    """A study as far as it got. Of several measurements of one candidate the last counts."""

    plan: DesignStarted
    measured: dict[ShapeKey, ShapeMeasured] = field(default_factory=dict)
    trained: dict[ShapeKey, ShapeTrained] = field(default_factory=dict)
    finished: DesignFinished | None = None

    def add(self, event: Event) -> None:
        """Take in one event; what is not kept changes nothing."""
        match event:
            case ShapeMeasured():
                self.measured[event.shape.key] = event
            case ShapeTrained():
                self.trained[event.key] = event
            case DesignFinished():
                self.finished = event

    @property
    def verify(self) -> list[float]:
        """v(n) by n - 1, the mean over all candidates: it is the target's, and one figure for all compares them fairly."""
        rows = [m.verify for m in self.measured.values()]
        return [sum(column) / len(column) for column in zip(*rows, strict=True)]

    def costs(self, shape: ShapeMeasured, gamma: int) -> float:
        """A block of ``gamma`` in autoregressive steps."""
        return self.verify[gamma] + gamma * shape.draft[gamma - 1] + shape.overhead

    def speedup(self, shape: ShapeMeasured, acceptance: float) -> tuple[float, int]:
        """Predicted speed-up at that acceptance of each token and the measured costs, and the gamma that gives it."""
        return max(
            (predicted_speedup(expected_tau(acceptance, gamma), 1, 0.0, self.costs(shape, gamma)), gamma)
            for gamma in self.plan.gammas
        )

    def break_even(self, shape: ShapeMeasured) -> float | None:
        """The least acceptance of each token at which some gamma is as fast as autoregressive decoding; None above 1."""
        if self.speedup(shape, 1.0)[0] < 1:
            return None
        low, high = 0.0, 1.0
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (low, middle) if self.speedup(shape, middle)[0] >= 1 else (middle, high)
        return high

    def best(self, acceptance: float = ASSUMED[1]) -> ShapeKey | None:
        """The fastest candidate within the budget: by trained acceptance where there is any, else at an assumed one."""
        if self.trained:
            return max(self.trained.values(), key=lambda t: max(t.speedup)).key
        within = [m for m in self.measured.values() if m.shape.budgeted]
        return max(within, key=lambda m: self.speedup(m, acceptance)[0]).shape.key if within else None

    @property
    def missing(self) -> list[DesignShape]:
        """Candidates that were not measured yet."""
        return [shape for shape in self.plan.shapes if shape.key not in self.measured]

    @property
    def untrained(self) -> list[DesignShape]:
        """Candidates of the budget that the study is to train and has not, each once for all weight formats."""
        if not self.plan.train:
            return []
        return [
            s
            for s in self.plan.shapes
            if s.budgeted and s.weights == self.plan.shapes[0].weights and s.key not in self.trained
        ]


def folder(name: str) -> Path:
    """Where a study lies."""
    return places.designs() / name


def names() -> list[str]:
    """All studies, the newest last."""
    return sorted(path.parent.name for path in places.designs().glob(f"*/{FILE}"))


def find(name: str) -> str:
    """The one study that ``name`` means: a name, the beginning of only one, or ``last``.

    Raises:
        FastdraftError: there is none, or there are several.
    """
    return choose(names(), name, "design study", begin="fastdraft design", listed="fastdraft design --list")


def read(name: str) -> Design:
    """The study of that very name.

    Raises:
        FastdraftError: its file cannot be read, or another version of fastdraft wrote it.
    """
    path = folder(name) / FILE
    plan, *events = decode_lines(read_lines(path), str(path), SCHEMA)
    if not isinstance(plan, DesignStarted):
        raise FastdraftError(f"{path} does not begin with the plan of a design study.")
    design = Design(plan)
    for event in events:
        design.add(event)
    return design


def writer(name: str) -> Writer:
    """The writer of a study that is there or begins.

    Raises:
        FastdraftError: the folder cannot be written, or another process is writing this study.
    """
    return open_writer(folder(name), f"the design study {name}", KEPT, f"fastdraft design --resume {name}")


def variant(shape: DesignShape | ShapeKey) -> str:
    """How a candidate's head and weights differ from others of its depth and width, in words."""
    head = f"{shape.draft_vocab:,} ids" if shape.draft_vocab else "whole head"
    return f"{head}, {shape.weights}" if shape.weights else head


def figures(design: Design) -> dict[str, Chart]:
    """Latency against depth, latency against width, and speed-up against depth, by name."""
    gamma = design.plan.gammas[-1]
    names = list(dict.fromkeys(variant(shape) for shape in design.plan.shapes))
    at = f"milliseconds a block of {gamma}"
    depth = [_latency(design, name, n, gamma, by_width=False) for n, name in enumerate(names)]
    width = [_latency(design, name, n, gamma, by_width=True) for n, name in enumerate(names)]
    one = (1.0, "autoregressive")
    first = min(shape.layers for shape in design.plan.shapes)
    return {
        "depth": Chart("Latency against depth", [Panel("the budget's parameters at each depth", "layers", at, depth)]),
        "width": Chart(
            "Latency against width", [Panel(f"at {first} layer{'s' if first > 1 else ''}", "width", at, width)]
        ),
        "speedup": Chart(
            "Speed-up against depth",
            [Panel(_speedup_title(design), "layers", "times autoregressive", list(_speedups(design)), one)],
        ),
    }


def _latency(design: Design, name: str, number: int, gamma: int, *, by_width: bool) -> Series:
    first = min(shape.layers for shape in design.plan.shapes)
    marks = []
    for one in design.measured.values():
        wanted = one.shape.layers == first if by_width else one.shape.budgeted
        if wanted and variant(one.shape) == name:
            block = one.block_seconds[gamma - 1]
            x = one.shape.width if by_width else one.shape.layers
            marks.append(Mark(x, block.mean * 1e3, block.low * 1e3, block.high * 1e3))
    return Series(name, number, sorted(marks, key=lambda mark: mark.x))


def _speedup_title(design: Design) -> str:
    if design.trained:
        return "predicted from measured costs and the acceptance of trained candidates"
    return "predicted from measured costs at an assumed acceptance a"


def _speedups(design: Design) -> list[Series]:
    if design.trained:
        names = list(dict.fromkeys(variant(key) for key in design.trained))
        return [
            Series(
                name,
                number,
                sorted(
                    (Mark(t.key.layers, max(t.speedup)) for t in design.trained.values() if variant(t.key) == name),
                    key=lambda mark: mark.x,
                ),
                guess=True,
            )
            for number, name in enumerate(names)
        ]
    found = []
    for number, acceptance in enumerate(ASSUMED):
        best: dict[int, float] = {}
        for one in design.measured.values():
            if one.shape.budgeted:
                speed = design.speedup(one, acceptance)[0]
                best[one.shape.layers] = max(best.get(one.shape.layers, 0.0), speed)
        marks = [Mark(layers, speed) for layers, speed in sorted(best.items())]
        found.append(Series(f"a = {acceptance}", number, marks, guess=True))
    return found
