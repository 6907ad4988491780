"""Writing a prompt, or taking one: a preset, an earlier one, a file."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, OptionList, Static, TextArea
from textual.widgets.option_list import Option

from fastdraft_app.dialogs.choices import file_source
from fastdraft_app.dialogs.dialog import Dialog
from fastdraft_app.dialogs.picker import PickerScreen
from fastdraft_app.live.prompts import Preset, read_prompt
from fastdraft_core.errors import FastdraftError
from fastdraft_core.formatting import elide, one_line

EARLIER = "earlier"
TITLE_WIDTH = 40


class PromptScreen(Dialog[str | None]):
    """A list to take from beside the text itself, free to edit. Returns the prompt or nothing."""

    CSS_PATH = "prompt.tcss"
    HORIZONTAL_BREAKPOINTS = [(0, "-slim"), (80, "-broad")]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "back", id="prompt.back", tooltip="keep the prompt as it was"),
        Binding("f5", "run", "run", id="prompt.run", key_display="F5", tooltip="decode this prompt", priority=True),
        Binding("ctrl+enter,ctrl+j,ctrl+s,ctrl+r", "run", "run", id="prompt.run-too", show=False, priority=True,
                tooltip="decode this prompt"),
        Binding("f3,ctrl+o", "open", "open a file", id="prompt.open", key_display="F3", priority=True,
                tooltip="take the text of a file"),
    ]  # fmt: skip

    def __init__(self, presets: list[Preset], earlier: list[str], prompt: str) -> None:
        super().__init__()
        self._prompt = prompt
        self._entries = [*presets, *(Preset(EARLIER, _title(text), text) for text in earlier)]

    def compose(self) -> ComposeResult:
        """List, text, buttons."""
        with Vertical(id="dialog"):
            with Container(id="choice"):
                yield OptionList(*self._options(), id="presets")
                yield TextArea(self._prompt, id="text", soft_wrap=True, show_line_numbers=False, tab_behavior="focus")
            with Horizontal(id="buttons"):
                yield Static("enter runs a preset, tab edits", id="hint", markup=False)
                yield Button("F5 run", id="run", variant="primary", compact=True)
                yield Button("F3 file", id="open", compact=True)
                yield Button("esc back", id="back", compact=True)

    def _options(self) -> list[Option]:
        options: list[Option] = []
        for task, group in groupby(enumerate(self._entries), lambda entry: entry[1].task):
            options.append(Option(Content.styled(task.upper(), "bold $muted"), disabled=True))
            options.extend(Option(Content(f" {entry.name}"), id=str(index)) for index, entry in group)
        return options

    def on_mount(self) -> None:
        """Titles, and the preset in use."""
        self.query_one("#dialog").border_title = Content("Prompt")
        listed = self.query_one("#presets", OptionList)
        texts = [entry.text for entry in self._entries]
        if self._prompt in texts:
            listed.highlighted = listed.get_option_index(str(texts.index(self._prompt)))

    @on(OptionList.OptionHighlighted)
    def _preview(self, event: OptionList.OptionHighlighted) -> None:
        if event.option_id is not None and self.query_one("#presets").has_focus:
            self._text.text = self._entries[int(event.option_id)].text

    @property
    def _text(self) -> TextArea:
        return self.query_one("#text", TextArea)

    @on(OptionList.OptionSelected)
    @on(Button.Pressed, "#run")
    def action_run(self) -> None:
        """Decode the text as it stands."""
        if self._text.text.strip():
            self.dismiss(self._text.text)
        else:
            self.notify("Write a prompt first.", severity="warning")

    @on(Button.Pressed, "#open")
    def action_open(self) -> None:
        """Ask for a file."""
        picker = PickerScreen(
            "Open a text file", file_source, hint="path of a text file", empty="there is no such file"
        )
        self.app.push_screen(picker, self._take_file)

    def _take_file(self, path: str | None) -> None:
        if path is None:
            return
        try:
            self._text.text = read_prompt(Path(path))
        except FastdraftError as error:
            self.notify(error.message, severity="error", markup=False)
        else:
            self._text.focus()

    @on(Button.Pressed, "#back")
    def _back(self) -> None:
        self.dismiss(None)


def _title(text: str) -> str:
    """The beginning of a prompt, as its name in the list."""
    return elide(" ".join(one_line(text, " ", " ").split()), TITLE_WIDTH, "")
