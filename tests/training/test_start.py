"""Where a stage starts: another stage's best or last, untrained weights, or another model's."""

from __future__ import annotations

import json
import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from transformers import AutoModelForCausalLM

from fastdraft_core.data.tokenizer import train_tokenizer
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Event, Progress, StageFinished
from fastdraft_core.jobs.queue import submit
from fastdraft_core.jobs.run import run_job
from fastdraft_core.training.inheritance import inherited_config, inherited_model, token_pieces
from fastdraft_core.training.recipe import Init, ModelShape, Recipe, Synthesis, parse_recipe
from fastdraft_core.training.stages import check_ahead
from fastdraft_core.training.start import starting_model, target_tokenizer
from tests.folders import tiny_tokenizer, write_model
from tests.jobs.tiny import STEP_TOKENS, tiny_recipe, write_world
from tests.runtimes.models import small_model, uncached_logits

_SIBLING: dict[str, Any] = dict(
    vocab_size=300, max_position_embeddings=160, bos_token_id=0, eos_token_id=1, pad_token_id=None
)
_SHAPE = dict(
    hidden_size=32, num_heads=4, num_kv_heads=2, intermediate_size=48, context_length=160, tie_embeddings=False
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A target with texts, and a ``sibling`` of three layers with the same vocabulary."""
    folder = write_world(tmp_path_factory.mktemp("world"))
    write_model(folder / "sibling", small_model("llama", seed=3, num_hidden_layers=3, rope_theta=5000.0, **_SIBLING))
    return folder


def _shape(num_layers: int, **changes: Any) -> ModelShape:
    return ModelShape(**{**_SHAPE, "num_layers": num_layers, **changes})


def _stage(**changes: Any) -> dict[str, Any]:
    stage = {"tokens": 2 * STEP_TOKENS, "sources": {"small": 1.0}, "sequence_length": 16, "batch_tokens": STEP_TOKENS}
    return {**stage, "micro_batch": 4, **changes}


def _stages(world: Path, **stages: Any) -> Recipe:
    return tiny_recipe(world, steps=2, **stages)


def _start(recipe: Recipe, job: Path, name: str, previous: str | None) -> Any:
    stream = starting_model(recipe, job, name, previous, tiny_tokenizer(), torch.device("cpu"))
    while True:
        try:
            next(stream)
        except StopIteration as end:
            return end.value


def _same(a: Any, b: Any) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_stage_starts_from_the_best_or_the_last_of_the_one_before(tmp_path: Path, world: Path) -> None:
    """cp.start = best takes the checkpoint that acceptance chose; without the key it is the last."""
    list(run_job(_stages(world), tmp_path))
    best = tmp_path / "checkpoints/pt/best"
    changed = AutoModelForCausalLM.from_pretrained(best)
    with torch.no_grad():
        changed.get_input_embeddings().weight += 1.0
    changed.save_pretrained(best)
    last = AutoModelForCausalLM.from_pretrained(tmp_path / "checkpoints/pt/last")
    assert _same(_start(_stages(world, cp=_stage()), tmp_path, "cp", "pt"), last)
    assert _same(_start(_stages(world, cp=_stage(start="best")), tmp_path, "cp", "pt"), changed)
    shutil.rmtree(best)
    with pytest.raises(FastdraftError, match=r"starts from the best checkpoint of pt.*Run pt first"):
        _start(_stages(world, cp=_stage(start="best")), tmp_path, "cp", "pt")


def test_a_skipped_stage_is_left_out(tmp_path: Path, world: Path) -> None:
    """cp.skip = true: FT follows PT, and the recipe says so for ever."""
    recipe = _stages(world, cp=_stage(skip=True), ft=_stage())
    events: list[Event] = list(run_job(recipe, tmp_path))
    assert [e.stage for e in events if isinstance(e, StageFinished)] == ["pt", "ft"]


def test_one_stage_is_repeated_alone(tmp_path: Path, world: Path) -> None:
    """--stage cp --again trains CP from its start; PT and FT are not touched, and what CP was is kept beside."""
    recipe, job = _stages(world, cp=_stage(), ft=_stage()), tmp_path / "home" / "jobs" / "tiny"
    list(run_job(recipe, job))
    ft = (job / "checkpoints/ft/last/model.safetensors").read_bytes()
    submit(recipe, job, detach=False, stage="cp", again=True)
    events = list(run_job(recipe, job, only="cp"))
    assert [e.stage for e in events if isinstance(e, StageFinished)] == ["cp"]
    kept, made = (job / f"checkpoints/{name}/last/model.safetensors" for name in ("cp.before", "cp"))
    assert kept.read_bytes() == made.read_bytes()
    assert (job / "checkpoints/ft/last/model.safetensors").read_bytes() == ft
    with pytest.raises(FastdraftError, match="name it"):
        submit(recipe, tmp_path / "other", detach=False, again=True)


def test_a_stage_goes_on_without_the_one_before(tmp_path: Path, world: Path) -> None:
    """A stage that has its own checkpoint needs no other: PT's may have been deleted for room."""
    list(run_job(_stages(world, cp=_stage()), tmp_path))
    shutil.rmtree(tmp_path / "checkpoints/pt")
    assert not [e for e in run_job(_stages(world, cp=_stage()), tmp_path, only="cp") if isinstance(e, StageFinished)]


def test_all_layers_of_a_sibling_are_the_sibling(world: Path) -> None:
    """Pruned by nothing, the draft says what the sibling says: every weight and setting came along."""
    init = Init(method="pruned", model=str(world / "sibling"))
    config = inherited_config(init, _shape(3), vocab_size=300, special={})
    model, _ = inherited_model(init, config, tiny_tokenizer(), "target", "sdpa")
    sibling = AutoModelForCausalLM.from_pretrained(world / "sibling")
    ids = list(range(5, 40))
    assert torch.equal(uncached_logits(model, ids), uncached_logits(sibling, ids))
    assert config.rope_parameters["rope_theta"] == sibling.config.rope_parameters["rope_theta"]


@pytest.mark.parametrize(("layers", "kept"), [(None, [0, 2]), ([1, 2], [1, 2])])
def test_the_kept_layers_are_the_siblings(world: Path, layers: list[int] | None, kept: list[int]) -> None:
    """Two of three layers: the first and the last unless the recipe names others, with the weights that they had."""
    init = Init(method="pruned", model=str(world / "sibling"), layers=layers)
    config = inherited_config(init, _shape(2), vocab_size=300, special={})
    model, told = inherited_model(init, config, tiny_tokenizer(), "target", "sdpa")
    sibling = AutoModelForCausalLM.from_pretrained(world / "sibling")
    for new, old in enumerate(kept):
        assert _same(model.model.layers[new], sibling.model.layers[old])
    assert f"layers {kept[0]}, {kept[1]} of" in told


def test_what_does_not_fit_a_sibling_is_one_sentence(tmp_path: Path, world: Path) -> None:
    """Another shape, too many layers, a bad list, another vocabulary: each says what to set."""
    sibling = str(world / "sibling")
    for init, shape, words in (
        (
            Init(method="pruned", model=sibling),
            _shape(2, hidden_size=64, tie_embeddings=True),
            "hidden_size = 32, tie_embeddings = false",
        ),
        (Init(method="pruned", model=sibling), _shape(4), "has 3 layers"),
        (Init(method="pruned", model=sibling, layers=[2, 1]), _shape(2), "ascending order"),
    ):
        with pytest.raises(FastdraftError, match=words):
            inherited_config(init, shape, vocab_size=300, special={})
    init = Init(method="pruned", model=sibling)
    other = train_tokenizer(iter(["entirely different words " * 9]), 300)
    config = inherited_config(init, _shape(2), vocab_size=300, special={})
    with pytest.raises(FastdraftError, match=r"vocabularies differ .* 'transplant'"):
        inherited_model(init, config, other, "target", "sdpa")
    with pytest.raises(FastdraftError, match="starts a draft"):
        parse_recipe({**_target(), "init": {"method": "pruned", "model": sibling}}, "test")
    with pytest.raises(FastdraftError, match=r"pt\.start = 'best' needs a target"):
        parse_recipe(_target(start="best"), "test")
    with pytest.raises(FastdraftError, match="Did you mean 'method'"):
        tiny_recipe(world, init={"metod": "pruned", "model": sibling})


def _target(**stage: Any) -> dict[str, Any]:
    shape = {**_SHAPE, "num_layers": 1}
    return {
        "name": "t",
        "model": shape,
        "tokenizer": {"vocab_size": 300, "sources": ["text"]},
        "pt": _stage(sources={"text": 1}, **stage),
    }


def _donor(folder: Path) -> tuple[str, Any]:
    """A model over another vocabulary, which knows other words."""
    tokenizer = train_tokenizer(iter(["The sum of the lazy dog and the quick fox is large.\n"] * 20), 330)
    model = small_model("llama", seed=5, num_hidden_layers=3, **{**_SIBLING, "vocab_size": len(tokenizer)})
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder), tokenizer


def test_a_transplant_speaks_the_targets_vocabulary(tmp_path: Path) -> None:
    """A token of the same bytes has the donor's row, another the mean of its pieces', and the end of a text its own."""
    name, theirs = _donor(tmp_path / "donor")
    ours, init = tiny_tokenizer(), Init(method="transplant", model=name)
    config = inherited_config(init, _shape(2), vocab_size=320, special={"bos_token_id": 0, "eos_token_id": 1})
    model, told = inherited_model(init, config, ours, "target", "sdpa")
    donor = AutoModelForCausalLM.from_pretrained(name)
    pieces, same = token_pieces(theirs, ours)
    assert 256 < same < len(ours)
    assert f"{same:,} tokens have" in told
    assert all(theirs.decode(ids) == ours.decode([number]) for number, ids in pieces.items() if number > 1)
    for table, source in (
        (model.get_input_embeddings(), donor.get_input_embeddings()),
        (model.get_output_embeddings(), donor.get_output_embeddings()),
    ):
        assert table.weight.shape[0] == 320
        for number, ids in pieces.items():
            assert torch.allclose(table.weight[number], source.weight[ids].mean(0))
        # Ids that no text has are nobody's.
        assert torch.allclose(table.weight[-1], source.weight.mean(0), atol=1e-6)
    word = " the"
    assert ours.encode(word)[1:] == [n for n, ids in pieces.items() if ours.decode([n]) == word and len(ids) == 1]


def test_a_sentencepiece_vocabulary_meets_a_byte_level_one() -> None:
    """▁the, Ġthe and <0x0A> are the same bytes, however each vocabulary writes them."""
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2, "<0x0A>": 3, "▁the": 4, "fox": 5}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    theirs = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    ours = train_tokenizer(iter(["Is the fox the fox?\n"] * 20), 290)
    pieces, same = token_pieces(theirs, ours)
    by_text = {ours.decode([number]): ids for number, ids in pieces.items()}
    assert (by_text[" the"], by_text["\n"]) == ([4], [3])
    assert (pieces[ours.bos_token_id], pieces[ours.eos_token_id]) == ([1], [2])
    assert same == 4


def test_a_draft_is_trained_from_a_sibling(tmp_path: Path, world: Path) -> None:
    """The recipe's [init] end to end: it says what it starts from, and trains."""
    recipe = _stages(
        world, init={"method": "pruned", "model": str(world / "sibling")}, model={**_SHAPE, "num_layers": 1}
    )
    events = list(run_job(recipe, tmp_path))
    assert any("layers 0 of" in e.what for e in events if isinstance(e, Progress))
    assert isinstance(events[-1], StageFinished)
    assert not [e for e in run_job(recipe, tmp_path) if isinstance(e, Progress)]


def test_a_target_whose_tokenizer_names_no_end_is_one_sentence(tmp_path: Path, world: Path) -> None:
    """Every document of the training data ends with it; the configuration's own end is told to be written there."""
    target = Path(shutil.copytree(world / "target", tmp_path / "endless"))
    settings = json.loads((target / "tokenizer_config.json").read_text())
    del settings["eos_token"]
    (target / "tokenizer_config.json").write_text(json.dumps(settings))
    recipe = msgspec.structs.replace(_stages(world), target=str(target))
    with pytest.raises(FastdraftError, match=r"names no end-of-text token.*'<\|eos\|>' \(id 1\)"):
        target_tokenizer(recipe)


def test_a_chat_template_that_raises_is_told_before_the_first_stage(tmp_path: Path, world: Path) -> None:
    """FT asks for it after hours of pre-training."""
    section = Synthesis(tokens=100, temperatures=[0.0], instructions={"small": 1.0}, new_tokens=8)
    ft = msgspec.structs.replace(_stages(world, ft=_stage()).ft, sources={"target": 1.0})
    recipe = msgspec.structs.replace(_stages(world, pt=_stage()), ft=ft, synthesis=section)
    tokenizer = deepcopy(tiny_tokenizer())
    tokenizer.chat_template = "{{ raise_exception('Roles must alternate') }}"
    with pytest.raises(FastdraftError, match="Roles must alternate"):
        check_ahead(recipe, tmp_path, tokenizer, None)
