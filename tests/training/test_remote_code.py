"""A target that brings Python code of its own: refused in one sentence, or run because the recipe says so."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec
import pytest

from fastdraft_core import places
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Progress, StageAcceptance
from fastdraft_core.jobs.folder import job_recipe
from fastdraft_core.jobs.run import run_job
from fastdraft_core.training.plan import plan
from fastdraft_core.training.publish import publish
from fastdraft_core.training.recipe import Recipe, dump_recipe, parse_recipe
from tests.commands import Cli
from tests.jobs.conftest import Submit, _no_job_survives, submit  # noqa: F401  fixtures
from tests.jobs.tiny import tiny_recipe, wait_for, write_world
from tests.jobs.worker import works

_CONFIG = """
from pathlib import Path
from transformers import LlamaConfig

Path({mark!r}).touch()


class OddConfig(LlamaConfig):
    model_type = "odd"
"""
_MODEL = """
from transformers import LlamaForCausalLM
from .configuration_odd import OddConfig


class OddForCausalLM(LlamaForCausalLM):
    config_class = OddConfig
"""


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """The file that the target's code makes when it runs."""
    return tmp_path / "ran"


@pytest.fixture
def world(tmp_path: Path, mark: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Texts, and a target whose classes are its own."""
    from transformers import dynamic_module_utils

    # transformers copies the code into a folder of modules, which stands on the path from then on.
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in [name for name in sys.modules if name.partition(".")[0] == "transformers_modules"]:
        monkeypatch.delitem(sys.modules, name)
    folder = tmp_path / "world"
    folder.mkdir()
    target = write_world(folder) / "target"
    (target / "configuration_odd.py").write_text(_CONFIG.format(mark=str(mark)))
    (target / "modeling_odd.py").write_text(_MODEL)
    config = json.loads((target / "config.json").read_text())
    own = {"AutoConfig": "configuration_odd.OddConfig", "AutoModelForCausalLM": "modeling_odd.OddForCausalLM"}
    config |= {"model_type": "odd", "architectures": ["OddForCausalLM"], "auto_map": own}
    (target / "config.json").write_text(json.dumps(config))
    return folder


def recipe(world: Path, trusted: bool) -> Recipe:
    """A draft of a known architecture for that target, which could write, too."""
    writes = {"tokens": 64, "temperatures": [0.0], "sources": {"small": 1.0}, "prefix_tokens": [4], "new_tokens": 8}
    plain = dump_recipe(tiny_recipe(world, steps=2, trust_remote_code=trusted, synthesis=writes))
    plain["model"]["architecture"] = "llama"
    return parse_recipe(plain, "test")


def saved(world: Path) -> str:
    """The same as a file that says nothing of trust."""
    file = world / "tiny.toml"
    file.write_bytes(msgspec.toml.encode(dump_recipe(recipe(world, trusted=False))))
    return str(file)


def test_foreign_code_is_not_run_unasked(world: Path, tmp_path: Path, mark: Path, cli: Cli) -> None:
    """Training, plan and preview name the option; nobody is asked on the terminal, and nothing of the code is run."""
    with pytest.raises(FastdraftError, match=r"Python code of its own.*--trust-remote-code"):
        list(run_job(recipe(world, trusted=False), tmp_path / "job"))
    with pytest.raises(FastdraftError, match="--trust-remote-code"):
        plan(recipe(world, trusted=False), seconds=0.1)
    code, _, err = cli("preview", saved(world), "--source", "target")
    assert code == 1
    assert "--trust-remote-code" in err
    assert "[y/N]" not in err
    assert not mark.exists()


def test_a_trusted_target_is_trained_for_judged_and_published(world: Path, tmp_path: Path, mark: Path) -> None:
    """The events say what the key means; the target's classes judge the draft on the way and at the end."""
    asked, folder = recipe(world, trusted=True), tmp_path / "job"
    events = list(run_job(asked, folder))
    assert any(isinstance(e, Progress) and "trust_remote_code = true" in e.what for e in events)
    assert mark.exists()
    judged = list(publish(asked, folder, tmp_path / "draft"))
    assert any(isinstance(event, StageAcceptance) for event in judged)
    assert (tmp_path / "draft" / "config.json").is_file()


def test_the_flag_is_the_recipes_key(world: Path, mark: Path, cli: Cli, submit: Submit) -> None:  # noqa: F811
    """`--trust-remote-code` stands in the job's recipe, so that the job's process and every later one hold to it."""
    del submit  # it makes the jobs' work quick
    code, out, err = cli("preview", saved(world), "--source", "target", "--count", "1", "--trust-remote-code")
    assert (code, mark.exists()) == (0, True)
    assert "target" in out
    assert "trust_remote_code = true" in err
    code, _, err = cli("train", saved(world), "--detach", "--device", "cpu", "--trust-remote-code")
    assert code == 0
    assert "trust_remote_code = true" in err
    folder = places.jobs() / "tiny"
    assert job_recipe(folder).trust_remote_code
    wait_for(lambda: works(folder))
    assert job_recipe(folder).trust_remote_code


def test_a_plan_asks_the_trusted_target(world: Path) -> None:
    """Its configuration is enough, and that is its own class."""
    assert plan(recipe(world, trusted=True), seconds=0.1).architecture == "llama"


def test_trust_without_a_target_is_a_mistake() -> None:
    """There is no code to trust; a key without an effect is refused, as a misspelt one."""
    plain = dump_recipe(tiny_recipe(trust_remote_code=True))
    plain |= {"target": None, "tokenizer": {"vocab_size": 300, "sources": ["small"]}}
    with pytest.raises(FastdraftError, match="trust_remote_code is about the code of a target"):
        parse_recipe(plain, "test")
