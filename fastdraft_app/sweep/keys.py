"""Every key of the sweep screen, in the order of the key bar."""

from __future__ import annotations

from textual.binding import Binding, BindingType

from fastdraft_app.result_view.point_screen import POINT_BINDINGS

SWEEP_BINDINGS: list[BindingType] = [
    Binding("space", "run_or_stop", "run/stop", id="sweep.toggle", tooltip="start the sweep that the line on top shows, or stop the one under way"),
    *POINT_BINDINGS[:3],
    Binding("c", "choose", "choose", id="sweep.choose", tooltip="choose target, gamma, temperature, tasks, budget of the next sweep"),
    Binding("d", "draft", "drafts", id="sweep.drafts", tooltip="add a draft to the next sweep, or take one away"),
    *POINT_BINDINGS[3:],
    Binding("r", "new", "new", id="sweep.new", tooltip="start a new sweep, whatever is on screen"),
    Binding("x,escape", "stop", "stop", id="sweep.stop", show=False,
            tooltip="stop after the run in progress; again: at once. What was measured is kept"),
    Binding("u", "resume", "resume", id="sweep.resume", show=False, tooltip="go on with the sweep on screen, from what is kept of it"),
]  # fmt: skip
