"""A page of the wizard: its questions with what is wrong with each, and the words under them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.dom import DOMNode
from textual.widget import Widget
from textual.widgets import Input, Select, Static

from fastdraft_app.theme.palette import Marks, marks
from fastdraft_app.wizard.questions import Question, Step
from fastdraft_app.wizard.slider import Slider
from fastdraft_core.events import Previewed
from fastdraft_core.formatting import elide, one_line

Words = Literal["facts", "seen", "plan", "toml"]
"""What stands under the questions: what is known, samples, how long it will take, the recipe."""
_WORDS: tuple[Words, ...] = ("facts", "seen", "plan", "toml")


class Typed(NamedTuple):
    """What stands in the field of a question."""

    question: Question
    text: str


class WizardPage(VerticalScroll):
    """Shows the questions of one step. It knows no recipe: texts and problems are given to it."""

    def __init__(self, marks: Marks, *, id: str) -> None:  # noqa: A002  Textual's name
        super().__init__(id=id)
        self._marks = marks
        self._step: Step | None = None

    async def show_step(self, step: Step, text: Callable[[Question], str]) -> None:
        """Build the page of ``step``; ``text`` says what stands in a field."""
        await self.remove_children()
        self._step = step
        rows: list[Widget] = [self._row(question, text(question)) for question in step.questions]
        await self.mount(*rows, *(Static(id=name, classes="words", markup=False) for name in _WORDS))
        for name in _WORDS[1:]:
            self.query_one(f"#{name}").display = False
        self.scroll_home(animate=False)

    def _row(self, question: Question, text: str) -> Widget:
        name = editor_id(question)
        editor: Widget
        if question.kind in ("choice", "flag"):
            choices = question.choices or ("yes", "no")
            editor = Select([(one, one) for one in choices], value=text if text in choices else choices[0],
                            allow_blank=False, id=name, compact=True)  # fmt: skip
        elif question.stops:
            editor = Slider(text, question.stops, self._marks, id=name)
        else:
            editor = Input(text, id=name, compact=True)
        about = Static(Content(question.about), id=f"about-{name}", classes="about", markup=False)
        return Horizontal(Static(Content(question.label), classes="name"), editor, about, classes="row")

    # --- what is typed ------------------------------------------------------------------------

    def typed(self) -> Iterator[Typed]:
        """What stands in the fields at this moment."""
        for question in self._step.questions if self._step is not None else ():
            for editor in self.query(f"#{editor_id(question)}"):
                if isinstance(editor, Input | Select):
                    yield Typed(question, str(editor.value))

    def question_in(self, editor: Widget) -> Question | None:
        """The question that is answered in ``editor``; none where that belongs to a page that is gone."""
        questions = self._step.questions if self._step is not None else ()
        question = next((one for one in questions if editor.id == editor_id(one)), None)
        here = question is not None and any(one is editor for one in self.query(f"#{editor_id(question)}"))
        return question if here else None

    def way_of_keys(self, focused: Widget | None) -> list[DOMNode]:
        """Widgets that a key goes through, from the one in focus to the page; each passes on what it made of it."""
        way: list[DOMNode] = []
        for node in focused.ancestors_with_self if focused is not None else ():
            if node is self:
                return way
            way += [node, node]
        return []

    def put(self, question: Question, text: str) -> None:
        """Show another text in a field, which is no answer."""
        editor = self.query_one(f"#{editor_id(question)}")
        if isinstance(editor, Input | Select) and str(editor.value) != text:
            with editor.prevent(Input.Changed, Select.Changed):
                editor.value = text

    # --- what is told -------------------------------------------------------------------------

    def tell(self, problem: Callable[[Question], str], why: Mapping[str, str]) -> None:
        """Beside each field: what is wrong with it, else where its value comes from, by path, and what it means."""
        for question in self._step.questions if self._step is not None else ():
            for about in self.query(f"#about-{editor_id(question)}").results(Static):
                told = problem(question)
                about.update(Content.styled(one_line(told, " ", " "), "$error") if told else _about(question, why))
                about.set_class(bool(told), "-wrong")
                assert isinstance(about.parent, Widget)
                about.parent.set_class(bool(told), "-wrong")

    def show_facts(self, lines: list[str], problem: str) -> None:
        """What is known of the answers, and what is wrong with them as a whole."""
        told = [Content(one_line("\n".join(lines), "\n", " "))] if lines else []
        told += [Content.styled(one_line(problem, " ", " "), "$error")] if problem else []
        for found in self.query("#facts").results(Static):
            found.update(Content("\n").join(told))
            found.display = bool(told)

    def show_words(self, name: Words, content: Content, *, scroll: bool) -> None:
        """Show what was found out, and ``scroll`` to it: on a small screen it would be below the edge."""
        # While a page is built there is none of them; the page then shows what it has to itself.
        for found in self.query(f"#{name}").results(Static):
            found.update(content)
            found.display = True
            if scroll:
                found.call_after_refresh(found.scroll_visible, top=True, animate=False)


def _about(question: Question, why: Mapping[str, str]) -> Content:
    told = why.get(question.path)
    return Content.assemble((f"{told} ", "$foreground"), question.about) if told else Content(question.about)


def editor_id(question: Question) -> str:
    """The id of the widget that a question is answered in."""
    return f"field-{question.path.replace('.', '-')}"


_LINES = 6
"""Lines of a sample that are shown."""


def sample_lines(found: Sequence[Previewed] | str, width: int, *, ascii_only: bool) -> Content:
    """Each sample under its title, every second token raised; or why there are none."""
    if isinstance(found, str):
        return Content.styled(one_line(found, " ", " "), "$error")
    parts: list[Content] = []
    for sample in found:
        title = one_line(sample.title, " ", " ", ascii_only)
        parts += [
            Content.styled(elide(title, width, marks(ascii_only).more), "bold"),
            _tokens(sample, width, ascii_only),
        ]
        parts.append(Content(""))
    return Content("\n").join(parts)


def _tokens(sample: Previewed, width: int, ascii_only: bool) -> Content:
    """The tokens one after the other, as many as fill some lines; without colours a bar stands between them."""
    mark = marks(ascii_only)
    parts, room = list[Content](), _LINES * width
    for number, token in enumerate(sample.tokens):
        text = one_line(token, mark.newline, mark.tab, ascii_only) or mark.dot
        room -= len(text) + 1
        if room < 0:
            break
        style = "$muted" if number < sample.given else "$foreground"
        parts.append(Content.styled(text, f"{style} on $panel" if number % 2 else style))
    return Content("|" if ascii_only else "").join(parts)
