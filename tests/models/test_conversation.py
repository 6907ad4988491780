"""Conversations as ids: earlier answers by their own tokens, each text once, the end of a turn known."""

from __future__ import annotations

from typing import Any

import pytest

from fastdraft_core.data.tokenizer import train_tokenizer
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Exchange
from fastdraft_core.models.conversation import Conversation, conversation_ids, end_of_turn
from fastdraft_core.models.prompt_ids import chat_ids
from tests.folders import CHAT_TEMPLATE

EOS = 1


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """A byte-level BPE with a chat template."""
    found = train_tokenizer(iter(["The quick brown fox jumps over the lazy dog.\n"] * 20), 280)
    found.chat_template = CHAT_TEMPLATE
    return found


def ids_of(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False).input_ids)


def test_one_question_has_the_ids_of_the_template(tokenizer: Any) -> None:
    """A conversation that begins is what a single prompt always was."""
    assert conversation_ids(tokenizer, Conversation("The fox"), "x") == chat_ids(tokenizer, "The fox", "x")


def test_a_conversation_has_the_ids_of_its_text(tokenizer: Any) -> None:
    """Without known ids it is read as transformers reads the same messages; the system prompt stands first."""
    talk = Conversation("over", (Exchange("The fox", "jumps"),), "brown")
    messages = [
        {"role": "system", "content": "brown"},
        {"role": "user", "content": "The fox"},
        {"role": "assistant", "content": "jumps"},
        {"role": "user", "content": "over"},
    ]
    whole = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert conversation_ids(tokenizer, talk, "x") == ids_of(tokenizer, whole)


@pytest.mark.parametrize("ended", [True, False], ids=["ended by the model", "cut short"])
def test_a_turn_goes_on_with_the_very_tokens_of_the_answer(tokenizer: Any, ended: bool) -> None:
    """The model's own tokens stay, however the text would be read again, so a cache of them serves the next turn."""
    first = Conversation("The fox")
    given = conversation_ids(tokenizer, first, "x")
    # As no tokenizer reads it: one letter after the other.
    answer = [i for letter in "jumps" for i in ids_of(tokenizer, letter)]
    assert answer != ids_of(tokenizer, "jumps")
    second = Conversation("over", first.answered("jumps", [*answer, EOS] if ended else answer))
    ids = conversation_ids(tokenizer, second, "x")
    assert ids[: len(given) + len(answer)] == [*given, *answer]
    assert tokenizer.decode(ids) == tokenizer.apply_chat_template(
        second.messages(), add_generation_prompt=True, tokenize=False
    )


def test_a_template_that_changes_answers_is_obeyed(tokenizer: Any) -> None:
    """Templates of reasoning models leave earlier thoughts out; then the text counts, not the tokens."""
    other = train_tokenizer(iter(["The quick brown fox jumps over the lazy dog.\n"] * 20), 280)
    other.chat_template = CHAT_TEMPLATE.replace("m.content", "m.content.split('|')[-1]")
    talk = Conversation("over", (Exchange("The fox", "quick|jumps", [3, 4, 5]),))
    whole = other.apply_chat_template(talk.messages(), add_generation_prompt=True, tokenize=False)
    assert "quick" not in whole
    assert conversation_ids(other, talk, "x") == ids_of(other, whole)


def test_the_end_of_a_turn_is_what_the_template_puts_behind_an_answer(tokenizer: Any) -> None:
    """Many fine-tuned models end their turn with a token that no configuration calls the end of a text."""
    assert end_of_turn(tokenizer) == {EOS}
    other = train_tokenizer(iter(["The fox"] * 20), 270)
    assert end_of_turn(other) == frozenset()
    other.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    assert end_of_turn(other) == frozenset()
    other.chat_template = "{{ raise_exception('no') }}"
    assert end_of_turn(other) == frozenset()


def test_text_that_is_no_unicode_is_one_sentence(tokenizer: Any) -> None:
    """Be it in the question, in the system prompt or in an earlier answer."""
    broken = "a \ud83d"
    for talk in (
        Conversation(broken),
        Conversation("The fox", (), broken),
        Conversation("The fox", (Exchange("jumps", broken),)),
    ):
        with pytest.raises(FastdraftError, match="no valid Unicode"):
            conversation_ids(tokenizer, talk, "x")
