"""A source of text for a recipe: where it lies, what it is called, which column holds its text; read while one types."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import ClassVar, get_type_hints

import msgspec
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Button, Input, Select, Static

from fastdraft_app.client.source_check import check_source
from fastdraft_app.dialogs.dialog import Dialog
from fastdraft_app.dialogs.picker import PickerScreen
from fastdraft_app.wizard.answers import Answers
from fastdraft_app.wizard.sources import INSTRUCTIONS, described, free_source_name, read_place, source_choices, tried
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Glanced
from fastdraft_core.formatting import elide, one_line
from fastdraft_core.text_sources import TextSource

_PAUSE = 0.3
"""Seconds without a key before the source is read."""
_SHOWN_CHARS = 160
_ABOUT = {
    name: str(hint.__metadata__[0].description)
    for name, hint in get_type_hints(TextSource, include_extras=True).items()
    if name in ("field", "config", "split")
}
_OF_HUB = ("config", "split")
_USES = {"prefixes": "synthesis.sources", "instructions": INSTRUCTIONS}


@dataclass(frozen=True)
class Chosen:
    """The source ``name`` for the mixture at ``path``; without a source, the one of that name is taken off."""

    name: str
    source: TextSource | None
    path: str


class SourceScreen(Dialog[Chosen | None]):
    """A picker first, then some fields over what was found there. Returns what to add or to take off, or nothing."""

    CSS_PATH = "source.tcss"
    AUTO_FOCUS = "#place"
    HORIZONTAL_BREAKPOINTS = [(0, "-slim"), (100, "-broad")]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "back", id="source.back", tooltip="change nothing"),
        Binding("f3", "choose", "choose", id="source.choose", key_display="F3", tooltip="choose another one"),
        Binding("f9", "take_off", "take off", id="source.off", key_display="F9", tooltip="take it out of the recipe"),
    ]

    def __init__(self, answers: Answers, paths: tuple[str, ...]) -> None:
        """``paths`` are the mixtures that the page asks for."""
        super().__init__()
        self._answers = answers
        self._paths = paths
        self._known = ""
        """The source of the recipe that is looked at; empty for a new one."""
        self._suggested = ""
        self._before = TextSource()
        self._seen: tuple[Chosen, Glanced | str] | None = None
        """What was read, and what was found there or is wrong with it."""
        self._entered = False

    def compose(self) -> ComposeResult:
        """Fields, what was found, buttons."""
        with Vertical(id="dialog"):
            yield _row("from", Input(id="place", compact=True), "File, folder or data set.")
            yield _row("name", Input(id="called", compact=True), "What the recipe calls it.")
            if INSTRUCTIONS in self._paths:
                uses = Select(
                    [(use, use) for use in _USES], value="prefixes", allow_blank=False, id="use", compact=True
                )
                yield _row("used as", uses, "The target continues prefixes, answers instructions.")
            for key, about in _ABOUT.items():
                yield _row(key, Input(id=key, compact=True), about)
            yield Static(id="found", markup=False)
            with Horizontal(id="buttons"):
                yield Button("enter add", id="add", variant="primary", compact=True)
                yield Button("F9 take off", id="off", compact=True)
                yield Button("F3 choose", id="choose", compact=True)
                yield Button("esc back", id="back", compact=True)

    async def on_mount(self) -> None:
        """Ask which source; keys typed ahead are the picker's."""
        self._fill("")
        await self.action_choose()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What is not in the recipe cannot be taken off."""
        del parameters
        return action != "take_off" or bool(self._known)

    @on(Button.Pressed, "#choose")
    async def action_choose(self) -> None:
        """Choose a source of the recipe, a file, a folder or a data set."""
        hint = "path of a file or folder, or id of a data set (owner/name)"
        picker = PickerScreen("Source", source_choices(self._answers), hint=hint, empty="no such file or data set")
        await self.app.push_screen(picker, self._picked)

    def _picked(self, asked: str | None) -> None:
        if asked is not None:
            self._fill(asked)
            self._read_again(pause=0.0)
        elif not self._typed("place"):
            self.dismiss(None)

    def _fill(self, asked: str) -> None:
        """Show the source ``asked`` of the recipe, or a new one at that path or hub id."""
        sources = described(self._answers)
        self._known = asked if asked in sources else ""
        self._before = sources.get(asked, TextSource())
        place = (self._before.path or self._before.hub or "") if self._known else asked
        self._suggested = free_source_name(place, self._answers)
        texts = {"place": place, "called": self._known or self._suggested}
        texts |= {key: getattr(self._before, key) or "" for key in _ABOUT}
        for name, text in texts.items():
            editor = self.query_one(f"#{name}", Input)
            with editor.prevent(Input.Changed):
                editor.value = text
        self.query_one("#called").disabled = bool(self._known)
        self.query_one("#off").display = bool(self._known)
        self.query_one("#add", Button).label = "enter use" if self._known else "enter add"
        self.query_one("#dialog").border_title = Content("Source of this recipe" if self._known else "Add a source")
        for use in self.query("#use").results(Select):
            asks = (self._answers.base["synthesis"].get("instructions") or {}) if self._known else {}
            with use.prevent(Select.Changed):
                use.value = "instructions" if self._known in asks else "prefixes"
        self._show_rows()

    # --- reading ------------------------------------------------------------------------------

    def _wanted(self) -> Chosen:
        """What the fields say."""
        place = read_place(self._typed("place"))
        on_hub = place["hub"] is not None
        source = msgspec.structs.replace(
            self._before,
            **place,
            field=self._typed("field") or TextSource().field,
            config=(self._typed("config") or None) if on_hub else None,
            split=(self._typed("split") if on_hub else "") or TextSource().split,
            revision=self._before.revision if place["hub"] == self._before.hub else None,
            extensions=[] if on_hub else self._before.extensions,
        )
        path = next((_USES[str(use.value)] for use in self.query("#use").results(Select)), self._paths[0])
        return Chosen(self._typed("called"), source, path)

    def _typed(self, name: str) -> str:
        return self.query_one(f"#{name}", Input).value.strip()

    @on(Input.Changed)
    @on(Select.Changed)
    def _changed(self, event: Input.Changed | Select.Changed) -> None:
        if event.control.id == "place" and self._typed("called") == self._suggested:
            self._suggested = free_source_name(str(event.value), self._answers)
            named = self.query_one("#called", Input)
            with named.prevent(Input.Changed):
                named.value = self._suggested
        if self._seen is None or self._wanted() != self._seen[0]:
            self._entered = False
            self._read_again(pause=_PAUSE)

    def _show_rows(self) -> None:
        """Of a file the hub's settings are not asked for."""
        for key in _OF_HUB:
            self.query_one(f"#row-{key}").display = read_place(self._typed("place"))["hub"] is not None

    def _read_again(self, pause: float) -> None:
        self._seen = None
        self._show_rows()
        self._tell(Content.styled("reading", "$muted"))
        self._read(self._wanted(), pause)

    @work(exclusive=True, exit_on_error=False)
    async def _read(self, wanted: Chosen, pause: float) -> None:
        await asyncio.sleep(pause)
        found = await self._look(wanted)
        self._seen = (wanted, found)
        self._show(found)
        if self._entered and isinstance(found, Glanced):
            self._add()
        self._entered = False

    async def _look(self, wanted: Chosen) -> Glanced | str:
        """What is found there, or a sentence that says what is wrong."""
        assert wanted.source is not None
        if not (wanted.source.path or wanted.source.hub):
            return "Name a file, a folder, or a data set of the hub."
        if not self._known and wanted.name in described(self._answers):
            return f"There is a source {wanted.name!r} already; take another name."
        try:
            instructions = wanted.path == INSTRUCTIONS
            return await check_source(
                tried(self._answers, wanted.name, wanted.source, instructions=instructions), wanted.name
            )
        except FastdraftError as error:
            return error.message
        except OSError as error:
            return f"The source cannot be read ({error})."

    def _show(self, found: Glanced | str) -> None:
        if isinstance(found, str):
            more = " Enter adds it all the same." if _is_out_of_reach(found) else ""
            self._tell(Content.styled(one_line(found + more, " ", " "), "$error"))
            return
        files = "Data set of the hub" if found.files is None else f"{found.files:,} file{'s' * (found.files != 1)}"
        begins = f"{files}, 1 document in {found.held_out} held out. The first begins:\n"
        text = " ".join(one_line(found.first, " ", " ").split())
        self._tell(Content.assemble(begins, (elide(text, _SHOWN_CHARS), "$muted")))

    def _tell(self, content: Content) -> None:
        self.query_one("#found", Static).update(content)

    # --- answering ----------------------------------------------------------------------------

    @on(Input.Submitted)
    @on(Button.Pressed, "#add")
    def _add(self) -> None:
        """Answer, once this very source was read."""
        wanted = self._wanted()
        # An enter of quick keys may come before what was picked.
        if self._seen is None or self._seen[0] != wanted or not self._typed("place"):
            self._entered = True
            return
        found = self._seen[1]
        if isinstance(found, Glanced):
            assert wanted.source is not None
            self.dismiss(
                Chosen(wanted.name, msgspec.structs.replace(wanted.source, held_out=found.held_out), wanted.path)
            )
        elif _is_out_of_reach(found):
            self.dismiss(wanted)

    @on(Button.Pressed, "#off")
    def action_take_off(self) -> None:
        """Answer that the source is not wanted any more."""
        self.dismiss(Chosen(self._known, None, self._paths[0]))

    @on(Button.Pressed, "#back")
    def _back(self) -> None:
        self.dismiss(None)


def _is_out_of_reach(told: str) -> bool:
    """Whether only the hub could not be asked: the recipe may be meant for a machine that can, or for later."""
    return "cannot be read from the hub" in told


def _row(name: str, editor: Widget, about: str) -> Horizontal:
    label, words = Static(Content(name), classes="name"), Static(Content(about), classes="about", markup=False)
    return Horizontal(label, editor, words, classes="row", id=f"row-{editor.id}")
