"""The replay shows both runs on one clock, at the speed at which they were measured."""

from __future__ import annotations

import pytest

from fastdraft_app.live.replay import SPEEDS, Player, Recording
from fastdraft_core.events import Block, Compared, Event, FirstToken, RunStarted, Token


def started(mode: str) -> RunStarted:
    """The beginning of a run."""
    return RunStarted(
        mode=mode, prompt="p", prompt_tokens=1, gamma=2, temperature=0, top_k=0, top_p=1, seed=1, max_new_tokens=9
    )


def first(mode: str) -> FirstToken:
    """The first token of a run."""
    return FirstToken(mode=mode, token=Token(id=0, text="A"), prefill_seconds=0.1)


def plain(index: int, at: float) -> Block:
    """A step of the autoregressive run."""
    return Block(
        mode="ar", index=index, drafted=[], extra=Token(id=1, text=str(index)), at=at,
        draft_seconds=0, verify_seconds=0.1, overhead_seconds=0, context=1,
    )  # fmt: skip


def block(at: float, *states: str, extra: str | None = "bonus") -> Block:
    """A block with these drafted states."""
    return Block(
        mode="sd", index=0, drafted=[Token(id=2, text=state[0], state=state) for state in states],
        extra=Token(id=3, text="+", state=extra) if extra else None, at=at,
        draft_seconds=0.1, verify_seconds=0.2, overhead_seconds=0.1, context=1,
    )  # fmt: skip


def comparison() -> list[Event]:
    """Both runs of one prompt."""
    return [
        started("ar"), first("ar"), plain(0, 0.1), plain(1, 0.2), plain(2, 0.3), plain(3, 0.4),
        started("sd"), first("sd"), block(0.15, "accepted", "accepted"),
        block(0.3, "rejected", "discarded", extra="corrected"), Compared(speedup=4 / 3, identical=True),
    ]  # fmt: skip


def test_both_runs_share_one_clock() -> None:
    """At every moment of the replay each pane shows what that run had decoded by then, not more."""
    recording = Recording(comparison())
    assert [recording.steps_at("ar", time) for time in (-1, 0, 0.1, 0.29, 1)] == [0, 1, 2, 3, 5]
    assert [recording.steps_at("sd", time) for time in (-1, 0, 0.1, 0.15, 1)] == [0, 1, 1, 2, 3]
    assert recording.seconds == 0.4


def test_clean_view_leaves_out_what_was_thrown_away() -> None:
    """Both panes show the same text in the clean view; the history shows every drafted token."""
    track = Recording(comparison()).tracks["sd"]
    assert "".join(piece.text for piece in track.pieces(0, 3, "clean")) == "Aaa++"
    assert [piece.kind for piece in track.pieces(0, 3, "history")] == [
        "plain", "accepted", "accepted", "bonus", "rejected", "discarded", "corrected",
    ]  # fmt: skip


def test_figures_follow_the_replay() -> None:
    """Gauges show the figures of the blocks on screen, the first token left out as in the engine's."""
    track = Recording(comparison()).tracks["sd"]
    figures = track.figures(2, cost=0.25)
    assert (figures.tokens, figures.tau, figures.acceptance) == (3, 3.0, 1.0)
    assert figures.tokens_per_second == pytest.approx(20)
    assert figures.mbsu == pytest.approx(3 / 1.5)
    assert figures.verify_share == pytest.approx(0.5)
    assert track.figures(3).acceptance == 0.5
    assert track.figures(1).tokens == 0


def test_block_without_extra_counts_only_its_accepted_tokens() -> None:
    """A stop inside the accepted tokens must not show a token that was never emitted."""
    recording = Recording([started("ar"), started("sd"), first("sd"), block(0.1, "accepted", "discarded", extra=None)])
    track = recording.tracks["sd"]
    assert track.figures(2).tokens == 1
    assert "".join(piece.text for piece in track.pieces(0, 2, "clean")) == "Aa"


def test_a_new_comparison_forgets_the_old_one() -> None:
    """After a restart no token or verdict of the earlier comparison stays on screen."""
    recording = Recording([*comparison(), started("ar")])
    assert list(recording.tracks) == ["ar"]
    assert recording.compared is None


def test_events_of_a_run_that_never_started_are_left_out() -> None:
    """Late events of a cancelled run cannot break the picture."""
    assert Recording([first("sd"), block(1.0, "accepted")]).tracks == {}


def test_player_stops_at_the_end() -> None:
    """A slow repaint moves the replay on by the time that passed, and never past its end."""
    player = Player(seconds=1.0)
    player.advance(0.4)
    assert player.position == 0.4
    assert not player.at_end
    player.advance(5)
    assert player.position == 1.0
    assert player.at_end


def test_a_step_is_a_draft_or_a_verdict() -> None:
    """Stepping stops when a block is drafted and when it is judged, and in the end shows everything."""
    recording = Recording(comparison())
    track = recording.tracks["sd"]
    player, seen = Player(recording.seconds), []
    while not player.at_end:
        player.step(recording.moment_after(player.position))
        seen.append((track.steps_at(player.position), track.drafted_at(player.position)))
    assert seen == [(1, 2), (2, 0), (2, 2), (3, 0), (3, 0)]
    assert [piece.kind for piece in track.pending(2, 2)] == ["pending"] * 2
    assert "".join(piece.text for piece in track.pending(2, 1)) == "r"


def test_a_block_without_a_draft_is_one_step() -> None:
    """Where nothing was drafted there is nothing to wait for; the only run can be stepped, too."""
    recording = Recording(comparison()[:6])
    player = Player(recording.seconds)
    for expected in (2, 3, 4, 5):
        player.step(recording.moment_after(player.position))
        assert recording.steps_at("ar", player.position) == expected
    assert player.at_end


def test_drafted_tokens_appear_one_by_one() -> None:
    """In slow motion a block's tokens come evenly over its drafting time, and stay until they are judged."""
    track = Recording(comparison()).tracks["sd"]
    assert [track.drafted_at(time) for time in (0.0, 0.04, 0.05, 0.0999, 0.1, 0.149, 0.15)] == [0, 0, 1, 1, 2, 2, 0]


def test_slow_motion_goes_around_and_keeps_the_measured_clock() -> None:
    """A slower picture reaches the same moments later; after the slowest comes the true speed again."""
    player = Player(seconds=10.0)
    speeds = []
    for _ in SPEEDS:
        player.slow_down()
        speeds.append(player.speed)
    assert speeds == [1 / 4, 1 / 10, 1 / 50, 1]
    player.slow_down()
    player.advance(2)
    assert player.position == 0.5
    assert player.slow


def test_plain_shows_the_final_text_without_states() -> None:
    """The plain view has the text of the clean one and not a single state."""
    track = Recording(comparison()).tracks["sd"]
    assert {piece.kind for piece in track.pieces(0, 3, "plain")} == {"plain"}
    assert track.text(3) == "".join(piece.text for piece in track.pieces(0, 3, "clean"))
