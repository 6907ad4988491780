"""What the wizard finds out while one answers: models, devices, sample documents, and how long it will take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from textual import on, work
from textual.content import Content
from textual.message import Message
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static

from fastdraft_app.client.preview import devices, preview
from fastdraft_app.client.train import plan
from fastdraft_app.theme.palette import marks
from fastdraft_app.wizard.answers import Answers
from fastdraft_app.wizard.facts import Known, facts, known_problem
from fastdraft_app.wizard.fields import FIELDS, STEPS, Field
from fastdraft_app.wizard.samples import sample_lines
from fastdraft_core.errors import FastdraftError
from fastdraft_core.formatting import one_line
from fastdraft_core.models.local_models import ShelfModel, shelf
from fastdraft_core.training.recipe import TARGET_SOURCE, Recipe


class WizardLooks(Screen[None]):
    """The answers, the page, and what is known beside them; processes of the command line find it out."""

    class Shelved(Message):
        """The models of this machine."""

        def __init__(self, models: list[ShelfModel]) -> None:
            super().__init__()
            self.models = models

    def __init__(self, *, ascii_only: bool) -> None:
        super().__init__()
        self.answers = Answers.kept()
        self.step = 0
        self._ascii = ascii_only
        self._marks = marks(ascii_only)
        self._known = Known()
        self._plan: list[str] = []
        self._planned: tuple[Recipe, str] | None = None
        """What the plan is of: recipe and device; nothing where it could not be made."""

    @work(thread=True, exclusive=True, group="look")
    def _find_models(self) -> None:
        path = Path(self.answers.text(FIELDS["target"]).strip())
        try:
            path = path.expanduser()
            holds = path.parent if path.is_file() else path if (path / "config.json").is_file() else None
            models = shelf([holds.resolve()] if holds is not None else [])
        except (OSError, RuntimeError, ValueError):
            models = []
        self.post_message(self.Shelved(models))

    @on(Shelved)
    def _shelved(self, event: Shelved) -> None:
        self._known.models = event.models
        self._tell_fields()
        self._draw_facts()

    @work(exclusive=True, group="devices", exit_on_error=False)
    async def _find_devices(self) -> None:
        try:
            self._known.devices = await devices()
        except OSError as error:
            self._known.devices = [("devices", f"could not be asked for ({error})")]
        self._tell_fields()
        self._draw_facts()

    # --- what is wrong, and what is known -----------------------------------------------------

    def _problem(self, field: Field) -> str:
        """What is wrong with the field, in itself or beside what is known here; empty if nothing."""
        return self.answers.problem(field) or known_problem(field, self.answers, self._known)

    def _tell_fields(self) -> None:
        """Beside each field of the page: what is wrong with it, else what it means."""
        for field in STEPS[self.step].fields:
            for about in self.query(f"#about-{editor_id(field)}").results(Static):
                assert isinstance(about.parent, Widget)
                self._tell(field, about, about.parent)

    def _tell(self, field: Field, about: Static, row: Widget) -> None:
        problem = self._problem(field)
        about.update(Content.styled(one_line(problem, " ", " "), "$error") if problem else Content(field.about))
        about.set_class(bool(problem), "-wrong")
        row.set_class(bool(problem), "-wrong")

    def _draw_facts(self) -> None:
        lines = facts(self.step, self.answers, self._known)
        wrong = self.answers.whole_problem(STEPS[self.step])
        told = [Content(one_line("\n".join(lines), "\n", " "))] if lines else []
        told += [Content.styled(one_line(wrong, " ", " "), "$error")] if wrong else []
        for found in self.query("#facts").results(Static):
            found.update(Content("\n").join(told))
            found.display = bool(told)

    def _recipe(self) -> Recipe | None:
        try:
            return self.answers.recipe()
        except FastdraftError as error:
            self.notify(error.message, severity="error", markup=False, timeout=8)
            return None

    # --- a look before anything is spent ------------------------------------------------------

    def _looker(self) -> Callable[[Recipe], object] | None:
        """What F6 does on this page."""
        stages = {"PT data": "pt", "CP mixture": "cp"}
        title = STEPS[self.step].title
        if title == "Device":
            return self._measure
        if title in stages:
            return lambda recipe: self._preview(recipe, list(getattr(recipe, stages[title]).sources), self.step)
        return (lambda recipe: self._preview(recipe, [TARGET_SOURCE], self.step)) if title == "FT" else None

    @work(exclusive=True, group="plan", exit_on_error=False)
    async def _preview(self, recipe: Recipe, sources: Sequence[str], step: int) -> None:
        if self.step == step:
            self._show_found("#seen", Content.styled(f"reading {', '.join(sources)}", "$muted"))
        try:
            found = await preview(recipe, sources)
        except OSError as error:
            found = f"The preview could not be started ({error})."
        if self.step == step:
            width = max(self.query_one("#page").size.width - 2, 20)
            self._show_found("#seen", sample_lines(found, width, ascii_only=self._ascii))

    @work(exclusive=True, group="plan", exit_on_error=False)
    async def _measure(self, recipe: Recipe) -> None:
        self._planned, device = None, self.answers.device
        self._plan = ["measuring this machine for the plan; launching need not wait for it"]
        self._show_plan()
        try:
            made, self._plan = await plan(recipe, device)
        except OSError as error:
            made, self._plan = False, [f"The plan could not be made ({error})."]
        self._planned = (recipe, device) if made else None
        self._show_plan()

    def _show_plan(self) -> None:
        if STEPS[self.step].title in ("Device", "Review"):
            text = one_line("\n".join(self._plan), "\n", " ")
            self._show_found("#plan", Content.assemble(("plan", "bold"), "\n", text, "\n"))

    def _show_found(self, name: str, content: Content) -> None:
        """Show what was found out; on a small screen it would be below the edge."""
        # While a page is built there is none of them; the page then shows what it has to itself.
        for found in self.query(name).results(Static):
            found.update(content)
            found.display = True
            if STEPS[self.step].title != "Review":
                found.call_after_refresh(found.scroll_visible, top=True, animate=False)


def editor_id(field: Field) -> str:
    """The id of the widget that ``field`` is typed or chosen in."""
    return f"field-{field.path.replace('.', '-')}"
