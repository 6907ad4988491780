"""What follows from a target, a time and a purpose: a recipe that is whole, fits both, and says where its values come from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fastdraft_app.wizard.answers import Answers
from fastdraft_app.wizard.facts import Findings, facts, measures
from fastdraft_app.wizard.proposal import Measures, propose
from fastdraft_app.wizard.questions import PAPER, PURPOSE, PURPOSES, QUESTIONS, TASTE, TIME, TIMES
from fastdraft_core.models.local_models import shelf
from fastdraft_core.training.recipe import Recipe, parse_count
from tests.app.conftest import MakeApp
from tests.app.helpers import wait_for

SMOLLM2 = Measures("target", 49_152, 134.5e6, 8192, chat=True)


def recipe(target: Measures, time: str, purpose: str = "all") -> Recipe:
    """The recipe that the wizard would launch."""
    answers = Answers.fresh()
    answers.set(QUESTIONS[TIME], time)
    answers.set(QUESTIONS[PURPOSE], purpose)
    answers.take(propose(answers.base, target, time, purpose))
    answers.set(QUESTIONS["target"], "demo")
    return answers.recipe()


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastdraft_core.machine.limits.cpu_quota", lambda: 2)


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("time", TIMES[1:])
@pytest.mark.parametrize(
    "target", [SMOLLM2, Measures("t", 300, 1e5, 160, chat=False), Measures("t", 128_256, 8e9, 131_072, chat=True)]
)
def test_every_proposal_is_a_recipe(target: Measures, time: str, purpose: str) -> None:
    """Nothing in it contradicts itself or the target's context."""
    made = recipe(target, time, purpose)
    assert made.synthesis is not None
    assert max(stage.sequence_length for stage in made.stages.values()) <= target.context
    assert made.synthesis.new_tokens + max(made.synthesis.prefix_tokens) <= target.context
    assert (made.synthesis.magpie > 0) == target.chat


def test_budgets_follow_from_the_time_and_the_rates() -> None:
    """An hour of SmolLM2 on two cores: half of it the target writes, 200 tokens/s; FT reads that four times at most."""
    made = recipe(SMOLLM2, "an hour")
    assert made.synthesis is not None
    written, fine = parse_count(made.synthesis.tokens), parse_count(made.ft.tokens if made.ft else 0)
    assert written == pytest.approx(200 * 3600 * 0.85 / 2, rel=0.05)
    assert fine == pytest.approx(4 * written, rel=0.05)
    assert (made.model.hidden_size, made.model.num_layers, made.model.draft_vocab) == (224, 4, 8192)
    assert made.init is not None
    longer, paper = recipe(SMOLLM2, "a night"), recipe(SMOLLM2, PAPER)
    assert longer.synthesis is not None
    assert parse_count(longer.synthesis.tokens) == pytest.approx(8 * written, rel=0.05)
    assert paper.pt is not None
    assert parse_count(paper.pt.tokens) == 5_000_000_000


def test_a_purpose_chooses_what_is_read_and_written() -> None:
    """Code reads more code; chat lets the target ask itself most of its questions."""
    code, chat = recipe(SMOLLM2, TASTE, "code"), recipe(SMOLLM2, TASTE, "chat")
    assert code.cp is not None
    assert code.cp.sources["code"] > 0.5
    assert chat.cp is not None
    assert chat.cp.sources["text"] > 0.5
    assert code.synthesis is not None
    assert chat.synthesis is not None
    assert chat.synthesis.magpie > code.synthesis.magpie > 0


def test_a_value_says_where_it_comes_from_until_somebody_types_another() -> None:
    """The stored rate, and the cores that it is scaled to."""
    answers = Answers.fresh("target")
    answers.take(propose(answers.base, SMOLLM2, "an hour", "all"))
    assert "stored rate" in answers.why["pt.tokens"]
    answers.set(QUESTIONS["pt.tokens"], "3M")
    assert "pt.tokens" not in answers.why
    assert not answers.wants_proposal
    answers.set(QUESTIONS[TIME], "a night")
    assert answers.wants_proposal


def write_target(folder: Path) -> Path:
    """A chat model of another vocabulary, by its small files and one weight."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir()
    (folder / "config.json").write_text(
        json.dumps({"architectures": ["LlamaForCausalLM"], "vocab_size": 49152, "max_position_embeddings": 2048})
    )
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    save_file({"w": torch.zeros(1000, dtype=torch.bfloat16)}, folder / "model.safetensors")
    return folder


def test_a_folder_is_read_where_it_lies(tmp_path: Path) -> None:
    """Vocabulary, context, parameters and template."""
    target = write_target(tmp_path / "target")
    answers, known = Answers.fresh(str(target)), Findings(models=shelf([target]))
    assert measures(answers, known) == Measures(str(target), 49_152, 1000, 2048, chat=True)
    assert "It has a chat template." in facts(0, answers, known)


async def test_the_wizard_begins_with_the_target_of_the_live_screen(make_app: MakeApp, tmp_path: Path) -> None:
    """Its pages know the target, and what somebody answered stays when the target is another one next time."""
    target = str(write_target(tmp_path / "target"))
    app = make_app("--target", target, "--draft", "off")
    async with app.run_test(size=(160, 48)) as pilot:
        await pilot.press("3")
        wizard = app.screen
        await wait_for(pilot, lambda: not wizard.answers.wants_proposal)  # type: ignore[attr-defined]
        made = wizard.answers.recipe()  # type: ignore[attr-defined]
        assert (made.target, made.model.draft_vocab) == (target, 8192)
        assert made.synthesis.magpie > 0
    assert Answers.kept("demo").recipe().target == "demo"
    answers = Answers.fresh(target)
    answers.set(QUESTIONS["seed"], "7")
    answers.keep()
    assert Answers.kept("demo").text(QUESTIONS["target"]) == target
