"""The one line that says what is going on, and how far it is."""

from __future__ import annotations

from textual.content import Content

from fastdraft_app.live.session import Phase, Session
from fastdraft_app.theme.palette import Marks
from fastdraft_app.widgets.gauges import bar
from fastdraft_app.widgets.line import first_fitting
from fastdraft_core.formatting import one_line

RUN_NAMES = {"ar": "autoregressive", "sd": "speculative"}
REPLAYED = "measured one after the other, replayed together"


def status(session: Session, beat: int, width: int, mark: Marks) -> Content:
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
            return _words(mark.stop, "cancelled, what was decoded stays; press r to run again", "$muted")
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


def _timing(session: Session, mark: Marks) -> str:
    if session.activity:
        return f"{one_line(session.activity, ' ', ' ')}{mark.more} esc cancels"
    mode = "sd" if session.track("sd") is not None else "ar"
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
    mode = "sd" if session.track("sd") is not None else "ar"
    track, steps = session.track(mode), session.visible_steps(mode)
    assert track is not None
    if session.pending(mode):
        return f"block {steps} of {len(track.blocks)} is drafted"
    return f"block {steps - 1} of {len(track.blocks)} is judged" if steps > 1 else "the first token"
