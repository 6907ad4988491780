"""Looking into a run: views, steps, slow motion, the inspector, the strip, and copying. On a recorded run."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from textual.pilot import Pilot

from fastdraft_app.live.block_strip import BlockStrip
from fastdraft_app.live.inspection import TokenFacts, probability, verdict, whereabouts
from fastdraft_app.live.inspector import Inspector
from fastdraft_app.live.replay import Place, Recording, Track
from fastdraft_app.live.run_pane import RunPane
from fastdraft_app.live.session import Phase
from fastdraft_app.live.token_view import TokenView
from fastdraft_app.widgets.line import TextLine
from fastdraft_core import places
from fastdraft_core.events import Block, RunStarted, Token
from fastdraft_core.recordings import read_recording
from tests.app.conftest import MakeApp
from tests.app.helpers import SLOW, live, wait_for

SAMPLED = Path(__file__).with_name("sampled.jsonl")
REPLAY = ("--replay", str(SAMPLED))


async def at_end(pilot: Pilot[None]) -> None:
    """Go to the end of the replay."""
    await wait_for(pilot, lambda: live(pilot).session.phase in (Phase.PLAYING, Phase.DONE))
    live(pilot).session.player.position = live(pilot).session.player.seconds
    await wait_for(pilot, lambda: live(pilot).session.phase is Phase.DONE)
    await pilot.pause()


def view(pilot: Pilot[None]) -> TokenView:
    """The tokens of the speculative pane."""
    return live(pilot).query_one("#sd", RunPane).view


def inspector(pilot: Pilot[None]) -> Inspector:
    """The inspector, open or not."""
    return live(pilot).query_one(Inspector)


def told(pilot: Pilot[None]) -> str:
    """What the inspector says."""
    return inspector(pilot).text


def status(pilot: Pilot[None]) -> str:
    """What the status line says."""
    return live(pilot).query_one("#status", TextLine).text


def track() -> Track:
    """The recorded speculative run."""
    return Recording(read_recording(SAMPLED).events).tracks["sd"]


def place_of(state: str) -> Place:
    """The first token of a state."""
    run = track()
    return next(Place(step, n) for step in range(run.num_steps)
                for n, token in enumerate(run.tokens(step)) if token.state == state)  # fmt: skip


# --- views, steps, slow motion -----------------------------------------------------------------------


async def test_views_go_round(make_app: MakeApp) -> None:
    """Clean is the final text by state, history adds what was thrown away, plain has no state at all."""
    async with make_app(*REPLAY).run_test(size=(100, 30)) as pilot:
        await at_end(pilot)
        seen = []
        for _ in range(3):
            seen.append((str(live(pilot).query_one("#sd", RunPane).border_title), {p.kind for p in view(pilot).pieces}))
            await pilot.press("v")
        assert seen == [
            ("Speculative, recorded", {"prompt", "plain", "accepted", "corrected", "bonus"}),
            (
                "Speculative, history, recorded",
                {"prompt", "plain", "accepted", "corrected", "bonus", "rejected", "discarded"},
            ),
            ("Speculative, plain, recorded", {"plain"}),
        ]
        assert str(live(pilot).query_one("#sd", RunPane).border_title) == "Speculative, recorded"


async def test_n_shows_tokens_pending_and_then_their_verdict(make_app: MakeApp) -> None:
    """After the end n begins at the start: the first block drafted, then judged, both runs at that moment."""
    async with make_app(*REPLAY).run_test(size=(100, 30)) as pilot:
        await at_end(pilot)
        blocks = track().blocks
        await pilot.press("n")
        kinds = [piece.kind for piece in view(pilot).pieces]
        assert kinds == ["prompt", "plain"] + ["pending"] * 4
        assert "block 1 of 15 is drafted" in status(pilot)
        assert live(pilot).query_one(BlockStrip).render_line(0).text.strip() == "○○○○"
        await pilot.press("n")
        assert "pending" not in {piece.kind for piece in view(pilot).pieces}
        assert "block 1 of 15 is judged" in status(pilot)
        assert live(pilot).session.player.position == blocks[0].at
        await pilot.press("n", "n")
        assert "block 2 of 15 is judged" in status(pilot)
        await pilot.press("space")
        assert live(pilot).session.phase in (Phase.PLAYING, Phase.DONE)
        assert live(pilot).session.pending("sd") == 0, "at true speed no token waits to be seen"


async def test_n_through_the_whole_run_ends_as_the_replay_does(make_app: MakeApp) -> None:
    """Half a block at a time leads to the same picture as playing."""
    async with make_app(*REPLAY).run_test(size=(100, 30)) as pilot:
        await at_end(pilot)
        text = view(pilot).text
        presses = 0
        live(pilot).action_step()
        while live(pilot).session.phase is not Phase.DONE:
            live(pilot).action_step()
            presses += 1
            assert presses < 40
        await pilot.pause()
        assert view(pilot).text == text


async def test_slow_motion_says_so(make_app: MakeApp) -> None:
    """Who sees a slow picture reads how slow it is; the figures stay the measured ones; then the true speed again."""
    async with make_app(*REPLAY).run_test(size=(100, 30)) as pilot:
        await at_end(pilot)
        measured = live(pilot).session.figures("sd")
        await pilot.press("s", "s")
        assert live(pilot).session.player.speed == 1 / 10
        live(pilot).session.replay()
        live(pilot)._tick()
        assert "slow motion 1/10 of the measured speed" in status(pilot)
        await wait_for(pilot, lambda: view(pilot).pieces and view(pilot).pieces[-1].kind == "pending")
        await pilot.press("s", "s")
        await at_end(pilot)
        assert "measured one after the other" in status(pilot)
        assert live(pilot).session.figures("sd") == measured


async def test_nothing_is_stepped_while_it_is_timed(make_app: MakeApp) -> None:
    """n, s and i cannot disturb a measurement; they say why, or wait."""
    async with make_app(fake=SLOW).run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: live(pilot).session.phase is Phase.TIMING)
        await pilot.press("n", "s")
        assert live(pilot).session.phase is Phase.TIMING
        assert any("timed at its true speed first" in note.message for note in pilot.app._notifications)
        await pilot.press("i")
        await pilot.pause()
        assert "can be inspected when the runs have been timed" in told(pilot).replace("\n", " ")


# --- the inspector -----------------------------------------------------------------------------------


async def test_the_cursor_reaches_every_token_ever_drafted(make_app: MakeApp) -> None:
    """From the first to the last token, right visits all: id, state and text of each are told."""
    async with make_app(*REPLAY).run_test(size=(160, 48)) as pilot:
        await at_end(pilot)
        await pilot.press("i", "home")
        await pilot.pause()
        run = track()
        for step in range(run.num_steps):
            for token in run.tokens(step):
                page = told(pilot)
                assert f"id {token.id}" in page
                assert (token.state if step else "first") in page
                assert token.detail is not None
                assert probability(token.detail.target.p) in page
                live(pilot).action_move("right")
        assert inspector(pilot).place == Place(run.num_steps - 1, len(run.tokens(run.num_steps - 1)) - 1)


async def test_a_rejected_token_is_explained(make_app: MakeApp) -> None:
    """All numbers that decided, at 80x24: p, q, u, min(1, p/q), entropies and both lists of five."""
    async with make_app(*REPLAY).run_test(size=(80, 24)) as pilot:
        await at_end(pilot)
        place = place_of("rejected")
        await pilot.press("i")
        await pilot.pause()
        inspector(pilot).place = place
        live(pilot)._tick()
        token = track().tokens(place.step)[place.position]
        assert token.p is not None
        assert token.q is not None
        assert token.u is not None
        assert token.detail is not None
        assert token.detail.draft is not None
        page = told(pilot)
        assert "refused: u is not below p/q" in page
        assert token.u >= token.p / token.q
        for value in (token.p, token.q):
            assert probability(value) in page
        assert f"u {token.u:.3f}" in page
        assert f"accept {token.p / token.q:.3f}" in page
        assert f"{token.detail.target.entropy:.2f} nats" in page
        for opinion in (token.detail.target, token.detail.draft):
            assert all(probability(candidate.probability) in page for candidate in opinion.top)


async def test_arrows_move_the_cursor_only_while_there_is_one(make_app: MakeApp) -> None:
    """Closed, the keys scroll as before; i and escape close; gamma keeps its keys."""
    async with make_app(*REPLAY).run_test(size=(80, 24)) as pilot:
        await at_end(pilot)
        await pilot.press("up")
        assert inspector(pilot).place is None
        await pilot.press("i")
        await pilot.pause()
        last = inspector(pilot).place
        assert last is not None
        for keys in (("left", "right"), ("h", "l"), ("up", "end"), ("k", "end"), ("home", "pagedown", "end")):
            await pilot.press(*keys)
            assert inspector(pilot).place == last, keys
        await pilot.press("home")
        assert inspector(pilot).place == Place(0, 0)
        await pilot.press("escape")
        assert not inspector(pilot).is_open
        assert live(pilot)._view.shown == "clean"
        await pilot.press("i", "i")
        assert not inspector(pilot).is_open
        bindings = live(pilot).active_bindings
        assert "gamma" in bindings["left_square_bracket"].binding.action
        assert "scroll" in bindings["up"].binding.action


async def test_stepping_takes_the_cursor_along(make_app: MakeApp) -> None:
    """With the inspector open a step leads to the newest token; before the verdict only the draft's side is known."""
    async with make_app(*REPLAY).run_test(size=(160, 48)) as pilot:
        await at_end(pilot)
        await pilot.press("n", "i")
        await pilot.pause()
        assert inspector(pilot).place == Place(1, 3)
        page = told(pilot)
        assert "pending" in page
        assert "the target has not seen it yet" in page
        detail = track().tokens(1)[3].detail
        assert detail is not None
        assert detail.draft is not None
        assert probability(detail.draft.p) in page
        assert detail.target.p == detail.draft.p or probability(detail.target.p) not in page.split("top")[0]
        await pilot.press("n")
        assert inspector(pilot).place is not None
        assert inspector(pilot).place.step == 1
        assert "pending" not in told(pilot)


async def test_the_strip_follows_the_cursor_and_leads_it(make_app: MakeApp) -> None:
    """The inspected block is in sight and marked; a click on a glyph opens the inspector at that token."""
    async with make_app(*REPLAY).run_test(size=(80, 24)) as pilot:
        await at_end(pilot)
        strip = live(pilot).query_one(BlockStrip)
        await pilot.click(strip, offset=(1 * 7 + 2, 0))
        await pilot.pause()
        first = strip.rows()[0]
        assert inspector(pilot).is_open
        place = inspector(pilot).place
        assert place is not None
        assert place.position == 2
        await wait_for(pilot, lambda: f"block {place.step}/15" in told(pilot))
        await pilot.press("home", "right")
        assert 0 in strip.rows()[0]
        assert 0 not in first
        shown = [s.text for s in strip.render_line(0) if s.style and s.style.reverse]
        assert len(shown) == 1
        await pilot.press("end")
        assert 14 in strip.rows()[0]


async def test_a_click_on_a_token_inspects_it(make_app: MakeApp) -> None:
    """The mouse works as the keys do, once the inspector is open."""
    async with make_app(*REPLAY).run_test(size=(160, 48)) as pilot:
        await at_end(pilot)
        await pilot.press("i")
        await pilot.pause()
        tokens = view(pilot)
        index = next(n for n, piece in enumerate(tokens.pieces) if piece.place == Place(2, 0))
        row = tokens._layout.lines_of(index).start
        column = tokens._layout.lines[row].column(index)
        assert column is not None
        await pilot.click(tokens, offset=(column, row - int(tokens.scroll_y)))
        await pilot.pause()
        assert inspector(pilot).place == Place(2, 0)


async def test_a_new_run_lets_the_token_of_the_old_one_go(make_app: MakeApp) -> None:
    """r while inspecting: the inspector waits, and then shows the new run."""
    async with make_app().run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: live(pilot).session.phase is Phase.DONE)
        await pilot.press("i", "home")
        await pilot.pause()
        assert inspector(pilot).place == Place(0, 0)
        await pilot.press("r")
        await wait_for(pilot, lambda: live(pilot).session.phase in (Phase.PLAYING, Phase.DONE))
        await pilot.press("end")
        await wait_for(pilot, lambda: inspector(pilot).place is not None)
        assert "no details were recorded" in told(pilot)


@pytest.mark.parametrize("size", [(60, 16), (80, 24), (100, 30), (120, 36), (160, 48)])
async def test_the_inspector_fits_every_size(make_app: MakeApp, size: tuple[int, int]) -> None:
    """No line is cut, nothing leaves the screen, and state, verdict, p and q are there however small it is."""
    async with make_app(*REPLAY).run_test(size=size) as pilot:
        await at_end(pilot)
        await pilot.press("i")
        await pilot.pause()
        page = inspector(pilot).query_one(TextLine)
        for state in ("accepted", "rejected", "discarded", "corrected", "bonus"):
            inspector(pilot).place = place_of(state)
            live(pilot)._tick()
            lines = told(pilot).split("\n")
            assert len(lines) <= page.size.height
            assert max(len(line) for line in lines) <= page.size.width
            assert state in lines[0]
            assert any(line.startswith("p, q") for line in lines)
        assert live(pilot).region.contains_region(inspector(pilot).region)
        assert view(pilot).size.height >= 3


# --- words -------------------------------------------------------------------------------------------


def facts(state: str, temperature: float, *, stop: bool = False) -> TokenFacts:
    """The first token of ``state`` in a made-up block."""
    drafted = [Token(id=1, text="a", state="accepted"), Token(id=2, text="b", state="discarded")]
    extra = None
    if not stop:
        drafted.insert(1, Token(id=3, text="c", state="rejected"))
        extra = Token(id=4, text="d", state="corrected")
    started = RunStarted(
        mode="sd", prompt="p", prompt_tokens=10, gamma=3, temperature=temperature, top_k=0, top_p=1, seed=1, max_new_tokens=9
    )  # fmt: skip
    run = Track(started)
    run.add(
        Block(
            mode="sd", index=0, drafted=drafted, extra=extra, at=1, draft_seconds=0, verify_seconds=1,
            overhead_seconds=0, context=10,
        )
    )  # fmt: skip
    position = next(n for n, token in enumerate(run.tokens(1)) if token.state == state)
    return TokenFacts(run, Place(1, position))


def test_the_verdict_in_words() -> None:
    """Greedy compares argmaxes, sampling probabilities; what nobody judged says why, without claiming a refusal."""
    assert verdict(facts("accepted", 0.0), "") == "kept: it is the target's argmax"
    assert "argmax" in verdict(facts("rejected", 0.0), '"x"')
    assert "argmax" not in verdict(facts("corrected", 0.6), "")
    assert verdict(facts("discarded", 0.6), "") == "never judged: draft 2 of its block was refused"
    assert verdict(facts("discarded", 0.6, stop=True), "") == "never judged: the text ended before it"


def test_where_a_token_stands() -> None:
    """The corrected token takes the number of the one it replaces: both are the third new token."""
    assert whereabouts(facts("rejected", 0.0)) == "block 1/1, draft 2/3, new token 3"
    assert whereabouts(facts("corrected", 0.0)) == "block 1/1, target's own, new token 3"


def test_recorded_numbers_agree_with_each_other() -> None:
    """Over the recorded run: u decided by p/q, new tokens count up by one, shares are shares."""
    run, expected = track(), 1
    for step in range(run.num_steps):
        for position, token in enumerate(run.tokens(step)):
            one = TokenFacts(run, Place(step, position))
            if token.u is not None:
                assert one.accept is not None
                assert (token.u < one.accept) == (token.state == "accepted")
            if token.state in ("plain", "accepted", "corrected", "bonus"):
                assert one.new == expected
                expected += 1
            if token.state == "corrected":
                assert one.residual is not None
                assert 0 < one.residual <= 1


# --- copying -----------------------------------------------------------------------------------------


async def test_y_copies_the_text_of_the_pane(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """By OSC 52 and into a file that the toast names; with its line ends, and the final text in every view."""
    for name in ("TMUX", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    app = make_app(*REPLAY)
    async with app.run_test(size=(80, 24)) as pilot:
        await at_end(pilot)
        written: list[str] = []
        assert app._driver is not None
        monkeypatch.setattr(app._driver, "write", written.append)
        await pilot.press("v", "y")
        await wait_for(pilot, lambda: any("Copied" in note.message for note in app._notifications))
        run = track()
        expected = run.started.prompt + run.text(run.num_steps)
        path = places.log_file("app").parent / "copied.txt"
        assert path.read_text() == expected
        (note,) = app._notifications
        assert str(path) in note.message
        assert "speculative text" in note.message
        codes = [text for text in written if text.startswith("\x1b]52;c;")]
        assert [base64.b64decode(code[7:-1]).decode() for code in codes] == [expected]


async def test_y_copies_the_selection(make_app: MakeApp) -> None:
    """What the mouse selected comes before the pane; escape drops the selection and nothing else."""
    app = make_app(*REPLAY)
    async with app.run_test(size=(80, 24)) as pilot:
        await at_end(pilot)
        tokens = view(pilot)
        row = next(n for n in range(tokens.size.height) if len(tokens.render_line(n).text.strip()) > 12)
        await pilot.mouse_down(tokens, offset=(0, row))
        await pilot.hover(tokens, offset=(tokens.size.width - 2, row))
        await pilot.mouse_up(tokens, offset=(tokens.size.width - 2, row))
        await pilot.press("y")
        path = places.log_file("app").parent / "copied.txt"
        await wait_for(pilot, path.exists)
        assert path.read_text().strip()
        assert path.read_text().rstrip() in tokens.render_line(row).text
        await pilot.press("escape")
        assert not live(pilot).selections
        assert live(pilot).controller.playback is not None
