"""A conversation with a pair: questions go in, the events of the answers come out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from fastdraft_core.decoding.drafters import Method
from fastdraft_core.decoding.records import Request
from fastdraft_core.decoding.sampling import Sampling
from fastdraft_core.engine.pair import Pair
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Event, Exchange, RunFinished
from fastdraft_core.formatting import context_room
from fastdraft_core.models.conversation import Conversation


@dataclass(slots=True)
class Chat:
    """Keeps the turns of a conversation; each answer ends where the model ends its turn.

    Raises:
        FastdraftError: the target has no chat template.
    """

    pair: Pair
    mode: str
    gamma: int
    sampling: Sampling
    max_new_tokens: int
    seed: int = 0
    system: str = ""
    """The system prompt of the turns to come; empty for the template's own."""
    earlier: tuple[Exchange, ...] = field(default=(), init=False)
    """What was asked and answered so far."""

    def __post_init__(self) -> None:
        if not self.pair.chats:
            raise FastdraftError(
                f"{self.pair.target.card.name} has no chat template, so it cannot be asked. Continue a text with "
                "`fastdraft generate`."
            )

    def clear(self) -> None:
        """Begin a new conversation under the same system prompt."""
        self.earlier = ()

    def ask(self, question: str, cancelled: Callable[[], bool] = lambda: False) -> Iterator[Event]:
        """Answer ``question``: ``Progress`` while a long prompt is read, ``RunStarted`` … ``RunFinished``.

        A cancelled answer is kept as far as it came; called off before it began, the question was never asked.

        Raises:
            FastdraftError: the conversation fills the target's context, or cannot stand in its template.
        """
        conversation = self._asked(question)
        request = self._request(conversation)
        for progress in self.pair.read_prompt(self.mode, request):
            yield progress
            if cancelled():
                self._adopt(request.prompt)
                return
        for event in self.pair.events(self.mode, conversation, request, self.gamma, cancelled):
            if isinstance(event, RunFinished):
                self.earlier = conversation.answered(event.text, event.ids)
                self._adopt([*request.prompt, *event.ids])
            yield event

    def _adopt(self, ids: list[int]) -> None:
        """Leave what was said in the caches, so that the next turn reads only what is new."""
        target, draft = self.pair.target, self.pair.draft
        target.adopt(ids[: target.length])
        # A draft with a shorter context may have gone on with the last part of the text alone.
        if (
            self.mode == "sd"
            and draft is not None
            and not isinstance(draft, Method)
            and len(ids) <= draft.context_length
        ):
            draft.adopt(ids[: draft.length])

    def room(self, question: str) -> str:
        """A sentence where the target's context does not hold all that ``question`` and its answer may need; else nothing.

        Raises:
            FastdraftError: as ``ask``.
        """
        given = len(self._request(self._asked(question)).prompt)
        return context_room(given, self.max_new_tokens, self.pair.target.context_length)

    def _asked(self, question: str) -> Conversation:
        return Conversation(question, self.earlier, self.system)

    def _request(self, conversation: Conversation) -> Request:
        # A question that is asked again may get another answer.
        seed = self.seed + len(conversation.earlier)
        return self.pair.request(conversation, max_new_tokens=self.max_new_tokens, sampling=self.sampling, seed=seed)
