"""Draft names with options: one notation wherever a name is typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.catalog import ModelName, lasting, parse_name, resolve
from fastdraft_core.models.draft_vocab import DraftVocab, head_ids, write_draft_vocab
from fastdraft_core.models.identity import model_hash
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
