"""A conversation with a pair: questions go in, the events of the answers come out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from fastdraft_core.decoding.records import Request
from fastdraft_core.decoding.sampling import Sampling
from fastdraft_core.engine.pair import Pair
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Event, Exchange, RunFinished
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
        """Answer ``question``: ``RunStarted`` … ``RunFinished``. A cancelled answer is kept as far as it came.

        Raises:
            FastdraftError: the conversation fills the target's context, or cannot stand in its template.
        """
        conversation = Conversation(question, self.earlier, self.system)
        request = self._request(conversation)
        for event in self.pair.events(self.mode, conversation, request, self.gamma, cancelled):
            if isinstance(event, RunFinished):
                self.earlier = conversation.answered(event.text, event.ids)
            yield event

    def _request(self, conversation: Conversation) -> Request:
        # A question that is asked again may get another answer.
        seed = self.seed + len(conversation.earlier)
        return self.pair.request(conversation, max_new_tokens=self.max_new_tokens, sampling=self.sampling, seed=seed)
