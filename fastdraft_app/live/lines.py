"""The lines of text around the panes: what is run, where a recording comes from, what is going on. Pure."""

from __future__ import annotations

from textual.content import Content

from fastdraft_app.live.replay import RUN_NAMES, Mode
from fastdraft_app.live.session import Phase, Session
from fastdraft_app.settings.settings import Settings
from fastdraft_app.theme.palette import Marks
from fastdraft_app.widgets.bars import bar
from fastdraft_app.widgets.line import fields, first_fitting
from fastdraft_core.events import ModelCard, PairLoaded
from fastdraft_core.formatting import count, elide, one_line

REPLAYED = "measured one after the other, replayed together"
_SHORT_DTYPES = {"bfloat16": "bf16", "float32": "f32", "float16": "f16"}


def setup_line(settings: Settings, pair: PairLoaded | None, width: int, mark: Marks) -> Content:
    """Target, draft and settings in one line, in as many words as fit."""
    target = _model(settings.target, pair.target if pair else None, mark)
    draft = _model(settings.draft, pair.draft if pair else None, mark)
    choices = [
        _named(mark.gamma, str(settings.gamma)),
        _named("T", f"{settings.temperature:g}"),
        *([_named("top-k", str(settings.top_k))] if settings.top_k else []),
        *([_named("top-p", f"{settings.top_p:g}")] if settings.top_p < 1 else []),
        _named("seed", str(settings.seed)),
    ]
    machine = _machine(pair)
    named = [_named("target", target), _named("draft", draft)]
    return first_fitting(
        width,
        fields(*named, *choices, *machine, gap=3),
        fields(*named, *choices, *machine, gap=2),
        fields(Content(f"{target} + {draft}"), *choices, *machine, gap=2),
        fields(Content(f"{target} + {draft}"), *choices, *machine[:1], gap=2),
        fields(Content(elide(f"{target} + {draft}", max(width - 24, 12), mark.more)), *choices, gap=2),
    )


def prompt_kind(session: Session, asking: bool) -> str:
    """What the prompt is: the beginning of a text, a question, or a later one of a conversation."""
    track = session.track("ar")
    asking = track.started.chat if track is not None else asking
    if not asking:
        return "prompt"
    turn = len(track.started.earlier) + 1 if track is not None else 1
    return "question" if turn == 1 else f"question {turn}"


def prompt_line(kind: str, name: str, prompt: str, width: int, mark: Marks, ascii_only: bool) -> Content:
    """What kind of prompt it is, its name and its beginning, on one line."""
    head = Content.assemble((f"{kind} ", "$muted"), name, "   ")
    flat = one_line(prompt.rstrip("\n"), f" {mark.newline} ", " ", ascii_only)
    text = elide(" ".join(flat.split()), max(width - head.cell_length, 0), mark.more)
    return head + Content.styled(text, "$muted")


def _model(name: str, card: ModelCard | None, mark: Marks) -> str:
    short = name.rstrip("/").rpartition("/")[2] or name
    short = elide(one_line(short, " ", " "), 24, mark.more)
    return f"{short} {count(card.parameters)}" if card is not None and card.is_model else short


def _machine(pair: PairLoaded | None) -> list[Content]:
    if pair is None:
        return []
    dtype = _SHORT_DTYPES.get(pair.target.dtype, pair.target.dtype)
    threads = f"{pair.threads} thread" + ("s" if pair.threads != 1 else "")
    return [Content(f"{pair.runtime} {dtype}"), Content(threads)]


def _named(name: str, value: str) -> Content:
    return Content.assemble((f"{name} ", "$muted"), value)


def source_line(machine: str, speed: str, remark: str, width: int, mark: Marks) -> Content:
    """``machine`` and date of the recording, its ``speed``, and a ``remark`` on what else is going on."""
    machine, remark = (one_line(words, " ", " ") for words in (machine, remark))
    tail = Content.styled(remark, "$muted")
    room = max(width - len("Recording  ") - tail.cell_length - 3, 12)
    return first_fitting(
        width,
        fields(_head(f"made on {machine}, shown {speed}"), tail),
        fields(_head(f"{machine}, {speed}"), tail),
        fields(_head(elide(machine, room, mark.more)), tail),
        _head(elide(machine, max(width - len("Recording "), 0), mark.more)),
    )


def _head(words: str) -> Content:
    return Content.assemble(("Recording ", "bold"), words)


def status_line(session: Session, beat: int, width: int, mark: Marks) -> Content:
    """Phase, words, and during the replay the time on the common clock."""
    spinner = mark.spinner[beat % len(mark.spinner)]
    match session.phase:
        case Phase.LOADING:
            return _words(spinner, f"loading: {one_line(session.activity, ' ', ' ')}", "$primary")
        case Phase.TIMING:
            return _words(spinner, _timing(session, mark), "$primary")
        case Phase.PLAYING:
            return _replay(session, mark.play, "space pauses", width, mark)
        case Phase.PAUSED:
            return _replay(session, mark.pause, "space goes on", width, mark)
        case Phase.DONE:
            return _replay(session, mark.stop, "space replays", width, mark)
        case Phase.CANCELLED:
            return _words(mark.stop, _cancelled(session), "$muted")
        case Phase.FAILED:
            return _words(mark.stop, "nothing is running; press r to try again", "$muted")
        case Phase.STOPPED if session.resting:
            return _words(mark.pause, "the engine rests while a sweep is timed", "$muted")
        case Phase.STOPPED:
            return _words(mark.stop, "no engine; press r to restart it", "$error")
        case _:
            return _words(mark.stop, "ready; press r to run", "$muted")


def _words(sign: str, words: str, style: str) -> Content:
    return Content.assemble((f"{sign} ", style), (words, "$muted"))


def _cancelled(session: Session) -> str:
    if session.pair is None:
        return "loading was called off; press r to load again"
    return "cancelled, what was decoded stays; press r to run again"


def _timing(session: Session, mark: Marks) -> str:
    if session.activity:
        return f"{one_line(session.activity, ' ', ' ')}{mark.more} esc cancels"
    mode: Mode = "sd" if session.track("sd") is not None else "ar"
    track = session.track(mode)
    tokens = track.totals[-1].tokens if track is not None else 0
    length = track.started.max_new_tokens if track is not None else 0
    return f"timing the {RUN_NAMES[mode]} run, {tokens} of {length} tokens; esc cancels"


def _replay(session: Session, sign: str, hint: str, width: int, mark: Marks) -> Content:
    player = session.player
    words = _pace(session)
    hint = "n goes on, space plays" if player.stepping else hint
    time = f"{player.position:.2f} / {player.seconds:.2f} s"
    start = Content.assemble((f"{sign} ", "$primary"), (words, "$muted"), "  ")
    end = Content.assemble("  ", time)
    long_end = end + Content.styled(f"   {hint}", "$muted")
    share = player.position / player.seconds if player.seconds else 1.0

    def line(tail: Content, shortest: int) -> Content:
        room = max(width - start.cell_length - tail.cell_length, shortest)
        return start + bar([(share, "$primary")], min(room, 40), mark) + tail

    return first_fitting(width, line(long_end, 10), line(end, 6), start)


def _pace(session: Session) -> str:
    """How fast what is shown goes by, so that nobody takes a slow picture for a slow model."""
    player = session.player
    if player.stepping and session.phase is not Phase.DONE:
        return f"step by step: {_stage(session)}"
    if player.speed < 1:
        return f"slow motion 1/{round(1 / player.speed)} of the measured speed"
    return REPLAYED if len(session.recording.tracks) > 1 else "replayed at its measured speed"


def _stage(session: Session) -> str:
    mode: Mode = "sd" if session.track("sd") is not None else "ar"
    track, steps = session.track(mode), session.visible_steps(mode)
    assert track is not None
    if session.pending(mode):
        return f"block {steps} of {len(track.blocks)} is drafted"
    return f"block {steps - 1} of {len(track.blocks)} is judged" if steps > 1 else "the first token"
