"""A conversation with a pair of models: turns, stops, limits, and what a second turn reads."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fastdraft_core.decoding.sampling import Sampling
from fastdraft_core.engine.chat import Chat
from fastdraft_core.engine.load_options import LoadOptions
from fastdraft_core.engine.pair import Pair, load_pair
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Block, Exchange, FirstToken, RunFinished, RunStarted
from fastdraft_core.models.conversation import Conversation
from tests.folders import CHAT_TEMPLATE, CONTEXT

OPTIONS = LoadOptions(runtime="torch", device="cpu", dtype="float32", threads=1)


@pytest.fixture
def pair(chat_pair: tuple[str, str]) -> Pair:
    """A tiny pair that can be asked."""
    return load_pair(*chat_pair, OPTIONS)


def chat(pair: Pair, *, mode: str = "sd", length: int = 12, temperature: float = 0.0) -> Chat:
    return Chat(pair, mode, 3, Sampling(temperature), length, seed=5)


def answer(talk: Chat, question: str) -> RunFinished:
    *_, last = talk.ask(question)
    assert isinstance(last, RunFinished)
    return last


def test_what_was_asked_and_what_is_answered_stand_apart(pair: Pair) -> None:
    """The events name the question and the turns before it; the answer is the new tokens alone."""
    talk = chat(pair)
    first = answer(talk, "The fox")
    assert talk.earlier == (Exchange("The fox", first.text, first.ids),)
    started, token, *blocks, last = talk.ask("lazy dog")
    assert isinstance(started, RunStarted)
    assert (started.chat, started.prompt, started.earlier) == (True, "lazy dog", (Exchange("The fox", first.text),))
    assert isinstance(token, FirstToken)
    assert all(isinstance(block, Block) for block in blocks)
    assert isinstance(last, RunFinished)
    shown = token.token.text + "".join(
        t.text
        for b in blocks
        if isinstance(b, Block)
        for t in [*b.drafted, b.extra]
        if t and t.state not in ("rejected", "discarded")
    )
    assert shown == last.text
    talk.clear()
    assert talk.earlier == ()


@pytest.mark.parametrize("mode", ["ar", "sd"])
def test_a_second_turn_is_as_a_fresh_run_over_the_conversation(
    pair: Pair, chat_pair: tuple[str, str], mode: str
) -> None:
    """What the cache keeps of the turn before changes no token, greedy and in float32."""
    talk = chat(pair, mode=mode)
    answer(talk, "The fox")
    conversation = Conversation("lazy dog", talk.earlier)
    second = answer(talk, "lazy dog")
    fresh = load_pair(*chat_pair, OPTIONS)
    request = fresh.request(conversation, max_new_tokens=12, sampling=Sampling(0.0))
    assert second.ids == [i for record in fresh.decode("ar", request, 3) for i in record.emitted]


@pytest.mark.parametrize("mode", ["ar", "sd"])
def test_a_second_turn_reads_only_what_is_new(pair: Pair, mode: str) -> None:
    """The question before and its answer are in the caches of both models; the next turn starts at once."""
    talk = chat(pair, mode=mode)
    answer(talk, "The fox")
    before = len(pair.encode(Conversation("The fox"))) + len(talk.earlier[0].ids)
    given = len(pair.encode(Conversation("lazy dog", talk.earlier)))
    reads: list[list[int]] = [[], []]
    hooks = [
        runtime.model.get_input_embeddings().register_forward_hook(lambda _, ids, __, r=read: r.append(ids[0].numel()))
        for runtime, read in zip((pair.target, pair.draft), reads, strict=True)
    ]
    answer(talk, "lazy dog")
    for hook in hooks:
        hook.remove()
    # The last token of the answer was told and never read.
    assert reads[0][0] == given - (before - 1)
    assert max(reads[0][1:]) <= 4
    if mode == "sd":
        # A draft may lack some more of its last block.
        assert reads[1][0] <= given - (before - 4)


def test_another_conversation_shares_the_beginning_of_the_last(pair: Pair) -> None:
    """After /clear the caches serve as far as the texts are the same; a question that was called off does no harm."""
    talk = chat(pair)
    first = answer(talk, "The fox")
    talk.clear()
    for _ in talk.ask("lazy dog " * 4, lambda: True):
        pass
    talk.clear()
    assert answer(talk, "The fox").ids == first.ids


def test_what_does_not_fit_is_said_before(pair: Pair) -> None:
    """Before anything is read it is known how much of an answer the context leaves room for."""
    talk = chat(pair, length=20)
    assert talk.room("The fox") == ""
    given = len(pair.encode(Conversation("z" * 100)))
    talk.max_new_tokens = CONTEXT - given + 2
    assert talk.room("z" * 100) == (
        f"The context of {CONTEXT} tokens holds the {given} given ones and {CONTEXT - given + 1} new ones, not {CONTEXT - given + 2}."
    )
    assert len(answer(talk, "z" * 100).ids) <= CONTEXT - given + 1


def test_an_answer_ends_with_the_turn(chat_pair: tuple[str, str], tmp_path: Path) -> None:
    """The token that the template puts behind an answer ends it, though no file calls it the end of a text."""
    folder = Path(shutil.copytree(chat_pair[0], tmp_path / "target"))
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE.replace("<|eos|>", "<|bos|>"))
    found = load_pair(str(folder), None, OPTIONS)
    assert found.stops == set(found.tokenizer.convert_tokens_to_ids(["<|bos|>", "<|eos|>"]))


def test_a_conversation_that_fills_the_context_is_refused_before_it_is_read(pair: Pair) -> None:
    """The sentence has both numbers and says what to do; what was said so far stays."""
    talk = chat(pair, length=20)
    before = talk.earlier
    with pytest.raises(FastdraftError, match=rf"prompt has \d+ tokens .* context of {CONTEXT}. Shorten"):
        answer(talk, "z" * CONTEXT)
    assert talk.earlier == before
    answer(talk, "The fox")
    with pytest.raises(FastdraftError, match=rf"conversation has \d+ tokens .* context of {CONTEXT}. Begin a new one"):
        answer(talk, "z" * CONTEXT)
    assert len(talk.earlier) == 1


def test_a_cancelled_answer_is_kept_as_far_as_it_came(pair: Pair) -> None:
    """The next turn goes on from there."""
    talk, seen = chat(pair, length=40), 0

    def cancelled() -> bool:
        return seen > 2

    for event in talk.ask("The fox", cancelled):
        seen += isinstance(event, Block)
    assert isinstance(event, RunFinished)
    assert event.reason == "cancelled"
    assert 0 < len(event.ids) < 40
    assert talk.earlier[0].ids == event.ids


def test_a_target_without_a_template_cannot_be_asked(tiny_pair: tuple[str, str]) -> None:
    """The sentence names the command that continues its text."""
    pair = load_pair(tiny_pair[0], None, OPTIONS)
    with pytest.raises(FastdraftError, match=r"no chat template.*fastdraft generate"):
        chat(pair)
