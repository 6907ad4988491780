"""The live screen as a user meets it, on an engine without models."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import OptionList, TextArea

from fastdraft_app.client.engine import EngineStopped
from fastdraft_app.dialogs.help import HelpScreen
from fastdraft_app.live import prompts
from fastdraft_app.live.block_strip import BlockStrip
from fastdraft_app.live.controller import WAITING
from fastdraft_app.live.loading import LoadingCard
from fastdraft_app.live.prompt_screen import PromptScreen
from fastdraft_app.live.run_pane import RunPane
from fastdraft_app.live.session import REPLAY, Phase
from fastdraft_app.logs import log_to
from fastdraft_app.widgets.banner import Banner
from fastdraft_app.widgets.figure_rows import FigureRows
from fastdraft_app.widgets.key_bar import KeyBar
from fastdraft_app.widgets.line import TextLine
from fastdraft_core import places
from tests.app.conftest import MakeApp
from tests.app.helpers import SLOW, gone, live, wait_for


def pane(pilot: Pilot[None], mode: str) -> RunPane:
    """The pane of one mode."""
    return live(pilot).query_one(f"#{mode}", RunPane)


def line(pilot: Pilot[None], name: str) -> str:
    """The text of one line, or of several rows of figures."""
    widget = live(pilot).query_one(f"#{name}")
    assert isinstance(widget, TextLine | FigureRows)
    return widget.text


def banner(pilot: Pilot[None]) -> str:
    """What the banner says."""
    return live(pilot).query_one(Banner).text


async def wait_phase(pilot: Pilot[None], *phases: Phase) -> None:
    """Wait for one of the phases."""
    await wait_for(pilot, lambda: live(pilot).session.phase in phases)


async def test_first_run_from_start_to_end(make_app: MakeApp) -> None:
    """Without a key pressed: loading, both runs, replay of both, final figures with their baseline."""
    async with make_app().run_test(size=(80, 24)) as pilot:
        await wait_phase(pilot, Phase.DONE)
        await pilot.pause()
        assert "demo 22.9M" in line(pilot, "setup")
        assert "torch bf16" in line(pilot, "setup")
        assert "measured one after the other, replayed together" in line(pilot, "status")
        assert "tok/s" in pane(pilot, "ar").head_text
        assert "▲" in pane(pilot, "sd").head_text
        assert "vs AR" in pane(pilot, "sd").head_text
        assert pane(pilot, "ar").view.text == pane(pilot, "sd").view.text
        assert "identical" in str(pane(pilot, "sd").border_subtitle)
        assert "/5" in line(pilot, "speculation")
        assert pane(pilot, "sd").view.has_focus, "the arrow keys scroll the speculative pane"


async def test_loading_shows_its_steps(make_app: MakeApp) -> None:
    """While the engine loads the user sees which step it is at."""
    async with make_app(fake=("--load-seconds", "1")).run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: "loading target demo" in str(live(pilot).query_one(LoadingCard).render()))
        assert live(pilot).session.phase is Phase.LOADING
        assert "loading: loading" in line(pilot, "status")


async def test_tokens_stream_while_they_are_timed(make_app: MakeApp) -> None:
    """The first tokens are on screen long before the comparison is over, labelled as being timed."""
    async with make_app(fake=SLOW).run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: len(pane(pilot, "ar").view.pieces) > 5)
        assert live(pilot).session.phase is Phase.TIMING
        assert "timing" in str(pane(pilot, "ar").border_subtitle)
        assert "waits for the autoregressive run" in pane(pilot, "sd").view.render_line(0).text


async def test_the_clock_sleeps_when_nothing_moves(make_app: MakeApp) -> None:
    """An idle app takes no processor time from the models."""
    async with make_app().run_test(size=(80, 24)) as pilot:
        await wait_phase(pilot, Phase.DONE)
        await pilot.pause(0.1)
        assert live(pilot)._clock is None


async def test_space_pauses_goes_on_and_replays(make_app: MakeApp) -> None:
    """Space holds the replay where it is, goes on from there, and starts it again at the end."""
    async with make_app("--length", "500").run_test(size=(80, 24)) as pilot:
        await wait_phase(pilot, Phase.PLAYING)
        await pilot.press("space")
        held = live(pilot).session.player.position
        await pilot.pause(0.15)
        assert live(pilot).session.phase is Phase.PAUSED
        assert live(pilot).session.player.position == held
        await pilot.press("space")
        await wait_for(pilot, lambda: live(pilot).session.player.position > held)
        live(pilot).session.player.position = 60.0
        await wait_phase(pilot, Phase.DONE)
        await pilot.press("space")
        assert live(pilot).session.phase is Phase.PLAYING


@pytest.mark.parametrize("key", ["escape", "space"])
async def test_cancel_while_timing(make_app: MakeApp, key: str) -> None:
    """Escape or space ends a run at once; what was decoded stays; r runs again."""
    async with make_app(fake=SLOW).run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: len(pane(pilot, "ar").view.pieces) > 3)
        await pilot.press(key)
        assert live(pilot).session.phase is Phase.CANCELLED
        await pilot.pause(0.2)
        shown = len(pane(pilot, "ar").view.pieces)
        await pilot.pause(0.2)
        assert len(pane(pilot, "ar").view.pieces) == shown > 3
        assert "press r" in line(pilot, "status")
        await pilot.press("r")
        await wait_for(pilot, lambda: live(pilot).session.phase is Phase.TIMING)
        await wait_for(pilot, lambda: 0 < len(pane(pilot, "ar").view.pieces) < shown)


async def test_gamma_and_temperature_run_once_after_quick_changes(make_app: MakeApp) -> None:
    """Several quick presses give one run with the last values, and sampling claims no identity."""
    async with make_app().run_test(size=(80, 24)) as pilot:
        await wait_phase(pilot, Phase.DONE)
        await pilot.press("right_square_bracket", "right_square_bracket", "left_square_bracket", "equals_sign")
        assert "γ 5" in line(pilot, "setup")
        assert "T 0.3" in line(pilot, "setup")
        await wait_for(pilot, lambda: live(pilot).session.recording.tracks["ar"].started.gamma == 5)
        await wait_phase(pilot, Phase.DONE)
        await pilot.pause()
        assert live(pilot).session.recording.tracks["sd"].started.temperature == 0.3
        note = str(pane(pilot, "sd").border_subtitle)
        assert "same distribution" in note
        assert "identical" not in note


async def test_gamma_stays_in_its_range(make_app: MakeApp) -> None:
    """Gamma goes from 1 to 12 and no further."""
    async with make_app("--gamma", "11").run_test(size=(80, 24)) as pilot:
        await wait_phase(pilot, Phase.DONE)
        await pilot.press(*["right_square_bracket"] * 4)
        assert live(pilot).controller.settings.gamma == 12
        await pilot.press(*["left_square_bracket"] * 14)
        assert live(pilot).controller.settings.gamma == 1


async def test_draft_goes_round_to_off(make_app: MakeApp) -> None:
    """d changes the draft; off is one of the choices and says so in the pane."""
    async with make_app("--draft", "/models/mine").run_test(size=(80, 24)) as pilot:
        await wait_phase(pilot, Phase.DONE)
        while live(pilot).controller.settings.draft != "off":
            await pilot.press("greater_than_sign")
        assert "draft off" in line(pilot, "setup") or "+ off" in line(pilot, "setup")
        await wait_for(pilot, lambda: live(pilot).session.pair is not None and not live(pilot).session.speculating)
        await wait_phase(pilot, Phase.DONE)
        await pilot.pause()
        assert "Press d" in pane(pilot, "sd").view.render_line(0).text
        assert banner(pilot) == "Speculation is off: no draft was chosen. Press d for one."


async def test_a_draft_that_does_not_load_is_explained(make_app: MakeApp) -> None:
    """When speculation is off against the user's wish, a banner gives the reason."""
    app = make_app(fake=("--speed", "20", "--draft-problem", "the vocabularies differ at id 7"))
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_phase(pilot, Phase.DONE)
        await pilot.pause()
        assert "the vocabularies differ at id 7" in banner(pilot)
        assert "Press d" in pane(pilot, "sd").view.render_line(0).text


async def test_a_failed_load_shows_its_message(make_app: MakeApp) -> None:
    """A wrong target is one clear sentence on screen."""
    async with make_app("--target", "missing").run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: "There is no model at missing" in banner(pilot))
        assert live(pilot).session.phase is Phase.FAILED


async def test_greedy_texts_that_differ_are_called_different(make_app: MakeApp) -> None:
    """A broken promise of greedy decoding is shown, not hidden."""
    async with make_app(fake=("--speed", "20", "--differ")).run_test(size=(80, 24)) as pilot:
        await wait_phase(pilot, Phase.DONE)
        await pilot.pause()
        assert "differ" in str(pane(pilot, "sd").border_subtitle)


@pytest.mark.parametrize("moment", [Phase.LOADING, Phase.TIMING, Phase.DONE])
async def test_killed_engine_is_reported_and_restarted(make_app: MakeApp, moment: Phase) -> None:
    """A killed engine is named with its signal and log, the picture stays, and r brings it back."""
    fake = (
        "--load-seconds",
        "4" if moment is Phase.LOADING else "0.5",
        *(SLOW if moment is Phase.TIMING else ("--speed", "20")),
    )
    app = make_app(fake=fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_phase(pilot, moment)
        await wait_for(pilot, lambda: app.engine.pid is not None)
        if moment is Phase.TIMING:
            await wait_for(pilot, lambda: len(pane(pilot, "ar").view.pieces) > 3)
        shown = pane(pilot, "ar").view.text
        assert app.engine.pid is not None
        os.kill(app.engine.pid, signal.SIGKILL)
        await wait_phase(pilot, Phase.STOPPED)
        await pilot.pause()
        assert "The engine stopped (signal 9). Press r to restart it. Log: " in banner(pilot)
        assert pane(pilot, "ar").view.text.startswith(shown)
        await pilot.press("r")
        await wait_phase(pilot, Phase.TIMING, *REPLAY)
        await wait_for(pilot, lambda: banner(pilot) == "")


async def test_quitting_leaves_no_engine(make_app: MakeApp) -> None:
    """q ends the engine too, also in the middle of a run."""
    app = make_app(fake=(*SLOW, "--stubborn"))
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_phase(pilot, Phase.TIMING)
        pid = app.engine.pid
        assert pid is not None
        await pilot.press("q")
    assert await gone(pid)


async def test_ctrl_c_twice_quits(make_app: MakeApp) -> None:
    """One ctrl+c by accident ends nothing, the second one does."""
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("ctrl+c")
        assert not app._exit
        await pilot.press("ctrl+c")
        assert app._exit


async def test_history_view_shows_what_was_thrown_away(make_app: MakeApp) -> None:
    """v shows rejected and discarded tokens, struck through, and v again the final text."""
    async with make_app().run_test(size=(100, 30)) as pilot:
        await wait_phase(pilot, Phase.DONE)
        await pilot.pause()
        clean = pane(pilot, "sd").view.text
        await pilot.press("v")
        view = pane(pilot, "sd").view
        kinds = {piece.kind for piece in view.pieces}
        assert {"accepted", "rejected", "discarded", "corrected", "bonus"} <= kinds
        assert any(
            segment.style is not None and segment.style.strike for y in range(view.size.height) for segment in view.render_line(y)
        )  # fmt: skip
        await pilot.press("v")
        assert pane(pilot, "sd").view.text == clean


async def test_prompt_from_preset_and_free_text(make_app: MakeApp) -> None:
    """p offers presets by task and free text; what is chosen is decoded and named."""
    async with make_app().run_test(size=(80, 24)) as pilot:
        await wait_phase(pilot, Phase.DONE)
        await pilot.press("p")
        assert isinstance(pilot.app.screen, PromptScreen)
        presets = pilot.app.screen.query_one(OptionList)
        assert presets.has_focus
        await pilot.press("down", "enter")
        second = prompts.presets(places.assets())[1]
        await wait_for(pilot, lambda: live(pilot).session.recording.tracks["ar"].started.prompt == second.text)
        assert second.name in line(pilot, "prompt")
        await pilot.press("p", "tab")
        pilot.app.screen.query_one(TextArea).text = "own [words]\nq"
        await pilot.press("tab", "enter")
        await wait_for(pilot, lambda: live(pilot).controller.settings.prompt == "own [words]\nq")
        assert "own prompt" in line(pilot, "prompt")
        assert "own [words] ⏎ q" in line(pilot, "prompt")


async def test_letters_typed_into_the_prompt_press_no_keys(make_app: MakeApp) -> None:
    """Writing a q into a prompt does not leave the app, and escape changes nothing."""
    async with make_app().run_test(size=(80, 24)) as pilot:
        await wait_phase(pilot, Phase.DONE)
        before = live(pilot).controller.settings
        await pilot.press("p", "tab", "q", "t", "r")
        assert isinstance(pilot.app.screen, PromptScreen)
        assert "qtr" in pilot.app.screen.query_one(TextArea).text
        await pilot.press("escape")
        assert live(pilot).controller.settings == before
        assert pilot.app.theme == "fastdraft-dark"


async def test_theme_changes_every_colour(make_app: MakeApp) -> None:
    """t turns the picture light at once, tokens included."""
    async with make_app().run_test(size=(80, 24)) as pilot:
        await wait_phase(pilot, Phase.DONE)
        await pilot.pause()
        await pilot.press("t")
        await pilot.pause()
        view = pane(pilot, "sd").view
        colours = {s.style.color.name for y in range(9) for s in view.render_line(y) if s.style and s.style.color}
        assert "#01643e" in colours
        assert "#32ce8e" not in colours


async def test_help_lists_every_key(make_app: MakeApp) -> None:
    """The help page is made from the bindings, so that it cannot forget one."""
    async with make_app().run_test(size=(100, 40)) as pilot:
        bindings = live(pilot).active_bindings.values()
        await pilot.press("question_mark")
        screen = pilot.app.screen
        assert isinstance(screen, HelpScreen)
        text = " ".join(str(part.render()) for part in screen.query("#page Static").results())
        for active in bindings:
            if active.binding.id is not None:
                assert pilot.app.get_key_display(active.binding) in text
                assert (active.tooltip or active.binding.tooltip) in text
        assert "rejected" in text
        await pilot.press("escape")
        assert pilot.app.screen is live(pilot)


async def test_screenshot_is_saved_and_named(make_app: MakeApp) -> None:
    """F8 writes an SVG into the state folder and tells where."""
    async with make_app().run_test(size=(80, 24)) as pilot:
        await wait_phase(pilot, Phase.DONE)
        await pilot.press("f8")
        await pilot.pause()
        pictures = list(places.exports().glob("*.svg"))
        assert len(pictures) == 1
        assert any(str(pictures[0]) in note.message for note in pilot.app._notifications)


@pytest.mark.parametrize(
    ("size", "both"), [((80, 24), True), ((160, 48), True), ((120, 36), True), ((70, 30), False), ((60, 16), False)]
)
async def test_every_size_shows_a_whole_picture(make_app: MakeApp, size: tuple[int, int], both: bool) -> None:
    """No size is refused; nothing leaves the screen; small ones show the speculative pane alone."""
    async with make_app().run_test(size=size) as pilot:
        await wait_phase(pilot, Phase.DONE)
        await pilot.pause()
        screen = live(pilot)
        assert pane(pilot, "ar").display is both or pane(pilot, "ar").size.width == 0
        for widget in screen.query("RunPane, TextLine, FigureRows, BlockStrip, KeyBar").results():
            if widget.region.area:
                assert screen.region.contains_region(widget.region), widget
        for text in [*screen.query(TextLine).results(), *screen.query(FigureRows).results()]:
            if text.region.area:
                assert max((len(row) for row in text.text.split("\n")), default=0) <= text.size.width, text.id
        assert pane(pilot, "sd").view.size.height >= 5


async def test_resize_storm(make_app: MakeApp) -> None:
    """Dragging the window about while tokens come in breaks nothing."""
    async with make_app(fake=("--speed", "2")).run_test(size=(80, 24)) as pilot:
        for width, height in ((160, 48), (60, 16), (100, 30), (20, 8), (81, 23), (120, 40)):
            await pilot.resize_terminal(width, height)
            await pilot.pause(0.05)
        await wait_phase(pilot, Phase.DONE)
        assert pane(pilot, "sd").view.text == pane(pilot, "ar").view.text


async def test_key_bar_always_shows_help_and_quit(make_app: MakeApp) -> None:
    """However narrow, the way to help and the way out stay in sight; the mouse can press them."""
    async with make_app().run_test(size=(60, 24)) as pilot:
        await pilot.pause()
        bar = live(pilot).query_one(KeyBar)
        assert "? help" in bar.text
        assert "q quit" in bar.text
        await pilot.click(KeyBar, offset=(bar.text.index("? help") + 1, 0))
        await wait_for(pilot, lambda: isinstance(pilot.app.screen, HelpScreen))


async def test_keys_that_can_do_nothing_are_grey_and_say_why(make_app: MakeApp) -> None:
    """Stepping waits for the timing: its key is grey until then, and pressed it gives the reason."""
    async with make_app(fake=SLOW).run_test(size=(160, 48)) as pilot:
        await wait_for(pilot, lambda: len(pane(pilot, "ar").view.pieces) > 1)
        assert grey(pilot) == {"step", "slow"}
        await pilot.press("n")
        assert any("timed at its true speed first" in note.message for note in pilot.app._notifications)
    async with make_app().run_test(size=(160, 48)) as pilot:
        await wait_phase(pilot, Phase.DONE)
        await wait_for(pilot, lambda: grey(pilot) == set())


def grey(pilot: Pilot[None]) -> set[str]:
    """The words of the key bar that are shown grey."""
    shown = live(pilot).query_one(KeyBar)._shown
    return {shown.plain[span.start : span.end].strip() for span in shown.spans if span.style == "$muted"} & set(WAITING)


async def test_ascii_draws_ascii_only(make_app: MakeApp) -> None:
    """On a terminal without Unicode every state still has its mark."""
    async with make_app("--ascii").run_test(size=(80, 24)) as pilot:
        await wait_phase(pilot, Phase.DONE)
        await pilot.pause()
        texts = [text.text for text in live(pilot).query(TextLine).results()]
        texts += [rows.text for rows in live(pilot).query(FigureRows).results()]
        texts += ["".join(segment.text for segment in live(pilot).query_one(BlockStrip).render_line(0))]
        texts += [pane(pilot, mode).head_text for mode in ("ar", "sd")]
        assert [text for text in texts if not text.isascii()] == []
        assert "x rejected" in line(pilot, "legend")


async def test_no_color_keeps_the_attributes(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """With NO_COLOR the states in the text still differ by attribute."""
    monkeypatch.setenv("NO_COLOR", "1")
    async with make_app().run_test(size=(80, 24)) as pilot:
        await wait_phase(pilot, Phase.DONE)
        await pilot.press("v")
        view = pane(pilot, "sd").view
        looks = {
            (bool(s.style.bold), bool(s.style.underline), bool(s.style.strike), bool(s.style.dim))
            for y in range(view.size.height)
            for s in view.render_line(y)
            if s.style and s.text.strip()
        }
        assert {(False, False, True, False), (False, False, True, True), (True, False, False, False)} <= looks


async def test_a_crash_names_the_log_and_shows_no_traceback(make_app: MakeApp) -> None:
    """An unexpected error is one sentence with the log's name; the traceback is in the log."""
    app = make_app()
    log_to(places.log_file("app"))
    with pytest.raises(ZeroDivisionError):  # noqa: PT012  it is raised when the app ends
        async with app.run_test(size=(80, 24)) as pilot:
            app.call_later(lambda: 1 / 0)
            await pilot.pause(0.1)
    assert app.return_code == 1
    assert "ZeroDivisionError" in places.log_file("app").read_text()


def test_the_reason_of_the_end_is_in_words(tmp_path: Path) -> None:
    """Signal and exit code are told apart."""
    assert EngineStopped(-9, tmp_path).reason == "signal 9"
    assert EngineStopped(1, tmp_path).reason == "exit code 1"
