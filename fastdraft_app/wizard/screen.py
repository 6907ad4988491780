"""The training wizard: eight pages of questions that all have an answer already."""

from __future__ import annotations

import asyncio
import shlex
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Button, Input, OptionList, Select, Static

from fastdraft_app.client.jobs import JobsClient
from fastdraft_app.client.train import launch, recipe_text, save_recipe, saved_recipes, train_arguments
from fastdraft_app.dialogs.choices import Group, Row, model_source
from fastdraft_app.dialogs.confirm import ConfirmScreen
from fastdraft_app.dialogs.picker import PickerScreen
from fastdraft_app.widgets.key_bar import KeyBar
from fastdraft_app.widgets.line import TextLine, first_fitting
from fastdraft_app.wizard.answers import Answers
from fastdraft_app.wizard.fields import FIELDS, PRESET, STEPS, Field
from fastdraft_app.wizard.looks import editor_id
from fastdraft_app.wizard.slider import Slider
from fastdraft_app.wizard.source_pages import WizardSources
from fastdraft_core import places
from fastdraft_core.errors import FastdraftError
from fastdraft_core.formatting import one_line
from fastdraft_core.jobs.folder import RECIPE, job_folders
from fastdraft_core.training.recipe import Recipe, load_recipe

REVIEW = len(STEPS) - 1
KEEP_SECONDS = 1.0


class WizardScreen(WizardSources):
    """One page at a time; enter goes on, escape back. Whatever is typed is kept, be it wrong."""

    CSS_PATH = "wizard.tcss"
    AUTO_FOCUS = None
    HORIZONTAL_BREAKPOINTS = [(0, "-slim"), (100, "-broad")]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "next", "next", id="wizard.next", priority=True,
                tooltip="the next page; on the last one launch the job"),
        Binding("escape", "back", "back", id="wizard.back", tooltip="the page before; nothing is lost"),
        Binding("f6", "look", "look", id="wizard.look", key_display="F6", priority=True,
                tooltip="see documents and tokens, what the target writes, or how fast the device trains"),
        Binding("f7", "sources", "sources", id="wizard.sources", key_display="F7", priority=True,
                tooltip="add a file, a folder or a data set of the hub to the recipe, or take it off"),
        Binding("f3", "open", "open recipe", id="wizard.open", key_display="F3", priority=True,
                tooltip="take the answers of a recipe file, a bundled recipe or a job"),
        Binding("f4", "pick_target", "choose target", id="wizard.target", key_display="F4", priority=True,
                tooltip="choose the target among the models of this machine"),
        Binding("f5", "save", "save recipe", id="wizard.save", key_display="F5", priority=True,
                tooltip="write the recipe to a file, to edit it or to run it elsewhere"),
        Binding("f9", "defaults", "defaults", id="wizard.defaults", key_display="F9", priority=True,
                tooltip="begin anew with the answers that work; asks first"),
    ]  # fmt: skip

    def __init__(self, client: JobsClient, *, ascii_only: bool) -> None:
        super().__init__(ascii_only=ascii_only)
        self._client = client
        self._launching = False

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Enter opens a list of choices and presses the other button, instead of going on."""
        del parameters
        if (action == "look" and self._looker() is None) or (action == "sources" and not self.mixtures):
            return False
        focused = self.focused
        own = isinstance(focused, Select | OptionList) or (focused is not None and focused.id == "back")
        return not (action == "next" and own)

    def compose(self) -> ComposeResult:
        """Steps, page, buttons, keys."""
        yield TextLine(id="steps")
        yield TextLine(id="about")
        yield VerticalScroll(id="page")
        with Horizontal(id="buttons"):
            yield Button("back", id="back", compact=True)
            yield Button("next", id="next", variant="primary", compact=True)
        yield KeyBar(ascii_only=self._ascii, id="keys")

    async def on_mount(self) -> None:
        """The first page; what this machine has is looked for meanwhile."""
        self._find_models()
        async with self.turn():
            await self.show_page()

    @on(events.ScreenSuspend)
    @on(events.Unmount)
    def _keep(self) -> None:
        self.answers.keep()

    @work(exclusive=True, group="keep")
    async def _keep_soon(self) -> None:
        """So that a kill costs no more than the last second of typing."""
        await asyncio.sleep(KEEP_SECONDS)
        self._keep()

    # --- drawing ------------------------------------------------------------------------------

    async def show_page(self) -> None:
        """Build the page of the present step."""
        page = self.query_one("#page", VerticalScroll)
        await page.remove_children()
        step = STEPS[self.step]
        rows: list[Widget] = [self._row(field) for field in step.fields]
        rows += [Static(id=name, classes="words", markup=False) for name in ("facts", "seen", "plan", "toml")]
        await page.mount(*rows)
        for name in ("seen", "plan", "toml"):
            self.query_one(f"#{name}").display = False
        page.scroll_home(animate=False)
        self.query_one("#back", Button).disabled = self.step == 0
        self.query_one("#next", Button).label = "launch" if self.step == REVIEW else "next"
        self.query_one("#next").focus()
        self._draw_steps()
        self._draw_facts()
        self.refresh_bindings()
        if step.title == "Device" and self._known.devices is None:
            self._find_devices()
        if self.step == REVIEW:
            self._review()

    def _row(self, field: Field) -> Widget:
        name = editor_id(field)
        text = self.answers.text(field)
        editor: Widget
        if field.kind in ("choice", "flag"):
            choices = field.choices or ("yes", "no")
            editor = Select([(one, one) for one in choices], value=text if text in choices else choices[0],
                            allow_blank=False, id=name, compact=True)  # fmt: skip
        elif field.stops:
            editor = Slider(text, field.stops, self._marks, id=name)
        else:
            editor = Input(text, id=name, compact=True)
        about = Static(id=f"about-{name}", classes="about", markup=False)
        row = Horizontal(Static(Content(field.label), classes="name"), editor, about, classes="row")
        self._tell(field, about, row)
        return row

    def _draw_steps(self) -> None:
        arrow = self._marks.play
        names = [
            (f"{number + 1} {step.title}", "bold $primary" if number == self.step else "$muted")
            for number, step in enumerate(STEPS)
        ]
        long = Content(f" {arrow} ").join([Content.styled(*name) for name in names])
        short = Content.assemble(names[self.step], (f" of {len(STEPS)}", "$muted"))
        line = self.query_one("#steps", TextLine)
        line.show(first_fitting(max(self.size.width - 2, 1), long, short))
        self.query_one("#about", TextLine).show(Content(STEPS[self.step].about))

    def on_resize(self) -> None:
        """Fit the steps to the new width."""
        self.call_after_refresh(self._draw_steps)

    # --- answering ----------------------------------------------------------------------------

    def answer(self, field: Field, text: str) -> None:
        """Take what was typed or chosen, and say what follows from it."""
        if text == self.answers.text(field):
            return
        self.answers.set(field, text)
        if field.path == "target":
            self._find_models()
        self._keep_soon()
        self._tell_fields()
        for one in STEPS[self.step].fields:
            if one is not field and (field.path == PRESET or one.path == PRESET):
                self._put(one)
        self._draw_facts()

    def _put(self, field: Field) -> None:
        """Show what the answers say, where a preset changed them or they left it."""
        editor, text = self.query_one(f"#{editor_id(field)}"), self.answers.text(field)
        if isinstance(editor, Input | Select) and str(editor.value) != text:
            with editor.prevent(Input.Changed, Select.Changed):
                editor.value = text

    @on(Button.Pressed, "#next")
    async def action_next(self) -> None:
        """Go on, or launch on the last page."""
        async with self.turn():
            await self._next()

    async def _next(self) -> None:
        self.answers.keep()
        if self.step == REVIEW:
            self._launch()
            return
        wrong = [(field, told) for field in STEPS[self.step].fields if (told := self._problem(field))]
        if wrong:
            field, told = wrong[0]
            self.notify(f"{field.label}: {told}", severity="error", markup=False)
            return
        self.step += 1
        await self.show_page()

    @on(Button.Pressed, "#back")
    async def action_back(self) -> None:
        """The page before."""
        async with self.turn():
            self.answers.keep()
            if self.step:
                self.step -= 1
                await self.show_page()

    async def action_defaults(self) -> None:
        """Ask, then begin anew."""
        sentence = "All answers are replaced by the ones that work without a change."
        await self.ask(lambda: ConfirmScreen("Begin anew?", sentence, "begin anew"), self._defaults)

    async def _defaults(self, agreed: bool) -> None:
        if agreed:
            Answers.forget()
            await self._take(Answers.fresh())

    async def _take(self, answers: Answers) -> None:
        self.answers, self.step = answers, 0
        await self.show_page()

    # --- the target and other recipes ---------------------------------------------------------

    async def action_pick_target(self) -> None:
        """Choose among the models of this machine."""
        await self.ask(self._target_picker, self._take_target)

    def _target_picker(self) -> PickerScreen:
        hint = "part of a name, a model folder, a .gguf file, or a hub id (owner/model)"
        current = self.answers.text(FIELDS["target"])
        return PickerScreen(
            "Target", model_source(drafts=False), current=current, hint=hint, empty="no such model here"
        )

    async def _take_target(self, name: str | None) -> None:
        if name is not None:
            self.answers.set(FIELDS["target"], name)
            await self._take(self.answers)

    async def action_open(self) -> None:
        """Ask for a recipe."""
        hint = "a bundled recipe, a job, or the path of a .toml file"
        await self.ask(lambda: PickerScreen("Open a recipe", _recipes, hint=hint, empty="no such recipe"), self._open)

    async def _open(self, name: str | None) -> None:
        if name is None:
            return
        try:
            recipe = load_recipe(name)
            if recipe.target is None:
                raise FastdraftError(
                    f"{name} trains a target; run it with `fastdraft train`. The wizard trains drafts."
                )
        except FastdraftError as error:
            self.notify(error.message, severity="error", markup=False, timeout=8)
        else:
            await self._take(Answers.of(recipe))

    # --- review and launch --------------------------------------------------------------------

    def _review(self) -> None:
        try:
            recipe = self.answers.recipe()
        except FastdraftError as error:
            self._show_found("#plan", Content.styled(error.message, "$error"))
            return
        command = shlex.join(["fastdraft", *train_arguments(recipe, self.answers.device)])
        text = Content.assemble(
            ("the same on a command line", "bold"), "\n", (command, "$primary"), "\n\n", ("recipe", "bold"), "\n",
            one_line(recipe_text(recipe), "\n", " "),
        )  # fmt: skip
        self._show_found("#toml", text)
        if (recipe, self.answers.device) == self._planned:
            self._show_plan()
        else:
            self._measure(recipe)

    async def action_look(self) -> None:
        """See documents with their tokens, what the target writes, or how fast the device trains."""
        async with self.turn():
            looker, recipe = self._looker(), self._recipe()
            if looker is not None and recipe is not None:
                looker(recipe)

    async def action_save(self) -> None:
        """Write the recipe to a file."""
        async with self.turn():
            recipe = self._recipe()
        if recipe is None:
            return
        try:
            self.notify(f"Saved {save_recipe(recipe)}", markup=False, timeout=8)
        except OSError as error:
            self.notify(f"The recipe cannot be saved ({error}).", severity="error", markup=False)

    def _launch(self) -> None:
        recipe = self._recipe()
        if recipe is None or self._launching:
            return
        self._launching = True
        # The measurement would take the processor from the job.
        self.workers.cancel_group(self, "plan")
        self.notify(f"Launching {recipe.name}", markup=False)
        self._start(recipe, self.answers, self.answers.device)

    @work(group="launch", exit_on_error=False)
    async def _start(self, recipe: Recipe, launched: Answers, device: str) -> None:
        try:
            done, reason = await launch(recipe, device)
        except OSError as error:
            done, reason = False, f"The job could not be started ({error})."
        self._launching = False
        if not done:
            self.notify(reason, severity="error", markup=False, timeout=12)
            if self.step == REVIEW:
                self._review()
            return
        self._client.wanted = recipe.name
        here = self.is_current
        async with self.turn():
            if self.answers is launched:
                Answers.forget()
                await self._take(Answers.of(recipe, recipe.name))
        # Whoever went elsewhere meanwhile is left there.
        if here:
            self.app.switch_mode("jobs")


def _recipes(typed: str) -> list[Group]:
    """Recipes to open: bundled ones, those of jobs, and a path."""
    bundled = [path.stem for path in sorted((places.assets() / "recipes").glob("*.toml")) if path.stem != "demo-target"]
    jobs = [(folder.name, str(folder / RECIPE)) for folder in job_folders() if (folder / RECIPE).is_file()]
    groups = [
        Group("bundled", [Row(name, name) for name in bundled if typed in name]),
        Group("saved", [Row(str(path), path.name) for path in saved_recipes() if typed in path.name]),
        Group("of jobs", [Row(path, name) for name, path in jobs if typed in name]),
    ]
    # A text that cannot be a path is none.
    with suppress(OSError, RuntimeError, ValueError):
        path = Path(typed).expanduser()
        if typed.endswith(".toml") and path.is_file():
            return [Group("as typed", [Row(str(path), typed)]), *groups]
    return groups
