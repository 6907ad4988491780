"""Records of ids become events with text: incremental detokenizing and token states."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastdraft_core.decoding.records import First, Pass, Record, Request
from fastdraft_core.decoding.totals import bytes_read, summarize
from fastdraft_core.events import Block, Event, Exchange, FirstToken, RunFinished, RunStarted, Token
from fastdraft_core.metrics import Cost
from fastdraft_core.models.conversation import Conversation

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
#: Tokens that a byte-level or sentencepiece decoder looks back on; more only costs time.
_WINDOW = 8
#: A character has at most four bytes; whatever is still incomplete after so many tokens never was one.
_PATIENCE = 8


class Detokenizer:
    """What each token adds to the text, where a token may be part of a character.

    The window begins and ends between two characters, so that its text is the same whatever follows.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, prompt: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        start = max(0, len(prompt) - _WINDOW)
        while start and self._decode(prompt[start:]).startswith(_REPLACEMENT):
            start -= 1
        #: Tokens whose text was given out, in pieces that end with a whole character.
        self._window = [list(prompt[start:])]
        self._given = self._decode(prompt[start:]).rstrip(_REPLACEMENT)
        self._pending: list[int] = []

    def peek(self, ids: Sequence[int]) -> list[str]:
        """The text each of ``ids`` would add after what was pushed; nothing is remembered."""
        branch = Detokenizer.__new__(Detokenizer)
        branch._tokenizer, branch._given = self._tokenizer, self._given
        branch._window, branch._pending = list(self._window), list(self._pending)
        return [branch.push(i) for i in ids]

    def push(self, token: int) -> str:
        """The text that ``token`` adds; empty while a character is incomplete."""
        self._pending.append(token)
        read = self._read()
        text = self._decode(read)
        if text.endswith(_REPLACEMENT) and len(self._pending) < _PATIENCE:
            return ""
        # A decoder that sees a broken byte may take the whole characters before it back.
        added = text[len(self._given) :] if text.startswith(self._given) else self._decode(self._pending)
        self._window.append(self._pending)
        self._pending, self._given = [], text
        if len(read) >= 3 * _WINDOW:
            self._shorten()
        return added

    def _shorten(self) -> None:
        while len(self._window) > 1 and sum(map(len, self._window[1:])) >= _WINDOW:
            del self._window[0]
        self._given = self._decode(self._read())

    def _read(self) -> list[int]:
        return [i for piece in self._window for i in piece] + self._pending

    def _decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)


@dataclass(frozen=True, slots=True)
class Description:
    """What the events of a run say beside its records; ``mode`` is ``ar`` or ``sd``."""

    mode: str
    prompt: str | Conversation
    request: Request
    gamma: int
    tokenizer: PreTrainedTokenizerBase
    cost: Cost


def events(
    records: Iterator[Record], about: Description, cancelled: Callable[[], bool] = lambda: False
) -> Iterator[Event]:
    """``RunStarted``, ``FirstToken``, a ``Block`` for each target pass, and ``RunFinished``."""
    yield _started(about)
    detokenizer = Detokenizer(about.tokenizer, about.request.prompt)
    passes: list[Pass] = []
    emitted: list[int] = []
    for record in records:
        emitted += record.emitted
        if isinstance(record, First):
            token = Token(id=record.token, text=detokenizer.push(record.token))
            yield FirstToken(mode=about.mode, token=token, prefill_seconds=record.seconds, kept=record.kept)
        else:
            passes.append(record)
            yield block_event(record, about.mode, len(passes) - 1, detokenizer, bytes_read(record, about.cost))
        if cancelled():
            break
    yield RunFinished(
        mode=about.mode,
        reason="cancelled" if cancelled() else _reason(emitted, about.request),
        text=about.tokenizer.decode(emitted, skip_special_tokens=True, clean_up_tokenization_spaces=False),
        ids=emitted,
        metrics=summarize(passes, about.gamma if about.mode == "sd" else 0, about.cost),
    )


def _started(about: Description) -> RunStarted:
    request, sampling = about.request, about.request.sampling
    talk = about.prompt if isinstance(about.prompt, Conversation) else None
    return RunStarted(
        mode=about.mode,
        prompt=about.prompt if isinstance(about.prompt, str) else about.prompt.question,
        prompt_tokens=len(request.prompt),
        gamma=about.gamma,
        temperature=sampling.temperature,
        top_k=sampling.top_k,
        top_p=sampling.top_p,
        seed=request.seed,
        max_new_tokens=request.max_new_tokens,
        chat=talk is not None,
        # Their ids are the engine's own affair.
        earlier=tuple(Exchange(e.question, e.answer) for e in talk.earlier) if talk else (),
        verification=request.verification,
    )


def block_event(record: Pass, mode: str, index: int, detokenizer: Detokenizer, num_bytes: int = 0) -> Block:
    """The event of one pass; pushes the emitted tokens into ``detokenizer``."""
    refused = detokenizer.peek(record.drafted)[record.accepted :]
    texts = [detokenizer.push(i) for i in record.emitted]
    drafted = []
    for i, token in enumerate(record.drafted):
        if i < record.accepted:
            state = "accepted"
        else:
            state = "rejected" if i == record.accepted < record.judged else "discarded"
        drafted.append(
            Token(
                id=token,
                text=texts[i] if i < record.accepted else refused[i - record.accepted],
                state=state,
                p=record.p[i] if i < len(record.p) else None,
                q=record.q[i] if i < len(record.q) else None,
                u=record.u[i] if i < len(record.u) else None,
            )
        )
    return Block(
        mode=mode,
        index=index,
        drafted=drafted,
        extra=None
        if record.extra is None
        else Token(id=record.extra, text=texts[-1], state=_extra_state(record, mode)),
        at=record.at,
        draft_seconds=record.draft_seconds,
        verify_seconds=record.verify_seconds,
        overhead_seconds=record.overhead_seconds,
        context=record.context,
        bytes_read=num_bytes,
    )


def _extra_state(record: Pass, mode: str) -> str:
    if mode == "ar" or not record.drafted:
        return "plain"
    return "corrected" if record.accepted < len(record.drafted) else "bonus"


def _reason(emitted: list[int], request: Request) -> str:
    if emitted and emitted[-1] in request.stops:
        return "stop"
    return "length" if len(emitted) >= request.max_new_tokens else "context"
