"""``fastdraft chat``: questions from a program and in a terminal, answers on stdout, figures on stderr."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import pytest

from fastdraft_core.events import Failed, RunFinished, RunStarted, decode_message
from fastdraft_core.token_states import token_style
from tests.commands import Cli
from tests.e2e.steps import press, see, until
from tests.folders import CONTEXT
from tests.terminal import Session

FIXED = ["--runtime", "torch", "--dtype", "float32", "--device", "cpu", "--threads", "1"]
FASTDRAFT = "tests.e2e.fastdraft"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What comes from standard input, to be filled."""
    lines = io.StringIO()
    monkeypatch.setattr(sys, "stdin", lines)
    return lines


def ask(lines: io.StringIO, *questions: str) -> None:
    lines.write("".join(question + "\n" for question in questions))
    lines.seek(0)


def test_json_lines_are_the_events_of_every_answer(cli: Cli, chat_pair: tuple[str, str], asked: io.StringIO) -> None:
    """A program gives a question a line, or a JSON string where it has several lines, and reads one object a line."""
    target, draft = chat_pair
    ask(asked, "The fox", json.dumps("lazy\ndog"))
    code, out, err = cli("chat", target, "--draft", draft, "--length", "8", "--json", *FIXED)
    found = [decode_message(line.encode()) for line in out.splitlines()]
    assert code == 0
    started = [event for event in found if isinstance(event, RunStarted)]
    assert [(event.prompt, len(event.earlier), event.chat) for event in started] == [
        ("The fox", 0, True),
        ("lazy\ndog", 1, True),
    ]
    ended = [event for event in found if isinstance(event, RunFinished)]
    assert started[1].earlier[0].answer == ended[0].text
    assert err.count("acceptance") == 2


def test_a_pipe_gets_the_answers_alone(cli: Cli, chat_pair: tuple[str, str], asked: io.StringIO) -> None:
    """Text and nothing else on stdout; /clear and /system act between questions and cost no answer."""
    target, _ = chat_pair
    common = ["chat", target, "--length", "6", *FIXED]
    ask(asked, "The fox")
    code, one, err = cli(*common)
    assert code == 0
    assert "tokens/s" in err
    assert "acceptance" not in err
    asked.seek(0)
    ask(asked, "The fox", "/clear", "", "The fox")
    assert cli(*common)[:2] == (0, one + one)
    asked.seek(0)
    ask(asked, "The fox", "/system brown", "/clear", "The fox", "/exit", "never asked")
    code, out, err = cli(*common)
    assert (code, out[: len(one)]) == (0, one)
    assert "System prompt: brown" in err
    assert out.count("\n") <= 2 * one.count("\n") + 8


def test_a_question_that_does_not_fit_is_one_sentence_and_the_next_is_answered(
    cli: Cli, chat_pair: tuple[str, str], asked: io.StringIO, tmp_path: Path
) -> None:
    """The exit code says that something was not answered; an article is read from a file."""
    (tmp_path / "article.txt").write_text("z" * CONTEXT)
    ask(asked, f"/read {tmp_path / 'article.txt'}", "sum up", "/read /nowhere.txt", "The fox")
    code, out, err = cli("chat", chat_pair[0], "--length", "4", "--json", *FIXED)
    found = [decode_message(line.encode()) for line in out.splitlines()]
    assert code == 1
    assert [type(event) for event in found if isinstance(event, Failed | RunFinished)] == [Failed, Failed, Failed]
    assert "Shorten the prompt" in err
    assert "/nowhere.txt" in err


def test_a_target_without_a_template_is_refused(cli: Cli, tiny_pair: tuple[str, str], asked: io.StringIO) -> None:
    """It can be continued only, and the sentence says how."""
    code, out, err = cli("chat", tiny_pair[0], *FIXED)
    assert (code, out) == (1, "")
    assert "has no chat template" in err
    assert "fastdraft generate" in err


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals on Windows")
def test_a_conversation_in_a_terminal(chat_pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Accepted tokens are green as on the live screen, ctrl-c stops an answer alone, and /exit leaves."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    target, draft = chat_pair
    # Of an untrained model an answer has no end of its own.
    session = Session(FASTDRAFT, "chat", target, "--draft", draft, "--length", "60", *FIXED)
    see(session, b"> ")
    press(session, b"The fox\n", b"acceptance")
    green = token_style("accepted", "16").render("x").partition("x")[0].encode()
    assert green in session.output
    until(session, lambda: session.output.rstrip(b" ").endswith(b">"), "the next prompt")
    press(session, b"/help\n", b"/clear")
    # Between two prompts ctrl-c has nothing to stop, and nothing is said of it.
    until(session, lambda: session.output.rstrip(b" ").endswith(b">"), "the prompt after the help")
    session.output = b""
    os.write(session.fd, b"\x03")
    see(session, b"/exit leaves")
    os.write(session.fd, b"/exit\n")
    assert session.ended() == 0
    assert b"Traceback" not in session.output


def test_generate_sets_an_answer_apart_from_its_question(cli: Cli, chat_pair: tuple[str, str]) -> None:
    """What goes on with a text is glued to it."""
    generate = ["generate", chat_pair[0], "--prompt", "The fox", "--mode", "ar", "--length", "4", *FIXED]
    _, answer, _ = cli(*generate)
    _, continuation, _ = cli(*generate, "--no-chat")
    assert answer.startswith("The fox\n\n")
    assert not continuation.startswith("The fox\n\n")
