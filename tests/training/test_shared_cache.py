"""What jobs share: read from the hub once, made by one of them, on each process's own device."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from fastdraft_core.bench import tasks
from fastdraft_core.data import corpus as corpora
from fastdraft_core.data.documents import row_document
from fastdraft_core.data.shards import Shard, open_shard, write_shard
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Event, Progress, Scored
from fastdraft_core.training import stages, start
from tests.commands import Cli
from tests.folders import tiny_target, tiny_tokenizer, write_model
from tests.jobs.tiny import tiny_recipe, wait_for

_PROMPT = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"


def test_a_job_goes_on_without_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluation prompts and instructions are read when a job first starts; a resume offline reads the very same."""
    source = {"asked": {"hub": "somebody/instructions", "held_out": 2}}
    recipe = tiny_recipe(decontaminate=["humaneval", "code"], sources={**source, "small": {"path": "/texts"}})
    online = True

    def rows(*asked: Any) -> Any:
        if not online:
            raise FastdraftError("the hub cannot be reached")
        return [{"prompt": _PROMPT}]

    def instructions(*asked: Any) -> Iterator[Any]:
        rows()
        return (row_document(f"Say {n}.") for n in range(20))

    monkeypatch.setattr(tasks, "hub_rows", rows)
    monkeypatch.setattr(corpora, "read_instructions", instructions)
    first = stages.recipe_corpus(recipe)
    sides = [first.instructions("asked", held_out=side) for side in (False, True)]
    online = False
    again = stages.recipe_corpus(recipe)
    assert again.evaluation.digest == first.evaluation.digest
    assert again.evaluation.contaminates(f"Here it is: {_PROMPT}.")
    assert [again.instructions("asked", held_out=side) for side in (False, True)] == sides
    with pytest.raises(FastdraftError, match="cannot be reached"):
        stages.recipe_corpus(tiny_recipe(decontaminate=["mbpp"]))


def _shard(folder: Path) -> Shard:
    rows: list[tuple[list[int], list[int] | None]] = [([7, 8, 9, *range(20, 40)], [0] * 3 + [1] * 20)] * 300
    write_shard(folder / "shard", rows, source="target", tokenizer_hash="tiny", vocab_size=300)
    return open_shard(folder / "shard", tokenizer_hash="tiny")


def test_two_jobs_never_write_to_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two drafts that want the same probabilities: one has them stored, the other waits, says so, and opens them."""
    write_model(tmp_path / "target", tiny_target())
    recipe, shard = tiny_recipe(tmp_path), _shard(tmp_path)
    begun, go_on = threading.Event(), threading.Event()
    found: dict[str, list[Event]] = {"first": [], "second": []}

    def job(name: str) -> None:
        for event in stages._target_logits(recipe, shard, 4, tiny_tokenizer(), torch.device("cpu")):
            found[name].append(event)
            if isinstance(event, Scored):
                begun.set()
                go_on.wait(60)

    first, second = (threading.Thread(target=job, args=(name,)) for name in found)
    first.start()
    assert begun.wait(60)
    second.start()
    wait_for(lambda: bool(found["second"]))
    go_on.set()
    first.join(60)
    second.join(60)
    assert [e for e in found["first"] if isinstance(e, Scored)][-1].tokens == shard.index.num_tokens
    (waited,) = found["second"]
    assert isinstance(waited, Progress)
    assert "waiting for another process that stores the same" in waited.what


def test_a_process_has_the_target_on_its_own_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight processes that all load the target on the first device fill its memory and leave seven idle."""
    asked: list[dict[str, Any]] = []

    class Model:
        def eval(self) -> Model:
            return self

    monkeypatch.setattr(start, "load_model", lambda *a, **given: asked.append(given) or Model())
    monkeypatch.setattr(start, "target_path", lambda recipe: "/target")
    monkeypatch.setattr(start, "choose_dtype", lambda device: "bfloat16")
    start.load_target(tiny_recipe(), torch.device("xpu", 3))
    assert asked == [{"device": "xpu:3", "dtype": "bfloat16", "trust_remote_code": False}]


def test_every_process_honours_the_device(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`torchrun … fastdraft train X --device cpu` on a machine with a GPU: the second process must not take that."""
    seen: list[str | None] = []

    def trains(*asked: Any, **more: Any) -> Iterator[Event]:
        seen.append(os.environ.get("ACCELERATE_USE_CPU"))
        return iter(())

    monkeypatch.setattr(stages, "run_recipe", trains)
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    # Restored afterwards, whatever the command sets.
    monkeypatch.setenv("ACCELERATE_USE_CPU", "")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        'name = "r"\ntarget = "demo"\n[model]\nhidden_size = 16\nnum_layers = 1\nnum_heads = 2\nnum_kv_heads = 1\n'
        "intermediate_size = 32\n[pt]\ntokens = 512\nsources = { text = 1.0 }\n"
    )
    assert cli("train", str(recipe), "--device", "cpu")[0] == 0
    assert seen == ["true"]
    code, _, err = cli("train", str(recipe), "--device", "cuda:1")
    assert code == 1
    assert "Give the kind alone: --device cuda" in " ".join(err.split())
    assert seen == ["true"]
