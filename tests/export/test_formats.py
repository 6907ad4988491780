"""Exports: other programs load what we write, and decode with it what we decode."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from fastdraft_core.bench.tasks import bundled_prompts
from fastdraft_core.decoding.sampling import Sampling
from fastdraft_core.engine.load_options import LoadOptions
from fastdraft_core.engine.pair import Pair, load_pair
from fastdraft_core.errors import FastdraftError
from fastdraft_core.export.formats import ExportOptions, export, resize_vocabulary
from fastdraft_core.models.folders import load_tokenizer
from tests.exports import code, exported, source_of
from tests.folders import WIDTH, tiny_target, tiny_tokenizer, write_model
from tests.runtimes.models import build_model, small_model

LENGTH = 40
GAMMA = 4
F32 = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32", "INFERENCE_NUM_THREADS": 1}
#: Characters of two to four bytes, a joiner, indentation, the names of special tokens, and nothing but spaces.
TEXTS = [
    "def f(x):\n\treturn  x  # naïve, Ωμέγα, 漢字, 👩‍👩‍👧\n",
    "a <|eos|> b <|bos|>c",
    "   \n\n  ",
    "1234567890 != '\"\\' \r\n",
    "e\u0301 \u200b \ufffd",
]


@cache
def _pair(target: str) -> Pair:
    return load_pair(target, "demo:S", LoadOptions(device="cpu", dtype="float32", threads=1))


def _prompts() -> list[str]:
    return [prompt.text for prompt in bundled_prompts(None)[::3]]


def _ours(prompt: str, stops: Sequence[int] = (), target: str = "demo") -> list[int]:
    """Our own greedy speculative output."""
    pair = _pair(target)
    request = pair.request(prompt, max_new_tokens=LENGTH, sampling=Sampling(), ignore_stops=True)
    ids = [token for record in pair.decode("sd", request, GAMMA) for token in record.emitted]
    return next((ids[: i + 1] for i, token in enumerate(ids) if token in stops), ids)


def _genai(target: Path, draft: Path | None) -> Any:
    import openvino_genai

    extra = {"draft_model": openvino_genai.draft_model(str(draft), "CPU", **F32)} if draft else {}
    return openvino_genai.LLMPipeline(str(target), "CPU", **extra, **F32)


def _genai_ids(pipe: Any, prompt: str, *, ignore_eos: bool = True) -> list[int]:
    import openvino_genai

    settings = openvino_genai.GenerationConfig(
        max_new_tokens=LENGTH, ignore_eos=ignore_eos, num_assistant_tokens=GAMMA, apply_chat_template=False
    )
    return list(pipe.generate(pipe.get_tokenizer().encode(prompt), settings).tokens[0])


def _assisted_ids(target: Path, draft: Path, prompt: str) -> list[int]:
    """Greedy assisted generation of transformers."""
    tokenizer = AutoTokenizer.from_pretrained(target)
    models: list[Any] = [AutoModelForCausalLM.from_pretrained(f, dtype=torch.float32) for f in (target, draft)]
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    output = models[0].generate(
        ids,
        attention_mask=torch.ones_like(ids),
        assistant_model=models[1],
        max_new_tokens=LENGTH,
        do_sample=False,
        pad_token_id=0,
        eos_token_id=None,
    )
    return output[0, ids.shape[1] :].tolist()


@pytest.fixture(scope="module")
def target_ir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported("demo", tmp_path_factory.mktemp("export") / "demo-ov", "openvino")


@pytest.fixture(scope="module")
def draft_ir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported("demo:S", tmp_path_factory.mktemp("export") / "demo-S-ov", "openvino")


@pytest.fixture(scope="module")
def target_hf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported("demo", tmp_path_factory.mktemp("export") / "demo-hf", "hf")


@pytest.fixture(scope="module")
def wide_target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A target with 4160 logits over the 4096 ids, as models have them that were padded for their hardware.

    A small one, demo:XS: what counts here is the width.
    """
    folder = tmp_path_factory.mktemp("wide") / "target"
    model: Any = AutoModelForCausalLM.from_pretrained(source_of("demo:XS"), dtype="bfloat16")
    resize_vocabulary(model, 4160)
    model.save_pretrained(folder)
    load_tokenizer(source_of("demo"), "demo").save_pretrained(folder)
    return folder


# --- OpenVINO GenAI --------------------------------------------------------------------------------------


def test_openvino_genai_decodes_what_we_decode(target_ir: Path, draft_ir: Path) -> None:
    """Its speculative pipeline takes our exports as target and ``draft_model``; greedy ids in float32 are ours."""
    pipe = _genai(target_ir, draft_ir)
    for prompt in _prompts():
        assert _genai_ids(pipe, prompt) == _ours(prompt)


def test_openvino_genai_stops_where_we_stop(target_ir: Path, draft_ir: Path, tmp_path: Path) -> None:
    """Every stop of generation_config.json comes through, here one that the model really emits inside the text."""
    prompt = _prompts()[0]
    ids = _ours(prompt)
    stop = next(token for i, token in enumerate(ids) if i > 3 and token not in ids[:i])
    folder = tmp_path / "target"
    folder.mkdir()
    for file in target_ir.iterdir():
        (folder / file.name).symlink_to(file)
    settings = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").unlink()
    (folder / "generation_config.json").write_text(json.dumps(settings | {"eos_token_id": [1, stop]}))
    assert len(_ours(prompt, [1, stop])) < LENGTH
    for draft in (None, draft_ir):
        assert _genai_ids(_genai(folder, draft), prompt, ignore_eos=False) == _ours(prompt, [1, stop])


def test_openvino_tokenizer_is_the_source_s(draft_ir: Path) -> None:
    """Ids and text are those of the Hugging Face tokenizer, the special tokens included."""
    import openvino_genai

    theirs, ours = openvino_genai.Tokenizer(str(draft_ir)), load_tokenizer(draft_ir, "demo:S")
    for text in [*TEXTS, *_prompts()]:
        ids = ours(text).input_ids
        assert theirs.encode(text).input_ids.data[0].tolist() == ids
        assert theirs.decode(ids) == ours.decode(ids, skip_special_tokens=True)


def test_a_chat_template_comes_through(tmp_path: Path) -> None:
    """OpenVINO GenAI wraps a prompt as we do, and answers with the same text."""
    source, folder = tmp_path / "source", tmp_path / "out"
    shutil.copytree(source_of("demo:XS"), source)
    tokenizer = load_tokenizer(source, "demo:XS")
    tokenizer.chat_template = (
        "{% for message in messages %}{{ '<|bos|>' + message['role'] + ': ' + message['content'] + '\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    tokenizer.save_pretrained(source)
    exported(str(source), folder, "openvino")
    pair = load_pair(str(source), None, LoadOptions(device="cpu", dtype="float32", threads=1))
    request = pair.request("hello", max_new_tokens=LENGTH, sampling=Sampling(), ignore_stops=True)
    ids = [token for record in pair.decode("ar", request, GAMMA) for token in record.emitted]
    texts = _genai(folder, None).generate(["hello"], max_new_tokens=LENGTH, ignore_eos=True).texts
    assert texts == [pair.tokenizer.decode(ids, skip_special_tokens=True)]


def test_the_lines_of_the_card_run(target_ir: Path, draft_ir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What the card says of OpenVINO GenAI is a program that works, with the target's place filled in."""
    block = code(draft_ir, "python").replace("TARGET", str(target_ir)).replace(draft_ir.name, str(draft_ir))
    exec(block, {})
    assert len(capfd.readouterr().out) > 20


# --- transformers ----------------------------------------------------------------------------------------


def test_transformers_decodes_what_we_decode(target_hf: Path, tmp_path: Path) -> None:
    """Assisted generation takes our exports; its greedy text is ours."""
    draft = exported("demo:S", tmp_path / "demo-S", "hf")
    prompt = _prompts()[1]
    assert _assisted_ids(target_hf, draft, prompt) == _ours(prompt)


def test_the_lines_of_the_hugging_face_card_run(
    target_hf: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What the card says of transformers is a program that works; the line for vLLM is well-formed."""
    draft = exported("demo:S", tmp_path / "demo-S-x", "hf")
    exec(code(draft, "python").replace("TARGET", str(target_hf)).replace("demo-S-x", str(draft)), {})
    assert capfd.readouterr().out.startswith("def main():")
    settings = json.loads(code(draft, "sh").partition("'")[2].rpartition("'")[0])
    assert settings == {"method": "draft_model", "model": "demo-S-x", "num_speculative_tokens": 4}


def test_weights_are_the_source_s_or_the_asked(tmp_path: Path) -> None:
    """The original weights come through bit by bit; f16 is f16."""
    source: Any = AutoModelForCausalLM.from_pretrained(source_of("demo:XS"), dtype="auto")
    same: Any = AutoModelForCausalLM.from_pretrained(exported("demo:XS", tmp_path / "a", "hf"), dtype="auto")
    half: Any = AutoModelForCausalLM.from_pretrained(exported("demo:XS", tmp_path / "b", "hf", "f16"), dtype="auto")
    assert same.dtype == source.dtype == torch.bfloat16
    assert all(torch.equal(same.state_dict()[name], weight) for name, weight in source.state_dict().items())
    assert half.dtype == torch.float16


def test_releases_before_transformers_5_find_what_they_look_for(tmp_path: Path) -> None:
    """They, vLLM and converters read rope_theta, rope_scaling, torch_dtype, and no tokenizer class of release 5."""
    rope = {"rope_type": "linear", "factor": 2.0, "rope_theta": 5e5}
    model = build_model("llama", vocab_size=WIDTH, rope_parameters=rope)
    source = write_model(tmp_path / "source", model)
    folder = exported(source, tmp_path / "out", "hf")
    config = json.loads((folder / "config.json").read_text())
    assert config["rope_theta"] == 5e5
    assert config["rope_scaling"] == {"rope_type": "linear", "factor": 2.0}
    assert config["torch_dtype"] == config["dtype"] == "float32"
    assert json.loads((folder / "tokenizer_config.json").read_text())["tokenizer_class"] == "PreTrainedTokenizerFast"
    # And release 5 still reads the same model out of it.
    ids = torch.tensor([[3, 1, 4, 1, 5]])
    models: list[Any] = [AutoModelForCausalLM.from_pretrained(f) for f in (source, folder)]
    with torch.inference_mode():
        assert torch.equal(models[0](ids).logits, models[1](ids).logits)
    assert AutoTokenizer.from_pretrained(folder).get_vocab() == tiny_tokenizer().get_vocab()


# --- the target's width ----------------------------------------------------------------------------------


def test_a_padded_target_is_accepted_with_its_draft(wide_target: Path, tmp_path: Path) -> None:
    """Peers that insist on equal widths take the pair, and the text is that of the narrow one.

    The negative control: transformers refuses the draft that was not widened.
    """
    target = exported(str(wide_target), tmp_path / "target", "hf")
    draft = exported("demo:S", tmp_path / "draft", "hf", target=str(wide_target))
    assert json.loads((draft / "config.json").read_text())["vocab_size"] == 4160
    prompt = _prompts()[2]
    assert _assisted_ids(target, draft, prompt) == _ours(prompt, target="demo:XS")
    with pytest.raises(ValueError, match="tokenizer"):
        _assisted_ids(target, source_of("demo:S"), prompt)


def test_a_padded_pair_decodes_the_same_in_openvino_genai(wide_target: Path, tmp_path: Path) -> None:
    """The IR of a draft for a padded target has its width, and greedy output is that of the narrow pair."""
    import openvino

    target = exported(str(wide_target), tmp_path / "target", "openvino")
    draft = exported("demo:S", tmp_path / "draft", "openvino", target=str(wide_target))
    widths = [
        openvino.Core().read_model(f / "openvino_model.xml").output("logits").partial_shape[2] for f in (target, draft)
    ]
    assert [width.get_length() for width in widths] == [4160, 4160]
    prompt = _prompts()[2]
    assert _genai_ids(_genai(target, draft), prompt) == _ours(prompt, target="demo:XS")


@given(st.integers(0, 1000), st.integers(1, 40), st.sampled_from(["llama", "phi3", "gpt2"]))
def test_added_ids_are_never_the_most_likely(seed: int, added: int, architecture: str) -> None:
    """Their logit is the mean of all: below the largest, and their probability at most one in the vocabulary."""
    narrow, wide = small_model(architecture), small_model(architecture)
    before = narrow.config.vocab_size
    resize_vocabulary(wide, before + added)
    ids = torch.randint(before, (1, 6), generator=torch.Generator().manual_seed(seed))
    with torch.inference_mode():
        old, new = narrow(ids).logits[0], wide(ids).logits[0]
    assert wide.config.vocab_size == new.shape[-1] == before + added
    assert torch.equal(old, new[:, :before])
    assert (new[:, before:].amax(-1) < old.amax(-1)).all()
    assert (new.softmax(-1)[:, before:] <= 1 / before + 1e-6).all()


def test_a_draft_of_another_vocabulary_is_refused(tiny_pair: tuple[str, str], tmp_path: Path) -> None:
    """Width alone does not make a pair: the ids are compared, and nothing is written."""
    with pytest.raises(FastdraftError, match="no draft for demo"):
        exported(tiny_pair[1], tmp_path / "out", "hf", target="demo")
    assert not list(tmp_path.iterdir())


def test_settings_that_contradict_each_other_are_left_out(tmp_path: Path) -> None:
    """Llama 2 first came with do_sample false beside a temperature, which transformers refuses to write."""
    folder = Path(write_model(tmp_path / "model", tiny_target()))
    told = {"eos_token_id": 1, "do_sample": False, "temperature": 0.9, "top_p": 0.6, "max_length": 77}
    (folder / "generation_config.json").write_text(json.dumps(told))
    steps: list[str] = []
    export(str(folder), tmp_path / "out", ExportOptions("hf"), steps.append)
    written = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    assert (written["eos_token_id"], written["max_length"]) == (1, 77)
    assert not {"temperature", "top_p"} & written.keys()
    assert any("leaving out" in step and "temperature, top_p" in step for step in steps)
