"""From the session to what each pane shows: words and states, no widgets."""

from __future__ import annotations

from fastdraft_app.live.replay import View
from fastdraft_app.live.run_pane import PaneState
from fastdraft_app.live.session import REPLAY, Phase, Session
from fastdraft_app.theme.palette import Marks


def pane_state(session: Session, mode: str, view: View, mark: Marks, *, recorded: bool = False) -> PaneState:
    """The state of the pane of ``mode`` at this moment; of a run that was ``recorded`` earlier."""
    track, steps = session.track(mode), session.visible_steps(mode)
    note, style = _note(session, mode, mark)
    return PaneState(
        track=track,
        steps=steps,
        figures=session.figures(mode),
        view=view if mode == "sd" or view == "plain" else "clean",
        pending=session.pending(mode) if view != "plain" else 0,
        running=_running(session, mode, steps),
        note=note,
        note_style=style,
        speedup=session.speedup() if mode == "sd" else None,
        placeholder=_placeholder(session, mode, mark),
        recorded=recorded,
    )


def _running(session: Session, mode: str, steps: int) -> bool:
    track = session.track(mode)
    if track is None:
        return False
    if session.phase is Phase.TIMING:
        return track.finished is None
    return session.phase in (Phase.PLAYING, Phase.PAUSED) and steps < track.num_steps


def _note(session: Session, mode: str, mark: Marks) -> tuple[str, str]:
    track = session.track(mode)
    if session.phase is Phase.TIMING and track is not None:
        return (f"timing{mark.more}", "$primary") if track.finished is None else ("timed", "$muted")
    if mode == "sd" and session.phase in (Phase.DONE, Phase.STOPPED, Phase.FAILED, Phase.LOADING):
        compared = session.recording.compared
        parted = compared.parted.position if compared is not None and compared.parted is not None else 0
        return {
            "tie": (f"{mark.alike} identical up to a near-tie at {parted}", "$success"),
            "same": (f"{mark.same} identical text", "$success"),
            "differs": (f"{mark.differs} differs from token {parted}", "$warning"),
            "alike": (f"{mark.alike} same distribution, other tokens", "$muted"),
            "": ("", "$muted"),
        }[session.verdict()]
    return "", "$muted"


def _placeholder(session: Session, mode: str, mark: Marks) -> str:
    if mode == "sd" and session.pair is not None and not session.speculating:
        return "No draft. Press d to choose one."
    if session.phase is Phase.TIMING:
        if mode == "sd" and session.track("ar") is not None:
            return f"waits for the autoregressive run{mark.more}"
        return f"warming up{mark.more}"
    if session.phase in REPLAY:
        return ""
    return ""
