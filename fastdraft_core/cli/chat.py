"""``fastdraft chat``: a conversation in a plain terminal, or question by question for a program."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console

from fastdraft_core.cli import app, options, print_json, talk
from fastdraft_core.cli.generate import kept_tokens, read_prompt
from fastdraft_core.engine.load_options import LoadOptions
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Event, Failed, Progress, RunFinished, Token
from fastdraft_core.formatting import percent, safe
from fastdraft_core.token_states import token_style

if TYPE_CHECKING:
    from fastdraft_core.engine.chat import Chat

COMMANDS = {
    "system": "TEXT is the system prompt of the turns to come; nothing behind it: the model's own",
    "read": "FILE is put in front of the next question, such as an article to be summarized",
    "clear": "begins a new conversation",
    "exit": "leaves, as ctrl-d does",
}
"""What can be typed in place of a question, after a slash."""

_ENDS = {
    "length": "cut at --length",
    "context": "the context is full; /clear begins a new conversation",
    "cancelled": "stopped",
}


@app.command()
@options.loading
def chat(
    target: options.Target,
    draft: options.Draft = "",
    system: Annotated[str, typer.Option(help="System prompt; default: what the model's template says.")] = "",
    gamma: options.Gamma = None,
    length: Annotated[int, typer.Option(min=1, help="New tokens of an answer at most.")] = 512,
    temperature: options.Temperature = 0.0,
    top_k: options.TopK = 0,
    top_p: options.TopP = 1.0,
    seed: options.Seed = 1,
    json: Annotated[bool, typer.Option("--json", help="Print the events of every answer as JSON lines.")] = False,
    *,
    load: LoadOptions,
) -> None:
    """Talk to an instruct model. Questions are typed, or read from stdin, one a line; answers go to stdout, figures to stderr."""
    from fastdraft_core.decoding.sampling import Sampling
    from fastdraft_core.engine.chat import Chat
    from fastdraft_core.results.advice import USUAL_GAMMA

    if sys.stdin is None:
        raise FastdraftError("Standard input is closed, so no questions can be read from it.")
    pair = options.load_pair(target, draft, load)
    mode = "sd" if draft else "ar"
    gamma = gamma or (options.calibrated_gamma(target, draft, temperature, load) if draft else USUAL_GAMMA)
    session = Chat(pair, mode, gamma, Sampling(temperature, top_k, top_p), length, seed, system)
    if not _Talk(session, json=json).hold():
        raise typer.Exit(1)


class _Talk:
    """One conversation, from the first question to the end of the input."""

    def __init__(self, session: Chat, *, json: bool) -> None:
        self._session = session
        self._json = json
        self._typed = sys.stdin.isatty()
        self._read = ""
        self._left = False
        # The terminal's own sixteen colours: nobody says whether its ground is dark.
        self._out = Console(highlight=False, markup=False)

    def hold(self) -> bool:
        """Answer question after question; whether all that came from a program were answered."""
        well = True
        if self._typed:
            talk.print("Ask something; ctrl-c stops an answer. /system, /read, /clear, /exit; /help explains them.")
        for line in self._lines():
            try:
                self._take(line)
            except FastdraftError as error:
                well = self._typed
                if self._json:
                    print_json(Failed(message=error.message, log=""))
                talk.print(error.message)
            if self._left:
                break
        return well

    def _lines(self) -> Iterator[str]:
        if not self._typed:
            yield from (line.rstrip("\n") for line in sys.stdin)
            return
        with suppress(ImportError):
            import readline  # noqa: F401 - with it, input edits lines and remembers them
        while True:
            try:
                yield self._typed_line()
            except EOFError:
                talk.print()
                return
            except KeyboardInterrupt:
                talk.print("\nctrl-d or /exit leaves")

    def _typed_line(self) -> str:
        if not self._json:
            return input("> ")
        # Stdout is a program's.
        print("> ", end="", file=sys.stderr, flush=True)
        return input()

    def _take(self, line: str) -> None:
        """Answer a question, or do what a command says.

        Raises:
            FastdraftError: the question cannot be answered, or there is no such command.
        """
        command = re.fullmatch(r"/([a-z]+)(?:\s+(.*))?", line.strip(), re.DOTALL)
        if command:
            self._do(command[1], (command[2] or "").strip())
        elif question := self._question(line):
            self._answer(self._read + question)
            self._read = ""

    def _question(self, line: str) -> str:
        line = line.strip()
        if self._json and line.startswith('"'):
            # A program may give a text of several lines as one JSON string.
            with suppress(msgspec.DecodeError):
                return msgspec.json.decode(line, type=str)
        return line

    def _do(self, command: str, words: str) -> None:
        match command:
            case "exit":
                self._left = True
            case "clear":
                self._session.clear()
                talk.print("A new conversation begins.")
            case "system":
                self._session.system = words
                talk.print("System prompt: " + (safe(words) or "the model's own"))
            case "read" if words:
                self._read = read_prompt(Path(words).expanduser()).rstrip("\n") + "\n\n"
                talk.print(f"{words} ({len(self._read):,} characters) stands before the next question.")
            case _:
                for name, about in COMMANDS.items():
                    talk.print(f"/{name:<8}{about}")

    def _answer(self, question: str) -> None:
        if words := self._session.room(question):
            talk.print(f"{words} /clear begins a new conversation." if self._session.earlier else words)
        with _Interrupt() as interrupt, talk.status("reading the prompt") as status:
            for event in self._session.ask(question, interrupt.asked):
                if isinstance(event, Progress):
                    status.update(f"{event.what} {percent(event.done / event.total)}")
                else:
                    # Whatever is drawn there would stand in the answer.
                    status.stop()
                self._show(event)

    def _show(self, event: Event) -> None:
        if self._json:
            print_json(event)
        else:
            for token in kept_tokens(event):
                self._write(token)
        if isinstance(event, RunFinished):
            self._end(event)

    def _write(self, token: Token) -> None:
        if self._out.is_terminal:
            self._out.out(safe(token.text), style=token_style(token.state, "16"), end="", highlight=False)
        else:
            # A pipe gets the very text.
            sys.stdout.write(token.text)
            sys.stdout.flush()

    def _end(self, event: RunFinished) -> None:
        if not self._json:
            sys.stdout.write("\n")
            sys.stdout.flush()
        talk.print(figures_line(event), style="dim")


class _Interrupt:
    """While an answer is written ctrl-c asks for its end; a second one ends the program."""

    def __init__(self) -> None:
        self._asked = False

    def asked(self) -> bool:
        """Whether the answer shall end."""
        return self._asked

    def __enter__(self) -> _Interrupt:
        self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True


def figures_line(event: RunFinished) -> str:
    """Speed and acceptance of one answer, and why it ended where the model did not end it."""
    metrics = event.metrics
    parts = [f"{metrics.tokens_per_second:.1f} tokens/s", f"{len(event.ids)} tokens"]
    if event.mode == "sd":
        parts.insert(1, f"acceptance {metrics.acceptance:.2f} (accepted/drafted)")
    if event.reason in _ENDS:
        parts.append(_ENDS[event.reason])
    return " · ".join(parts)
