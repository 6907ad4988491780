"""Exports of a draft with a draft vocabulary: the whole head for programs that know no list, and the list for fastdraft."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from fastdraft_core.engine.load_options import LoadOptions
from fastdraft_core.engine.pair import load_pair
from fastdraft_core.models.draft_vocab import DraftVocab, read_draft_vocab, write_draft_vocab
from tests.exports import exported
from tests.folders import WIDTH, tiny_target, tiny_tokenizer, write_model
from tests.runtimes.models import small_model

LIST = [1, *range(20, 100, 3)]
IDS = [5, 6, 7, 8]


def _draft(folder: Path, *, tied: bool) -> tuple[str, Any]:
    """A draft that was trained with a list, as it is published; and its model."""
    model = tiny_target()
    if tied:
        model = deepcopy(
            small_model("llama", vocab_size=WIDTH, bos_token_id=0, eos_token_id=1, tie_word_embeddings=True)
        )
    name = write_model(folder, model)
    vocab = DraftVocab(ids=LIST, vocab_size=WIDTH, counted="the target's own text", tokens=900, coverage=0.9)
    write_draft_vocab(folder, vocab)
    return name, model


@pytest.mark.parametrize("tied", [True, False])
def test_other_programs_get_a_whole_head_that_drafts_nothing_from_outside(tmp_path: Path, tied: bool) -> None:
    """Listed ids keep their logits, all others are the mean of these, and so never the best; the card says it."""
    name, source = _draft(tmp_path / "draft", tied=tied)
    folder = exported(name, tmp_path / "hf", "hf")
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    ids = torch.tensor([IDS])
    logits, before = model(input_ids=ids).logits[0], source(input_ids=ids).logits[0]
    torch.testing.assert_close(logits[:, LIST], before[:, LIST], atol=1e-4, rtol=1e-4)
    outside = [number for number in range(WIDTH) if number not in LIST]
    mean = before[:, LIST].mean(-1, keepdim=True).expand(-1, len(outside))
    torch.testing.assert_close(logits[:, outside], mean, atol=1e-4, rtol=1e-4)
    assert {int(best) for best in logits.argmax(-1)} <= set(LIST)
    card = (folder / "README.md").read_text()
    assert "This export has the whole head" in card
    assert f"{len(LIST)} of {WIDTH} ids" in card
    assert read_draft_vocab(folder) == read_draft_vocab(tmp_path / "draft")


def test_fastdraft_scores_the_list_of_an_exported_ir(tmp_path: Path) -> None:
    """The IR has the whole head; with the list beside it the runtime makes it short again."""
    name, source = _draft(tmp_path / "draft", tied=True)
    folder = exported(name, tmp_path / "ov", "openvino")
    options = LoadOptions(runtime="openvino", device="cpu", dtype="float32", threads=1)
    runtime: Any = load_pair(write_model(tmp_path / "target", tiny_target()), str(folder), options).draft
    assert (runtime.head_ids, runtime.card.draft_vocab) == (sorted(LIST), len(LIST))
    before = source(input_ids=torch.tensor([IDS])).logits[0, -1]
    torch.testing.assert_close(runtime.prefill(IDS), before[sorted(LIST)].detach(), atol=1e-3, rtol=1e-3)


def test_an_option_of_the_name_changes_no_export(tmp_path: Path) -> None:
    """@vocab is how a draft is loaded here; other programs get the head that the draft has."""
    name = write_model(tmp_path / "draft", tiny_target())
    exported(f"{name}@vocab=64", tmp_path / "hf", "hf")
    model: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "hf")
    assert torch.equal(model.get_output_embeddings().weight, tiny_target().get_output_embeddings().weight)
    assert read_draft_vocab(tmp_path / "hf") is None
    assert len(tiny_tokenizer()) == WIDTH
