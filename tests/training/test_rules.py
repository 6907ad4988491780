"""Values that do not go together are a sentence before anything is spent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import LlamaConfig, LlavaConfig

from fastdraft_core.data import prompts
from fastdraft_core.data.prompts import Prefixes
from fastdraft_core.data.shards import Shard, open_shard, write_shard
from fastdraft_core.errors import FastdraftError
from fastdraft_core.jobs.run import run_job
from fastdraft_core.training import plan as plans
from fastdraft_core.training.architecture import model_config, new_model
from fastdraft_core.training.recipe import ModelShape
from fastdraft_core.training.start import check_context, recipe_config
from tests.jobs.tiny import tiny_recipe, write_world

_STAGE: dict[str, Any] = {"tokens": 640, "sources": {"text": 1.0}, "sequence_length": 16, "batch_tokens": 64}
_SHAPE = {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "num_kv_heads": 1, "intermediate_size": 32}
_SYNTHESIS: dict[str, Any] = {"tokens": 100, "sources": {"text": 1.0}, "temperatures": [0.0]}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"pt": {**_STAGE, "sequence_length": 128, "batch_tokens": 128}},
            r"pt\.sequence_length is 128, longer than model",
        ),
        ({"pt": {**_STAGE, "batch_tokens": 8}}, r"pt\.batch_tokens is 8, less than one row"),
        ({"pt": {**_STAGE, "learning_rate": float("inf")}}, r"pt\.learning_rate is inf"),
        ({"pt": {**_STAGE, "warmup": float("nan")}}, r"pt\.warmup"),
        ({"pt": {**_STAGE, "sources": {"text": -1.0, "code": 2.0}}}, r"pt\.sources\.text is -1\.0; give 0 or more"),
        ({"pt": {**_STAGE, "sources": {"text": float("nan")}}}, r"pt\.sources\.text is nan"),
        ({"pt": {**_STAGE, "sources": {"text": 0.0}}}, r"pt\.sources gives no source a weight"),
        ({"seed": -1}, r"seed is -1; give 0 or more"),
        ({"synthesis": {**_SYNTHESIS, "temperatures": [0.5, -0.5]}}, r"synthesis\.temperatures is -0\.5"),
        ({"synthesis": {**_SYNTHESIS, "temperatures": [float("inf")]}}, r"synthesis\.temperatures is inf"),
        ({"evaluation": {"temperature": float("inf")}}, r"evaluation\.temperature is inf"),
        (
            {"model": {**_SHAPE, "hidden_size": 18, "context_length": 64}},
            "heads of 9, and rotary positions need an even size",
        ),
    ],
    ids=str,
)
def test_a_value_that_cannot_work_is_refused_by_name(changes: dict[str, Any], words: str) -> None:
    """Each of these failed after the shards were built, or trained nonsense."""
    with pytest.raises(FastdraftError, match=words):
        tiny_recipe(**{"pt": _STAGE, **changes})


def test_rows_longer_than_the_targets_context_are_refused_at_once(tmp_path: Path) -> None:
    """The target judges the draft on the stage's own rows; this is told before a token is read."""
    LlamaConfig(max_position_embeddings=16, vocab_size=300).save_pretrained(tmp_path / "target")
    recipe = tiny_recipe(tmp_path, pt={**_STAGE, "sequence_length": 32})
    with pytest.raises(FastdraftError, match=r"pt\.sequence_length is 32, longer than the context of .*16 tokens"):
        list(run_job(recipe, tmp_path / "job"))
    with pytest.raises(FastdraftError, match=r"pt\.sequence_length is 32"):
        plans.plan(recipe)


def test_a_plan_of_no_stage_is_refused() -> None:
    """`--plan --stage nonsense` names the stages that there are, in place of an empty table."""
    with pytest.raises(FastdraftError, match="no stage 'nonsense'; it has pt"):
        plans.plan(tiny_recipe(), only="nonsense")


def test_a_small_held_out_side_is_called_so(tmp_path: Path) -> None:
    """A large source of which little is kept aside: the message names that side and the key that enlarges it."""
    world = write_world(tmp_path / "world")
    source = {"small": {"path": str(world / "texts"), "extensions": [".txt"], "held_out": 24}}
    stage = {**_STAGE, "sources": {"small": 1.0}, "sequence_length": 150, "batch_tokens": 150}
    recipe = tiny_recipe(world, sources=source, pt=stage, model={**_SHAPE, "context_length": 160})
    for path in (world / "texts").iterdir():
        path.write_text(path.read_text()[:100])
    with pytest.raises(
        FastdraftError, match=r"held-out side of source 'small'.*smaller held_out than 24 under \[sources\.s"
    ):
        list(run_job(recipe, tmp_path / "job"))


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gemma2", "phi3"])
def test_a_drafts_heads_have_the_width_that_the_recipe_says(architecture: str) -> None:
    """Qwen3 and Gemma give their heads a width of their own, 128 or 256: a draft of 16 would be several times as large."""
    config = model_config(
        ModelShape(**_SHAPE), architecture=architecture, vocab_size=300, special={"pad_token_id": None}
    )
    attention = new_model(config, seed=1, attention="eager").model.layers[0].self_attn
    assert attention.head_dim == 8
    assert attention.o_proj.weight.shape == (16, 16)


@pytest.mark.parametrize("architecture", ["gpt2", "gptj", "falcon", "gpt_neo"])
def test_older_names_of_a_width_are_honoured(architecture: str) -> None:
    """They call the inner width n_inner or ffn_hidden_size, and kept four times the outer one, whatever was asked."""
    shape = ModelShape(**(_SHAPE | {"num_kv_heads": 2, "intermediate_size": 40, "context_length": 64}))
    config = model_config(shape, architecture=architecture, vocab_size=300, special={"pad_token_id": None})
    sizes = {size for p in new_model(config, seed=1, attention="sdpa").parameters() for size in p.shape}
    assert 40 in sizes
    assert max(sizes) == 300


@pytest.mark.parametrize(
    ("architecture", "changes", "words"),
    [
        ("mixtral", {}, "weights in its layers"),
        ("deepseek_v3", {}, "weights in its layers"),
        ("gpt_oss", {}, "weights in its layers"),
        ("bloom", {}, "weights in its layers"),
        ("opt", {}, "depends on its numbers"),
        ("jamba", {}, "running state"),
        ("gpt2", {"num_kv_heads": 1}, "num_kv_heads = 2 and not 1"),
        ("nonesuch", {}, "knows no architecture 'nonesuch'"),
    ],
)
def test_what_an_architecture_does_not_make_names_the_one_that_does(
    architecture: str, changes: dict[str, Any], words: str
) -> None:
    """Experts, other widths and layers without a cache were trained unasked, or ended in a traceback after hours."""
    shape = ModelShape(**(_SHAPE | changes))
    with pytest.raises(FastdraftError, match=words) as refusal:
        model_config(shape, architecture=architecture, vocab_size=300, special={"pad_token_id": None})
    assert 'model.architecture = "llama"' in refusal.value.message
    assert "\n" not in refusal.value.message


def test_a_target_that_also_sees_has_a_draft(tmp_path: Path) -> None:
    """Of a vision-language model the part that writes counts: its vocabulary, architecture and context."""
    text = LlamaConfig(vocab_size=777, max_position_embeddings=64, hidden_size=32, num_attention_heads=2)
    LlavaConfig(text_config=text).save_pretrained(tmp_path / "target")
    recipe = tiny_recipe(tmp_path)
    check_context(recipe)
    config = recipe_config(recipe)
    assert (config.model_type, config.vocab_size) == ("llama", 777)


def _shard(folder: Path, lengths: list[int], beginning: int) -> Shard:
    rows = [([beginning, *range(100 * n, 100 * n + length - 1)], None) for n, length in enumerate(lengths, 1)]
    write_shard(folder / "shard", rows, source="mine", tokenizer_hash="tiny", vocab_size=5000)
    return open_shard(folder / "shard", tokenizer_hash="tiny")


def test_prefixes_begin_where_documents_do(tmp_path: Path) -> None:
    """Half of the prompts are beginnings, also for a tokenizer that marks none (Qwen has no such token)."""
    shard = _shard(tmp_path, [40] * 30, 4000)
    drawn = [prompt.ids for n in range(20) for prompt in Prefixes([shard], [1.0], [8], 3).batch(n, 10)]
    at_beginning = np.mean([ids[0] == 4000 for ids in drawn])
    assert 0.4 < at_beginning < 0.65


def test_prompts_do_not_depend_on_how_many_will_be_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first ones are drawn from a source's beginning alone; later ones, which would repeat them, from ever more of it."""
    monkeypatch.setattr(prompts, "MATERIAL_TOKENS", 256)
    (tmp_path / "long").mkdir()
    short, long = _shard(tmp_path, [40] * 10, 4000), _shard(tmp_path / "long", [40] * 45, 4000)
    asked: list[int] = []

    def longer(tokens: int) -> list[Shard]:
        asked.append(tokens)
        return [long]

    growing = Prefixes([short], [1.0], [8], 3, longer)
    fixed = Prefixes([short], [1.0], [8], 3)
    assert growing.batch(0, 4) == fixed.batch(0, 4)
    assert asked == []
    late = growing.batch(9, 4)
    assert late != fixed.batch(9, 4)
    assert late == Prefixes([long], [1.0], [8], 3).batch(9, 4)
    assert asked == [4096]


def test_a_source_shorter_than_a_prefix_is_named(tmp_path: Path) -> None:
    """It was a traceback of the random generator."""
    with pytest.raises(
        FastdraftError, match=r"'mine' has a side of 12 tokens.*prefixes of 64\. Shorten synthesis\.prefix"
    ):
        Prefixes([_shard(tmp_path, [12], 1)], [1.0], [8, 64], 3)
