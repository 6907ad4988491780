"""What the card of a trained model declares: what it rests on, and nothing that nobody said."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import RepoCard

from fastdraft_core.training.licences import UNKNOWN, declared, header, licences, public_recipe, shown_name
from fastdraft_core.training.publish import model_card
from fastdraft_core.training.recipe import Recipe, dump_recipe, parse_recipe
from tests.runtimes.models import small_model


def recipe(target: str, **sources: Any) -> Recipe:
    """A draft of ``target`` on own ``sources``."""
    shape = {"hidden_size": 32, "num_layers": 1, "num_heads": 4, "num_kv_heads": 2, "intermediate_size": 48}
    stage = {"tokens": 1000, "sources": dict.fromkeys(sources or ("code",), 1.0), "batch_tokens": 512}
    data = {"name": "mine", "target": target, "model": shape, "sources": sources, "pt": stage, "decontaminate": []}
    return parse_recipe(data, "test")


@pytest.fixture
def target(tiny_pair: tuple[str, str], tmp_path: Path) -> Path:
    """A target whose card says MIT."""
    folder = Path(shutil.copytree(tiny_pair[0], tmp_path / "private" / "target"))
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# A target\n")
    return folder


def test_a_draft_takes_its_targets_licence_and_its_datas(target: Path, tmp_path: Path) -> None:
    """Every draft was declared Apache-2.0, whatever it was made of."""
    (tmp_path / "text").mkdir()
    one = recipe(str(target), mine={"path": str(tmp_path / "text"), "license": "mit"})
    assert licences(one) == {"target": "mit", "mine": "mit"}
    assert declared(licences(one)) == "mit"
    assert declared({"target": "mit", "mine": "odc-by"}) == "other"


def test_what_nobody_says_is_unknown(target: Path, tmp_path: Path) -> None:
    """A source without a licence, and a target without a card, are declared by nobody."""
    assert declared(licences(recipe(str(target), mine={"path": str(tmp_path)}))) == UNKNOWN
    (target / "README.md").unlink()
    assert licences(recipe(str(target)))["target"] == UNKNOWN


def test_a_card_names_no_path_of_this_machine(target: Path, tmp_path: Path) -> None:
    """It is published; the base model is an id of the hub or nothing."""
    one = recipe(str(target), mine={"path": str(tmp_path / "private" / "text"), "license": "mit"})
    card = model_card(one, small_model("llama"), [])
    assert str(tmp_path) not in card
    assert "A draft for the target `target`" in card
    told = RepoCard(card).data.to_dict()
    assert (told["license"], told.get("base_model")) == ("mit", None)
    assert public_recipe(dump_recipe(one))["sources"]["mine"]["path"] == "text"


def test_a_target_of_the_hub_is_the_base_model() -> None:
    """So the hub lists the draft beside it."""
    card = header(recipe("owner/model"), {"owner/model": "mit"})
    assert RepoCard(card).data.to_dict()["base_model"] == "owner/model"
    assert shown_name("owner/model") == "owner/model"
