"""Every key of the live screen, in the order of the key bar. The actions are in the ``live_*`` modules."""

from __future__ import annotations

from textual.binding import Binding, BindingType

_GAMMA = Binding.Group("γ", compact=True)
_TEMPERATURE = Binding.Group("T", compact=True)
_DRAFT = Binding.Group("draft", compact=True)

_MOVES = {
    "left": ("left,h", "inspect the token before"),
    "right": ("right,l", "inspect the token after"),
    "up": ("up,k", "inspect a token of the line above"),
    "down": ("down,j", "inspect a token of the line below"),
    "page_up": ("pageup", "inspect a token a page up"),
    "page_down": ("pagedown", "inspect a token a page down"),
    "home": ("home", "inspect the first token"),
    "end": ("end", "inspect the last token"),
}


def _moves() -> list[Binding]:
    """Of the inspector's cursor; they come before the keys that scroll."""
    return [
        Binding(keys, f"move('{move}')", move, id=f"live.move-{move}", show=False, priority=True, tooltip=words)
        for move, (keys, words) in _MOVES.items()
    ]


LIVE_BINDINGS: list[BindingType] = [
    Binding("space", "run_or_pause", "pause", id="live.toggle", tooltip="pause or go on; while timing: cancel"),
    Binding("n", "step", "step", id="live.step", tooltip="replay by half blocks: what was drafted, then what became of it"),
    Binding("left_square_bracket", "gamma(-1)", "γ", id="live.gamma-down", key_display="[", group=_GAMMA,
            tooltip="draft one token less a block"),
    Binding("right_square_bracket", "gamma(1)", "γ", id="live.gamma-up", key_display="]", group=_GAMMA,
            tooltip="draft one token more a block"),
    Binding("d", "draft", "draft", id="live.draft", tooltip="choose a draft"),
    Binding("p", "prompt", "prompt", id="live.prompt", tooltip="choose or write a prompt"),
    Binding("i", "inspect", "inspect", id="live.inspect", tooltip="all about one token; arrows choose it, i closes"),
    Binding("v", "view", "view", id="live.view", tooltip="final text, history with what was thrown away, or plain"),
    Binding("r", "restart", "restart", id="live.restart", tooltip="run again; restarts a stopped engine"),
    Binding("s", "slow", "slow", id="live.slow", tooltip="replay in slow motion: 1/4, 1/10, 1/50, true speed again"),
    Binding("minus", "temperature(-1)", "T", id="live.temperature-down", key_display="-", group=_TEMPERATURE,
            tooltip="sample colder; 0 is greedy"),
    Binding("equals_sign", "temperature(1)", "T", id="live.temperature-up", key_display="=", group=_TEMPERATURE,
            tooltip="sample hotter"),
    Binding("m", "target", "target", id="live.target", tooltip="choose a target"),
    Binding("o", "runtime", "runtime", id="live.runtime", tooltip="load into the next runtime: auto, torch, openvino"),
    Binding("e", "export", "export", id="live.export", tooltip="write what is shown to a file: Markdown, text, JSONL, SVG"),
    Binding("y", "copy", "copy", id="live.copy", tooltip="copy what the mouse selected, or the text of this pane"),
    Binding("less_than_sign", "next_draft(-1)", "draft", id="live.draft-before", key_display="<", group=_DRAFT,
            show=False, tooltip="load the draft before this one"),
    Binding("greater_than_sign", "next_draft(1)", "draft", id="live.draft-after", key_display=">", group=_DRAFT,
            show=False, tooltip="load the next draft; one of them is off"),
    Binding("R", "recordings", "recordings", id="live.recordings", tooltip="play a recording, of this machine or another"),
    Binding("escape", "back", "back", id="live.cancel", show=False,
            tooltip="close the inspector, else cancel the run or leave the recording"),
    *_moves(),
]  # fmt: skip

CAN_BE_GREY = ("step", "slow", "export", "copy")
"""What needs a run; ``hindrance`` of the screen says why it cannot be done yet."""
