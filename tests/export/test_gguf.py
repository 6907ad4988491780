"""GGUF exports: our own import reads them back, and llama.cpp decodes with them what it decodes without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from fastdraft_core.bench.tasks import bundled_prompts
from fastdraft_core.decoding.sampling import Sampling
from fastdraft_core.engine.load_options import LoadOptions
from fastdraft_core.engine.pair import load_pair
from fastdraft_core.errors import FastdraftError
from fastdraft_core.export.formats import ExportOptions, export
from fastdraft_core.models.draft_vocab import DraftVocab, write_draft_vocab
from fastdraft_core.models.folders import load_tokenizer
from fastdraft_core.models.gguf.importing import import_model
from fastdraft_core.models.gguf.model_file import read_model
from tests.exports import code, exported, source_of
from tests.folders import WIDTH, tiny_target, tiny_tokenizer
from tests.folders import write_model as write_folder
from tests.models.gguf.llama_cpp import LlamaCpp
from tests.models.gguf.test_tokenizer import CORPUS
from tests.models.gguf.writing import KINDS, Vocabulary, byte_level, sentencepiece, untrained, write_model

PROMPT = [5 + (37 * place) % 290 for place in range(40)]
GAMMA, LENGTH = 4, 48


def file_in(folder: Path) -> Path:
    """The one GGUF file of an export."""
    (found,) = folder.glob("*.gguf")
    return found


def imported(file: Path) -> Path:
    """The folder that our own import makes of a file."""
    return import_model(file, file.stem, lambda step: None)


def load(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


@torch.inference_mode()
def logits(model: Any) -> torch.Tensor:
    return model(torch.tensor([PROMPT]), use_cache=False).logits[0].float()


# --- weights -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_every_architecture_comes_back_as_it_was(name: str, tmp_path: Path) -> None:
    """Names, layouts, norms, positions and scales: what llama.cpp and our import make of the file is the original."""
    original = untrained(KINDS[name], WIDTH)
    # By the name phi3 llama.cpp looks for tokens that only Phi-3's own tokenizer has.
    file = file_in(exported(write_folder(tmp_path / "source", original), tmp_path / "tiny", "gguf", "f16"))
    again = load(imported(file))
    original.set_attn_implementation("eager")
    torch.testing.assert_close(logits(again), logits(original), rtol=1e-3, atol=1e-3)
    there = LlamaCpp(file).log_probabilities(PROMPT, WIDTH)
    here = logits(again)[-1].log_softmax(-1)
    assert there[here.argmax()] > there.max() - 0.02
    assert torch.nn.functional.kl_div(here, there, log_target=True, reduction="sum") < 1e-3


@pytest.mark.parametrize(("weights", "step"), [("f16", 1 / 1024), ("q8_0", 1 / 120), ("q4_0", 1 / 7), ("q4_1", 1 / 7)])
def test_weights_come_back_within_the_error_of_their_quantization(weights: str, step: float, tmp_path: Path) -> None:
    """No weight moves by more than a step of the grid of its block; ids are the source's."""
    folder = exported("demo:XS", tmp_path / "XS-gguf", "gguf", weights)
    assert file_in(folder).name == f"XS-{weights.upper()}.gguf"
    again = imported(file_in(folder))
    source: Any = AutoModelForCausalLM.from_pretrained(source_of("demo:XS"), dtype=torch.float32)
    found = AutoModelForCausalLM.from_pretrained(again, dtype=torch.float32).state_dict()
    for name, numbers in source.state_dict().items():
        bound = numbers.abs().max() * (step + 1 / 256)
        assert (found[name] - numbers).abs().max() <= bound, name
    tokenizer, original = load_tokenizer(again, "again"), load_tokenizer(source_of("demo:XS"), "demo:XS")
    assert tokenizer.get_vocab() == original.get_vocab()
    for text in CORPUS.values():
        assert tokenizer(text).input_ids == original(text).input_ids


# --- llama.cpp with target and draft -----------------------------------------------------------------


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The bundled target and its draft S as GGUF."""
    folder = tmp_path_factory.mktemp("gguf")
    return (
        file_in(exported("demo", folder / "demo", "gguf", "f16")),
        file_in(exported("demo:S", folder / "demo-S", "gguf", "f16")),
    )


def test_llama_cpp_writes_with_the_draft_what_it_writes_without(pair: tuple[Path, Path]) -> None:
    """Greedy text is equal, and it accepts about as many drafted tokens as we do."""
    target, draft = pair
    alone, both = LlamaCpp(target), LlamaCpp(target, draft=draft, gamma=GAMMA)
    ours = load_pair("demo", "demo:S", LoadOptions(device="cpu", dtype="float32", threads=1))
    theirs, mine = [0, 0], [0, 0]
    for prompt in bundled_prompts(None)[::4]:
        ids = ours.encode(prompt.text)
        assert alone.ids(prompt.text) == ids
        text, drafted, accepted = both.drafted(ids, LENGTH)
        assert text == alone.greedy(ids, LENGTH)
        theirs = [theirs[0] + drafted, theirs[1] + accepted]
        request = ours.request(prompt.text, max_new_tokens=LENGTH, sampling=Sampling(), ignore_stops=True)
        _, *passes = ours.decode("sd", request, GAMMA)
        mine = [mine[0] + sum(len(p.drafted) for p in passes), mine[1] + sum(p.accepted for p in passes)]
    assert theirs[1] > 20
    assert abs(theirs[1] / theirs[0] - mine[1] / mine[0]) < 0.1


# --- the target's tokenizer --------------------------------------------------------------------------


def target_file(folder: Path, vocabulary: Vocabulary) -> Path:
    """A user's own target, as GGUF, padded as its converter did it."""
    kind = KINDS["llama"]
    return write_model(folder / "target.gguf", kind, untrained(kind, len(vocabulary.tokens)), vocabulary)


def draft_for(target: Path, folder: Path) -> Path:
    """A draft with the target's tokens, with fewer logits than the target, as trained drafts have them."""
    tokenizer = AutoTokenizer.from_pretrained(imported(target))
    kind = KINDS["llama-tied"]
    untrained(kind, max(tokenizer.get_vocab().values()) + 1).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    "vocabulary", [byte_level("qwen2"), sentencepiece(prefix=True)], ids=["bytes", "sentencepiece"]
)
def test_a_draft_for_a_gguf_target_has_its_very_tokenizer(vocabulary: Vocabulary, tmp_path: Path) -> None:
    """Texts, types, pre-tokenizer, padding and flags are the target's; llama.cpp takes the two together."""
    target = target_file(tmp_path, vocabulary)
    draft = draft_for(target, tmp_path / "draft")
    file = file_in(exported(str(draft), tmp_path / "out", "gguf", "q8_0", str(target)))
    told, expected = read_model(file).metadata, read_model(target).metadata
    assert {k: v for k, v in told.items() if k.startswith("tokenizer.")} == {
        k: v for k, v in expected.items() if k.startswith("tokenizer.")
    }
    assert read_model(file).tensors["token_embd.weight"].shape[0] == len(vocabulary.tokens)
    ids = LlamaCpp(target).ids("The quick brown fox")
    assert LlamaCpp(target, draft=file).greedy(ids, 12) == LlamaCpp(target).greedy(ids, 12)


@pytest.mark.parametrize(
    "vocabulary",
    [byte_level("llama-bpe"), byte_level("smollm"), sentencepiece(prefix=True), sentencepiece(prefix=False)],
    ids=["llama-bpe", "smollm", "sentencepiece", "no-prefix"],
)
def test_a_tokenizer_json_becomes_llama_cpp_s(vocabulary: Vocabulary, tmp_path: Path) -> None:
    """From a folder's tokenizer: the name of its cuts is found, and llama.cpp gives its ids; rows are filled up."""
    folder = imported(target_file(tmp_path, vocabulary))
    file = file_in(exported(str(folder), tmp_path / "out", "gguf", "f16"))
    told = read_model(file).metadata
    assert told["tokenizer.ggml.pre"] == vocabulary.more.get("tokenizer.ggml.pre", "default")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    peer = LlamaCpp(file)
    for name, text in CORPUS.items():
        assert peer.ids(text) == tokenizer(text).input_ids, name
    assert AutoTokenizer.from_pretrained(imported(file)).get_vocab() == tokenizer.get_vocab()


# --- what is refused ---------------------------------------------------------------------------------


def refused(model: Path | str, output: Path, because: str, weights: str = "f16", target: str = "") -> None:
    """One sentence, and nothing is left of the export."""
    with pytest.raises(FastdraftError, match=because):
        export(str(model), output, ExportOptions("gguf", weights, target), lambda step: None)
    assert [path.name for path in output.parent.glob(f"{output.name}*")] == []


def test_a_broken_vocabulary_never_reaches_llama_cpp(tmp_path: Path) -> None:
    """Two ids that were exchanged: llama.cpp would take the file, and draft nonsense."""
    target = target_file(tmp_path, byte_level("gpt-2"))
    draft = draft_for(target, tmp_path / "draft")
    file = draft / "tokenizer.json"
    described = json.loads(file.read_text())
    vocabulary = described["model"]["vocab"]
    first, second = list(vocabulary)[270:272]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    file.write_text(json.dumps(described))
    refused(draft, tmp_path / "out", "no draft for .* differ in 2 ids", target=str(target))


def test_a_tokenizer_that_llama_cpp_has_no_name_for_is_refused(tmp_path: Path) -> None:
    """Words cut in another way than any that is known, and a kind of tokenizer that is neither of the two."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    source = tmp_path / "source"
    write_folder(source, tiny_target())
    backend = tiny_tokenizer().backend_tokenizer
    odd = Tokenizer.from_str(backend.to_str())
    odd.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split("e", "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    PreTrainedTokenizerFast(tokenizer_object=odd, bos_token="<|bos|>", eos_token="<|eos|>").save_pretrained(source)
    refused(source, tmp_path / "out", "in a way that llama.cpp has no name for")
    words = Tokenizer(models.WordLevel({"<unk>": 0, "a": 1}, unk_token="<unk>"))
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>").save_pretrained(source)
    refused(source, tmp_path / "out", "kind 'WordLevel'")


def test_what_llama_cpp_would_compute_in_another_way_is_refused(tmp_path: Path) -> None:
    """A window that its architecture does not have, another activation, and an architecture that is not written."""
    from tests.runtimes.models import small_model

    changes: list[tuple[str, dict[str, Any], str]] = [
        ("mistral", dict(sliding_window=8), "sliding_window = 8"),
        ("llama", dict(hidden_act="gelu"), "hidden_act = 'gelu'"),
        ("bloom", {}, "a bloom model"),
    ]
    for number, (kind, more, because) in enumerate(changes):
        source = write_folder(tmp_path / str(number), small_model(kind, vocab_size=WIDTH, **more))
        refused(source, tmp_path / "out", because)
    refused("demo:XS", tmp_path / "out", "q8_0, q4_0, q4_1, not 'int4'", weights="int4")
    refused("demo:XS", tmp_path / "out.gguf", "--output is a folder")


def test_a_disk_that_fills_up_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in the middle of the weights."""

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gguf.GGUFWriter, "write_tensor_data", full)
    refused("demo:XS", tmp_path / "out", "No space left on device")


# --- beside ------------------------------------------------------------------------------------------


def test_a_draft_vocabulary_is_ignored_with_a_sentence(tmp_path: Path) -> None:
    """The head is whole: ids outside of the list have the mean of the others."""
    listed = [1, *range(20, 100, 3)]
    name = write_folder(tmp_path / "draft", tiny_target())
    vocab = DraftVocab(ids=listed, vocab_size=WIDTH, counted="the target's own text", tokens=900, coverage=0.9)
    write_draft_vocab(Path(name), vocab)
    said: list[str] = []
    export(name, tmp_path / "out", ExportOptions("gguf", "f16"), said.append)
    assert any("llama.cpp knows no draft vocabulary" in step for step in said)
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".gguf", ".md"}
    model = load(imported(file_in(tmp_path / "out")))
    best = logits(model).argmax(-1)
    assert set(best.tolist()) <= set(listed)


def test_the_card_says_how_to_use_it(tmp_path: Path) -> None:
    """llama.cpp, LM Studio and Ollama, each with the file's own name."""
    folder = exported("demo:XS", tmp_path / "XS", "gguf", "q4_0")
    card = (folder / "README.md").read_text()
    assert "llama-server --model TARGET --model-draft XS-Q4_0.gguf" in code(folder, "sh")
    for program in ("LM Studio", "Ollama", "FROM ./XS-Q4_0.gguf", "library_name: gguf"):
        assert program in card
