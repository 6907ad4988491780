"""Conversations on the live screen: questions, turns, answers that stand apart, and plain text beside them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, TextArea

from fastdraft_app.live import prompts
from fastdraft_app.live.lines import prompt_kind
from fastdraft_app.live.prompt_screen import PromptScreen, turns_text
from fastdraft_app.live.prompts import Asked
from fastdraft_app.live.run_pane import RunPane
from fastdraft_app.live.session import Phase, Session
from fastdraft_app.widgets.line import TextLine
from fastdraft_core import places
from fastdraft_core.events import Exchange, PairLoaded, Run, RunStarted
from fastdraft_core.recordings import Recorded, read_recording, write_recording
from tests.app.conftest import MakeApp
from tests.app.helpers import RECORDING, live, wait_for

from .bench import Bench, MakeBench, begun

CHAT = ("--chat", "--speed", "40")
QUESTION = "Why is the sky blue?"
TURNS = (Exchange("What is a lighthouse?", "A tower with a lamp, so that ships find their way."),)


def last_run(bench: Bench) -> Run:
    run = bench.engine.commands(Run)[-1]
    assert isinstance(run, Run)
    return run


# --- without a screen --------------------------------------------------------------------------------


async def test_a_chat_target_is_asked_a_question_of_its_own(make_bench: MakeBench) -> None:
    """Where nobody chose a prompt, a target that is asked gets a question, and one that is continued a text."""
    bench = await begun(make_bench(*CHAT))
    await bench.at(Phase.DONE)
    assert bench.controller.asking
    assert last_run(bench).prompt == prompts.questions(places.assets())[0].text
    other = await begun(make_bench("--speed", "40"))
    await other.at(Phase.DONE)
    assert not other.controller.asking
    assert last_run(other).prompt == prompts.presets(places.assets())[0].text
    assert "chat template" in other.controller.hindrance("ask")


async def test_a_next_turn_follows_the_answer_and_a_new_prompt_does_not(make_bench: MakeBench) -> None:
    """Earlier answers go along with their own tokens; the same turn may be decoded again with other settings."""
    bench = await begun(make_bench(*CHAT))
    await bench.at(Phase.DONE)
    controller = bench.controller
    controller.ask(Asked(QUESTION, system="Be brief."))
    await bench.until(lambda: last_run(bench).prompt == QUESTION)
    assert (last_run(bench).system, last_run(bench).earlier) == ("Be brief.", ())
    assert controller.hindrance("ask")
    await bench.at(Phase.DONE)
    turn = controller.next_turn
    assert [(e.question, e.ids) for e in turn.earlier] == [(QUESTION, [7, 8, 9])]
    assert turn.earlier[0].answer

    controller.ask(replace(turn, prompt="And at night?"))
    await bench.until(lambda: last_run(bench).prompt == "And at night?")
    assert last_run(bench).earlier == turn.earlier
    await bench.at(Phase.DONE)
    assert [e.question for e in controller.next_turn.earlier] == [QUESTION, "And at night?"]
    bench.change(gamma=7)
    await bench.until(lambda: last_run(bench).gamma == 7)
    assert last_run(bench).earlier == turn.earlier

    controller.ask(Asked("And at night?", "plain"))
    await bench.until(lambda: last_run(bench).chat is False)
    assert last_run(bench).earlier == ()
    assert not controller.asking


async def test_another_target_begins_a_new_conversation(make_bench: MakeBench) -> None:
    """What one model answered was never said by the other."""
    bench = await begun(make_bench(*CHAT))
    await bench.at(Phase.DONE)
    bench.controller.ask(Asked(QUESTION))
    await bench.until(lambda: last_run(bench).prompt == QUESTION)
    await bench.at(Phase.DONE)
    bench.controller.ask(replace(bench.controller.next_turn, prompt="More"))
    await bench.until(lambda: last_run(bench).prompt == "More")
    bench.change(target="another")
    runs = len(bench.engine.commands(Run))
    await bench.until(lambda: len(bench.engine.commands(Run)) > runs)
    assert last_run(bench).earlier == ()


def test_the_bundled_questions_are_of_the_kinds_that_people_ask() -> None:
    """A function with tests, an explanation, a summary of an article, a story and a plan."""
    found = prompts.questions(places.assets())
    assert {preset.task for preset in found} == {"code", "explanation", "summary", "story", "plan"}
    assert all(preset.form == "template" for preset in found)
    assert all(preset.form == "plain" for preset in prompts.presets(places.assets()))


def test_what_the_context_does_not_hold_is_said_as_the_run_begins() -> None:
    """Not when the answer breaks off: the words have both numbers."""
    recorded, session = read_recording(RECORDING), Session()
    session.load()
    session.receive(next(event for event in recorded.events if isinstance(event, PairLoaded)), 0.0)
    started = next(event for event in recorded.events if isinstance(event, RunStarted))
    assert session.pair is not None
    context = session.pair.target.context_length
    for given, words in ((context - 47, ""), (context - 46, f"{context - 46:,} given ones and 47 new ones, not 48")):
        session.run()
        session.receive(structs.replace(started, prompt_tokens=given, max_new_tokens=48), 0.0)
        assert words in session.hint
        assert bool(words) is bool(session.hint)


# --- on the screen -----------------------------------------------------------------------------------


def tokens(pilot: Pilot[None]) -> str:
    return live(pilot).query_one("#sd", RunPane).view.text


async def test_questions_and_answers_on_screen(make_app: MakeApp) -> None:
    """The question is marked and the answer begins below it; a asks on, and the turns before stay in sight."""
    app = make_app("--prompt", QUESTION, fake=CHAT)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: live(pilot).session.phase is Phase.DONE)
        await pilot.pause()
        assert tokens(pilot).startswith(f"▶ {QUESTION}\n\n")
        await pilot.press("a")
        await wait_for(pilot, lambda: isinstance(app.screen, PromptScreen))
        await pilot.pause()
        assert app.screen.query_one(TextArea).has_focus
        assert not app.screen.query(OptionList)
        await pilot.press(*"More", "f5")
        await wait_for(pilot, lambda: live(pilot).session.phase is Phase.DONE
                       and live(pilot).session.recording.tracks["ar"].started.prompt == "More")  # fmt: skip
        await pilot.pause()
        assert "▶ More" in tokens(pilot)
        assert tokens(pilot).startswith(f"▶ {QUESTION}\n\n")
        assert live(pilot).query_one("#prompt", TextLine).text.startswith("question 2 ")


async def test_the_dialog_of_a_chat_target_has_questions_and_a_switch(make_app: MakeApp) -> None:
    """Questions come first and are asked; a text preset turns to plain continuation, and F4 says either."""
    app = make_app(fake=CHAT)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: live(pilot).session.phase is Phase.DONE)
        await pilot.press("p")
        await wait_for(pilot, lambda: isinstance(app.screen, PromptScreen))
        await pilot.pause()
        screen, text = app.screen, app.screen.query_one(TextArea)
        listed, system = screen.query_one(OptionList), screen.query_one("#system", Input)
        assert "question" in str(text.border_title)
        listed.highlighted = listed.get_option_index("5")
        await pilot.pause()
        assert text.text == prompts.presets(places.assets())[0].text
        assert "continued as it is" in str(text.border_title)
        assert system.disabled
        await pilot.press("f4")
        assert not system.disabled
        system.value = "Be brief."
        text.text = "Hello"
        await pilot.press("f5")
        await wait_for(pilot, lambda: live(pilot).session.recording.tracks["ar"].started.prompt == "Hello")
    assert app.preferences.current.system == "Be brief."
    assert app.preferences.current.prompt_form == "template"


async def test_a_text_target_is_as_ever(make_app: MakeApp) -> None:
    """No conversation, no system prompt, no switch."""
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: live(pilot).session.phase is Phase.DONE)
        await pilot.press("a", "p")
        await wait_for(pilot, lambda: isinstance(app.screen, PromptScreen))
        await pilot.pause()
        assert app.screen.query_one("#presets")
        assert not app.screen.query("#system, #form, #turns")
        assert tokens(pilot).startswith(prompts.presets(places.assets())[0].text[:12])


def test_turns_of_a_foreign_model_are_harmless() -> None:
    """What it answered may hold commands to the terminal."""
    assert "\x1b" not in turns_text((Exchange("a", "\x1b[2J"),))


# --- pictures ----------------------------------------------------------------------------------------


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    """The recording of the tests as the second turn of a conversation."""
    recorded = read_recording(RECORDING)
    events = [
        structs.replace(event, chat=True, prompt="Read a configuration file in Python.", earlier=TURNS)
        if isinstance(event, RunStarted)
        else event
        for event in recorded.events
    ]
    path = tmp_path / "talk.jsonl"
    write_recording(path, Recorded(recorded.header, events))
    return path


@pytest.mark.parametrize("size", [(80, 24), (160, 48)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_a_conversation_pictured(snap_compare: Any, make_app: MakeApp, talk: Path, size: tuple[int, int]) -> None:
    """The end of the second turn."""

    async def before(pilot: Pilot[None]) -> None:
        await wait_for(pilot, lambda: live(pilot).session.phase is Phase.DONE)
        assert prompt_kind(live(pilot).session, asking=False) == "question 2"
        await pilot.pause()

    assert snap_compare(make_app("--replay", str(talk)), terminal_size=size, run_before=before)


@pytest.mark.parametrize("turns", [False, True], ids=["begin", "next"])
@pytest.mark.parametrize("size", [(80, 24), (160, 48)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_dialogs_pictured(snap_compare: Any, make_app: MakeApp, size: tuple[int, int], turns: bool) -> None:
    """The prompt dialog of a chat target, at the beginning of a conversation and at its next turn."""
    assets = places.assets()
    presets = [*prompts.questions(assets), *prompts.presets(assets)]
    asked = Asked("And at night?", earlier=TURNS) if turns else Asked(presets[0].text)

    async def before(pilot: Pilot[None]) -> None:
        await wait_for(pilot, lambda: live(pilot).session.phase is Phase.DONE)
        await pilot.app.push_screen(PromptScreen(asked) if turns else PromptScreen(asked, presets, [], chats=True))
        for editor in pilot.app.screen.query("Input, TextArea").results(Input | TextArea):
            editor.cursor_blink = False
        await pilot.pause()

    assert snap_compare(make_app("--replay", str(RECORDING)), terminal_size=size, run_before=before)
