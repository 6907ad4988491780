"""`fastdraft train RECIPE --plan`: what it says is so, and it needs no weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import Phi3Config

from fastdraft_core.cli.plan import plan_lines
from fastdraft_core.data.target_logits import bytes_per_token
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Planned, decode_message, encode
from fastdraft_core.formatting import span
from fastdraft_core.training import loop
from fastdraft_core.training.flops import flops_per_token
from fastdraft_core.training.folders import find_checkpoint
from fastdraft_core.training.matrix_peak import matrix_peak
from fastdraft_core.training.plan import Speed, checkpoint_bytes, plan, training_memory
from fastdraft_core.training.recipe import Recipe, load_recipe, parse_recipe
from tests.runtimes.models import small_model
from tests.training.tiny import tiny_run, tiny_stage


@pytest.fixture
def phi3(tmp_path: Path) -> str:
    """Phi-3-mini's configuration, and nothing else of it."""
    Phi3Config(
        vocab_size=32064, hidden_size=3072, num_hidden_layers=32, num_attention_heads=32, intermediate_size=8192
    ).save_pretrained(tmp_path / "phi3")
    return str(tmp_path / "phi3")


def small_recipe(target: str, **changes: object) -> Recipe:
    """A draft of one layer of 16, trained for 20 steps."""
    stage = {"tokens": 20 * 64, "sources": {"code": 1.0}, "sequence_length": 16, "batch_tokens": 64}
    shape = {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "num_kv_heads": 1, "intermediate_size": 32}
    return parse_recipe({"name": "small", "target": target, "model": shape, "pt": stage, **changes}, "test")


def test_a_papers_recipe_is_planned_without_weights(phi3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parameters that the paper's draft has, its tokens, ids of two bytes; the server is told and named as no measurement."""
    monkeypatch.setattr("fastdraft_core.training.plan._SHORTEST", 8)
    planned = plan(load_recipe("phi3-mini-50m", [f"target={phi3}"]), only="pt", seconds=0.01)
    assert planned.parameters == 52_107_776
    (stage,) = planned.stages
    assert stage.steps == -(-5_000_000_000 // 524_288)
    assert planned.shard_bytes == {"fineweb": 10_000_000_000}
    assert stage.seconds == pytest.approx(stage.tokens / stage.tokens_per_second)
    # Weights, gradients and AdamW's two moments; what a pass of 8 rows of 2048 keeps is more than its inputs to each layer.
    assert stage.memory > 16 * planned.parameters + 4 * 8 * 2048 * 512 * 6
    text = "\n".join(plan_lines(planned))
    assert "8 Gaudi 2" in text
    assert "scaled by hand from FLOPs, not measured" in text
    assert decode_message(encode(planned)) == planned


def test_the_time_of_writing_is_not_guessed(phi3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the target's weights nobody knows how fast it writes, and the plan says so; nothing is downloaded."""
    monkeypatch.setattr("fastdraft_core.training.plan._SHORTEST", 8)
    planned = plan(load_recipe("phi3-mini-50m", [f"target={phi3}"]), only="ft", seconds=0.01)
    # Half a million tokens are enough to judge by; a twentieth of these would be five millions.
    assert planned.synthesis_tokens == 100_000_000 + (1 << 19)
    assert planned.synthesis_tokens_per_second is None
    assert "in no figure, since its weights are not here" in "\n".join(plan_lines(planned))


def test_a_target_that_cannot_be_had_is_one_sentence() -> None:
    """Offline: what is missing, and that a folder with its configuration is enough."""
    with pytest.raises(FastdraftError, match=r"hub cannot be reached.*--set target=FOLDER"):
        plan(load_recipe("phi3-mini-50m", ["target=nobody/nothing"]))


@pytest.mark.parametrize("name", ["phi3-mini-50m", "phi3-mini-120m", "phi4-mini-120m", "llama3.1-150m"])
def test_the_papers_recipes_are_planned_without_their_targets(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine without network the catalogue knows what a plan needs of the four, and the plan says that it is its word."""
    speeds = {"pt": Speed(1000.0, 8)}
    monkeypatch.setattr("fastdraft_core.training.plan.measure", lambda *_: speeds)
    planned = plan(load_recipe(name), only="pt", seconds=0.01)
    assert planned.catalogued
    assert f"{round(planned.parameters, -7) // 10**6}m" in name
    text = "\n".join(plan_lines(planned))
    assert "from fastdraft's catalogue" in text


def test_a_target_that_is_here_speaks_for_itself(phi3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The catalogue is asked where nothing else can be."""
    monkeypatch.setattr("fastdraft_core.training.plan.measure", lambda *_: {"pt": Speed(1000.0, 8)})
    planned = plan(load_recipe("phi3-mini-50m", [f"target={phi3}"]), only="pt", seconds=0.01)
    assert not planned.catalogued
    assert "catalogue" not in "\n".join(plan_lines(planned))


def test_a_model_that_memory_cannot_hold_is_not_measured(
    tiny_pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Making it would have the system kill the plan, or something else, without a word."""
    monkeypatch.setattr("fastdraft_core.training.plan._free_memory", lambda device: 10_000)
    with pytest.raises(FastdraftError, match=r"parameters needs at least .* GB to be trained, and cpu has 0.0 GB free"):
        plan(small_recipe(tiny_pair[0]), seconds=0.01)


def test_a_plan_leaves_nothing_behind(tiny_pair: tuple[str, str], home: Path) -> None:
    """Nothing is spent: no job, no shard; only the measured matrix peak is kept."""
    recipe = small_recipe(tiny_pair[0])
    planned = plan(recipe, seconds=0.01)
    assert isinstance(planned, Planned)
    assert planned.stages[0].tokens == 20 * 64
    assert [path.name for path in home.rglob("*") if path.is_file()] == ["matrix-peak.json"]


def test_stored_probabilities_and_what_the_target_writes_are_counted(tiny_pair: tuple[str, str]) -> None:
    """Distillation's disk is often the largest part, and a surprise to who did not count it."""
    ft = {
        "tokens": 6400,
        "sources": {"target": 1.0},
        "loss": "kl",
        "top_k": 8,
        "sequence_length": 16,
        "batch_tokens": 64,
    }
    synthesis = {"tokens": 5000, "sources": {"code": 1.0}, "temperatures": [0.0]}
    planned = plan(small_recipe(tiny_pair[0], ft=ft, synthesis=synthesis), seconds=0.02)
    assert planned.stages[1].logits_bytes == 6400 * bytes_per_token(8, 300)
    # One in twenty on top, for evaluation.
    assert planned.synthesis_tokens == 5250
    assert planned.synthesis_tokens_per_second is not None
    text = "\n".join(plan_lines(planned))
    assert f"modelled from {planned.synthesis_tokens_per_second:,.0f} tokens/s, measured here on PyTorch with" in text
    (written,) = (line for line in text.splitlines() if line.startswith("writes"))
    assert "5,250" in written
    assert written.endswith(span(5250 / planned.synthesis_tokens_per_second))
    assert plan(small_recipe(tiny_pair[0], ft=ft, synthesis=synthesis), only="pt", seconds=0.01).synthesis_tokens == 0


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_the_planned_disk_is_what_checkpoints_take(tmp_path: Path, optimizer: str) -> None:
    """`last` and `best` as planned, against the files of a real stage; names and tokenizer come on top."""
    run = tiny_run(tmp_path, tiny_stage(optimizer=optimizer))
    list(loop.train_stage(run))
    last = find_checkpoint(run.folder / "last")
    assert last is not None
    real = sum((last / name).stat().st_size for name in ("model.safetensors", "trainer.safetensors"))
    weights = 4 * sum(p.numel() for p in run.model.parameters())
    assert 0 <= real - (checkpoint_bytes(run.model, run.stage) - weights) / 2 < 8192


def test_the_planned_memory_covers_what_a_pass_keeps(tmp_path: Path) -> None:
    """Twice the rows keep twice as much; recomputing layers keeps less, as the advice in the plan says."""
    model, cpu = tiny_run(tmp_path).model, torch.device("cpu")

    def memory(**changes: object) -> int:
        return training_memory(model, tiny_stage(batch_tokens=1 << 20, sequence_length=256, **changes), cpu)

    one, two, four = memory(micro_batch=8), memory(micro_batch=16), memory(micro_batch=32)
    assert four - two == pytest.approx(2 * (two - one), rel=0.01)
    assert memory(micro_batch=32, activation_checkpointing=True) < four


@pytest.mark.parametrize("tied", [True, False])
def test_flops_by_the_shape(tied: bool) -> None:
    """Six for every weight of a product and half the attention's square, counted by torch itself on a real pass."""
    from torch.utils.flop_counter import FlopCounterMode

    model = small_model("llama", vocab_size=64, tie_word_embeddings=tied)
    model.set_attn_implementation("eager")
    length = 32
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, length, dtype=torch.int64), use_cache=False).logits.sum().backward()
    config = model.config
    head = config.hidden_size // config.num_attention_heads
    masked_half = 6 * config.num_hidden_layers * config.num_attention_heads * head * length * length
    # The first layer's input is an embedding, so no gradient of a product is left out.
    assert counter.get_total_flops() - masked_half == pytest.approx(length * flops_per_token(model, length), rel=0.01)


def test_the_matrix_peak_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured once on a quiet machine; a figure from a busy one is measured again and only ever rises."""
    from fastdraft_core.training import matrix_peak as module

    figures = iter([(2.0, True), (1.0, True), (5.0, False)])
    monkeypatch.setattr(module, "_measure", lambda device: module.MatrixPeak(*next(figures)))
    cpu = torch.device("cpu")
    assert [matrix_peak(cpu) for _ in range(4)] == [2.0, 2.0, 5.0, 5.0]
