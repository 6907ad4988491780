"""One run: its name, its figures, its tokens; and what of a session a pane shows of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content

from fastdraft_app.live.replay import NO_FIGURES, VIEWS, Figures, Mode, Piece, Track, View
from fastdraft_app.live.session import Phase, Session, Verdict
from fastdraft_app.live.token_view import TokenView
from fastdraft_app.theme.palette import Marks, marks
from fastdraft_app.widgets.line import TextLine, fields, first_fitting
from fastdraft_core.events import RunStarted


class Note(NamedTuple):
    """Being timed, same text, and so on; in words and in a style."""

    words: str = ""
    style: str = "$muted"


NO_NOTE = Note()


@dataclass
class ViewChoice:
    """Which view of the tokens is shown. Inspecting needs the history; what was there before comes back after it."""

    shown: View = "clean"
    _before: View | None = None

    def next(self) -> None:
        """Switch to the next view, for good."""
        self.shown, self._before = VIEWS[(VIEWS.index(self.shown) + 1) % len(VIEWS)], None

    def begin_inspecting(self) -> None:
        """The clean view hides tokens that can be inspected."""
        if self.shown == "clean":
            self.shown, self._before = "history", "clean"

    def show_all(self) -> None:
        """Show every token for as long as one is inspected."""
        self.shown = "history"

    def end_inspecting(self) -> None:
        """Go back to the view before, where inspecting changed it."""
        self.shown, self._before = self._before or self.shown, None


@dataclass(frozen=True)
class PaneState:
    """What a pane shows at a moment."""

    track: Track | None = None
    steps: int = 0
    figures: Figures = NO_FIGURES
    view: View = "clean"
    pending: int = 0
    """Drafted tokens of the block in progress that are shown before they are judged."""
    running: bool = False
    note: Note = NO_NOTE
    """What the lower edge says."""
    speedup: float | None = None
    placeholder: str = ""
    recorded: bool = False
    """Whether it is no run of this machine and hour; the pane says so when it has the screen for itself, too."""


class _Shown(NamedTuple):
    """What the token view has been given."""

    track: Track | None = None
    steps: int = 0
    view: View = "clean"


class RunPane(Vertical):
    """A framed token view with its figures on top."""

    ALLOW_MAXIMIZE = True

    DEFAULT_CSS = """
    RunPane {
        border: round $border-blurred;
        border-title-color: $foreground;
        border-title-style: bold;
        border-subtitle-color: $muted;
        padding: 0 0 0 1;
        &:focus-within { border: round $primary; }
        & > TextLine { width: 1fr; }
        & > TokenView { height: 1fr; margin-top: 0; }
    }
    """

    def __init__(self, title: str, *, ascii_only: bool, id: str) -> None:  # noqa: A002  Textual's name
        super().__init__(id=id)
        self._marks = marks(ascii_only)
        self._head = TextLine(classes="head")
        self.view = TokenView(ascii_only=ascii_only, id=f"{id}-tokens")
        self._shown = _Shown()
        self._note = Content("")
        self._title = self.border_title = title

    def compose(self) -> ComposeResult:
        """Figures above, tokens below."""
        yield self._head
        yield self.view

    def show(self, state: PaneState) -> None:
        """Bring the pane to ``state``, painting only the difference."""
        self._show_tokens(state)
        self._head.show(head(state, self._head.size.width, self._marks))
        note = Content.styled(*state.note)
        if not note.is_same(self._note):
            self._note = note
            self.border_subtitle = note

    @property
    def head_text(self) -> str:
        """The line of figures."""
        return self._head.text

    def _show_tokens(self, state: PaneState) -> None:
        track, steps, view = self._shown
        if track is not state.track or state.steps < steps or view != state.view:
            self.view.clear()
            steps = 0
            if state.track is not None:
                self.view.write(prompt_pieces(state.track, state.view, self._marks))
        pending: list[Piece] = []
        if state.track is not None:
            self.view.write(state.track.pieces(steps, state.steps, state.view))
            pending = state.track.pending(state.steps, state.pending) if state.pending else []
        self._shown = _Shown(state.track, state.steps, state.view)
        self.border_title = ", ".join(
            [self._title, *([] if state.view == "clean" else [state.view]), *(["recorded"] if state.recorded else [])]
        )
        self.view.show_tail(pending)
        self.view.set_placeholder(state.placeholder)
        self.view.show_cursor(state.running)
        self.view.flush()


def prompt_pieces(track: Track, view: View, mark: Marks) -> Sequence[Piece]:
    """What was given, shown before what the model adds."""
    return [Piece(given_text(track.started, mark), "plain" if view == "plain" else "prompt", -1, 0)]


def given_text(started: RunStarted, mark: Marks) -> str:
    """The beginning of the text itself; or the conversation up to where the answer begins, each question marked."""
    if not started.chat:
        return started.prompt
    questions = [f"{mark.play} {exchange.question}\n\n{exchange.answer}\n\n" for exchange in started.earlier]
    return "".join([*questions, f"{mark.play} {started.prompt}\n\n"])


def head(state: PaneState, width: int, mark: Marks) -> Content:
    """Tokens/s, time, and the speed-up with its baseline, as much as fits."""
    figures = state.figures
    if not figures.tokens:
        return Content.styled(mark.dash, "$muted")
    rate = Content.assemble((f"{figures.tokens_per_second:.1f}", "bold"), (" tok/s", "$muted"))
    time = Content.assemble(f"{figures.seconds:.2f}", (" s", "$muted"))
    tokens = Content.assemble(f"{figures.tokens}", (" tokens", "$muted"))
    if state.speedup is None:
        return first_fitting(width, fields(rate, time, tokens), fields(rate, time), rate)
    long = speedup_content(state.speedup, "the autoregressive speed", mark)
    short = speedup_content(state.speedup, "vs AR", mark)
    return first_fitting(
        width,
        fields(rate, time, tokens, long),
        fields(rate, time, tokens, short),
        fields(rate, time, short),
        fields(rate, short, gap=2),
    )


def speedup_content(speedup: float, baseline: str, mark: Marks) -> Content:
    """``▲ 1.85× vs AR``: a speed-up always names its baseline."""
    faster = speedup >= 1
    arrow, style = (mark.faster, "bold $success") if faster else (mark.slower, "bold $warning")
    return Content.assemble((f"{arrow} {speedup:.2f}{mark.times}", style), (f" {baseline}", "$muted"))


# --- from the session to a pane -----------------------------------------------------------------------


def pane_state(session: Session, mode: Mode, view: View, mark: Marks, *, recorded: bool = False) -> PaneState:
    """The state of the pane of ``mode`` at this moment; of a run that was ``recorded`` earlier."""
    track, steps = session.track(mode), session.visible_steps(mode)
    return PaneState(
        track=track,
        steps=steps,
        figures=session.figures(mode),
        view=view if mode == "sd" or view == "plain" else "clean",
        pending=session.pending(mode) if view != "plain" else 0,
        running=_running(session, mode, steps),
        note=_note(session, mode, mark),
        speedup=session.speedup() if mode == "sd" else None,
        placeholder=_placeholder(session, mode, mark),
        recorded=recorded,
    )


def _running(session: Session, mode: Mode, steps: int) -> bool:
    track = session.track(mode)
    if track is None:
        return False
    if session.phase is Phase.TIMING:
        return track.finished is None
    return session.phase in (Phase.PLAYING, Phase.PAUSED) and steps < track.num_steps


def _note(session: Session, mode: Mode, mark: Marks) -> Note:
    track = session.track(mode)
    if session.phase is Phase.TIMING and track is not None:
        return Note(f"timing{mark.more}", "$primary") if track.finished is None else Note("timed")
    if mode == "sd" and session.phase in (Phase.DONE, Phase.STOPPED, Phase.FAILED, Phase.LOADING):
        compared = session.recording.compared
        parted = compared.parted.position if compared is not None and compared.parted is not None else 0
        return _verdict_note(session.verdict(), parted, mark)
    return Note()


def _verdict_note(verdict: Verdict, parted: int, mark: Marks) -> Note:
    match verdict:
        case "tie":
            return Note(f"{mark.alike} identical up to a near-tie at {parted}", "$success")
        case "same":
            return Note(f"{mark.same} identical text", "$success")
        case "differs":
            return Note(f"{mark.differs} differs from token {parted}", "$warning")
        case "alike":
            return Note(f"{mark.alike} same distribution, other tokens")
        case "":
            return Note()


def _placeholder(session: Session, mode: Mode, mark: Marks) -> str:
    if mode == "sd" and session.pair is not None and not session.speculating:
        return "No draft. Press d to choose one."
    if session.phase is Phase.TIMING:
        if mode == "sd" and session.track("ar") is not None:
            return f"waits for the autoregressive run{mark.more}"
        return f"warming up{mark.more}"
    return ""
