"""How a recipe names its sources, and the recipes of the paper's models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fastdraft_core.errors import FastdraftError
from fastdraft_core.training.recipe import Recipe, dump_recipe, load_recipe, parse_recipe

PAPER = ("phi3-mini-50m", "phi3-mini-120m", "llama3.1-150m", "phi4-mini-120m")
MODEL = {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "num_kv_heads": 2, "intermediate_size": 32}


def recipe(**sections: Any) -> Recipe:
    """A recipe with one stage on the built-in text, unless told otherwise."""
    stage = {"tokens": 100, "sources": {"text": 1.0}}
    return parse_recipe({"name": "r", "target": "demo", "model": MODEL, "pt": stage, **sections}, "r.toml")


def stage(tokens: object = 100, **sources: object) -> dict[str, object]:
    return {"tokens": tokens, "sources": sources} if tokens else {"sources": sources}


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"sources": {"a": {}}}, r"\[sources\.a\] needs either path"),
        ({"sources": {"a": {"path": "x", "hub": "y"}}}, r"\[sources\.a\] needs either path"),
        ({"sources": {"a": {"path": "x", "config": "y"}}}, "config, revision or files"),
        ({"sources": {"a": {"hub": "x", "extensions": [".py"]}}}, "extensions"),
        ({"sources": {"code": {"path": "x"}}}, "code, text and target are taken"),
        ({"sources": {"../up": {"path": "x"}}}, "needs another name"),
        ({"sources": {"a": {"path": "x", "min_char": 3}}}, "Did you mean 'min_chars'"),
        ({"sources": {"a": {"path": "x", "tokens": "many"}}}, "not a number of tokens"),
        ({"pt": stage(books=1.0)}, r"pt uses the source 'books'.*\[sources\.books\].*code, text"),
        ({"pt": stage(text="5B", code=1.0)}, "mixes weights and tokens"),
        ({"pt": stage("6B", text="5B")}, "add up to 5,000,000,000"),
        ({"pt": stage(text="a lot")}, "not a number of tokens"),
    ],
)
def test_a_wrong_source_is_one_sentence(sections: dict[str, Any], words: str) -> None:
    """Everything that a recipe says of its data is checked before anything is spent."""
    with pytest.raises(FastdraftError, match=words):
        recipe(**sections)


def test_tokens_by_source_are_exact() -> None:
    """The paper's 5 B code and 2.5 B text, written as that, are 7.5 B in these shares."""
    found = recipe(cp=stage(None, code="5B", text="2.5B")).cp
    assert found is not None
    assert (found.tokens, found.sources) == (7_500_000_000, {"code": 5e9, "text": 2.5e9})


def test_a_recipe_with_sources_comes_back(tmp_path: Path) -> None:
    """A job keeps its recipe as a file and reads it again: nothing may change on the way."""
    import msgspec

    first = recipe(sources={"a": {"path": "/x", "extensions": [".py"], "held_out": 9}}, pt=stage(None, a="2K"))
    path = tmp_path / "recipe.toml"
    path.write_bytes(msgspec.toml.encode(dump_recipe(first)))
    assert load_recipe(str(path)) == first


def test_paths_are_taken_from_where_they_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path in a recipe is beside it, one on the command line beside the user; a job finds both from anywhere."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    text = (
        'name = "r"\ntarget = "demo"\ndecontaminate = ["humaneval=h.jsonl"]\n[sources.a]\npath = "data"\n'
        "[model]\nhidden_size = 16\nnum_layers = 1\nnum_heads = 2\nnum_kv_heads = 2\nintermediate_size = 32\n"
        '[pt]\ntokens = "1K"\nsources = { a = 1.0 }\n'
    )
    (tmp_path / "r.toml").write_text(text)
    loaded = load_recipe(str(tmp_path / "r.toml"))
    assert loaded.sources["a"].path == str(tmp_path / "data")
    assert loaded.decontaminate == [f"humaneval={tmp_path / 'h.jsonl'}"]
    assert load_recipe(str(tmp_path / "r.toml"), ["sources.a.path=mine"]).sources["a"].path == str(
        tmp_path / "here/mine"
    )


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_tokens_and_data(name: str) -> None:
    """PT: 5 B of English text. CP: 5 B of code and 2.5 B of text. FT: the target's own, at 0.6, 0.8, 1.0 and greedy."""
    found = load_recipe(name)
    assert found.pt is not None
    assert found.cp is not None
    assert found.ft is not None
    assert found.synthesis is not None
    assert found.pt.sources == {"fineweb": 5e9}
    assert found.cp.sources == {"stack": 5e9, "fineweb": 2.5e9}
    assert (found.pt.tokens, found.cp.tokens) == (5_000_000_000, 7_500_000_000)
    assert set(found.ft.sources) == {"target"}
    assert set(found.synthesis.temperatures) == {0.0, 0.6, 0.8, 1.0}
    assert found.ft.loss == "ce"
    # Prompts of Alpaca, OIG and Evol-Instruct, and what the target asks itself.
    sets = {found.sources[source].hub for source in found.synthesis.instructions}
    assert sets == {"tatsu-lab/alpaca", "laion/OIG", "WizardLMTeam/WizardLM_evol_instruct_70k"}
    assert found.synthesis.magpie > 0
    assert found.sources["fineweb"].hub == "HuggingFaceFW/fineweb"
    assert {"cnn-dm", "tinystories", "dolly", "humaneval"} <= set(found.decontaminate)


@pytest.mark.parametrize("name", PAPER)
def test_a_thousandth_of_the_papers_recipe(name: str) -> None:
    """--set scales a stage, and the shares stay."""
    found = load_recipe(name, ["cp.tokens=7.5M"]).cp
    assert found is not None
    assert found.tokens == "7.5M"
    assert found.sources["stack"] == 2 * found.sources["fineweb"]


@pytest.mark.parametrize(
    ("name", "architecture", "vocab_size", "parameters"),
    [
        ("phi3-mini-50m", "phi3", 32064, 52_107_776),
        ("phi3-mini-120m", "phi3", 32064, 120_045_312),
        ("llama3.1-150m", "llama", 128256, 154_147_328),
        ("phi4-mini-120m", "phi3", 200064, 121_707_008),
    ],
)
def test_the_shapes_have_the_sizes_that_they_name(
    name: str, architecture: str, vocab_size: int, parameters: int
) -> None:
    """50M, 120M, 150M, 120M: counted on the model itself, without its memory."""
    import torch
    from transformers import AutoModelForCausalLM

    from fastdraft_core.training.architecture import model_config

    special = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    config = model_config(load_recipe(name).model, architecture=architecture, vocab_size=vocab_size, special=special)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert sum(p.numel() for p in model.parameters()) == parameters
