"""The shelf: every model on this machine, what fits what, and published drafts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.screen import Screen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option
from textual.worker import get_current_worker

from fastdraft_app.client.jobs import JobsClient
from fastdraft_app.dialogs.confirm import ConfirmScreen
from fastdraft_app.dialogs.exporting import ask_export
from fastdraft_app.messages import DesignAsked, SettingsChanged
from fastdraft_app.models.downloads import SOURCE_BINDINGS, Downloads, ask_folder
from fastdraft_app.models.model_text import (
    model_heading,
    model_row,
    model_words,
    published_row,
    published_words,
    target_row,
    target_words,
)
from fastdraft_app.settings.settings import OFF
from fastdraft_app.theme.palette import marks
from fastdraft_app.widgets.key_bar import KeyBar
from fastdraft_app.widgets.line import TextLine
from fastdraft_app.widgets.row_list import RowList
from fastdraft_core.errors import FastdraftError
from fastdraft_core.formatting import in_bytes, one_line
from fastdraft_core.history import model_folders
from fastdraft_core.jobs.folder import size as folder_size
from fastdraft_core.jobs.partners import HOW, KnownAcceptance, known_acceptance, pair
from fastdraft_core.models.local_models import ShelfModel, delete, doomed, shelf
from fastdraft_core.models.published import PUBLISHED, TARGETS, KnownTarget, Published

Entry = ShelfModel | Published | KnownTarget


class ModelsScreen(Screen[None]):
    """A list by where models come from, beside all about the highlighted one."""

    CSS_PATH = "models.tcss"
    HORIZONTAL_BREAKPOINTS = [(0, "-slim"), (120, "-wide")]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "use", "go live", id="models.use", priority=True,
                tooltip=f"open the model in the live screen with a partner that fits it: {HOW}"),
        Binding("m", "use_as('target')", "as target", id="models.target", tooltip="take the model as the live screen's target"),
        Binding("d", "use_as('draft')", "as draft", id="models.draft", tooltip="take the model as the live screen's draft"),
        Binding("s", "design", "shapes", id="models.design", tooltip="measure which shape of draft for this target is the fastest here"),
        Binding("c", "convert", "convert", id="models.convert", tooltip="write it for OpenVINO, llama.cpp or transformers, in a process of its own"),
        Binding("D", "delete", "delete", id="models.delete", tooltip="delete the model from this machine; asks first"),
        *SOURCE_BINDINGS,
        Binding("v", "checkpoints", "checkpoints", id="models.checkpoints", tooltip="list all checkpoints of jobs, or the newest of each"),
        Binding("r", "read", "read again", id="models.read", tooltip="look for models again"),
        Binding("j", "move('down')", "down", id="models.down", show=False, tooltip="next model"),
        Binding("k", "move('up')", "up", id="models.up", show=False, tooltip="model before"),
    ]  # fmt: skip

    @dataclass
    class ShelfRead(Message):
        """What is on the shelf."""

        models: list[ShelfModel]
        acceptance: KnownAcceptance
        problem: str = ""

    def __init__(self, jobs: JobsClient, trusted: Callable[[], bool], *, ascii_only: bool) -> None:
        """``trusted`` says whether code that comes with models may run."""
        super().__init__()
        self._trusted = trusted
        self._jobs = jobs
        self._ascii = ascii_only
        self._marks = marks(ascii_only)
        self._models: list[ShelfModel] = []
        self._acceptance = KnownAcceptance()
        self._entries: list[Entry] = []
        self._activity = "looking for models"
        self._checkpoints = False
        self.downloads = Downloads(self, changed=self.draw_title, ended=self.action_read)

    def compose(self) -> ComposeResult:
        """Title, list, words, keys."""
        yield TextLine(id="title")
        with Container(id="both"):
            with Vertical(id="left"):
                yield TextLine(id="heading")
                yield RowList(id="models", markup=False)
            with VerticalScroll(id="about"):
                yield Static(id="words", markup=False)
        yield KeyBar(ascii_only=self._ascii, id="keys")

    def on_mount(self) -> None:
        """Read once at first; the disk may be slow."""
        self.query_one("#models").focus()
        self.action_read()

    @property
    def chosen(self) -> Entry | None:
        """The highlighted model or published draft."""
        option = self.query_one("#models", OptionList).highlighted_option
        return self._entries[int(option.id)] if option is not None and option.id is not None else None

    # --- reading and drawing ------------------------------------------------------------------

    def action_read(self) -> None:
        """Look for models again."""
        self._activity = "looking for models"
        self.draw_title()
        self._read()

    def action_checkpoints(self) -> None:
        """List all checkpoints of jobs, or the newest model of each alone."""
        self._checkpoints = not self._checkpoints
        self.notify(
            "All checkpoints of jobs are listed." if self._checkpoints else "Of a job the newest model is listed."
        )
        self.action_read()

    @work(thread=True, exclusive=True, group="read")
    def _read(self) -> None:
        problem, models, acceptance = "", list[ShelfModel](), KnownAcceptance()
        try:
            models, acceptance = (
                shelf(model_folders(), checkpoints=self._checkpoints),
                known_acceptance(self._jobs.poll()),
            )
        except OSError as error:
            problem = f"The models cannot be read ({error.strerror or error})."
        if not get_current_worker().is_cancelled:
            self.post_message(self.ShelfRead(models, acceptance, problem))

    @on(ShelfRead)
    def _show(self, event: ShelfRead) -> None:
        self._activity = event.problem
        self._models, self._acceptance = event.models, event.acceptance
        self._draw()

    def _draw(self) -> None:
        listed = self.query_one("#models", OptionList)
        kept = _key(self.chosen) if self._entries and self.chosen is not None else ""
        width = max(listed.size.width - 2, 44)
        self.query_one("#heading", TextLine).show(model_heading(width))
        listed.clear_options()
        self._entries = []
        for place, models in groupby(self._models, lambda model: model.place):
            self._add_title(listed, place)
            for model in models:
                self._add(listed, model, model_row(model, width, self._marks))
        self._add_title(listed, "known targets, as documented")
        for target in TARGETS:
            self._add(listed, target, target_row(target, width, self._here(target.name), self._marks))
        self._add_title(listed, "published drafts")
        for one in PUBLISHED:
            self._add(listed, one, published_row(one, width, self._here(one.draft), self._marks))
        keys = [_key(entry) for entry in self._entries]
        listed.highlighted = listed.get_option_index(str(keys.index(kept) if kept in keys else 0))
        self.draw_title()
        self._draw_words()

    def _add_title(self, listed: OptionList, title: str) -> None:
        listed.add_option(Option(Content.styled(title, "bold $muted"), disabled=True))

    def _add(self, listed: OptionList, entry: Entry, row: Content) -> None:
        listed.add_option(Option(row, id=str(len(self._entries))))
        self._entries.append(entry)

    def _here(self, name: str) -> bool:
        return any(model.name == name for model in self._models)

    @property
    def wanted(self) -> str:
        """The published draft or known target that is highlighted and not here."""
        entry = self.chosen
        return "" if entry is None or isinstance(entry, ShelfModel) or self._here(_name(entry)) else _name(entry)

    def draw_title(self) -> None:
        """What is under way, or what is here."""
        told = (
            self.downloads.words
            or self._activity
            or f"{len(self._models)} on this machine, {in_bytes(self._disk())} of weights"
        )
        self.query_one("#title", TextLine).show(Content.assemble(("Models  ", "bold"), one_line(told, " ", " ")))

    def _disk(self) -> int:
        return sum(model.entry.weight_bytes for model in self._models)

    @on(OptionList.OptionHighlighted)
    def _draw_words(self) -> None:
        entry = self.chosen
        about = self.query_one("#about")
        about.border_title = Content(one_line(_name(entry), " ", " ")) if entry is not None else ""
        words = Content("")
        if isinstance(entry, ShelfModel):
            words = model_words(entry, self._models)
        elif isinstance(entry, Published):
            words = published_words(entry, self._here(entry.draft))
        elif entry is not None:
            words = target_words(entry, self._here(entry.name))
        self.query_one("#words", Static).update(words)

    @on(RowList.Resized)
    def _fit(self) -> None:
        """Fit the rows to the new width."""
        if self._entries:
            self._draw()

    def action_move(self, where: str) -> None:
        """Highlight another model."""
        listed = self.query_one("#models", OptionList)
        listed.action_cursor_down() if where == "down" else listed.action_cursor_up()

    # --- where models come from ---------------------------------------------------------------

    def action_download(self) -> None:
        """Ask what to download, or whether to stop what comes."""
        self.downloads.ask(self.wanted)

    def action_add_folder(self) -> None:
        """Ask for a folder to list, or to list no more."""
        ask_folder(self, self.action_read)

    # --- using --------------------------------------------------------------------------------

    def _with_model(self, do: Callable[[ShelfModel], object]) -> None:
        entry = self.chosen
        if isinstance(entry, ShelfModel):
            do(entry)
        elif entry is not None:
            found = next((model for model in self._models if model.name == _name(entry)), None)
            if found is not None:
                do(found)
            else:
                self.notify(f"{_name(entry)} is not on this machine; b downloads it.", markup=False)

    def action_use(self) -> None:
        """Open the model in the live screen with the best partner that fits."""
        self._with_model(self._use)

    def _use(self, model: ShelfModel) -> None:
        chosen = pair(model, self._models, self._acceptance)
        partner = (chosen.draft or OFF) if chosen.target == model.name else chosen.target
        self.notify(f"{model.name} with {partner}: {chosen.why}.", markup=False)
        self._go(target=chosen.target, draft=chosen.draft or OFF)

    def action_use_as(self, role: str) -> None:
        """Take the model as the live screen's target or draft, and leave the other as it is."""
        self._with_model(lambda model: self._go(**{role: model.name}))

    def _go(self, **changes: str) -> None:
        self.app.post_message(SettingsChanged(changes))
        self.app.switch_mode("live")

    def action_design(self) -> None:
        """Study shapes of drafts for the model."""
        self._with_model(lambda model: self.app.post_message(DesignAsked(model.name)))

    # --- converting and deleting --------------------------------------------------------------

    def action_convert(self) -> None:
        """Ask what to export the model as, and do so."""
        self._with_model(self._convert)

    def _convert(self, model: ShelfModel) -> None:
        ask_export(self.app, model.name, model.name, trusted=self._trusted(), then=self.action_read)

    def action_delete(self) -> None:
        """Ask, then delete."""
        self._with_model(self._ask_delete)

    def _ask_delete(self, model: ShelfModel) -> None:
        try:
            folder = doomed(model)
        except FastdraftError as error:
            self.notify(error.message, severity="error", markup=False, timeout=8)
            return

        def answered(agreed: bool | None) -> None:
            if agreed:
                self._delete(model)

        sentence = f"{folder} with {in_bytes(folder_size(folder))} is deleted from this machine. This cannot be undone."
        self.app.push_screen(ConfirmScreen(f"Delete {model.name}?", sentence, "delete"), answered)

    @work(thread=True, group="delete")
    def _delete(self, model: ShelfModel) -> None:
        try:
            delete(model)
        except FastdraftError as error:
            self.app.call_from_thread(self.notify, error.message, severity="error", markup=False)
        self.app.call_from_thread(self.action_read)


def _key(entry: Entry | None) -> str:
    return str(entry.folder) if isinstance(entry, ShelfModel) else _name(entry) if entry is not None else ""


def _name(entry: Entry) -> str:
    return entry.draft if isinstance(entry, Published) else entry.name
