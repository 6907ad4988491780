"""Loading a pair: vocabularies are compared id by id, and every damaged folder is one clear sentence."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from fastdraft_core.decoding.sampling import Sampling
from fastdraft_core.engine.load_options import LoadOptions
from fastdraft_core.engine.pair import Pair, check_vocabularies, load_pair
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import RunFinished
from fastdraft_core.machine import limits
from tests.folders import CONTEXT, WIDTH, tiny_target, tiny_tokenizer, write_model
from tests.runtimes.models import noisy

OPTIONS = LoadOptions(device="cpu", dtype="float32", threads=1)


@pytest.fixture
def folder(tiny_pair: tuple[str, str], tmp_path: Path) -> Path:
    """A model folder to damage."""
    return Path(shutil.copytree(tiny_pair[0], tmp_path / "model"))


def load(target: object, draft: object = None, options: LoadOptions = OPTIONS) -> Pair:
    return load_pair(str(target), str(draft) if draft else None, options)


# --- vocabularies ------------------------------------------------------------------------------------


def test_two_swapped_ids_are_refused_by_name() -> None:
    """Pitfall 15: tokenizers of one size and different meaning; the error names the first three differences."""
    ours = {f"t{i}": i for i in range(10)}
    theirs = ours | {"t3": 7, "t7": 3, "t8": 9, "t9": 8}
    with pytest.raises(FastdraftError) as refusal:
        check_vocabularies(ours, theirs, "big", "small")
    shown = "differ in 4 ids (id 3: 't3' against 't7'; id 7: 't7' against 't3'; id 8: 't8' against 't9')"
    assert shown in refusal.value.message
    assert refusal.value.message.startswith("small is no draft for big")


def test_a_missing_id_is_a_difference() -> None:
    """Pitfall 15: one vocabulary that is the other's beginning is not the same."""
    with pytest.raises(FastdraftError, match="id 2: 'c' against None"):
        check_vocabularies({"a": 0, "b": 1, "c": 2}, {"a": 0, "b": 1}, "big", "small")


def test_equal_vocabularies_pass_in_any_order() -> None:
    """The order in which a file lists its tokens means nothing."""
    check_vocabularies({"a": 0, "b": 1}, {"b": 1, "a": 0}, "big", "small")


def test_a_pair_of_swapped_tokenizers_is_not_loaded(tiny_pair: tuple[str, str], folder: Path) -> None:
    """Pitfall 15: the comparison is part of loading, before any weight is read."""
    data = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = data["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    (folder / "tokenizer.json").write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(FastdraftError, match="differ in 2 ids"):
        load(tiny_pair[0], folder)


def test_padded_logits_load_and_decode_as_unpadded(tiny_pair: tuple[str, str], tmp_path: Path) -> None:
    """Pitfall 14: a target padded to 320 ids and a draft to 512 give the tokens of the unpadded pair."""
    texts = []
    for widths in ((WIDTH, WIDTH), (320, 512)):
        folders = []
        for model, width in zip((tiny_target(), noisy(tiny_target(), 0.2)), widths, strict=True):
            folders.append(write_model(tmp_path / f"{len(folders)}-{width}", _widened(model, width)))
        pair = load(*folders)
        assert pair.target.vocab_size == pair.draft.vocab_size == WIDTH  # type: ignore[union-attr]
        request = pair.request("def add", max_new_tokens=20, sampling=Sampling(0.9), seed=3, ignore_stops=True)
        texts.append([[t for r in pair.decode(mode, request, 3) for t in r.emitted] for mode in ("ar", "sd")])
    assert texts[0] == texts[1]


def _widened(model: Any, width: int) -> Any:
    from copy import deepcopy

    copy = deepcopy(model)
    if width > WIDTH:
        copy.resize_token_embeddings(width, mean_resizing=False)
    return copy


# --- damaged folders ---------------------------------------------------------------------------------


def _without_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def _broken_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def _without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _only_pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _truncated(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])


def _empty(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")


def _missing_shard(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))


def _broken_index(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    (folder / "model.safetensors.index.json").write_text("[]")


def _missing_tensor(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _without_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()


def _recurrent(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "mamba", "architectures": ["MambaForCausalLM"]}))


def _with_byte_order_mark(folder: Path) -> None:
    (folder / "config.json").write_bytes(b"\xef\xbb\xbf" + (folder / "config.json").read_bytes())


def _says(file: str, **changes: object) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / file
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return damage


def _generation_list(folder: Path) -> None:
    (folder / "generation_config.json").write_text("[1, 2]")


DAMAGE: list[tuple[Callable[[Path], None], str]] = [
    (shutil.rmtree, "no model folder"),
    (_without_config, r"no config\.json"),
    (_broken_config, r"config\.json is damaged"),
    (_with_byte_order_mark, r"config\.json begins with a byte order mark"),
    (_says("config.json", dtype="auto"), r"config\.json has dtype 'auto'.*float32"),
    (_says("config.json", num_attention_heads=5), r"cannot read .*config\.json: .*multiple"),
    (_says("generation_config.json", eos_token_id=[[1, 2]]), r"eos_token_id = \[\[1, 2\]\], which is neither"),
    (_says("generation_config.json", eos_token_id=["1"]), r"eos_token_id = \['1'\], which is neither"),
    (_generation_list, r"cannot read .*generation_config\.json"),
    (_without_weights, r"no weights"),
    (_only_pickled, r"only in pytorch_model\.bin.*safetensors"),
    (_truncated, "truncated or damaged"),
    (_empty, "truncated or damaged"),
    (_missing_shard, r"lacks model-00002-of-00002\.safetensors"),
    (_broken_index, "index.json is damaged"),
    (_missing_tensor, r"lacks 1 of the weights.*layers\.1\.mlp\.up_proj"),
    (_without_tokenizer, "no readable tokenizer"),
    (_recurrent, r"\(mamba\) has .*running state"),
]


@pytest.mark.parametrize(("damage", "words"), DAMAGE)
def test_a_damaged_folder_is_one_clear_sentence(folder: Path, damage: Callable[[Path], None], words: str) -> None:
    """Whatever is wrong with a folder is said in words, once, with the folder's or model's name."""
    damage(folder)
    with pytest.raises(FastdraftError, match=re.compile(words)) as refusal:
        load(folder)
    assert "\n" not in refusal.value.message
    assert str(folder) in refusal.value.message


def test_too_little_memory_is_said_before_loading(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names what is needed and what is free to a container as well, instead of a process that is killed."""
    monkeypatch.setattr(limits, "memory", lambda: (1 << 40, 100 << 20))
    with pytest.raises(FastdraftError, match=r"needs 0\.3 GB of memory and 0\.1 GB are free"):
        load(folder)


@pytest.mark.parametrize("options", [LoadOptions(dtype="float8"), LoadOptions(device="toaster")])
def test_an_unknown_dtype_or_device_lists_the_known_ones(tiny_pair: tuple[str, str], options: LoadOptions) -> None:
    """A slip on the command line is answered with what there is."""
    with pytest.raises(FastdraftError, match=r"Use one of: .*(float32|cpu)"):
        load(tiny_pair[0], options=options)


def test_an_unreachable_hub_model_is_one_sentence() -> None:
    """Without a network, a model that is not in the cache is said to be so."""
    with pytest.raises(FastdraftError, match="nobody/nothing is not in the local cache"):
        load("nobody/nothing")


# --- a loaded pair -----------------------------------------------------------------------------------


def test_a_pair_says_each_step_and_knows_its_stops(tiny_pair: tuple[str, str]) -> None:
    """The screen shows the steps of loading; a text ends with the tokenizer's and the model's end tokens."""
    steps: list[str] = []
    pair = load_pair(*tiny_pair, OPTIONS, steps.append)
    assert any("comparing the tokenizers" in step for step in steps)
    assert sum("loading" in step for step in steps) == 2
    assert pair.stops == {tiny_tokenizer().eos_token_id}
    assert pair.target.card.dtype == "float32"


def test_prompts_that_cannot_be_continued_are_refused(tiny_pair: tuple[str, str]) -> None:
    """A prompt that fills the context is refused with both numbers; a chat needs a template; sd needs a draft."""
    pair = load(tiny_pair[0])
    with pytest.raises(FastdraftError, match=rf"prompt has {CONTEXT} tokens .* context of {CONTEXT}"):
        pair.encode("z" * (CONTEXT - 1))
    assert len(pair.encode("z" * (CONTEXT - 2))) == CONTEXT - 1
    with pytest.raises(FastdraftError, match="no chat template"):
        pair.encode("hello", chat=True)
    with pytest.raises(FastdraftError, match="add --draft"):
        pair.drafter()


def test_a_chat_template_is_used_where_there_is_one(tiny_pair: tuple[str, str]) -> None:
    """A chat model sees its own format unless that is switched off."""
    pair = load(tiny_pair[0])
    pair.tokenizer.chat_template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}!"
    assert pair.tokenizer.decode(pair.encode("add")).endswith("<user>add!")
    assert pair.tokenizer.decode(pair.encode("add", chat=False), skip_special_tokens=True) == "add"


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ raise_exception('Roles must alternate') }}", "Roles must alternate"),
        ("{% for m in messages %}{{ m.content }", "unexpected"),
        ("{{ messages[1].content }}", "no element 1"),
        ("{# nothing #}", "nothing comes of it"),
    ],
)
def test_a_chat_template_that_fails_names_the_way_without_it(
    tiny_pair: tuple[str, str], template: str, words: str
) -> None:
    """A template is a program of the model's maker; whatever it raises is one sentence with --no-chat in it."""
    pair = load(tiny_pair[0])
    pair.tokenizer.chat_template = template
    with pytest.raises(FastdraftError, match=rf"(?s)chat template of .*{words}.*--no-chat") as refusal:
        pair.encode("add")
    assert "\n" not in refusal.value.message
    assert pair.encode("add", chat=False)


def test_a_prompt_that_is_no_unicode_is_one_sentence(tiny_pair: tuple[str, str]) -> None:
    """JSON can escape half a surrogate pair, and a terminal can pass bytes that are no UTF-8; no tokenizer takes either."""
    pair = load(tiny_pair[0])
    for prompt in ("a \ud83d", b"caf\xe9".decode(errors="surrogateescape")):
        for chat in (False, None):
            with pytest.raises(FastdraftError, match=r"no valid Unicode: character [34]"):
                pair.encode(prompt, chat=chat)


def test_an_end_that_the_tokenizer_adds_is_no_part_of_a_prompt(folder: Path) -> None:
    """A tokenizer with add_eos_token closes every text; what closes a prompt leaves nothing to continue."""
    plain = load(folder).encode("def add")
    data = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    bos, eos = ({"id": token, "ids": [number], "tokens": [token]} for token, number in (("<|bos|>", 0), ("<|eos|>", 1)))
    single = [{"SpecialToken": {"id": "<|bos|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    data["post_processor"] |= {
        "single": [*single, {"SpecialToken": {"id": "<|eos|>", "type_id": 0}}],
        "special_tokens": {"<|bos|>": bos, "<|eos|>": eos},
    }
    (folder / "tokenizer.json").write_text(json.dumps(data), encoding="utf-8")
    pair = load(folder)
    assert pair.tokenizer("def add").input_ids == [*plain, 1]
    assert pair.encode("def add") == plain


def test_mpts_context_ends_where_its_configuration_says(tmp_path: Path) -> None:
    """MPT calls it max_seq_len; taken for endless, decoding ended in an error of PyTorch's at the token behind it."""
    shape = {"d_model": 32, "n_heads": 4, "n_layers": 1, "max_seq_len": 24}
    config = AutoConfig.for_model("mpt", vocab_size=WIDTH, bos_token_id=0, eos_token_id=1, **shape)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    pair = load(write_model(tmp_path / "mpt", model))
    assert pair.target.context_length == 24
    request = pair.request("def add", max_new_tokens=100, sampling=Sampling(0.0), ignore_stops=True)
    *_, last = pair.events("ar", "def add", request, 1)
    assert isinstance(last, RunFinished)
    assert (last.reason, len(last.ids)) == ("context", 25 - len(request.prompt))
