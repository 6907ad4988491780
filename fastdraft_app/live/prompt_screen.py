"""Writing a prompt, or taking one: a preset, an earlier one, a file; of a chat target a turn of a conversation."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Button, Input, OptionList, Static, TextArea
from textual.widgets.option_list import Option

from fastdraft_app.dialogs.choices import file_source
from fastdraft_app.dialogs.dialog import Dialog
from fastdraft_app.dialogs.picker import PickerScreen
from fastdraft_app.live.prompts import Asked, Preset, read_prompt
from fastdraft_app.settings.settings import PromptForm
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Exchange
from fastdraft_core.formatting import elide, one_line, safe

EARLIER = "earlier"
TITLE_WIDTH = 40
FORMS: dict[PromptForm, str] = {"template": "question, in the chat template", "plain": "text, continued as it is"}
"""What stands over what is written for a chat target."""


class PromptScreen(Dialog[Asked | None]):
    """A list to take from beside the text itself, free to edit. Returns what to decode, or nothing.

    To a chat target a prompt is a question, under a system prompt, or plain text to continue. With earlier turns these stand in
    the list's place, and what is written is the next question.
    """

    CSS_PATH = "prompt.tcss"
    HORIZONTAL_BREAKPOINTS = [(0, "-slim"), (80, "-broad")]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "back", id="prompt.back", tooltip="keep the prompt as it was"),
        Binding("f5", "run", "run", id="prompt.run", key_display="F5", tooltip="decode this prompt", priority=True),
        Binding("ctrl+enter,ctrl+j,ctrl+s,ctrl+r", "run", "run", id="prompt.run-too", show=False, priority=True,
                tooltip="decode this prompt"),
        Binding("f3,ctrl+o", "open", "open a file", id="prompt.open", key_display="F3", priority=True,
                tooltip="take the text of a file"),
        Binding("f4", "form", "question or text", id="prompt.form", key_display="F4", priority=True,
                tooltip="of a chat target: ask a question in its template, or continue plain text"),
    ]  # fmt: skip

    def __init__(
        self,
        asked: Asked,
        presets: Sequence[Preset] = (),
        earlier: Sequence[str] = (),
        chats: bool = False,
    ) -> None:
        """``presets`` and ``earlier`` prompts to take from; ``chats`` is whether a conversation may begin."""
        super().__init__()
        self._asked = asked
        self._form = asked.form
        self._chats = chats
        self._entries = [*presets, *(Preset(EARLIER, _title(text), text, asked.form) for text in earlier)]

    def compose(self) -> ComposeResult:
        """List or turns, text, buttons."""
        with Vertical(id="dialog"):
            with Container(id="choice"):
                if self._asked.earlier:
                    with VerticalScroll(id="turns"):
                        yield Static(turns_text(self._asked.earlier), markup=False)
                else:
                    yield OptionList(*self._options(), id="presets")
                with Vertical(id="asked"):
                    if self._chats:
                        hint = "system prompt; empty: the model's own"
                        yield Input(self._asked.system, placeholder=hint, id="system", compact=True)
                    yield TextArea(
                        self._asked.prompt, id="text", soft_wrap=True, show_line_numbers=False, tab_behavior="focus"
                    )
            with Horizontal(id="buttons"):
                yield Static(self._hint, id="hint", markup=False)
                yield Button("F5 run", id="run", variant="primary", compact=True)
                if self._chats:
                    yield Button("F4 switch", id="form", compact=True)
                yield Button("F3 file", id="open", compact=True)
                yield Button("esc back", id="back", compact=True)

    @property
    def _hint(self) -> str:
        return "F5 asks it" if self._asked.earlier else "enter runs a preset, tab edits"

    def _options(self) -> list[Option]:
        options: list[Option] = []
        for task, group in groupby(enumerate(self._entries), lambda entry: self._heading(entry[1])):
            options.append(Option(Content.styled(task.upper(), "bold $muted"), disabled=True))
            options.extend(Option(Content(f" {entry.name}"), id=str(index)) for index, entry in group)
        return options

    def _heading(self, entry: Preset) -> str:
        """The task; of a chat target also that it is no question."""
        continued = self._chats and entry.form == "plain" and entry.task != EARLIER
        return f"{entry.task} to continue" if continued else entry.task

    def on_mount(self) -> None:
        """Titles, and the preset in use."""
        self.set_class(bool(self._asked.earlier), "-turns")
        title = f"Question {len(self._asked.earlier) + 1} of the conversation" if self._asked.earlier else "Prompt"
        self.query_one("#dialog").border_title = Content(title)
        self._use_form(self._form)
        if self._asked.earlier:
            self.query_one("#turns").scroll_end(animate=False)
            self._text.focus()
            return
        listed = self.query_one("#presets", OptionList)
        texts = [entry.text for entry in self._entries]
        if self._asked.prompt in texts:
            listed.highlighted = listed.get_option_index(str(texts.index(self._asked.prompt)))

    @on(OptionList.OptionHighlighted)
    def _preview(self, event: OptionList.OptionHighlighted) -> None:
        if event.option_id is not None and self.query_one("#presets").has_focus:
            entry = self._entries[int(event.option_id)]
            self._text.text = entry.text
            self._use_form(entry.form)

    @on(Button.Pressed, "#form")
    def action_form(self) -> None:
        """Switch between a question and plain text."""
        if self._chats:
            self._use_form("plain" if self._form == "template" else "template")

    def _use_form(self, form: PromptForm) -> None:
        if not self._chats:
            return
        self._form = form
        self._text.border_title = FORMS[form]
        self.query_one("#system", Input).disabled = form == "plain"

    @property
    def _text(self) -> TextArea:
        return self.query_one("#text", TextArea)

    @on(OptionList.OptionSelected)
    @on(Button.Pressed, "#run")
    def action_run(self) -> None:
        """Decode the text as it stands."""
        if self._text.text.strip():
            system = self.query_one("#system", Input).value if self._chats else self._asked.system
            self.dismiss(Asked(self._text.text, self._form, system.strip(), self._asked.earlier))
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


def turns_text(turns: Sequence[Exchange]) -> str:
    """A conversation for people, each question marked."""
    return "\n\n".join(f"> {safe(turn.question)}\n\n{safe(turn.answer.strip())}" for turn in turns)


def _title(text: str) -> str:
    """The beginning of a prompt, as its name in the list."""
    return elide(" ".join(one_line(text, " ", " ").split()), TITLE_WIDTH, "")
