"""``fastdraft generate``: decode one prompt, autoregressively or speculatively."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fastdraft_core.cli import app, options, print_json, talk
from fastdraft_core.engine.load_options import LoadOptions
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Block, Event, FirstToken, RunFinished, Token
from fastdraft_core.formatting import context_room, percent, safe
from fastdraft_core.models.conversation import Conversation

if TYPE_CHECKING:
    from fastdraft_core.decoding.records import Request
    from fastdraft_core.engine.pair import Pair

DEFAULT_PROMPT = "def quicksort(items):\n"


@app.command()
@options.loading
def generate(
    target: options.Target,
    draft: options.Draft = "",
    prompt: Annotated[str, typer.Option(help="Text to continue.")] = DEFAULT_PROMPT,
    prompt_file: Annotated[Path | None, typer.Option(help="Read the prompt from a file; - is stdin.")] = None,
    mode: Annotated[str, typer.Option(help="ar: autoregressive; sd: speculative; default: sd with a draft.")] = "",
    gamma: options.Gamma = None,
    length: options.Length = 128,
    temperature: options.Temperature = 0.0,
    top_k: options.TopK = 0,
    top_p: options.TopP = 1.0,
    verification: options.Verification = "token",
    seed: options.Seed = 1,
    chat: Annotated[
        bool | None, typer.Option("--chat/--no-chat", help="Use the chat template; default: if there is one.")
    ] = None,
    json: options.Json = False,
    *,
    load: LoadOptions,
) -> None:
    """Continue a prompt. Text goes to stdout as it is written; figures go to stderr."""
    from fastdraft_core.decoding.sampling import Sampling
    from fastdraft_core.results.advice import USUAL_GAMMA

    mode = mode or ("sd" if draft else "ar")
    if mode not in ("ar", "sd"):
        raise FastdraftError(f"There is no mode {mode!r}; use ar or sd.")
    if mode == "sd":
        draft = options.needed_draft(target, draft)
    text = read_prompt(prompt_file) if prompt_file else prompt
    pair = options.load_pair(target, draft if mode == "sd" else "", load)
    sampling = Sampling(temperature, top_k, top_p)
    request = pair.request(
        text, max_new_tokens=length, sampling=sampling, seed=seed, chat=chat, verification=verification
    )
    # Before the text, which nothing may interrupt.
    gamma = gamma or (options.calibrated_gamma(target, draft, temperature, load) if mode == "sd" else USUAL_GAMMA)
    if words := context_room(len(request.prompt), length, pair.target.context_length):
        talk.print(words)
    given = pair.given(text, chat=chat)
    _read_prompt(pair, mode, request, json=json)
    if not json:
        # An answer stands apart from its question; what goes on with a text does not.
        _write(f"{text}\n\n" if isinstance(given, Conversation) else text)
    for event in pair.events(mode, given, request, gamma):
        if json:
            print_json(event)
        else:
            _write("".join(token.text for token in kept_tokens(event)))
        if isinstance(event, RunFinished):
            _write("" if json else "\n")
            talk.print(_figures(event, pair))


def _read_prompt(pair: Pair, mode: str, request: Request, *, json: bool) -> None:
    """Read a long prompt, and say how far that is while it takes."""
    if json:
        for progress in pair.read_prompt(mode, request):
            print_json(progress)
        return
    with talk.status("reading the prompt") as status:
        for progress in pair.read_prompt(mode, request):
            status.update(f"{progress.what}: {percent(progress.done / progress.total)}")


def kept_tokens(event: Event) -> list[Token]:
    """The tokens that ``event`` adds to the text."""
    if isinstance(event, FirstToken):
        return [event.token]
    if isinstance(event, Block):
        kept = [token for token in event.drafted if token.state == "accepted"]
        return kept + ([event.extra] if event.extra else [])
    return []


def _write(text: str) -> None:
    # To a terminal, a model's control characters become visible pictures; a pipe gets the very text.
    if sys.stdout.isatty():
        text = safe(text)
    sys.stdout.write(text)
    sys.stdout.flush()


def _figures(event: RunFinished, pair: Pair) -> str:
    from fastdraft_core.machine.bandwidth import describe_rate

    m = event.metrics
    line = f"{m.tokens_per_second:.1f} tokens/s over {m.tokens} tokens ({event.mode}, ended by {event.reason})"
    if event.mode == "sd":
        line += (
            f" · acceptance {m.acceptance:.2f} (accepted/drafted) · tau {m.tau:.2f} · MBSU {m.mbsu:.2f} by parameters"
            f" · draft {m.draft_share:.0%} verify {m.verify_share:.0%} overhead {m.overhead_share:.0%}"
        )
    what = describe_rate(
        m.gigabytes_per_second, pair.target.card, pair.draft.card if pair.draft else None, pair.threads
    )
    return f"{line} · {m.gigabytes_per_second:.1f} GB/s of weights and cache{f' ({what})' if what else ''}"


def read_prompt(path: Path) -> str:
    """The text of a prompt file; ``-`` is standard input.

    Raises:
        FastdraftError: it is no text, or standard input is closed.
    """
    if str(path) == "-" and sys.stdin is None:
        raise FastdraftError("Standard input is closed, so no prompt can be read from it. Give --prompt or a file.")
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        # Line ends as Python reads them; a byte order mark is no part of the text.
        return io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig").read()
    except (OSError, UnicodeDecodeError) as error:
        what = "Standard input" if str(path) == "-" else path
        raise FastdraftError(f"{what} cannot be read as text ({error}).") from error
