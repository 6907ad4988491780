"""What the screens of one result share: a cursor over its points, its figures, export, and the way to the live screen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.screen import Screen

from fastdraft_app.dialogs.exporting import save
from fastdraft_app.live import prompts
from fastdraft_app.messages import PointChosen, SweepResumed
from fastdraft_app.result_view.export_result import CHARTS, EXPORTED, export_charts, export_result
from fastdraft_app.result_view.surface import Cursor, complete
from fastdraft_app.result_view.sweep_view import SweepView
from fastdraft_app.settings.preferences import Preferences
from fastdraft_app.settings.settings import AUTO, GAMMA_RANGE, Value
from fastdraft_app.widgets.key_bar import KeyBar
from fastdraft_core import places
from fastdraft_core.events.sweeping import PointKey
from fastdraft_core.results.charts import draw
from fastdraft_core.results.panels import figures
from fastdraft_core.results.store import Result

_MOVES = {
    "left": ("left,h", -1, 0, "read the point at a smaller gamma"),
    "right": ("right,l", 1, 0, "read the point at a larger gamma"),
    "up": ("up,k", 0, -1, "read the point of the draft above"),
    "down": ("down,j", 0, 1, "read the point of the draft below"),
}

POINT_BINDINGS: list[BindingType] = [
    Binding("enter", "open_live", "live", id="points.live", key_display="enter", tooltip="run this point's draft, gamma and temperature in the live screen"),
    Binding("m", "metric", "figure", id="points.metric", tooltip="next figure: speed-up, bandwidth, acceptance, tau, draft size"),
    Binding("g", "group", "task", id="points.group", tooltip="next task or temperature"),
    Binding("e", "export", "export", id="points.export", tooltip="write the result to a file: Markdown, CSV, JSON, charts as SVG or PNG"),
    *(
        Binding(keys, f"move({across}, {down})", name, id=f"points.{name}", show=False, tooltip=words)
        for name, (keys, across, down, words) in _MOVES.items()
    ),
]  # fmt: skip


NEEDS_RESULT = frozenset({"open_live", "metric", "group", "export"})
"""Actions whose keys are grey while there is nothing to read."""


class PointScreen(Screen[None]):
    """A screen with one ``SweepView``; ``shown_result`` is what it shows."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (140, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (20, "-normal"), (40, "-roomy")]
    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(self, preferences: Preferences) -> None:
        super().__init__()
        self._preferences = preferences
        self._ascii = preferences.current.ascii
        self.cursor = Cursor()
        self._moved = False

    @property
    def shown_result(self) -> Result | None:
        """The result on screen."""
        raise NotImplementedError

    def draw_result(self) -> None:
        """Show the result as it is now, in the form that the size of the screen allows."""
        result, view = self.shown_result, self.query_one(SweepView)
        view.set_class(self.has_class("-wide") and self.has_class("-roomy"), "-all")
        if result is not None:
            self.cursor = self.cursor.inside(result)
        view.show(result, self.cursor)
        self.query_one(KeyBar).show_grey(frozenset() if result is not None else NEEDS_RESULT)

    def on_resize(self) -> None:
        """Fit everything to the new size."""
        self.call_after_refresh(self.draw_result)

    def action_move(self, gammas: int, drafts: int) -> None:
        """Move the cursor."""
        self._go(lambda cursor, result: cursor.moved(result, drafts, gammas))

    def action_group(self) -> None:
        """Look at the next task or temperature."""
        self._go(lambda cursor, result: cursor.next_group(result))

    def action_metric(self) -> None:
        """Look at the next figure."""
        self._go(lambda cursor, _: cursor.next_metric())

    def _go(self, how: Callable[[Cursor, Result], Cursor]) -> None:
        result = self.shown_result
        if result is None:
            self.notify("There is nothing to read yet.")
            return
        self.cursor, self._moved = how(self.cursor, result), True
        self.draw_result()

    def action_open_live(self) -> None:
        """Run the point under the cursor in the live screen."""
        result = self.shown_result
        if result is None:
            self.notify("There is no point to open yet.")
            return
        key = self.cursor.key(result)
        if key.gamma > GAMMA_RANGE[1]:
            self.notify(f"The live screen drafts at most {GAMMA_RANGE[1]} tokens a block; this point has {key.gamma}.")
            return
        self.post_message(PointChosen(point_changes(result, key, self._preferences.current.prompt)))

    def action_export(self) -> None:
        """Ask for a format and write the file."""
        from fastdraft_app.dialogs.formats import ExportScreen

        if self.shown_result is None:
            self.notify("There is nothing to export yet.")
            return
        self.app.push_screen(ExportScreen(EXPORTED), self._export)

    def _export(self, kind: str | None) -> None:
        if kind is not None and self.shown_result is not None:
            write_export(self, kind, self.shown_result, self._preferences)


def write_export(screen: Screen[None], kind: str, result: Result, preferences: Preferences) -> None:
    """Write ``result`` as ``kind`` and say where, or why not."""
    if kind not in CHARTS:
        save(screen, lambda: export_result(kind, result, preferences.current))
        return
    # What there is now: a sweep may go on while its charts are drawn.
    charts, name = figures(result), result.plan.name

    screen.notify("Drawing the charts; this goes on wherever you are.")

    async def work() -> None:
        pictures = await asyncio.to_thread(draw, charts, name, kind)
        save(screen, lambda: export_charts(pictures, name, preferences.current))

    screen.app.run_worker(work(), group="export")


def resume(screen: Screen[None], result: Result) -> None:
    """Go on with a sweep in the sweep screen, if it is unfinished."""
    if complete(result):
        screen.notify("This sweep is complete; nothing is left to measure.")
    else:
        screen.post_message(SweepResumed(result.plan.name))


def point_changes(result: Result, key: PointKey, prompt: str) -> dict[str, Value]:
    """The settings of a live run at a point: all that it was measured with, and its first prompt.

    Results of older versions do not have their prompts; a bundled one of the task serves, and ``prompt`` where it is one.
    """
    draft, gamma, temperature, task = key
    plan = result.plan
    changes: dict[str, Value] = {
        "target": plan.target.name,
        "draft": draft,
        "gamma": gamma,
        "temperature": temperature,
        "top_k": plan.top_k,
        "top_p": plan.top_p,
        "verification": plan.verification,
        "runtime": plan.runtime,
        "threads": plan.threads,
        "seed": plan.seed,
        **{
            name: plan.load[name]
            for name in ("device", "draft_device", "weights", "draft_weights")
            if name in plan.load
        },
        **{name: plan.load[name] or AUTO for name in ("dtype", "kv_precision") if name in plan.load},
    }
    card = next(card for card in plan.tasks if card.name == task)
    changes["length"] = card.length
    if card.prompt:
        # The very text that the first turn was given, with its seed and as it was put.
        return {**changes, "prompt": card.prompt, "prompt_form": "template" if card.chat else "plain"}
    of_task = [preset.text for preset in prompts.presets(places.assets()) if preset.task == task]
    if of_task and prompt not in of_task:
        changes["prompt"] = of_task[0]
    return changes
