"""What the design screen shows of a study: its lines and its table. Pure, without widgets."""

from __future__ import annotations

from textual.content import Content

from fastdraft_app.result_view.lines import named, state_line
from fastdraft_app.settings.settings import Settings
from fastdraft_app.theme.palette import Marks
from fastdraft_app.widgets.line import fields, first_fitting
from fastdraft_core.events import DesignShape, DesignStarted, ShapeMeasured
from fastdraft_core.formatting import count, elide, one_line, percent, short
from fastdraft_core.results.designs import ASSUMED, Design, variant


def arguments(target: str, settings: Settings) -> list[str]:
    """The command line of a new study; what is left at its default does not stand in the command that is kept."""
    given = {
        "params": settings.design_params,
        "layers": settings.design_layers,
        "widths": settings.design_widths,
        "draft-vocab": settings.design_draft_vocab,
        "gamma": str(settings.design_gamma),
        "train": settings.design_train,
        "runtime": settings.runtime,
        "device": settings.device,
        "weights": settings.weights,
        "threads": str(settings.threads or ""),
    }
    return ["design", target, *(f"--{name}={value}" for name, value in given.items() if value), "--json"]


def asked_line(target: str, settings: Settings, width: int, mark: Marks) -> Content:
    """The next study, from the settings."""
    return _setup(
        target,
        settings.design_params or "a tenth",
        settings.design_layers,
        settings.design_train,
        settings.runtime,
        width,
        mark,
    )


def plan_line(plan: DesignStarted, width: int, mark: Marks) -> Content:
    """The study on screen, from its plan."""
    depths = sorted({shape.layers for shape in plan.shapes if shape.budgeted})
    train = count(plan.train) if plan.train else ""
    machine = f"{plan.runtime} {plan.target.dtype}, {plan.threads} threads"
    layers = f"{depths[0]}-{depths[-1]}"
    return _setup(plan.target.name, count(plan.parameters), layers, train, machine, width, mark)


def _setup(target: str, params: str, layers: str, train: str, machine: str, width: int, mark: Marks) -> Content:
    name = elide(one_line(short(target), " ", " "), 32, mark.more)
    parts = [named("drafts for", name), named("parameters", params), named("layers", layers)]
    parts += [named("trained by", train)] if train else []
    whole = fields(*parts, Content(machine), gap=2)
    return first_fitting(width, whole, fields(*parts, gap=2), fields(*parts[:2], gap=2), Content(name))


def choice_line(design: Design | None, width: int, mark: Marks) -> Content:
    """Which shape is the best so far, and on what that rests."""
    chosen = design.best() if design is not None else None
    if design is None or chosen is None:
        return Content.styled("latency needs no training: every shape is timed with random weights", "$muted")
    shape = design.measured[chosen].shape
    words = f"{shape.layers} x {shape.width}, {variant(shape)}, {count(shape.parameters)}"
    if design.trained:
        told = f"{words}: predicted {max(design.trained[chosen].speedup):.2f}{mark.times} by what it learned"
    else:
        speed, gamma = design.speedup(design.measured[chosen], ASSUMED[1])
        told = f"{words}: cheapest; {speed:.2f}{mark.times} at {mark.gamma} {gamma} if a = {ASSUMED[1]} (assumed)"
    return state_line(mark.done, told, "$success", width, mark)


def heading(gamma: int, width: int) -> Content:
    """The columns of the table."""
    cells = ["shape", "head", "params", f"block of {gamma}", "c", "head share", "break-even", f"a = {ASSUMED[1]}"]
    return Content.styled(_row(cells, width), "bold $muted")


def legend(design: Design) -> Content:
    """What the stars mean, and what is measured and what is not."""
    beside = (
        "* another number of parameters, for latency against width; "
        if any(not s.budgeted for s in design.plan.shapes)
        else ""
    )
    return Content.styled(f"{beside}block, c and head share are measured, the rest is predicted", "$muted")


def row(design: Design, shape: DesignShape, width: int, mark: Marks) -> Content:
    """A candidate of the table, measured or still to come."""
    name = f"{shape.layers} x {shape.width}{'' if shape.budgeted else ' *'}"
    cells = [name, variant(shape), count(shape.parameters)]
    one = design.measured.get(shape.key)
    if one is None:
        return Content.styled(_row([*cells, *["·" if mark.more == "…" else "."] * 5], width), "$muted")
    style = "$success" if shape.key == design.best() else "$foreground" if shape.budgeted else "$muted"
    return Content.styled(_row([*cells, *_figures(design, one, mark)], width), style)


def _figures(design: Design, one: ShapeMeasured, mark: Marks) -> list[str]:
    block = one.block_seconds[-1]
    even = design.break_even(one)
    speed, gamma = design.speedup(one, ASSUMED[1])
    if (trained := design.trained.get(one.shape.key)) is not None:
        told = f"{max(trained.speedup):.2f}{mark.times} trained"
    else:
        told = f"{speed:.2f}{mark.times} {mark.gamma} {gamma}"
    return [
        f"{block.mean * 1e3:.2f} {mark.plus_minus}{(block.high - block.mean) * 1e3:.2f} ms",
        f"{one.draft[-1]:.3f}",
        "" if one.head_share is None else percent(one.head_share),
        "none" if even is None else f"{even:.2f}",
        told,
    ]


_WIDTHS = (11, 14, 8, 16, 7, 11, 11, 14)
#: Columns that a narrow screen leaves out: head, its share.
_SPARE = (1, 5, 2)


def _row(cells: list[str], width: int) -> str:
    left = list(range(len(cells)))
    for spare in _SPARE:
        if sum(_WIDTHS[at] for at in left) <= width:
            break
        left.remove(spare)
    return "".join(cells[at].ljust(_WIDTHS[at]) if not at else cells[at].rjust(_WIDTHS[at]) for at in left)
