"""The paper's own recipe at a thousandth of its size: a Phi-3 in small, from PT to the published draft."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig, AutoTokenizer

from fastdraft_core import places
from fastdraft_core.data.tokenizer import train_tokenizer
from fastdraft_core.events import Checkpointed, Evaluated, Mixed, StageAcceptance, StageFinished, StageStarted
from fastdraft_core.jobs.run import run_job
from fastdraft_core.training.publish import publish
from fastdraft_core.training.recipe import Recipe, parse_recipe
from tests.runtimes.models import small_model

#: The target's tokenizer knows fewer ids than its logits have, as Phi-3's does (32011 of 32064).
_IDS, _LOGITS = 998, 1002
_PARAMETERS = 52_107_776


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A stand-in ``target`` of the same class, and two folders of ``text`` and ``code``."""
    text, code = tmp_path / "text", tmp_path / "code"
    text.mkdir()
    code.mkdir()
    for n in range(120):
        lines = (f"On day {day} the {n}th traveller told {day * n} stories of the sea.\n" for day in range(14))
        (text / f"{n}.txt").write_text("".join(lines))
        lines = (f"def add_{n}_{m}(a, b):\n    return a + b * {m}\n" for m in range(12))
        (code / f"{n}.py").write_text("".join(lines))
    files = sorted([*text.iterdir(), *code.iterdir()])
    tokenizer = train_tokenizer((file.read_text() for file in files), _IDS)
    missing = _IDS - len(tokenizer)
    tokenizer.add_tokens([f"<|extra_{n}|>" for n in range(missing)])
    # As Phi-3's own: a turn begins and ends with tokens of the template.
    tokenizer.chat_template = (
        "{% for m in messages %}<|extra_0|>{{ m.content }}<|extra_1|>{% endfor %}"
        "{% if add_generation_prompt %}<|extra_2|>{% endif %}"
    )
    asked = ({"instruction": f"Tell of day {n}.", "input": "", "output": "No."} for n in range(60))
    (tmp_path / "alpaca.jsonl").write_text("\n".join(map(json.dumps, asked)))
    asked = ({"text": f"<human>: Whither on day {n}?\n<bot>: Home."} for n in range(60))
    (tmp_path / "oig.jsonl").write_text("\n".join(map(json.dumps, asked)))
    asked = ({"instruction": f"Tell of {n} seas, twice.", "output": "No."} for n in range(60))
    (tmp_path / "evol-instruct.jsonl").write_text("\n".join(map(json.dumps, asked)))
    ends = dict(bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=None)
    target = small_model("phi3", vocab_size=_LOGITS, max_position_embeddings=160, sliding_window=None, **ends)
    target.save_pretrained(tmp_path / "target")
    tokenizer.save_pretrained(tmp_path / "target")
    return tmp_path


def _recipe(world: Path) -> Recipe:
    """phi3-mini-50m with everything that has a size made small; all other values are the recipe's own."""
    data: dict[str, Any] = tomllib.loads((places.assets() / "recipes/phi3-mini-50m.toml").read_text(encoding="utf-8"))
    data |= {"target": str(world / "target"), "decontaminate": ["code", "text"]}
    data["model"] |= {"hidden_size": 16, "intermediate_size": 44, "context_length": 160}
    data["sources"]["fineweb"] = {"path": str(world / "text"), "held_out": 10}
    data["sources"]["stack"] = {"path": str(world / "code"), "held_out": 10}
    for name in ("alpaca", "oig", "evol-instruct"):
        data["sources"][name] = {"path": str(world / f"{name}.jsonl"), "held_out": 4}
    data["pt"]["sources"] = {"fineweb": "5000"}
    data["cp"]["sources"] = {"stack": "5000", "fineweb": "2500"}
    for stage in ("pt", "cp"):
        data[stage] |= {"sequence_length": 64, "batch_tokens": 524}
    data["synthesis"] |= {"tokens": 2500, "new_tokens": 24, "prefix_tokens": [4, 8, 16], "batch_size": 32}
    data["evaluation"] = {"prompts": 2}
    data["ft"] |= {"tokens": 2000, "sequence_length": 32, "batch_tokens": 131}
    return parse_recipe(data, "phi3-mini-50m at a thousandth")


def test_the_papers_recipe_runs_through_at_a_thousandth(tmp_path: Path, world: Path) -> None:
    """PT on text, CP on code with text replayed, FT on what the target wrote, judged and published: nothing is missing."""
    recipe, job, output = _recipe(world), tmp_path / "job", tmp_path / "draft"
    events = list(run_job(recipe, job))
    assert [e.stage for e in events if isinstance(e, StageFinished)] == ["pt", "cp", "ft"]
    started = [e for e in events if isinstance(e, StageStarted)]
    assert all(e.parameters == pytest.approx(_PARAMETERS / 1000, rel=0.1) for e in started)
    mixed = {e.stage: e.tokens for e in events if isinstance(e, Mixed)}
    # Two thirds code, one third text, as the paper has them.
    assert mixed["cp"]["stack"] / sum(mixed["cp"].values()) == pytest.approx(2 / 3, abs=0.01)
    for stage, sources in {"pt": {"fineweb"}, "cp": {"stack", "fineweb"}, "ft": {"target"}}.items():
        last = [e for e in events if isinstance(e, Evaluated) and e.stage == stage][-1]
        assert set(last.perplexity) == set(last.acceptance) == set(last.accepted) == sources
    assert {e.stage for e in events if isinstance(e, Checkpointed)} == {"pt", "cp", "ft"}
    judged = [e for e in publish(recipe, job, output) if isinstance(e, StageAcceptance)]
    assert [e.stage for e in judged] == ["pt", "cp", "ft"]
    config = AutoConfig.from_pretrained(output)
    assert (config.model_type, config.vocab_size, config.num_hidden_layers) == ("phi3", _LOGITS, 6)
    assert len(AutoTokenizer.from_pretrained(output)) == _IDS
    (written,) = places.cache().glob("synthesis/train-*/sequences.jsonl")
    rows = [json.loads(line) for line in written.read_text().splitlines()]
    # Logits that only pad the target's are never drawn.
    kinds = {row["id"].partition("/")[0] for row in rows if "id" in row}
    # So few rows do not come round to every set.
    assert kinds - {"alpaca", "oig", "evol-instruct"} == {"prefix", "magpie"}
    assert kinds & {"alpaca", "oig", "evol-instruct"}
    assert max(max(row["ids"]) for row in rows if row.get("status") == "ok") < _IDS
