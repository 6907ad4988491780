"""A look at the data before anything is spent: what is shown is what would be trained on."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from transformers import AutoTokenizer

from fastdraft_core.data.generation import Batch, Written
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Previewed
from fastdraft_core.training import preview as previews
from fastdraft_core.training.preview import preview
from fastdraft_core.training.recipe import Recipe, dump_recipe, load_recipe, parse_recipe
from fastdraft_core.training.start import target_path

TEXT = "def add(a, b):\n    return a + b\n"


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """The tiny draft of the bundled target on files of our own."""
    for number in range(3):
        (tmp_path / f"{number}.py").write_text(TEXT * (number + 1))
    data = dump_recipe(load_recipe("demo-tiny"))
    data |= {"decontaminate": [], "sources": {"own": {"path": str(tmp_path), "held_out": 1000}}}
    data["synthesis"] |= {"sources": {"own": 1.0}, "new_tokens": 12, "temperatures": [0.0, 1.0]}
    for stage in ("pt", "cp"):
        data[stage]["sources"] = {"own": 1.0}
    return parse_recipe(msgspec.to_builtins(data), "test")


def test_documents_come_with_their_tokens(recipe: Recipe) -> None:
    """The pieces are the document, token by token, as the target's tokenizer cuts it."""
    (sample,) = preview(recipe, ["own"], 1)
    assert isinstance(sample, Previewed)
    assert sample.source == "own"
    assert sample.num_tokens == len(sample.tokens)
    assert "".join(sample.tokens).replace("<|bos|>", "") in (TEXT, TEXT * 2, TEXT * 3)


def test_the_target_goes_on_after_a_prompt(recipe: Recipe) -> None:
    """What it writes is told apart from what it was given, at the temperature that FT would use."""
    (sample,) = preview(recipe, ["target"], 1)
    assert sample.temperature == 0.0
    assert 0 < sample.given < len(sample.tokens)
    assert sample.num_tokens == len(sample.tokens) - sample.given <= 12
    assert sample.document.startswith("prefix of ")


def test_a_recipe_that_trains_a_target_has_no_tokens_yet() -> None:
    """Its tokenizer is trained first."""
    with pytest.raises(FastdraftError, match="no tokens to show yet"):
        list(preview(load_recipe("demo-target"), ["text"], 1))


def test_an_unknown_source_is_named(recipe: Recipe) -> None:
    """A slip is a sentence."""
    with pytest.raises(FastdraftError, match="nowhere"):
        list(preview(recipe, ["nowhere"], 1))


def test_a_source_without_a_document_is_named(recipe: Recipe, tmp_path: Path) -> None:
    """An empty page would look as if the sample were still to come."""
    for path in tmp_path.glob("*.py"):
        path.write_text("")
    with pytest.raises(FastdraftError, match=r"'own' has no document to train on"):
        list(preview(recipe, ["own"], 1))


def _magpie(recipe: Recipe, template: str | None, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """The recipe whose target, with this chat template, is asked for its own instructions alone."""
    tokenizer = AutoTokenizer.from_pretrained(target_path(recipe))
    tokenizer.chat_template = template
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda *asked, **given: tokenizer)
    data = dump_recipe(recipe)
    data["synthesis"] |= {"sources": {}, "magpie": 1.0}
    return parse_recipe(data, "test")


def test_magpie_of_a_target_without_a_chat_template_is_one_sentence(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What training would refuse, the look before it refuses in the same words."""
    recipe = _magpie(recipe, None, monkeypatch)
    with pytest.raises(FastdraftError, match=r"no chat model\. Set synthesis\.magpie = 0"):
        list(preview(recipe, ["target"], 1))


def test_a_target_that_invents_nothing_is_one_sentence(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what a target invents, all may be unusable: then there is nothing that it could go on from."""
    recipe = _magpie(recipe, "Q {% for m in messages %}{{ m.content }}{% endfor %} A", monkeypatch)

    def endless(batch: Batch) -> Written:
        return Written([None for _ in batch.prompts], [])

    monkeypatch.setattr(previews, "torch_writer", lambda model: endless)
    with pytest.raises(FastdraftError, match="There is no prompt to show"):
        list(preview(recipe, ["target"], 2))


def test_a_set_of_instructions_is_shown_as_the_target_reads_it(recipe: Recipe, tmp_path: Path) -> None:
    """Its rows hold no documents, so reading them as such ended in a sentence about a missing field."""
    path = tmp_path / "asked.jsonl"
    path.write_text("\n".join(json.dumps({"instruction": f"Write function {n}."}) for n in range(80)))
    data = dump_recipe(recipe)
    data["sources"]["asked"] = {"path": str(path), "held_out": 1000}
    data["synthesis"]["instructions"] = {"asked": 1.0}
    samples = list(preview(parse_recipe(data, "test"), ["asked"], 2))
    assert [s.source for s in samples] == ["asked", "asked"]
    assert all("Write function" in "".join(s.tokens) for s in samples)


def test_a_special_token_in_a_document_is_shown_as_the_text_it_is_trained_as(recipe: Recipe, tmp_path: Path) -> None:
    """What is shown is what would be trained on."""
    for path in tmp_path.glob("*.py"):
        path.write_text("x = '<|eos|>'\n")
    (sample,) = preview(recipe, ["own"], 1)
    assert "<|eos|>" not in sample.tokens
    assert "".join(sample.tokens).endswith("x = '<|eos|>'\n")
