"""A conversation as a value, and its ids by a model's chat template."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Exchange
from fastdraft_core.models.prompt_ids import refuse_surrogates, template_text

#: Stands for an answer in a template; no template and no text holds it.
_MARK = "fastdraft-answer-{}-words"


@dataclass(frozen=True, slots=True)
class Conversation:
    """A question, what was asked and answered before it, and a system prompt, empty for the template's own."""

    question: str
    earlier: tuple[Exchange, ...] = ()
    system: str = ""

    def answered(self, answer: str, ids: list[int]) -> tuple[Exchange, ...]:
        """All turns, this one with its ``answer``, whose tokens are ``ids``, included."""
        return (*self.earlier, Exchange(self.question, answer, ids))

    def messages(self) -> list[dict[str, str]]:
        """The turns as chat templates take them."""
        return [{"role": role, "content": text} for role, text in self._turns()]

    def _turns(self) -> Iterator[tuple[str, str]]:
        if self.system:
            yield "system", self.system
        for exchange in self.earlier:
            yield "user", exchange.question
            yield "assistant", exchange.answer
        yield "user", self.question


def conversation_ids(tokenizer: Any, conversation: Conversation, whose: str) -> list[int]:
    """The ids after which the answer begins, by the chat template of the model ``whose`` names.

    Answers whose ids are known stand there by these, since their text may be read as other tokens: a run over a conversation
    begins with the very ids of the run before it, and a cache of them serves both. Where the template changes what was
    answered, such as leaving thoughts out, its text alone counts.

    Raises:
        FastdraftError: the template cannot be applied, nothing comes of it, or a text is no Unicode.
    """
    for message in conversation.messages():
        refuse_surrogates(message["content"], "The prompt" if message["role"] == "user" else "The conversation")
    rendered = template_text(tokenizer, conversation.messages(), whose)

    def read(text: str) -> list[int]:
        # As apply_chat_template does: the template writes special tokens by itself.
        return list(tokenizer(text, add_special_tokens=False).input_ids) if text else []

    parts = _around_answers(tokenizer, conversation, whose, rendered)
    if parts is None:
        return read(rendered)
    ids, special = read(parts[0]), _special(tokenizer)
    for exchange, part in zip(conversation.earlier, parts[1:], strict=True):
        answer = exchange.ids or read(exchange.answer)
        # The model wrote the end of its turn, and so does the template.
        ids += (answer[:-1] if answer and answer[-1] in special else answer) + read(part)
    return ids


def _around_answers(tokenizer: Any, conversation: Conversation, whose: str, rendered: str) -> list[str] | None:
    """``rendered`` without the answers, in parts; None where they do not stand in it as they were given."""
    if not any(exchange.ids for exchange in conversation.earlier):
        return None
    marks = [_MARK.format(number) for number in range(len(conversation.earlier))]
    marked = tuple(Exchange(e.question, mark) for e, mark in zip(conversation.earlier, marks, strict=True))
    text = template_text(tokenizer, replace(conversation, earlier=marked).messages(), whose)
    parts = re.split("|".join(map(re.escape, marks)), text)
    if re.findall("|".join(map(re.escape, marks)), text) != marks:
        return None
    answers = [exchange.answer for exchange in conversation.earlier]
    whole = parts[0] + "".join(answer + part for answer, part in zip(answers, parts[1:], strict=True))
    return parts if whole == rendered else None


def end_of_turn(tokenizer: Any) -> frozenset[int]:
    """The special token that the chat template puts behind an answer; none where there is no template or no such token."""
    if not getattr(tokenizer, "chat_template", None):
        return frozenset()
    mark = _MARK.format(0)
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": mark}]
    # A template that fails says so where a prompt needs it.
    with suppress(FastdraftError):
        behind = template_text(tokenizer, turns, "", answering=False).partition(mark)[2]
        return frozenset(tokenizer(behind, add_special_tokens=False).input_ids[:1]) & _special(tokenizer)
    return frozenset()


def _special(tokenizer: Any) -> set[int]:
    return {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
