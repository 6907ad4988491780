"""Ways to draft are loaded for a target on either runtime, and what cannot be is one sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from fastdraft_core.bench.drafts import load_lineup
from fastdraft_core.data.tokenizer import train_tokenizer
from fastdraft_core.decoding.cascade import Cascade
from fastdraft_core.decoding.losslessness import accept_all, check_law
from fastdraft_core.decoding.ngrams import Ngrams
from fastdraft_core.decoding.sampling import Sampling
from fastdraft_core.engine.load_options import LoadOptions
from fastdraft_core.engine.pair import Pair, load_pair
from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.first_layers import first_layers
from fastdraft_core.models.folders import load_tokenizer
from tests.folders import WIDTH, tiny_target, write_model
from tests.runtimes.models import small_model

TORCH = LoadOptions(device="cpu", dtype="float32", threads=1)
OPENVINO = LoadOptions(device="cpu", dtype="float32", threads=1, runtime="openvino")
IDS = [5, 6, 7, 8]


def texts(pair: Pair, gamma: int = 3) -> list[list[int]]:
    """Greedy ids, autoregressive and speculative."""
    request = pair.request("def add(a", max_new_tokens=24, sampling=Sampling(), ignore_stops=True)
    return [[t for r in pair.decode(mode, request, gamma) for t in r.emitted] for mode in ("ar", "sd")]


def cut_target() -> Any:
    """The tiny target without its second layer."""
    model = tiny_target()
    del model.model.layers[1]
    return model


def test_the_first_layers_are_the_targets_own(tiny_pair: tuple[str, str]) -> None:
    """Embeddings, first layer, last norm and head; what it drafts changes no text."""
    pair = load_pair(tiny_pair[0], "self:layers=1", TORCH)
    draft: Any = pair.draft
    assert (draft.card.name, draft.card.layers) == ("self:layers=1", 1)
    with torch.no_grad():
        expected = cut_target()(input_ids=torch.tensor([IDS]), use_cache=False).logits[0, -1]
    torch.testing.assert_close(draft.prefill(IDS), expected, atol=1e-4, rtol=1e-4)
    alone, together = texts(pair)
    assert alone == together


def test_openvino_has_every_way_in_one_lineup(tiny_pair: tuple[str, str]) -> None:
    """The target is loaded once; fewer bits, fewer layers, a lookup, and a lookup before a model."""
    ways = ["ngram:1-3", "self:int8", "self:layers=1@vocab=64", "cascade:ngram:1-3+self:int8"]
    lineup = load_lineup(tiny_pair[0], ways, OPENVINO)
    assert list(lineup) == ways
    assert {id(pair.target) for pair in lineup.values()} == {id(lineup["ngram:1-3"].target)}
    cards = {way: pair.draft.card for way, pair in lineup.items() if pair.draft is not None}
    assert [card.name for card in cards.values()] == ways
    assert not cards["ngram:1-3"].is_model
    assert (cards["self:layers=1@vocab=64"].layers, cards["self:layers=1@vocab=64"].draft_vocab) == (1, 64)
    assert cards["self:int8"].weight_bytes < lineup["self:int8"].target.card.weight_bytes
    assert isinstance(lineup["ngram:1-3"].draft, Ngrams)
    assert isinstance(lineup["cascade:ngram:1-3+self:int8"].draft, Cascade)
    for pair in lineup.values():
        alone, together = texts(pair)
        assert alone == together


@pytest.mark.parametrize("way", ["self:int8", "self:int4"])
def test_fewer_bits_on_pytorch(tmp_path: Path, way: str) -> None:
    """The format belongs to the draft alone; the target keeps its weights and its text."""
    shape = dict(hidden_size=64, intermediate_size=128, num_attention_heads=2, num_key_value_heads=2)
    model = small_model("llama", vocab_size=WIDTH, bos_token_id=0, eos_token_id=1, **shape)
    pair = load_pair(write_model(tmp_path / "target", model), way, TORCH)
    assert pair.draft is not None
    assert pair.draft.card.weight_bytes < pair.target.card.weight_bytes
    alone, together = texts(pair)
    assert alone == together


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small model over a vocabulary of 280 ids, learnt from other texts."""
    folder = tmp_path_factory.mktemp("stranger")
    small_model("llama", vocab_size=280, max_position_embeddings=64, bos_token_id=0, eos_token_id=1).save_pretrained(
        folder
    )
    train_tokenizer(iter(["for x in y:\n    print(x)\n", "A stitch in time saves nine.\n"] * 20), 280).save_pretrained(
        folder
    )
    return str(folder)


def test_a_model_of_another_vocabulary_drafts_what_both_have(tiny_pair: tuple[str, str], stranger: str) -> None:
    """It is refused as it is, the sentence says how it can draft, and then it changes no text, also past its own context."""
    with pytest.raises(FastdraftError, match=f"other:{stranger}"):
        load_pair(tiny_pair[0], stranger, TORCH)
    pair = load_pair(tiny_pair[0], f"other:{stranger}", TORCH)
    draft: Any = pair.draft
    assert draft.card.name == f"other:{stranger}"
    assert 200 < len(draft.target_ids) < 280
    theirs = load_tokenizer(Path(stranger), stranger)
    for ours, other in zip(draft.target_ids[::20], draft.model.head_ids[::20], strict=True):
        assert pair.tokenizer.convert_ids_to_tokens(ours) == theirs.convert_ids_to_tokens(other)
    assert theirs.decode(draft.translate(pair.ids("def add(a, b):"))) == f"{theirs.bos_token}def add(a, b):"
    for length in (24, 90):
        request = pair.request("def add(a", max_new_tokens=length, sampling=Sampling(), ignore_stops=True)
        both = [[t for r in pair.decode(mode, request, 3) for t in r.emitted] for mode in ("ar", "sd")]
        assert both[0] == both[1]
    request = pair.request("def add(a", max_new_tokens=24, sampling=Sampling(1.0), ignore_stops=True)
    assert all(check.passed for check in check_law(pair.target, pair.drafter(), request, 3, 300))
    assert not all(check.passed for check in check_law(pair.target, pair.drafter(), request, 3, 300, accept_all))


@pytest.mark.parametrize(
    ("draft", "words"),
    [
        ("self:layers=2", "give 1 to 1"),
        ("ngram:x", "for example ngram:2-4"),
    ],
)
def test_what_cannot_draft_is_one_sentence(tiny_pair: tuple[str, str], draft: str, words: str) -> None:
    """Before anything is decoded."""
    with pytest.raises(FastdraftError, match=words):
        load_pair(tiny_pair[0], draft, TORCH)


def test_layers_are_taken_from_wherever_the_target_lies_now(tiny_pair: tuple[str, str], tmp_path: Path) -> None:
    """Links into a folder that was moved are made anew, and lists by layer are cut too."""
    before = Path(shutil.copytree(tiny_pair[0], tmp_path / "before"))
    config = json.loads((before / "config.json").read_text()) | {"layer_types": ["full_attention"] * 2}
    (before / "config.json").write_text(json.dumps(config))
    place = first_layers(before, 1, "tiny")
    assert first_layers(before, 1, "tiny") == place
    cut = json.loads((place / "config.json").read_text())
    assert (cut["num_hidden_layers"], cut["layer_types"]) == (1, ["full_attention"])
    after = before.rename(tmp_path / "after")
    assert first_layers(after, 1, "tiny") == place
    assert (place / "model.safetensors").resolve() == (after / "model.safetensors").resolve()
    (after / "model.safetensors").rename(after / "openvino_model.bin")
    with pytest.raises(FastdraftError, match="OpenVINO model, of which no layers"):
        first_layers(after, 1, "tiny")
