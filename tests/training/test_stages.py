"""A whole recipe at toy size: a target with its tokenizer, then a draft through PT, CP and FT."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from fastdraft_core import places
from fastdraft_core.data import sources
from fastdraft_core.data.documents import Document, Segment
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import (
    Evaluated,
    Event,
    Progress,
    Scored,
    StageAcceptance,
    StageFinished,
    Synthesized,
    Tokenized,
)
from fastdraft_core.jobs.run import run_job
from fastdraft_core.training import stages
from fastdraft_core.training.publish import publish
from fastdraft_core.training.recipe import Recipe, dump_recipe, parse_recipe
from fastdraft_core.training.stop import Interrupted, Stop

_SHAPE = {"num_layers": 1, "num_heads": 2, "num_kv_heads": 2, "intermediate_size": 32, "context_length": 256}
_STAGE = {"sequence_length": 32, "batch_tokens": 128, "micro_batch": 2}


def _documents(word: str) -> Iterator[Document]:
    for number in range(160):
        body = "".join(f"{word} {number + line} returns the sum of {line} and {number}.\n" for line in range(12))
        yield Document(f"{word}{number}.py", body)


@pytest.fixture(autouse=True)
def _small_corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    one = {k: Segment(k, lambda skip, k=k: islice(_documents(k), skip, None)) for k in ("code", "text")}
    monkeypatch.setattr(sources, "_SOURCES", {k: lambda segment=segment: [segment] for k, segment in one.items()})


def _target() -> Recipe:
    data = {
        "name": "tiny-target",
        "model": {"architecture": "llama", "hidden_size": 32, **_SHAPE},
        "tokenizer": {"vocab_size": 320, "sources": ["code", "text"]},
        "pt": {"tokens": 2048, "sources": {"code": 1.0, "text": 1.0}, **_STAGE},
    }
    return parse_recipe(data, "test")


def _draft(target: Path, ft_tokens: int = 512, **ft: object) -> Recipe:
    data = {
        "name": "tiny-draft",
        "target": str(target),
        "model": {"hidden_size": 16, **_SHAPE},
        "synthesis": {
            "tokens": 600,
            "sources": {"code": 1.0, "text": 1.0},
            "temperatures": [0.0, 0.8],
            "prefix_tokens": [4, 8],
            "new_tokens": 24,
            "batch_size": 4,
            "engine": "torch",
        },
        "pt": {"tokens": 512, "sources": {"text": 1.0}, **_STAGE},
        "cp": {"tokens": 512, "sources": {"code": 1.0, "text": 1.0}, **_STAGE},
        "ft": {"tokens": ft_tokens, "sources": {"target": 1.0}, **_STAGE, **ft},
    }
    return parse_recipe(data, "test")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    recipe, job = _target(), tmp_path / "target-job"
    for _ in run_job(recipe, job):
        pass
    for _ in publish(recipe, job, tmp_path / "target"):
        pass
    return tmp_path / "target"


def test_a_draft_goes_through_all_stages_and_is_published_with_its_acceptance(tmp_path: Path, target: Path) -> None:
    """The pipeline's promise: PT → CP → FT on the target's own sequences, judged by acceptance, with a card."""
    recipe, job, output = _draft(target), tmp_path / "job", tmp_path / "draft"
    events: list[Event] = list(run_job(recipe, job))
    assert [e.stage for e in events if isinstance(e, StageFinished)] == ["pt", "cp", "ft"]
    assert max(e.tokens for e in events if isinstance(e, Synthesized)) >= 600
    judged = [e for e in publish(recipe, job, output) if isinstance(e, StageAcceptance)]
    assert [e.stage for e in judged] == ["pt", "cp", "ft"]
    assert all(0 <= rate <= 1 for e in judged for rate in e.acceptance.values())
    card = (output / "README.md").read_text()
    assert "fastdraft train tiny-draft" in card
    assert f"| FT | {judged[-1].acceptance['code']:.3f} |" in card
    assert "| code 50 %, text 50 % |" in card
    table = {line.split("|")[1].strip(): line for line in card.splitlines() if line.startswith("|")}
    last = [e for e in events if isinstance(e, Evaluated) and e.stage == "cp"][-1]
    for figures, form in ((last.perplexity, ".2f"), (last.acceptance, ".3f"), (last.accepted, ".3f")):
        assert ", ".join(f"{source} {value:{form}}" for source, value in figures.items()) in card
    assert "perplexity" in table["stage"]
    assert (last.gamma, last.temperature) == (3, 0.6)
    assert set(last.perplexity) == set(last.acceptance) == set(last.accepted) == {"code", "text"}
    assert (output / "model.safetensors").is_file()
    assert (output / "tokenizer.json").read_bytes() == (target / "tokenizer.json").read_bytes()


def test_the_same_command_again_trains_nothing_twice(tmp_path: Path, target: Path) -> None:
    """Running a finished recipe again must not spend a second of training or synthesis."""
    recipe, job = _draft(target), tmp_path / "job"
    list(run_job(recipe, job))
    again = list(run_job(recipe, job))
    assert not [e for e in again if isinstance(e, StageFinished | Synthesized)]


def test_a_finished_stage_asks_for_nothing_again(tmp_path: Path, target: Path) -> None:
    """With its data gone from the cache, a stage that is done has nothing tokenized, written or scored for it."""
    recipe, job = _draft(target), tmp_path / "job"
    list(run_job(recipe, job))
    shutil.rmtree(places.cache())
    assert not [e for e in run_job(recipe, job) if isinstance(e, Tokenized | Synthesized | Scored)]


def test_a_tokenizer_that_was_broken_off_is_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause while the tokenizer is written must not leave half of one for every later start to fail on."""
    job = tmp_path / "job"

    def breaks_off(self: Any, folder: Path) -> None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / "tokenizer.json").write_text('{"model": ')
        raise Interrupted

    with monkeypatch.context() as patched:
        patched.setattr(PreTrainedTokenizerFast, "save_pretrained", breaks_off)
        with pytest.raises(Interrupted):
            list(run_job(_target(), job))
    assert [e.stage for e in run_job(_target(), job) if isinstance(e, StageFinished)] == ["pt"]


@pytest.mark.parametrize("place", ["recipe_corpus", "starting_model", "load_target"])
def test_a_stop_breaks_off_what_comes_before_the_steps(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Evaluation prompts, a model to start from and the target may come over a slow network: a pause is heard there."""
    stop, left = Stop(), []

    def slow(*asked: Any) -> Any:
        stop.request()
        left.append(place)

    def slowly(*asked: Any) -> Iterator[Event]:
        slow()
        yield Progress(what="starting")

    monkeypatch.setattr(stages, place, slowly if place == "starting_model" else slow)
    with pytest.raises(Interrupted):
        list(run_job(_draft(target), tmp_path / "job", stop=stop))
    assert not left


def test_a_job_folder_keeps_its_recipe(tmp_path: Path, target: Path) -> None:
    """A changed recipe must not silently go on from another recipe's checkpoints."""
    job = tmp_path / "job"
    list(run_job(_target(), job))
    with pytest.raises(FastdraftError, match="another recipe"):
        list(run_job(_draft(target), job))


def test_a_stage_alone_needs_the_one_before_it(tmp_path: Path, target: Path) -> None:
    """--stage ft on an empty job says which stage is missing."""
    with pytest.raises(FastdraftError, match=r"last checkpoint of cp.*Run cp first.*cp\.skip"):
        list(run_job(_draft(target), tmp_path / "job", only="ft"))


def test_a_draft_is_distilled_from_stored_probabilities(tmp_path: Path, target: Path) -> None:
    """FT with a divergence: what the target kept while it wrote is stored, another loss uses the same files, and all is judged."""
    events = list(run_job(_draft(target, loss="ce+kl", top_k=8), tmp_path / "job"))
    assert [e for e in events if isinstance(e, Synthesized)]
    assert not [e for e in events if isinstance(e, Scored)]
    stored = list(places.cache().rglob("log_probs.bin"))
    assert stored
    for log_probs in stored:
        num_tokens = log_probs.stat().st_size // (9 * 2)
        assert log_probs.with_name("ids.bin").stat().st_size == num_tokens * 8 * 2
    judged = {e.stage: e.acceptance for e in events if isinstance(e, Evaluated)}
    assert set(judged["cp"]) == {"code", "text"}
    assert set(judged["ft"]) == {"target"}
    assert all(0 < rate < 1 for rates in judged.values() for rate in rates.values())
    assert (tmp_path / "job/checkpoints/ft/best/model.safetensors").is_file()
    again = list(run_job(_draft(target, loss="tvd", top_k=8), tmp_path / "other"))
    assert not [e for e in again if isinstance(e, Scored | Synthesized)]


def test_a_divergence_on_text_that_the_target_did_not_write_is_refused(target: Path) -> None:
    """The probabilities are stored for what the target wrote; the recipe says so before anything is spent."""
    with pytest.raises(FastdraftError, match=r"ft\.loss = 'kl'.*source 'target' alone"):
        _draft(target, loss="kl", sources={"text": 1.0})
    with pytest.raises(FastdraftError, match="loss"):
        _draft(target, loss="mse")


def test_what_the_target_wrote_is_not_taken_for_another_targets(tmp_path: Path, target: Path) -> None:
    """The cache of synthesis knows the weights in whatever files they lie, the tokenizer and the prefixes' text."""
    list(run_job(_draft(target), tmp_path / "job"))
    other = tmp_path / "other-target"
    AutoModelForCausalLM.from_pretrained(target).save_pretrained(other, max_shard_size="20KB")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(target / name, other / name)
    assert not (other / "model.safetensors").exists()
    events = list(run_job(_draft(other), tmp_path / "other"))
    assert [e for e in events if isinstance(e, Synthesized)]


def _chatty(target: Path, synthesis: dict[str, object], asked: Path) -> Recipe:
    """A draft of one stage on what the target writes; ``asked`` is a file of instructions."""
    data = dump_recipe(_draft(target))
    del data["pt"], data["cp"]
    data["sources"] = {"asked": {"path": str(asked), "held_out": 4}}
    data["synthesis"] |= {"sources": {}, **synthesis}
    return parse_recipe(data, "test")


def test_ft_on_answers_to_instructions_and_to_what_the_target_asks_itself(tmp_path: Path, target: Path) -> None:
    """Prompts of two kinds at once, through the chat template; the header tells whose answers these are."""
    tokenizer = AutoTokenizer.from_pretrained(target)
    tokenizer.chat_template = (
        "Q {% for m in messages %}{{ m.content }}{% endfor %}e{% if add_generation_prompt %} A{% endif %}"
    )
    tokenizer.save_pretrained(target)
    asked = tmp_path / "asked.jsonl"
    asked.write_text("\n".join(json.dumps({"instruction": f"code {n}", "input": ""}) for n in range(60)))
    kinds: dict[str, object] = {"instructions": {"asked": 1.0}, "magpie": 1.0, "shares": [1.0, 3.0]}
    events = list(run_job(_chatty(target, kinds, asked), tmp_path / "job"))
    assert [e.stage for e in events if isinstance(e, StageFinished)] == ["ft"]
    files = [path.read_text().splitlines() for path in places.cache().glob("synthesis/*/sequences.jsonl")]
    assert len(files) == 2
    asked_by: set[str] = set()
    for header, *body, account in (map(json.loads, lines) for lines in files):
        assert len(header["template"]) == len(header["weights"]) == len(header["tokenizer"]) == 16
        asked_by |= {line["id"].partition("/")[0] for line in body}
        assert account["asked"] == len(body) == account["ok"] + account["error"] + account["skipped"]
        assert account["ok"] > 0
    assert asked_by == {"asked", "magpie"}


def test_magpie_needs_a_chat_template(tmp_path: Path, target: Path) -> None:
    """A base model cannot play the user: the error says so before the target is loaded."""
    with pytest.raises(FastdraftError, match=r"no chat model\. Set synthesis\.magpie = 0"):
        list(run_job(_chatty(target, {"magpie": 1.0}, tmp_path / "asked.jsonl"), tmp_path / "job"))


def test_what_a_later_stage_lacks_is_told_before_the_first(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PT may take a day; that CP's folder is not there, or that the target is no chat model, is known from the start."""
    monkeypatch.setitem(sys.modules, "vllm", None)
    gone, ids = {"own": {"path": "/gone"}}, {"own": {"hub": "bigcode/the-stack-v2"}}
    lacking: list[tuple[str, dict[str, dict[str, Any]]]] = [
        ("There is no file or folder /gone", {"sources": gone, "cp": {"sources": {"own": 1.0}}}),
        ("There is no file or folder /gone", {"sources": gone, "synthesis": {"sources": {"own": 1.0}}}),
        ("There is no file or folder /gone", {"sources": gone, "synthesis": {"instructions": {"own": 1.0}}}),
        ("Software Heritage", {"sources": ids, "cp": {"sources": {"own": 1.0}}}),
        ("no chat model", {"synthesis": {"magpie": 1.0}}),
        ("vLLM is not installed", {"synthesis": {"engine": "vllm"}}),
    ]
    for words, changes in lacking:
        data = dump_recipe(_draft(target))
        for section, values in changes.items():
            data[section] = {**data.get(section, {}), **values}
        with pytest.raises(FastdraftError, match=words):
            list(run_job(parse_recipe(data, "test"), tmp_path / words))
        assert not (tmp_path / words / "checkpoints").exists()


def test_a_stage_that_has_begun_needs_its_files_no_more(tmp_path: Path, target: Path) -> None:
    """What was read is kept as tokens: a job goes on, ends, and is published without the folder that it began with."""
    texts = tmp_path / "texts"
    texts.mkdir()
    for document in _documents("own"):
        (texts / document.file).write_text(document.text)
    data = dump_recipe(_draft(target))
    del data["cp"], data["ft"], data["synthesis"]
    data["sources"] = {"own": {"path": str(texts)}}
    data["pt"]["sources"] = {"own": 1.0}
    recipe = parse_recipe(data, "test")
    list(run_job(recipe, tmp_path / "job"))
    shutil.rmtree(texts)
    assert not [e for e in run_job(recipe, tmp_path / "job") if isinstance(e, StageFinished)]
    (judged,) = [e for e in publish(recipe, tmp_path / "job", tmp_path / "draft") if isinstance(e, StageAcceptance)]
    assert set(judged.acceptance) == {"own"}


def test_short_documents_give_no_figure(tmp_path: Path, target: Path) -> None:
    """An acceptance of 0.000 over no prompt at all would be taken for a useless draft; the card says that there was none."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text("\n".join(json.dumps({"text": f"The sum of {n} and {n} is {2 * n}."}) for n in range(200)))
    data = dump_recipe(_draft(target))
    del data["cp"], data["ft"], data["synthesis"]
    data["sources"] = {"own": {"path": str(rows), "held_out": 3}}
    data["pt"]["sources"] = {"own": 1.0}
    recipe = parse_recipe(data, "test")
    list(run_job(recipe, tmp_path / "job"))
    assert not [e for e in publish(recipe, tmp_path / "job", tmp_path / "draft") if isinstance(e, StageAcceptance)]
    assert "no held-out documents that are long enough" in (tmp_path / "draft/README.md").read_text()


def test_a_synthesis_without_prompts_is_refused(tmp_path: Path, target: Path) -> None:
    """Each mistake in [synthesis] is a sentence before anything is spent."""
    changes: dict[str, dict[str, object]] = {
        "nothing to give to the target": {},
        r"synthesis\.instructions uses the source 'code'": {"instructions": {"code": 1.0}},
        "one number above 0 for each of the 2 temperatures": {"magpie": 1.0, "shares": [1.0]},
        "Did you mean 'magpie'": {"magpi": 1.0},
    }
    for words, synthesis in changes.items():
        with pytest.raises(FastdraftError, match=words):
            _chatty(target, synthesis, tmp_path)


def test_openvino_writes_on_a_cpu_and_what_was_begun_goes_on(tmp_path: Path, target: Path) -> None:
    """The faster engine unasked; the header says which one, and a file that another engine began stays with it."""
    data = dump_recipe(_draft(target))
    data["synthesis"]["engine"] = "auto"
    recipe = parse_recipe(data, "test")
    list(run_job(recipe, tmp_path / "job"))
    files = list(places.cache().glob("synthesis/*/sequences.jsonl"))
    assert [json.loads(file.read_text().splitlines()[0])["engine"] for file in files] == ["openvino", "openvino"]
    for file in files:
        header = {**json.loads(file.read_text().splitlines()[0]), "engine": "torch"}
        file.write_text(json.dumps(header) + "\n")
    for folder in places.cache().glob("shards/target-*"):
        shutil.rmtree(folder) if folder.is_dir() else folder.unlink()
    list(run_job(recipe, tmp_path / "again"))
    assert [json.loads(file.read_text().splitlines()[0])["engine"] for file in files] == ["torch", "torch"]
    assert all("asked" in json.loads(file.read_text().splitlines()[-1]) for file in files)


def test_pytorch_writes_where_openvino_cannot(tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An architecture that cannot be converted is no reason to stop, unless OpenVINO was asked for."""

    @contextlib.contextmanager
    def refuse(*_: object, **__: object) -> Iterator[None]:
        raise FastdraftError("It cannot be converted.")
        yield

    monkeypatch.setattr("fastdraft_core.training.synthetic.openvino_writer", refuse)
    data = dump_recipe(_draft(target))
    data["synthesis"]["engine"] = "openvino"
    with pytest.raises(FastdraftError, match="cannot be converted"):
        list(run_job(parse_recipe(data, "test"), tmp_path / "asked"))
    data["synthesis"]["engine"] = "auto"
    told = [e.what for e in run_job(parse_recipe(data, "test"), tmp_path / "auto") if isinstance(e, Progress)]
    assert "PyTorch writes, since OpenVINO cannot: It cannot be converted." in told
    assert any(what.startswith("converting") for what in told)
