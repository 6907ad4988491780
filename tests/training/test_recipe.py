"""Recipes: strict TOML, clear refusals, settings from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdraft_core import places
from fastdraft_core.errors import FastdraftError
from fastdraft_core.training.recipe import dump_recipe, load_recipe, parse_count, parse_recipe

RECIPE = """
name = "small"
target = "demo"
[model]
hidden_size = 64
num_layers = 1
num_heads = 2
num_kv_heads = 2
intermediate_size = 128
[pt]
tokens = "2M"
sources = { text = 1.0 }
[cp]
tokens = 1000
sources = { code = 0.5, text = 0.5 }
"""


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    """A small recipe for a draft."""
    path = tmp_path / "small.toml"
    path.write_text(RECIPE)
    return path


def refusal(path: Path, *settings: str) -> str:
    """What the user reads when the recipe is refused."""
    with pytest.raises(FastdraftError) as caught:
        load_recipe(str(path), list(settings))
    return caught.value.message


@pytest.mark.parametrize("path", sorted((places.assets() / "recipes").glob("*.toml")), ids=lambda p: p.stem)
def test_every_bundled_recipe_loads(path: Path) -> None:
    """`fastdraft train NAME` works for every name that is bundled."""
    assert load_recipe(path.stem).stages


def test_stages_run_in_the_papers_order(recipe_file: Path) -> None:
    """PT before CP before FT, however the file orders them."""
    recipe_file.write_text(RECIPE.replace("[pt]", "[later]").replace("[cp]", "[pt]").replace("[later]", "[cp]"))
    assert list(load_recipe(str(recipe_file)).stages) == ["pt", "cp"]


def test_an_unknown_key_names_the_nearest_known_one(recipe_file: Path) -> None:
    """A misspelt key that is silently passed over costs a training: it is refused, with the right spelling."""
    message = refusal(recipe_file, "pt.learning_rat=0.1")
    assert "learning_rat" in message
    assert "Did you mean 'learning_rate'?" in message
    assert "small.toml" in message


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("model.hidden_size=1", "hidden_size"),
        ("pt.optimizer=adam", "optimizer"),
        ("pt.tokens=2X", "2X"),
        ("pt.tokens=0", "0"),
        ("pt.learning_rate=fast", "learning_rate"),
        ("name.first=x", "name is a value, not a section"),
        ("name", "no '='"),
        ("pt.sources={target = 1.0}", r"[synthesis]"),
        ("tokenizer={vocab_size = 512, sources = ['text']}", "either target"),
        ("synthesis={tokens = 'lots', sources = {text = 1.0}, temperatures = [0.0]}", "lots"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(recipe_file: Path, setting: str, says: str) -> None:
    """Every wrong value is one sentence before the training starts, never a traceback after an hour."""
    assert says in refusal(recipe_file, setting)


def test_settings_override_the_file(recipe_file: Path) -> None:
    """`--set pt.tokens=3M` changes one value; strings need no quotes, numbers stay numbers."""
    recipe = load_recipe(str(recipe_file), ["pt.tokens=3M", "seed=7", "compile=true", "pt.sources={code = 1.0}"])
    assert recipe.pt is not None
    assert (recipe.pt.tokens, recipe.seed, recipe.compile, recipe.pt.sources) == ("3M", 7, True, {"code": 1.0})


def test_a_missing_recipe_lists_the_bundled_ones(tmp_path: Path) -> None:
    """A wrong name answers with the names that exist."""
    assert "demo-target" in refusal(tmp_path / "none.toml")


def test_broken_files_are_one_sentence(tmp_path: Path) -> None:
    """Neither broken TOML nor a binary file shows a traceback."""
    broken, binary = tmp_path / "broken.toml", tmp_path / "binary.toml"
    broken.write_text("name = ")
    binary.write_bytes(b"\xff\xfe\x00")
    assert "not valid TOML" in refusal(broken)
    assert "not valid TOML" in refusal(binary)


def test_a_recipe_without_stages_is_refused(tmp_path: Path) -> None:
    """An empty training is a mistake, not a success."""
    path = tmp_path / "empty.toml"
    path.write_text(RECIPE[: RECIPE.index("[pt]")])
    assert "no stage" in refusal(path)


def test_dump_and_parse_give_the_same_recipe(recipe_file: Path) -> None:
    """The recipe that a job folder keeps is the recipe that ran."""
    recipe = load_recipe(str(recipe_file))
    data: dict[str, Any] = dump_recipe(recipe)
    assert "ft" not in data
    assert parse_recipe(data, "again") == recipe


@given(st.integers(1, 10**6), st.sampled_from(["", "K", "M", "B"]))
def test_counts(number: int, unit: str) -> None:
    """`12M` means twelve million, in either case and with spaces around."""
    factor = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9}[unit]
    assert parse_count(f" {number}{unit.lower()} ") == parse_count(f"{number}{unit}") == number * factor


@given(st.text(max_size=8).filter(lambda text: not any(c.isdigit() for c in text)) | st.just("-3") | st.just("1e6"))
def test_anything_else_is_refused_clearly(text: str) -> None:
    """Whatever else is typed as a count, the answer is one sentence with examples."""
    with pytest.raises(FastdraftError, match="5B"):
        parse_count(text)
