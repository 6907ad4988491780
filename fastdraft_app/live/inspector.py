"""All about one token: what became of it and why, what both models thought, and what else they considered."""

from __future__ import annotations

from textwrap import wrap
from typing import NamedTuple

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content

from fastdraft_app.live.inspection import TokenFacts, probability, processing, verdict, whereabouts
from fastdraft_app.live.replay import Place, Track
from fastdraft_app.live.session import BUSY, Session
from fastdraft_app.live.token_layout import FIRST, TokenMove
from fastdraft_app.live.token_view import TokenView
from fastdraft_app.theme.palette import Marks, marks
from fastdraft_app.widgets.line import TextLine, fields, first_fitting
from fastdraft_core.events import Candidate, Opinion
from fastdraft_core.formatting import elide, one_line
from fastdraft_core.token_states import STATES

TOP = 5
LABEL = 9
ROOMY = 50
"""Cells from which there is room for bars and longer words."""

WAIT = "The tokens can be inspected when the runs have been timed."
NOTHING = "There is no speculative run to inspect. Press r to run, or d for a draft."


class PageLine(NamedTuple):
    """A line and how much it matters: where there is no room for all, the least important are left out."""

    weight: int
    line: Content


class Inspector(Vertical):
    """A framed page about the inspected token, which is a token of the speculative run; and which one that is."""

    DEFAULT_CSS = """
    Inspector {
        border: round $primary;
        border-title-color: $foreground;
        border-title-style: bold;
        border-subtitle-color: $muted;
        padding: 0 1;
        & > TextLine { height: 1fr; width: 1fr; }
    }
    """

    def __init__(self, tokens: TokenView, *, ascii_only: bool, id: str) -> None:  # noqa: A002  Textual's name
        """``tokens`` shows the run; the inspected token is marked there, and the cursor moves over its lines."""
        super().__init__(id=id)
        self.is_open = False
        """Whether it is on screen."""
        self.place: Place | None = None
        """The inspected token; None until there is one to inspect."""
        self._tokens = tokens
        self._track: Track | None = None
        self._ascii = ascii_only
        self._marks = marks(ascii_only)
        self._page = TextLine(classes="page")
        self._facts: TokenFacts | None = None
        self._instead = ""
        self.border_title = "Inspector"
        self.border_subtitle = "arrows choose, i closes"

    def compose(self) -> ComposeResult:
        """One page of text."""
        yield self._page

    def open(self, place: Place | None = None) -> None:
        """Be on screen from now on, with the token at ``place`` or the last one."""
        self.is_open, self.place = True, place

    def close(self) -> None:
        """Leave the screen."""
        self.is_open, self.place = False, None

    def move(self, move: TokenMove) -> bool:
        """Inspect the token that ``move`` leads to; False where there is none."""
        place = self._tokens.moved(self.place or FIRST, move)
        if place is not None:
            self.place = place
        return place is not None

    def follow(self, session: Session) -> None:
        """Before the tokens are drawn: a token of another run is none of this one."""
        track = session.track("sd")
        if track is not self._track or session.phase in BUSY:
            self._track, self.place = track, None

    def show(self, session: Session) -> None:
        """After the tokens were drawn: settle on one that is shown, and tell about it."""
        if not self.is_open:
            self._tokens.inspect(None)
            return
        track, busy = session.track("sd"), session.phase in BUSY
        if track is not None and not busy:
            self._settle()
        self._facts, self._instead = None, WAIT if busy else NOTHING
        if track is not None and self.place is not None:
            self._facts = TokenFacts(track, self.place, pending=self.place.step >= session.visible_steps("sd"))
        self._draw()

    def _settle(self) -> None:
        had = self.place
        self.place = self._tokens.moved(had or FIRST, "stay" if had else "end")
        self._tokens.inspect(self.place)
        if had is None:
            self.refresh_bindings()

    def on_resize(self) -> None:
        """Fit the page to its new size."""
        self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        width, height = self._page.size
        if self._facts is None:
            rows = [Content.styled(line, "$muted") for line in wrap(self._instead, max(width, 10))]
        else:
            rows = page(self._facts, width, height, self._marks, self._ascii)
        self._page.show(Content("\n").join(rows))

    @property
    def text(self) -> str:
        """What the page says."""
        return self._page.text


def page(facts: TokenFacts, width: int, height: int, mark: Marks, ascii_only: bool) -> list[Content]:
    """At most ``height`` lines of ``width`` cells."""
    draw = _Page(facts, max(width, 20), mark, ascii_only)
    rows = draw.rows()
    kept = sorted(sorted(range(len(rows)), key=lambda n: -rows[n].weight)[:height])
    return [rows[n].line for n in kept]


class _Page:
    """The lines of one page."""

    def __init__(self, facts: TokenFacts, width: int, mark: Marks, ascii_only: bool) -> None:
        self._facts = facts
        self._width = width
        self._mark = mark
        self._ascii = ascii_only

    def rows(self) -> list[PageLine]:
        """Everything, in order."""
        facts = self._facts
        words = wrap(verdict(facts, self._quoted(facts.best, 14)), self._width)
        rows: list[PageLine] = [PageLine(100, self._heading()), PageLine(80, self._whereabouts())]
        rows += [PageLine(90 - 30 * n, Content(line)) for n, line in enumerate(words)]
        if facts.detail is None:
            return [*rows, _GAP, PageLine(70, self._muted("no details were recorded of this token"))]
        return [*rows, _GAP, *self._numbers(), _GAP, *self._candidates(), _GAP, PageLine(50, self._note())]

    def _heading(self) -> Content:
        facts = self._facts
        state, number = STATES.get(facts.state), Content.styled(f"id {facts.token.id}", "$muted")
        if state is None:
            name = Content.styled("first" if facts.block is None else "plain", "bold")
        else:
            sign = state.ascii_glyph if self._ascii else state.glyph
            name = Content.styled(f"{sign} {state.name}", f"bold $token-{state.name}")
        room = self._width - name.cell_length - number.cell_length - 4
        text = Content.styled(self._quoted(facts.text, room), "bold")
        gap = max(self._width - name.cell_length - text.cell_length - number.cell_length - 2, 1)
        return Content.assemble(name, "  ", text, " " * gap, number)

    def _whereabouts(self) -> Content:
        words = whereabouts(self._facts)
        return first_fitting(self._width, self._muted(words), self._muted(words.replace("new token", "new")))

    def _numbers(self) -> list[PageLine]:
        facts, detail = self._facts, self._facts.detail
        assert detail is not None
        target, draft = None if facts.pending else detail.target, detail.draft
        return [
            PageLine(75, self._columns("", "target", "draft", "$muted")),
            PageLine(95, self._columns("p, q", *(_chance(opinion) for opinion in (target, draft)))),
            PageLine(65, self._columns("entropy", *(_entropy(opinion) for opinion in (target, draft)))),
            *self._acceptance(),
        ]

    def _acceptance(self) -> list[PageLine]:
        facts, detail = self._facts, self._facts.detail
        if facts.pending or detail is None or detail.overlap is None:
            return []
        if_sampled = " at T 1" if facts.greedy else ""
        chance = None if facts.accept is None else ("accept", f"accept min(1, p/q){if_sampled}", facts.accept)
        drawn = None if facts.token.u is None else ("u", "random number u", facts.token.u)
        shared = ("overlap", f"overlap, sum of min(p, q){if_sampled}", detail.overlap)
        entries = [entry for entry in (chance, drawn, shared) if entry is not None]
        if self._width >= ROOMY:
            return [
                PageLine(85 - n, Content.assemble((name.ljust(36), "$muted"), probability(value)))
                for n, (_, name, value) in enumerate(entries)
            ]
        long, short = (
            fields(
                *(Content.assemble((f"{name} ", "$muted"), f"{value:.{digits}f}") for name, _, value in entries),
                gap=gap,
            )
            for digits, gap in ((3, 2), (2, 1))
        )
        return [PageLine(85, first_fitting(self._width, long, short))]

    def _candidates(self) -> list[PageLine]:
        facts, detail = self._facts, self._facts.detail
        assert detail is not None
        target = [] if facts.pending else detail.target.top
        draft = detail.draft.top if detail.draft is not None else []
        half = (self._width - 2) // 2
        title = Content.styled(f"top {TOP}, target".ljust(half + 2) + f"top {TOP}, draft", "$muted")
        rows: list[PageLine] = [PageLine(64, title)]
        for n in range(max(len(target), len(draft))):
            left, right = (self._candidate(top[n] if n < len(top) else None, half) for top in (target, draft))
            gap = " " * (half + 2 - left.cell_length)
            rows.append(PageLine(70 - n, Content.assemble(left, gap, right)))
        return rows

    def _candidate(self, candidate: Candidate | None, width: int) -> Content:
        if candidate is None:
            return Content("")
        own = candidate.id == self._facts.token.id
        style = "bold $primary" if own else ""
        sign = self._mark.play if own else " "
        share = f"{sign}{probability(candidate.probability):<6} "
        room = 8 if self._width >= ROOMY else 0
        cells = self._mark.bars[0] * round(candidate.probability * room)
        text = self._quoted(candidate.text, width - len(share) - room - (room > 0))
        return Content.assemble((share, style), (cells.ljust(room) + " " * (room > 0), "$primary"), (text, style))

    def _note(self) -> Content:
        return self._muted(elide(processing(self._facts), self._width))

    def _columns(self, label: str, target: str, draft: str, style: str = "") -> Content:
        column = (self._width - LABEL) // 2
        return Content.assemble((label.ljust(LABEL), "$muted"), (target.ljust(column) + draft, style))

    def _quoted(self, text: str, width: int) -> str:
        shown = one_line(text, self._mark.newline, self._mark.tab, self._ascii)
        return f'"{elide(shown, max(width - 2, 1), self._mark.more)}"'

    def _muted(self, words: str) -> Content:
        return Content.styled(words, "$muted")


_GAP = PageLine(1, Content(""))


def _chance(opinion: Opinion | None) -> str:
    return "-" if opinion is None else f"{probability(opinion.p)} #{opinion.rank}"


def _entropy(opinion: Opinion | None) -> str:
    return "-" if opinion is None else f"{opinion.entropy:.2f} nats"
