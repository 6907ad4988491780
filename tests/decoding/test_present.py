"""Tokens become text piece by piece, and the pieces are the text."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdraft_core.data.tokenizer import train_tokenizer
from fastdraft_core.decoding.drafters import ModelDrafter
from fastdraft_core.decoding.records import Pass, Request
from fastdraft_core.decoding.sampling import Sampling
from fastdraft_core.decoding.speculative import speculative
from fastdraft_core.decoding.to_events import Description, Detokenizer, block_event, events
from fastdraft_core.events import Block, FirstToken, RunFinished, RunStarted
from fastdraft_core.metrics import Cost
from tests.decoding.table import pair_of_tables

TEXT = "Once 🎉🎉🎉🎉🎉🎉 upon a 時間 there   was\n\n a naïve 👩‍👩‍👧 family; 東京は雨です。\tEnd"


@cache
def byte_level() -> Any:
    """A byte-level BPE that knows no character beyond ASCII whole."""
    return train_tokenizer(iter(["once upon a time there was a family " * 20]), 300)


def full(tokenizer: Any, ids: list[int]) -> str:
    """The text of all ids at once."""
    return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def check(tokenizer: Any, ids: list[int], prompt: int) -> None:
    """After any prompt the pieces of what follows are exactly what they add to the prompt's text."""
    detokenizer = Detokenizer(tokenizer, ids[:prompt])
    pieces = [detokenizer.push(i) for i in ids[prompt:]]
    assert full(tokenizer, ids[:prompt]) + "".join(pieces) == full(tokenizer, ids)


@settings(max_examples=30)
@given(st.text(alphabet=st.one_of(st.sampled_from("ab 🎉時é\n"), st.characters(exclude_categories=["Cs"]))), st.data())
def test_byte_level_pieces_are_the_text(text: str, data: st.DataObject) -> None:
    """An emoji that takes four tokens appears once, whole, wherever it falls in the text and the prompt ends."""
    ids = byte_level()(text.replace("�", "?")).input_ids
    whole = [n for n in range(1, len(ids) + 1) if not full(byte_level(), ids[:n]).endswith("�")]
    check(byte_level(), ids, data.draw(st.sampled_from(whole)))


def test_nothing_is_shown_of_an_incomplete_character() -> None:
    """The screen never flickers a replacement sign: a piece is empty until its character is whole."""
    ids = byte_level()(TEXT).input_ids
    detokenizer = Detokenizer(byte_level(), ids[:1])
    pieces = [detokenizer.push(i) for i in ids[1:]]
    assert "".join(pieces) == TEXT
    assert not any("�" in piece for piece in pieces)
    assert "" in pieces


def test_a_prompt_that_ends_inside_a_character_is_completed_once() -> None:
    """The text before the prompt's end is not repeated when the model completes a cut character."""
    ids = byte_level()("a family 🎉 there").input_ids
    cut = next(n for n in range(1, len(ids)) if full(byte_level(), ids[:n]).endswith("�"))
    detokenizer = Detokenizer(byte_level(), ids[:cut])
    assert "".join(detokenizer.push(i) for i in ids[cut:]) == "🎉 there"


def test_bytes_that_never_become_a_character_do_not_hold_the_text_back() -> None:
    """A model that writes broken bytes is shown so, and what follows appears."""
    broken = byte_level()("🎉", add_special_tokens=False).input_ids[:1]
    detokenizer = Detokenizer(byte_level(), [])
    text = "".join(detokenizer.push(i) for i in broken * 20 + byte_level()(" once", add_special_tokens=False).input_ids)
    assert text.endswith(" once")


@pytest.mark.shared
def test_sentencepiece_pieces_are_the_text(shared: Path) -> None:
    """The same for a tokenizer that marks spaces and falls back to bytes, after prompts of any length."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(shared / "models" / "stories260K")
    ids = tokenizer(TEXT).input_ids
    assert full(tokenizer, ids) == TEXT
    for prompt in [n for n in range(1, len(ids)) if TEXT.startswith(full(tokenizer, ids[:n]))][::7]:
        check(tokenizer, ids, prompt)


def test_peeking_changes_nothing() -> None:
    """Rejected tokens are shown with their text; the real text goes on as if they had never been."""
    ids = byte_level()("once 🎉 upon").input_ids
    detokenizer = Detokenizer(byte_level(), ids[:2])
    pieces = []
    for i in ids[2:]:
        detokenizer.peek(byte_level()("🎉 family", add_special_tokens=False).input_ids)
        pieces.append(detokenizer.push(i))
    assert full(byte_level(), ids[:2]) + "".join(pieces) == "once 🎉 upon"


# --- token states ------------------------------------------------------------------------------------


def one_pass(drafted: list[int], judged: int, accepted: int, extra: int | None) -> Pass:
    """A pass of no duration."""
    return Pass(drafted, judged, accepted, extra, 0.0, 0.0, 0.0, 0.0, 0, p=[0.5] * judged, q=[0.5] * judged)


@pytest.mark.parametrize(
    ("record", "states", "extra"),
    [
        (one_pass([5, 6, 7], 3, 3, 8), ["accepted"] * 3, "bonus"),
        (one_pass([5, 6, 7], 2, 1, 8), ["accepted", "rejected", "discarded"], "corrected"),
        (one_pass([5, 6, 7], 1, 0, 8), ["rejected", "discarded", "discarded"], "corrected"),
        (one_pass([5, 6, 7], 2, 2, None), ["accepted", "accepted", "discarded"], None),
    ],
)
def test_every_token_shows_what_became_of_it(record: Pass, states: list[str], extra: str | None) -> None:
    """Pitfall 11: a drafted token after a stop was never judged, so it is discarded and not rejected."""
    event = block_event(record, "sd", 0, Detokenizer(byte_level(), [0]))
    assert [t.state for t in event.drafted] == states
    assert (event.extra.state if event.extra else None) == extra
    assert all(t.p is None for t in event.drafted if t.state == "discarded")


def run(max_new_tokens: int = 9, stops: frozenset[int] = frozenset(), context: int = 1 << 30) -> list[Any]:
    """The events of one greedy run over tables; their ids are letters in the byte-level vocabulary."""
    target, draft = pair_of_tables()
    target.context_length = context
    request = Request([1, 2], max_new_tokens, Sampling(), stops)
    about = Description("sd", "p", request, 3, byte_level(), Cost(target.card, draft.card, 1, 1))
    return list(events(speculative(target, ModelDrafter(draft), request, 3), about))


def test_a_run_is_started_first_blocks_finished() -> None:
    """Whoever draws can rely on the order of events, and on the text being that of the tokens."""
    found = run()
    assert [type(e) for e in found[:2]] == [RunStarted, FirstToken]
    assert isinstance(found[-1], RunFinished)
    assert all(isinstance(e, Block) for e in found[2:-1])
    assert [e.index for e in found[2:-1]] == list(range(len(found) - 3))
    pieces = found[1].token.text
    for block in found[2:-1]:
        pieces += "".join(t.text for t in block.drafted if t.state == "accepted")
        pieces += block.extra.text if block.extra else ""
    assert found[-1].text == pieces


def test_the_reason_of_the_end_is_named() -> None:
    """Length, stop and context are told apart."""
    ids = [t.id for e in run()[2:-1] for t in [*(d for d in e.drafted if d.state == "accepted"), e.extra]]
    assert run()[-1].reason == "length"
    assert run(stops=frozenset({ids[2]}))[-1].reason == "stop"
    assert run(max_new_tokens=50, context=12)[-1].reason == "context"
