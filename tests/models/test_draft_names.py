"""Draft names with options: one notation wherever a name is typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.catalog import ModelName, lasting, parse_name, resolve
from fastdraft_core.models.draft_spec import (
    OFFERED,
    CascadeDraft,
    ModelDraft,
    NgramDraft,
    OtherDraft,
    SelfDraft,
    lasting_draft,
    parse_draft,
    refuse_as_target,
)
from fastdraft_core.models.draft_vocab import DraftVocab, head_ids, write_draft_vocab
from fastdraft_core.models.identity import draft_hash, model_hash
from tests.folders import tiny_target, write_model


@pytest.mark.parametrize(
    ("text", "base", "size"),
    [
        ("demo:S", "demo:S", None),
        ("demo:S@vocab=1024", "demo:S", 1024),
        ("/models/@home/draft", "/models/@home/draft", None),
        ("owner/model@vocab=16384", "owner/model", 16384),
        ("./a=b@vocab=9", "./a=b", 9),
    ],
)
def test_a_name_is_taken_apart_and_put_together(text: str, base: str, size: int | None) -> None:
    """An @ in a folder's name is no option."""
    assert parse_name(text) == ModelName(base, size)
    assert str(parse_name(text)) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("demo:S@voc=9", "no option 'voc'"),
        ("demo:S@vocab=many", "no number of ids"),
        ("demo:S@vocab=0", "no number of ids"),
        ("demo:S@vocab=8@vocab=9", "twice"),
    ],
)
def test_a_wrong_option_is_one_sentence(text: str, words: str) -> None:
    """Rather than a hub id that nobody has."""
    with pytest.raises(FastdraftError, match=words):
        resolve(text)


def test_options_last_and_make_another_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kept sweep knows demo:S from demo:S@vocab=1024, and a folder by its whole path with its option."""
    folder = write_model(tmp_path / "draft", tiny_target())
    monkeypatch.chdir(tmp_path)
    assert lasting("draft@vocab=64") == f"{folder}@vocab=64"
    assert lasting("demo:S@vocab=64") == "demo:S@vocab=64"
    assert lasting_draft("other:draft") == f"other:{folder}"
    assert lasting_draft("cascade:ngram:2-4+draft@vocab=64") == f"cascade:ngram:2-4+{folder}@vocab=64"
    assert resolve("draft@vocab=64") == resolve("draft")
    hashes = {model_hash(name) for name in (folder, f"{folder}@vocab=64", f"{folder}@vocab=65")}
    assert len(hashes) == 3
    before = model_hash(folder)
    write_draft_vocab(tmp_path / "draft", DraftVocab(ids=[1], vocab_size=300, counted="x", tokens=1, coverage=1.0))
    assert model_hash(folder) != before


def test_the_order_is_the_drafts_own_or_the_lowest_ids(tmp_path: Path) -> None:
    """@vocab=N: the N most used ids where the draft has a list, else the N lowest; what ends a text is among them."""
    assert head_ids(tmp_path, ModelName("d"), 300, {1}) is None
    assert head_ids(tmp_path, ModelName("d", 4), 300, {1, 299}) == [0, 1, 2, 299]
    kept = DraftVocab(ids=[7, 3, 9, 1, 5], vocab_size=300, counted="x", tokens=1, coverage=1.0)
    write_draft_vocab(tmp_path, kept)
    assert head_ids(tmp_path, ModelName("d"), 300, {1}) == [1, 3, 5, 7, 9]
    assert head_ids(tmp_path, ModelName("d", 3), 300, {1}) == [1, 3, 7]
    assert head_ids(tmp_path, ModelName("d", 5), 300, {1}) == [1, 3, 5, 7, 9]
    with pytest.raises(FastdraftError, match="trained to score 5 ids"):
        head_ids(tmp_path, ModelName("d", 6), 300, {1})
    with pytest.raises(FastdraftError, match="has 300 ids"):
        head_ids(tmp_path / "none", ModelName("d", 300), 300, {1})


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("demo:S@vocab=64", ModelDraft(ModelName("demo:S", 64))),
        ("ngram:2-4", NgramDraft(2, 4)),
        ("ngram:3", NgramDraft(3, 3)),
        ("self:int4", SelfDraft("int4")),
        ("self:int8@vocab=64", SelfDraft("int8", draft_vocab=64)),
        ("self:layers=8", SelfDraft(layers=8)),
        ("cascade:ngram:2-4+demo:S@vocab=64", CascadeDraft(NgramDraft(2, 4), ModelDraft(ModelName("demo:S", 64)))),
        ("other:owner/model", OtherDraft(ModelName("owner/model"))),
        ("cascade:ngram:3+self:layers=2", CascadeDraft(NgramDraft(3, 3), SelfDraft(layers=2))),
    ],
)
def test_every_way_to_draft_has_one_notation(text: str, spec: object) -> None:
    """Taken apart and put together again, so that a kept result can be opened by it."""
    assert parse_draft(text) == spec
    assert str(parse_draft(text)) == text
    assert lasting_draft(text) == text
    assert all(str(parse_draft(way)) == way for way in OFFERED)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ngram:", "not understood; write ngram:SHORTEST-LONGEST"),
        ("ngram:two", "not understood"),
        ("ngram:2-4@vocab=8", "not understood"),
        ("ngram:0-4", "lengths from 1 to 32"),
        ("ngram:4-2", "the shorter one first"),
        ("self:int2", "for the target in fewer bits"),
        ("self:layers=0", "for its first 8 layers"),
        ("self:int4@vocab=none", "no number of ids"),
        ("other:demo:S@vocab=8", "leave @vocab out"),
        ("other:self:int4", "write other:MODEL"),
        ("cascade:ngram:2-4+other:a/b", "a lookup that drafts for a draft model"),
        ("cascade:demo:S+ngram:2-4", "a lookup that drafts for a draft model"),
        ("cascade:ngram:2-4", "a lookup that drafts for a draft model"),
        ("cascade:ngram:2-4+ngram:3", "a lookup that drafts for a draft model"),
        ("cascade:ngram:9-4+demo:S", "the shorter one first"),
    ],
)
def test_a_wrong_way_is_one_sentence(text: str, words: str) -> None:
    """It says what to write instead."""
    with pytest.raises(FastdraftError, match=words):
        parse_draft(text)


def test_a_way_to_draft_is_no_target() -> None:
    """What drafts for a target needs one."""
    for way in ("ngram:2-4", "self:int4", "cascade:ngram:2-4+demo:S", "other:a/b"):
        with pytest.raises(FastdraftError, match="give a model as the target"):
            refuse_as_target(way)
    with pytest.raises(FastdraftError, match="leave @vocab out"):
        refuse_as_target("demo@vocab=8")
    refuse_as_target("demo")


def test_ways_without_files_have_a_digest_too() -> None:
    """A kept sweep goes on only with what it measured."""
    hashes = {
        draft_hash(way, "demo") for way in ("ngram:2-4", "ngram:2-3", "self:int4", "self:layers=2", "self:layers=3")
    }
    hashes |= {draft_hash(f"cascade:ngram:2-4+{name}", "demo") for name in ("demo:S", "demo:M", "self:int4")}
    hashes |= {draft_hash("other:demo:S", "demo")}
    assert len(hashes) == 9
    assert draft_hash("ngram:2-4", "demo") == draft_hash("ngram:2-4", "demo")
    assert draft_hash("self:int4", "demo") != draft_hash("self:int4", "demo:S")
    assert draft_hash("demo:S", "demo") == model_hash("demo:S")
