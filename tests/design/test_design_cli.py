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

from fastdraft_core.events import DesignFinished, ShapeMeasured, decode_message
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


def test_ctrl_c_keeps_what_was_measured_and_the_study_goes_on(
    tiny_pair: tuple[str, str], home: Path, tmp_path: Path
) -> None:
    """It ends after the shape in progress; the same study goes on with the others alone."""
    del home
    command = [sys.executable, "-m", "fastdraft_core.cli", "design"]
    grid = ["--params", "400K", "--layers", "1-4", "--widths", "64-192", "--gamma", "3"]
    told = tmp_path / "told"
    with (
        told.open("w") as talk,
        subprocess.Popen(
            [*command, tiny_pair[0], *grid, *FIXED, "--json"],
            stdout=subprocess.PIPE,
            stderr=talk,
            start_new_session=True,
        ) as process,
    ):
        assert process.stdout is not None
        begun = iter(process.stdout.readline, b"")
        assert any(isinstance(decode_message(line), ShapeMeasured) for line in begun)
        os.killpg(process.pid, signal.SIGINT)
        last = [decode_message(line) for line in begun][-1]
        assert process.wait(PATIENCE) == 130
    assert isinstance(last, DesignFinished)
    assert last.reason == "stopped"
    (name,) = designs.names()
    assert f"fastdraft design --resume {name}" in told.read_text()
    before = designs.read(name)
    again = subprocess.run(
        [*command, "--resume", "last", "--json"], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    measured = [
        e for line in again.stdout.splitlines() if isinstance(e := decode_message(line.encode()), ShapeMeasured)
    ]
    assert [e.shape.key for e in measured] == [s.key for s in before.missing]
    assert not designs.read(name).missing


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
