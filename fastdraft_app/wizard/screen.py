"""The training wizard: eight pages of questions that all have an answer already."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, TypeVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Button, Input, OptionList, Select

from fastdraft_app.client.jobs import JobsClient
from fastdraft_app.client.preview import preview
from fastdraft_app.client.train import launch, recipe_text, save_recipe, saved_recipes, train_arguments
from fastdraft_app.dialogs.choices import Choice, ChoiceGroup, model_source
from fastdraft_app.dialogs.confirm import ConfirmScreen
from fastdraft_app.dialogs.dialog import Dialog
from fastdraft_app.dialogs.picker import PickerScreen
from fastdraft_app.messages import DesignAsked
from fastdraft_app.theme.palette import marks
from fastdraft_app.widgets.key_bar import KeyBar
from fastdraft_app.widgets.line import TextLine, first_fitting
from fastdraft_app.wizard.answers import Answers
from fastdraft_app.wizard.facts import facts, measures
from fastdraft_app.wizard.looks import Looks, look_of, models_here, sampled_sources
from fastdraft_app.wizard.page import WizardPage, Words, sample_lines
from fastdraft_app.wizard.proposal import propose
from fastdraft_app.wizard.questions import PRESET, PURPOSE, QUESTIONS, STEPS, TIME, Question
from fastdraft_app.wizard.source_dialog import Chosen, SourceScreen
from fastdraft_app.wizard.sources import MIXTURES, put, take_off
from fastdraft_app.wizard.turns import Turns
from fastdraft_core import places
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import DesignShape
from fastdraft_core.formatting import one_line
from fastdraft_core.jobs.folder import RECIPE, job_folders
from fastdraft_core.models.local_models import ShelfModel
from fastdraft_core.training.recipe import Recipe, load_recipe

REVIEW = len(STEPS) - 1
KEEP_SECONDS = 1.0
_T = TypeVar("_T")


class WizardScreen(Screen[None]):
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
        Binding("f12", "design", "shapes", id="wizard.design", key_display="F12", priority=True,
                tooltip="measure which shape of draft for this target is the fastest on this machine"),
        Binding("f9", "defaults", "defaults", id="wizard.defaults", key_display="F9", priority=True,
                tooltip="begin anew with the answers that work; asks first"),
    ]  # fmt: skip

    class ModelsFound(Message):
        """The models of this machine."""

        def __init__(self, models: list[ShelfModel]) -> None:
            super().__init__()
            self.models = models

    def __init__(self, client: JobsClient, *, target: str, ascii_only: bool) -> None:
        """``target`` is what the questions begin with where nobody has answered any."""
        super().__init__()
        self._target = target
        self.answers = Answers.kept(target)
        self.step = 0
        self.turns = Turns(self._settle)
        self.looks = Looks()
        self._client = client
        self._launching = False
        self._ascii = ascii_only
        self._marks = marks(ascii_only)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Enter opens a list of choices and presses the other button, instead of going on."""
        del parameters
        if (action == "look" and look_of(self.step) is None) or (action == "sources" and not self.mixtures):
            return False
        focused = self.focused
        own = isinstance(focused, Select | OptionList) or (focused is not None and focused.id == "back")
        return not (action == "next" and own)

    def compose(self) -> ComposeResult:
        """Steps, page, buttons, keys."""
        yield TextLine(id="steps")
        yield TextLine(id="about")
        yield WizardPage(self._marks, id="page")
        with Horizontal(id="buttons"):
            yield Button("back", id="back", compact=True)
            yield Button("next", id="next", variant="primary", compact=True)
        yield KeyBar(ascii_only=self._ascii, id="keys")

    @property
    def page(self) -> WizardPage:
        """The page of the present step."""
        return self.query_one("#page", WizardPage)

    async def on_mount(self) -> None:
        """The first page; what this machine has is looked for meanwhile."""
        self._find_models()
        async with self.turns.take():
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
        step = STEPS[self.step]
        await self.page.show_step(step, self.answers.text)
        self.query_one("#back", Button).disabled = self.step == 0
        self.query_one("#next", Button).label = "launch" if self.step == REVIEW else "next"
        self.query_one("#next").focus()
        self._draw_steps()
        self._tell()
        self.refresh_bindings()
        if step.title == "Device" and self.looks.known.devices is None:
            self._find_devices()
        if self.step == REVIEW:
            self._review()

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

    def _tell(self) -> None:
        """What is wrong with the answers of this page, and what is known of them."""
        lines = facts(self.step, self.answers, self.looks.known)
        self.page.tell(self._problem, self.answers.why)
        self.page.show_facts(lines, self.answers.whole_problem(STEPS[self.step]))

    def _problem(self, question: Question) -> str:
        return self.looks.problem(question, self.answers)

    def _show_words(self, name: Words, content: Content) -> None:
        self.page.show_words(name, content, scroll=self.step != REVIEW)

    # --- answering ----------------------------------------------------------------------------

    async def _settle(self) -> None:
        """Keys that wait in a field are typed, and what the fields say is taken without waiting to be told of it."""
        for widget in self.page.way_of_keys(self.focused):
            done = asyncio.Event()
            if widget.call_later(done.set):
                await done.wait()
        for question, text in self.page.typed():
            self.answer(question, text)

    @on(Input.Changed)
    @on(Select.Changed)
    def _answered(self, event: Input.Changed | Select.Changed) -> None:
        # What a page said that is gone was taken when it went.
        question = self.page.question_in(event.control)
        if question is not None:
            self.answer(question, str(event.value))

    def answer(self, question: Question, text: str) -> None:
        """Take what was typed or chosen, and say what follows from it."""
        if text == self.answers.text(question):
            return
        self.answers.set(question, text)
        if question.path == "target":
            self._find_models()
        if question.path in (TIME, PURPOSE):
            self._propose()
        self._keep_soon()
        for one in STEPS[self.step].questions:
            # A preset changes the others, and they may leave it; another target has another code.
            if one is not question and (PRESET in (question.path, one.path) or question.path == "target"):
                self.page.put(one, self.answers.text(one))
        self._tell()

    @on(Button.Pressed, "#next")
    async def action_next(self) -> None:
        """Go on, or launch on the last page."""
        async with self.turns.take():
            await self._next()

    async def _next(self) -> None:
        self.answers.keep()
        if self.step == REVIEW:
            self._launch()
            return
        for question in STEPS[self.step].questions:
            if told := self._problem(question):
                self.notify(f"{question.label}: {told}", severity="error", markup=False)
                return
        self.step += 1
        await self.show_page()

    @on(Button.Pressed, "#back")
    async def action_back(self) -> None:
        """The page before."""
        async with self.turns.take():
            self.answers.keep()
            if self.step:
                self.step -= 1
                await self.show_page()

    async def _take(self, answers: Answers) -> None:
        self.answers, self.step = answers, 0
        self._propose()
        await self.show_page()
        if self.answers.wants_proposal:
            self._find_models()

    # --- dialogs ------------------------------------------------------------------------------

    async def ask(self, make: Callable[[], Dialog[_T]], take: Callable[[_T], Awaitable[None]]) -> None:
        """Open a dialog, and ``take`` what it answers. Later keys are the dialog's; keys after its answer find that taken."""
        opened = asyncio.Event()
        self._ask(make, take, opened)
        await opened.wait()

    @work(group="ask")
    async def _ask(
        self, make: Callable[[], Dialog[_T]], take: Callable[[_T], Awaitable[None]], opened: asyncio.Event
    ) -> None:
        try:
            async with self.turns.take():
                dialog = make()
                answer = self.app.push_screen(dialog, wait_for_dismiss=True)
                dialog.call_later(opened.set)
                await take(await answer)
        finally:
            opened.set()

    async def action_defaults(self) -> None:
        """Ask, then begin anew."""
        sentence = "All answers are replaced by the ones that work without a change."
        await self.ask(lambda: ConfirmScreen("Begin anew?", sentence, "begin anew"), self._defaults)

    async def _defaults(self, agreed: bool) -> None:
        if agreed:
            Answers.forget()
            await self._take(Answers.fresh(self._target))

    async def action_pick_target(self) -> None:
        """Choose among the models of this machine."""
        await self.ask(self._target_picker, self._take_target)

    def _target_picker(self) -> PickerScreen:
        hint = "part of a name, a model folder, a .gguf file, or a hub id (owner/model)"
        current = self.answers.text(QUESTIONS["target"])
        return PickerScreen(
            "Target", model_source(drafts=False), current=current, hint=hint, empty="no such model here"
        )

    async def _take_target(self, name: str | None) -> None:
        if name is not None:
            self.answers.set(QUESTIONS["target"], name)
            await self._take(self.answers)

    def action_design(self) -> None:
        """Study shapes of drafts for the target; the one that is taken comes back to this page."""
        self.app.post_message(DesignAsked(self.answers.text(QUESTIONS["target"]).strip()))

    async def take_shape(self, target: str, shape: DesignShape) -> None:
        """The draft of ``target`` is to have this shape: it stands on the page of the draft."""
        self.answers.set(QUESTIONS["target"], target)
        self.answers.take_shape(shape)
        self.step = next(number for number, step in enumerate(STEPS) if step.title == "Draft")
        await self.show_page()

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

    @property
    def mixtures(self) -> tuple[str, ...]:
        """The mixtures that this page asks for."""
        return MIXTURES.get(STEPS[self.step].title, ())

    async def action_sources(self) -> None:
        """Ask for a source to describe in the recipe and to mix in, or to take off."""
        await self.ask(lambda: SourceScreen(self.answers, self.mixtures), self._use_source)

    async def _use_source(self, chosen: Chosen | None) -> None:
        if chosen is None:
            return
        if chosen.source is None:
            take_off(self.answers, chosen.name)
        else:
            put(self.answers, chosen.name, chosen.source, chosen.path)
        self.answers.keep()
        await self.show_page()

    # --- a look before anything is spent ------------------------------------------------------

    @work(thread=True, exclusive=True, group="look")
    def _find_models(self) -> None:
        self.post_message(self.ModelsFound(models_here(self.answers)))

    @on(ModelsFound)
    def _take_models(self, event: ModelsFound) -> None:
        self.looks.known.models = event.models
        self._tell()
        if self.answers.wants_proposal and measures(self.answers, self.looks.known) is not None:
            self._propose_in_turn()

    @work(exclusive=True, group="propose")
    async def _propose_in_turn(self) -> None:
        """What this page says is taken first, and then replaced by what follows."""
        async with self.turns.take():
            if self._propose():
                await self.show_page()

    def _propose(self) -> bool:
        """Have shape, budgets and sources follow from target, time and purpose, once the target is known; whether they did."""
        known = measures(self.answers, self.looks.known)
        if known is None or not self.answers.wants_proposal:
            return False
        _, time, purpose = self.answers.asked
        self.answers.take(propose(self.answers.base, known, time, purpose))
        return True

    @work(exclusive=True, group="devices", exit_on_error=False)
    async def _find_devices(self) -> None:
        await self.looks.find_devices()
        self._tell()

    async def action_look(self) -> None:
        """See documents with their tokens, what the target writes, or how fast the device trains."""
        async with self.turns.take():
            look, recipe = look_of(self.step), self._recipe()
            if recipe is None:
                return
            if look == "speed":
                self._measure(recipe)
            elif look == "samples":
                self._sample(recipe, self.step)

    @work(exclusive=True, group="plan", exit_on_error=False)
    async def _sample(self, recipe: Recipe, step: int) -> None:
        sources = sampled_sources(step, recipe)
        if self.step == step:
            self._show_words("seen", Content.styled(f"reading {', '.join(sources)}", "$muted"))
        try:
            found = await preview(recipe, sources)
        except OSError as error:
            found = f"The preview could not be started ({error})."
        if self.step == step:
            width = max(self.page.size.width - 2, 20)
            self._show_words("seen", sample_lines(found, width, ascii_only=self._ascii))

    @work(exclusive=True, group="plan", exit_on_error=False)
    async def _measure(self, recipe: Recipe) -> None:
        await self.looks.measure(recipe, self.answers.device, self._show_plan)

    def _show_plan(self) -> None:
        if STEPS[self.step].title in ("Device", "Review"):
            text = one_line("\n".join(self.looks.plan), "\n", " ")
            self._show_words("plan", Content.assemble(("plan", "bold"), "\n", text, "\n"))

    # --- review and launch --------------------------------------------------------------------

    def _recipe(self) -> Recipe | None:
        """The recipe of the answers; where it makes no sense, the reason is said."""
        try:
            return self.answers.recipe()
        except FastdraftError as error:
            self.notify(error.message, severity="error", markup=False, timeout=8)
            return None

    def _review(self) -> None:
        try:
            recipe = self.answers.recipe()
        except FastdraftError as error:
            self._show_words("plan", Content.styled(error.message, "$error"))
            return
        command = shlex.join(["fastdraft", *train_arguments(recipe, self.answers.device)])
        text = Content.assemble(
            ("the same on a command line", "bold"), "\n", (command, "$primary"), "\n\n", ("recipe", "bold"), "\n",
            one_line(recipe_text(recipe), "\n", " "),
        )  # fmt: skip
        self._show_words("toml", text)
        if self.looks.is_planned(recipe, self.answers.device):
            self._show_plan()
        else:
            self._measure(recipe)

    async def action_save(self) -> None:
        """Write the recipe to a file."""
        async with self.turns.take():
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
        async with self.turns.take():
            if self.answers is launched:
                Answers.forget()
                await self._take(Answers.of(recipe, recipe.name))
        # Whoever went elsewhere meanwhile is left there.
        if here:
            self.app.switch_mode("jobs")


def _recipes(typed: str) -> list[ChoiceGroup]:
    """Recipes to open: bundled ones, those of jobs, and a path."""
    bundled = [path.stem for path in sorted((places.assets() / "recipes").glob("*.toml")) if path.stem != "demo-target"]
    jobs = [(folder.name, str(folder / RECIPE)) for folder in job_folders() if (folder / RECIPE).is_file()]
    groups = [
        ChoiceGroup("bundled", [Choice(name, name) for name in bundled if typed in name]),
        ChoiceGroup("saved", [Choice(str(path), path.name) for path in saved_recipes() if typed in path.name]),
        ChoiceGroup("of jobs", [Choice(path, name) for name, path in jobs if typed in name]),
    ]
    # A text that cannot be a path is none.
    with suppress(OSError, RuntimeError, ValueError):
        path = Path(typed).expanduser()
        if typed.endswith(".toml") and path.is_file():
            return [ChoiceGroup("as typed", [Choice(str(path), typed)]), *groups]
    return groups
