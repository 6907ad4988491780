"""``fastdraft design`` as a user has it: a real target, real random drafts, real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from fastdraft_core.events import DesignFinished, ShapeMeasured, ShapeTrained, decode_message
from fastdraft_core.results import designs
from fastdraft_core.training.recipe import load_recipe
from tests.commands import Cli

FIXED = ["--dtype", "float32", "--device", "cpu", "--threads", "1", "--runtime", "torch"]
QUICK = ["--params", "100K", "--layers", "1,2", "--widths", "64-96", "--gamma", "2"]
PATIENCE = 300


def test_a_study_measures_chooses_writes_and_is_shown_again(
    cli: Cli, tiny_pair: tuple[str, str], tmp_path: Path, home: Path
) -> None:
    """Markdown, charts, and a recipe with the chosen shape; nothing of the random drafts is left."""
    recipe, charts = tmp_path / "mine.toml", tmp_path / "charts"
    code, out, err = cli(
        "design",
        tiny_pair[0],
        *QUICK,
        *FIXED,
        "--draft-vocab",
        "100,all",
        "--into",
        str(recipe),
        "--charts",
        str(charts),
    )
    assert code == 0, err
    assert "Cheapest at equal acceptance" in out
    assert "100 ids" in out
    assert {path.name for path in charts.iterdir()} == {"depth.svg", "width.svg", "speedup.svg"}
    (name,) = designs.names()
    found = designs.read(name)
    assert not found.missing
    best = found.best()
    assert best is not None
    made = load_recipe(str(recipe)).model
    assert (made.num_layers, made.hidden_size, made.draft_vocab or 0) == (best.layers, best.width, best.draft_vocab)
    assert not any((home / "cache" / "design").iterdir())
    code, again, _ = cli("design", "--show", "last")
    assert (code, again) == (0, out)
    assert name in cli("design", "--list")[1]


def test_only_the_model_of_an_existing_recipe_is_changed(cli: Cli, tiny_pair: tuple[str, str], tmp_path: Path) -> None:
    """Comments and everything else stay, byte for byte."""
    recipe = tmp_path / "mine.toml"
    before = '# My own.\nname = "x"\ntarget = "demo"\n\n[model]\nhidden_size = 32\nnum_layers = 9\nnum_heads = 1\n'
    before += 'num_kv_heads = 1\nintermediate_size = 64\ncontext_length = 256\n\n[pt]\n# Little.\ntokens = "1M"\nsources = { text = 1.0 }\n'
    recipe.write_text(before)
    code, _, err = cli(
        "design",
        tiny_pair[0],
        *QUICK[:2],
        "--layers",
        "1",
        "--widths",
        "64",
        "--gamma",
        "1",
        *FIXED,
        "--into",
        str(recipe),
    )
    assert code == 0, err
    text = recipe.read_text()
    assert text.startswith(before[: before.index("[model]")])
    assert text.endswith(before[before.index("[pt]") :])
    model = tomllib.loads(text)["model"]
    assert (model["num_layers"], model["hidden_size"], model["context_length"]) == (1, 64, 256)


def test_ctrl_c_keeps_what_was_measured_and_the_study_goes_on(tiny_pair: tuple[str, str], home: Path) -> None:
    """It ends after the shape in progress; the same study goes on with the others alone."""
    del home
    command = [sys.executable, "-m", "fastdraft_core.cli", "design"]
    process = subprocess.Popen(
        [*command, tiny_pair[0], *QUICK, *FIXED, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if isinstance(decode_message(line.encode()), ShapeMeasured):
            break
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    last = decode_message(out.splitlines()[-1].encode())
    assert isinstance(last, DesignFinished)
    assert last.reason == "stopped"
    (name,) = designs.names()
    assert f"fastdraft design --resume {name}" in err
    before = designs.read(name)
    again = subprocess.run(
        [*command, "--resume", "last", "--json"], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    measured = [
        e for line in again.stdout.splitlines() if isinstance(e := decode_message(line.encode()), ShapeMeasured)
    ]
    assert [e.shape.key for e in measured] == [s.key for s in before.missing]
    assert not designs.read(name).missing


def test_candidates_are_trained_by_the_same_budget_and_judged_on_the_targets_text(
    cli: Cli, tiny_pair: tuple[str, str]
) -> None:
    """Acceptance is measured and stands beside the speed-up that it predicts."""
    code, out, err = cli(
        "design",
        tiny_pair[0],
        "--params",
        "60K",
        "--layers",
        "1",
        "--widths",
        "64",
        "--gamma",
        "2",
        "--train",
        "2K",
        *FIXED,
        "--json",
    )
    assert code == 0, err
    events = [decode_message(line.encode()) for line in out.splitlines()]
    (trained,) = [e for e in events if isinstance(e, ShapeTrained)]
    assert trained.tokens == 2000
    assert len(trained.acceptance) == len(trained.speedup) == 2
    assert all(0 <= a <= 1 for a in trained.acceptance)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--params", "1K"], "is too small"),
        (["--layers", "3-1"], "--layers 3-1 is not understood"),
        (["--widths", "100-200"], "heads of 32 and 64"),
        (["--draft-vocab", "few"], "--draft-vocab few is not understood"),
        (["--resume", "none"], "design stud"),
    ],
)
def test_wrong_input_is_one_sentence(cli: Cli, tiny_pair: tuple[str, str], arguments: list[str], says: str) -> None:
    """With what would be right."""
    code, out, err = cli("design", tiny_pair[0], *arguments, *FIXED)
    assert (code, out) == (1, "")
    assert says in err
    assert "Traceback" not in err


def test_events_are_json_lines(cli: Cli, tiny_pair: tuple[str, str]) -> None:
    """For programs, as in a sweep."""
    code, out, _ = cli(
        "design", tiny_pair[0], *QUICK[:2], "--layers", "1", "--widths", "64", "--gamma", "1", *FIXED, "--json"
    )
    assert code == 0
    kinds = [json.loads(line)["type"] for line in out.splitlines()]
    assert kinds[0] == "designstarted"
    assert kinds[-1] == "designfinished"
    assert "shapemeasured" in kinds
