"""What the inspector shows of a token is what decided it, for every token that was ever drafted."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdraft_core.data.tokenizer import train_tokenizer
from fastdraft_core.decoding.details import MAX_BLOCKS, TOP, Witness, details
from fastdraft_core.decoding.drafters import ModelDrafter
from fastdraft_core.decoding.records import Pass, Request
from fastdraft_core.decoding.sampling import Sampling, Verdict
from fastdraft_core.decoding.speculative import speculative
from fastdraft_core.decoding.token_text import Pieces
from fastdraft_core.engine.load_options import LoadOptions
from fastdraft_core.engine.pair import Pair, load_pair
from fastdraft_core.events import Block, Detail, FirstToken, Load, Opinion, Run, Token, decode_message, encode
from tests.decoding.table import TableRuntime, pair_of_tables, processed

SAMPLINGS = [Sampling(), Sampling(0.6), Sampling(1.0, 3, 0.9)]


def shown(logits: Any, sampling: Sampling) -> Any:
    """The distribution to show, by the definitions: processed where it decides, plain where argmaxes do."""
    return processed(logits.astype(np.float64), Sampling(1.0) if sampling.greedy else sampling)


def check(opinion: Opinion, law: Any, token: int) -> None:
    """Every figure of an opinion against its definition, computed here once more."""
    assert opinion.p == pytest.approx(law[token], abs=1e-6)
    assert opinion.rank == 1 + sum(law > law[token] * (1 + 1e-5))
    assert opinion.entropy == pytest.approx(-sum(p * np.log(p) for p in law if p > 0), abs=1e-5)
    assert [c.probability for c in opinion.top] == pytest.approx(sorted(law[law > 0])[::-1][:TOP], abs=1e-6)
    assert [c.probability for c in opinion.top] == pytest.approx([law[c.id] for c in opinion.top], abs=1e-6)
    assert [c.text for c in opinion.top] == [f"<{c.id}>" for c in opinion.top]


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_every_token_of_a_run_has_both_models_exact_opinion(sampling: Sampling, seed: int) -> None:
    """Accepted, rejected, discarded, corrected and bonus tokens: the laws at their own context, from the tables."""
    target, draft = pair_of_tables(8, seed)
    request = Request([1, 2], 24, sampling, seed=seed)
    witness = Witness(sampling, lambda i: f"<{i}>")
    text = list(request.prompt)
    for record in speculative(target, ModelDrafter(draft), request, 3, observe=witness):
        if isinstance(record, Pass):
            assert len(witness.details) == len(record.drafted) + 1
            branch = [*text, *record.drafted]
            for n, (token, detail) in enumerate(zip(record.drafted, witness.details, strict=False)):
                before, last = branch[len(text) + n - 2 : len(text) + n]
                check_both(detail, target, draft, (before, last), token, sampling)
            kept = branch[: len(text) + record.accepted]
            if record.extra is not None:
                drafted_here = record.accepted < len(record.drafted)
                check_both(
                    witness.details[-1], target, draft if drafted_here else None, kept[-2:], record.extra, sampling
                )
        text += record.emitted


def check_both(
    detail: Detail, target: TableRuntime, draft: TableRuntime | None, context: Any, token: int, sampling: Sampling
) -> None:
    """Target's and draft's opinion of ``token`` after ``context``, and what their laws share."""
    before, last = context
    p = shown(target.table[before, last].numpy(), sampling)
    check(detail.target, p, token)
    assert (detail.draft is None) == (detail.overlap is None) == (draft is None)
    if draft is not None and detail.draft is not None:
        q = shown(draft.table[before, last].numpy(), sampling)
        check(detail.draft, q, token)
        assert detail.overlap == pytest.approx(float(np.minimum(p, q).sum()), abs=1e-5)


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_watching_changes_no_token_and_no_random_number(sampling: Sampling) -> None:
    """The inspector is an onlooker: the same records with it and without it."""

    def run(observe: Witness | None) -> list[Any]:
        target, draft = pair_of_tables(8, 1)
        request = Request([1, 2], 40, sampling, seed=5)
        records = list(speculative(target, ModelDrafter(draft), request, 3, observe=observe))
        return [(r.emitted, getattr(r, "u", None), getattr(r, "p", None)) for r in records]

    assert run(None) == run(Witness(sampling, str))


def test_the_number_of_blocks_with_details_is_bounded() -> None:
    """A run of a million tokens makes no endless recording; what comes later says nothing instead of something old."""
    witness = Witness(Sampling(), str)
    block = ([1], Verdict(1, 2, [], [], []), torch.zeros(2, 4), [torch.zeros(4)])
    for _ in range(MAX_BLOCKS):
        witness(*block)
        assert witness.details
    witness(*block)
    assert witness.details == []


@settings(max_examples=30)
@given(
    st.lists(st.lists(st.floats(-20, 20, width=32), min_size=6, max_size=6), min_size=3, max_size=3),
    st.sampled_from(SAMPLINGS),
)
def test_the_residual_follows_from_what_is_shown(rows: list[list[float]], sampling: Sampling) -> None:
    """The chance shown for a corrected token, max(p - q, 0) / (1 - overlap), sums to 1 over all tokens."""
    logits, own = torch.tensor(rows[:2]), [torch.tensor(rows[2])]
    found = [details([0], Verdict(0, token, [], [], []), logits, own, sampling, str)[-1] for token in range(6)]
    overlap = found[0].overlap
    assert overlap is not None
    if overlap < 0.99:
        shares = [max(d.target.p - d.draft.p, 0) / (1 - overlap) for d in found if d.draft is not None]
        assert sum(shares) == pytest.approx(1, abs=1e-3)


# --- pieces ------------------------------------------------------------------------------------------


@cache
def byte_level() -> Any:
    """A byte-level BPE that knows no character beyond ASCII whole."""
    return train_tokenizer(iter(["once upon a time there was a family " * 20]), 300)


def test_a_piece_is_the_token_on_its_own() -> None:
    """Spaces stay, parts of a character are shown by their bytes, special tokens by their name."""
    tokenizer, piece = byte_level(), Pieces(byte_level())
    assert "".join(map(piece, tokenizer(" once upon\n", add_special_tokens=False).input_ids)) == " once upon\n"
    assert "".join(map(piece, tokenizer("é🎉", add_special_tokens=False).input_ids)) == "\\xc3\\xa9\\xf0\\x9f\\x8e\\x89"
    assert tokenizer.all_special_ids
    for special in tokenizer.all_special_ids:
        assert piece(special) == tokenizer.convert_ids_to_tokens(special)


@pytest.mark.shared
def test_sentencepiece_pieces_keep_their_space(shared: Any) -> None:
    """A decoder that drops the first space does not hide where a word begins; bytes are named as in the vocabulary."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(shared / "models" / "stories260K")
    piece = Pieces(tokenizer)
    ids = tokenizer("Once upon a time", add_special_tokens=False).input_ids
    assert "".join(map(piece, ids)).strip() == "Once upon a time"
    assert any(piece(i).startswith(" ") for i in ids[1:])
    assert piece(tokenizer.convert_tokens_to_ids("<0xE2>")) == "<0xE2>"


# --- the bundled pair --------------------------------------------------------------------------------


@cache
def bundled() -> Pair:
    return load_pair("demo", "demo:S", LoadOptions(device="cpu", dtype="float32", threads=1))


@pytest.mark.parametrize("temperature", [0.0, 0.6])
def test_the_bundled_pairs_details_are_those_that_decided(temperature: float) -> None:
    """p and q equal what decided to rounding; discarded tokens too have what a fresh pass over their context gives."""
    pair, sampling = bundled(), Sampling(temperature)
    request = pair.request("def quicksort(items):\n", max_new_tokens=28, sampling=sampling, seed=3, ignore_stops=True)
    found = list(pair.events("sd", "", request, 3, inspect=True))
    text = [*request.prompt]
    discarded = 0
    for event in found:
        if isinstance(event, FirstToken):
            text.append(event.token.id)
            assert event.token.detail is not None
            assert event.token.detail.draft is None
        elif isinstance(event, Block):
            assert decode_message(encode(event)) == event
            for n, token in enumerate(event.drafted):
                detail = token.detail
                assert detail is not None
                assert detail.draft is not None
                if token.p is not None:
                    assert detail.target.p == pytest.approx(token.p, rel=1e-5, abs=1e-9)
                    assert detail.draft.p == pytest.approx(token.q, rel=1e-5, abs=1e-9)
                if token.state == "accepted" and sampling.greedy:
                    assert detail.target.rank == 1
                if token.state == "discarded" and discarded < 3:
                    discarded += 1
                    context = [*text, *(t.id for t in event.drafted[:n])]
                    logits = pair.target.prefill(context)
                    # Rewinds what the run would go on with, so the run is over before this loop begins.
                    law = (logits / (temperature or 1.0)).softmax(-1)
                    assert detail.target.p == pytest.approx(float(law[token.id]), rel=1e-3, abs=1e-6)
            text += [t.id for t in event.drafted if t.state == "accepted"] + ([event.extra.id] if event.extra else [])
    assert discarded
    assert text[len(request.prompt) :] == found[-1].ids


def test_only_whoever_asks_gets_details() -> None:
    """The command line and the autoregressive run carry none: nobody looks at them."""
    pair = bundled()
    request = pair.request("def f", max_new_tokens=6, sampling=Sampling())
    for mode, inspect in (("sd", False), ("ar", True)):
        blocks = [e for e in pair.events(mode, "", request, 2, inspect=inspect) if isinstance(e, Block)]
        assert all(t.detail is None for b in blocks for t in [*b.drafted, b.extra] if t is not None)


def test_tokens_without_text_name_their_piece() -> None:
    """A token that shows nothing in the text, such as part of a character, can still be told apart."""
    tokenizer = byte_level()
    ids = tokenizer("🎉", add_special_tokens=False).input_ids
    assert len(ids) > 1
    witness = Witness(Sampling(), Pieces(tokenizer))
    witness([], Verdict(0, ids[0], [], [], []), torch.zeros(1, 300), [])
    event = witness.describe(FirstToken(mode="sd", token=Token(id=ids[0], text=""), prefill_seconds=0.0))
    assert isinstance(event, FirstToken)
    assert event.token.detail is not None
    assert event.token.detail.piece == "\\xf0"


def test_the_engines_runs_can_be_inspected() -> None:
    """What the app gets has details of every token of the speculative run."""
    from fastdraft_core.engine.process import Engine

    found: list[Any] = []
    engine = Engine(found.append)
    engine.carry_out(Load(target="demo", draft="demo:S", dtype="float32", threads=1))
    engine.carry_out(Run(prompt="def f", gamma=2, temperature=0.0, max_new_tokens=6))
    blocks = [event for event in found if isinstance(event, Block) and event.mode == "sd"]
    tokens = [token for block in blocks for token in [*block.drafted, block.extra] if token is not None]
    assert tokens
    assert all(token.detail is not None for token in tokens)
