"""``fastdraft sweep`` and ``fastdraft results`` as a user has them: real models, real processes, real files."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from fastdraft_core import places
from fastdraft_core.bench.interval import Interval
from fastdraft_core.events import PointMeasured, SweepFinished, SweepStarted, decode_message
from fastdraft_core.machine.bandwidth import Bandwidth, machine_id
from fastdraft_core.results import store
from tests.bench.points import measured, plan
from tests.commands import Cli

FIXED = ["--dtype", "float32", "--device", "cpu", "--threads", "1", "--runtime", "torch"]
QUICK = ["--gamma", "1,2", "--length", "12", "--within", "90%", "--budget", "5m"]
PATIENCE = 300


@pytest.fixture(autouse=True)
def known_peak(home: Path) -> None:
    """Measuring the memory takes seconds and is tested elsewhere; a kept figure serves."""
    peak = Bandwidth(
        single_thread=10.0, all_threads=15.0, threads=2, buffer_bytes=1 << 20, busy_share=0.0,
        method="none", machine=machine_id(), measured_on="2025-01-01",
    )  # fmt: skip
    (home / "cache").mkdir(parents=True)
    (home / "cache" / "bandwidth.json").write_bytes(msgspec.json.encode(peak))


@pytest.fixture(autouse=True)
def narrow_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """How far runs of milliseconds differ is the business of whatever else this machine does; two rounds are enough here."""
    monkeypatch.setattr(Interval, "half_width", 0.0)


@pytest.fixture
def prompts(tmp_path: Path) -> str:
    """Two prompts in a file."""
    path = tmp_path / "mine.jsonl"
    path.write_text('{"q": "def add"}\n{"q": "The fox"}\n')
    return str(path)


@pytest.fixture
def ask(tiny_pair: tuple[str, str], prompts: str) -> list[str]:
    """A sweep of the tiny pair on two prompts."""
    target, draft = tiny_pair
    return ["sweep", target, "--draft", draft, "--prompt-file", prompts, "--field", "q", *QUICK, *FIXED]


def test_a_sweep_ends_with_a_verdict_and_a_result_that_is_kept(cli: Cli, ask: list[str]) -> None:
    """Markdown on stdout, verdict first; progress on stderr; the same again from the kept result."""
    code, out, err = cli(*ask)
    assert code == 0
    assert out.splitlines()[2].startswith("**")
    assert "## Speed-up by gamma: mine, T 0" in out
    assert "measured" in err
    (name,) = store.names()
    found = store.read(name)
    assert len(found.measured) == found.total == 2
    assert found.plan.command.startswith("fastdraft sweep")
    assert found.plan.machine["cpu"]
    assert all(len(digest) == 16 for digest in found.plan.hashes.values())
    assert len(set(found.plan.hashes.values())) == 2
    assert (found.plan.runtime, found.plan.threads, found.plan.target.dtype) == ("torch", 1, "float32")
    assert cli("results", "show")[:2] == (0, out)
    assert cli("results", "list")[1].startswith(f"{name}  2/2 complete  ")
    assert cli("results")[:2] == (0, cli("results", "list")[1])


def test_json_lines_are_the_events(cli: Cli, ask: list[str]) -> None:
    """A program sees what the Sweep screen sees: the plan first, points as they come, the end last."""
    code, out, _ = cli(*ask, "--json", "--temperature", "0,0.7")
    events = [decode_message(line.encode()) for line in out.splitlines()]
    assert code == 0
    assert isinstance(events[0], SweepStarted)
    assert {e.key[1:3] for e in events if isinstance(e, PointMeasured)} == {(g, t) for g in (1, 2) for t in (0.0, 0.7)}
    assert isinstance(events[-1], SweepFinished)
    # What is kept is told the same way: a row a result, all of one as one object.
    (row,) = [json.loads(line) for line in cli("results", "--json")[1].splitlines()]
    (shown,) = [json.loads(line) for line in cli("results", "show", row["name"], "--json")[1].splitlines()]
    assert (row["measured"], shown["schema"]) == (len(shown["measured"]), store.SCHEMA)


def test_exports_and_a_comparison(cli: Cli, ask: list[str], tmp_path: Path) -> None:
    """Each format is written whole; a result against itself differs nowhere."""
    assert cli(*ask)[0] == 0
    (name,) = store.names()
    rows = list(csv.DictReader(io.StringIO(cli("results", "export", name, "--format", "csv")[1])))
    assert [row["gamma"] for row in rows] == ["1", "2"]
    assert json.loads(cli("results", "export", "last", "--format", "json")[1])["schema"] == store.SCHEMA
    markdown = tmp_path / "out" / "r.md"
    assert cli("results", "export", name, "--output", str(markdown))[0] == 0
    assert markdown.read_text(encoding="utf-8").startswith(f"# {name}")
    charts = tmp_path / "charts"
    for form in ("svg", "png"):
        assert cli("results", "export", name, "--format", form, "--output", str(charts))[0] == 0
    assert "<svg" in (charts / "speedup.svg").read_text(encoding="utf-8")
    assert (charts / "speedup.png").read_bytes().startswith(b"\x89PNG")
    code, out, _ = cli("results", "compare", name, "last")
    assert code == 0
    assert "0 of 2 common points differ beyond noise." in out
    differences = [json.loads(line) for line in cli("results", "compare", name, "last", "--json")[1].splitlines()]
    assert [(told["ratio"], told["difference"]) for told in differences] == [(1, ""), (1, "")]


def test_differences_are_marked(cli: Cli) -> None:
    """Between two results: what moved beyond noise, by how much, and what else was different."""
    for name, speedup, threads in (("a", 1.5, 2), ("b", 1.8, 4)):
        write = store.writer(name)
        write(plan(name=name, threads=threads))
        write(measured(speedup=speedup))
    code, out, _ = cli("results", "compare", "a", "b")
    assert code == 0
    assert "differs, threads: 2 / 4" in out
    assert "+20.0%" in out
    assert "higher in B" in out
    assert "11 in neither" in out
    store.writer("c")(plan(name="c"))
    code, _, err = cli("results", "compare", "a", "c")
    assert (code, "no measured point in common" in err) == (1, True)
    assert "1 not measured in B, 11 in neither" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--gamma", "0-3"], "starts at 1"),
        (["--gamma", "5-3"], "--gamma 5-3 is not understood"),
        (["--gamma", "1,5-3"], "--gamma 1,5-3 is not understood"),
        (["--temperature", "warm"], "--temperature warm is not understood"),
        (["--temperature", "-1"], "not understood"),
        (["--within", "0%"], "--within 0% is not understood"),
        (["--budget", "soon"], "--budget soon is not understood"),
        (["--preset", "papers"], "no preset 'papers'"),
        (["--task", "poems"], "no task 'poems'"),
        (["--preset", "paper"], "NAME=FILE"),
        (["--draft", "demo:S", "--draft", "demo:S"], "twice"),
        (["--prompt-file", "/nowhere.txt"], "/nowhere.txt"),
        (["--resume", "last"], "no results yet"),
        (["--length", "1"], "--length 1 is too short"),
        (["--length", "2"], "--length 2 is too short"),
    ],
)
def test_wrong_values_are_answered_before_loading(cli: Cli, arguments: list[str], words: str) -> None:
    """One sentence, exit code 1, nothing on stdout and no result left behind."""
    code, out, err = cli("sweep", "demo", *arguments)
    assert (code, out) == (1, "")
    assert words in err
    assert err.count("\n") == 1
    assert store.names() == []


def test_a_result_that_another_process_writes_is_refused_before_loading(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it adds meanwhile would be missed, and loading for minutes only to be refused is no answer either."""

    def load(*_: object) -> None:
        raise AssertionError("loaded")

    write = store.writer("a")
    write(plan(name="a"))
    monkeypatch.setattr("fastdraft_core.bench.drafts.load_lineup", load)
    code, out, err = cli("sweep", "--resume", "a")
    assert (code, out) == (1, "")
    assert "Another process is writing the result a" in err


def test_a_sweep_that_ended_with_its_plan_goes_on_in_its_own_folder(cli: Cli, ask: list[str]) -> None:
    """Killed before anything was measured and renamed since: the plan is not written again, and no second folder appears."""
    assert cli(*ask)[0] == 0
    kept = store.folder(store.names()[0]).rename(store.folder("kept"))
    events = kept / "events.jsonl"
    events.write_bytes(events.read_bytes().split(b"\n")[0] + b"\n")
    code, _, err = cli("sweep", "--resume", "kept")
    assert (code, "result kept in" in err) == (0, True)
    assert store.names() == ["kept"]
    lines = [decode_message(line) for line in events.read_bytes().splitlines()]
    assert sum(isinstance(event, SweepStarted) for event in lines) == 1
    assert len(store.read("kept").measured) == 2


def test_a_sweep_goes_on_from_another_folder(
    cli: Cli, prompts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Begun with paths that start where one was, as of the bundled pair; the app goes on with it from elsewhere."""
    demo = places.assets() / "demo"
    monkeypatch.chdir(demo)
    ask = ["sweep", "target", "--draft", "./drafts/XS", "--prompt-file", prompts, "--field", "q", *QUICK, *FIXED]
    assert cli(*ask)[0] == 0
    (name,) = store.names()
    plan = store.read(name).plan
    assert (plan.target.name, plan.drafts[0].name) == (str(demo / "target"), str(demo / "drafts" / "XS"))
    # As if it had been killed with its plan alone.
    events = store.folder(name) / "events.jsonl"
    events.write_bytes(events.read_bytes().split(b"\n")[0] + b"\n")
    monkeypatch.chdir(tmp_path)
    code, _, err = cli("sweep", "--resume", name)
    assert (code, "measured" in err) == (0, True)
    assert {point.draft for point in store.read(name).measured.values()} == {str(demo / "drafts" / "XS")}


def test_going_on_needs_the_same_models_and_prompts(
    cli: Cli, tiny_pair: tuple[str, str], prompts: str, tmp_path: Path
) -> None:
    """Figures of other weights or other prompts do not belong into one result; what changed is named."""
    draft = shutil.copytree(tiny_pair[1], tmp_path / "draft")
    ask = ["sweep", tiny_pair[0], "--draft", str(draft), "--prompt-file", prompts, "--field", "q", *QUICK, *FIXED]
    assert cli(*ask)[0] == 0
    code, _, err = cli("sweep", "--resume", "last")
    assert (code, "measured" in err) == (0, False), "there is nothing left to measure"
    with (draft / "config.json").open("a") as file:
        file.write("\n")
    Path(prompts).write_text('{"q": "def sub"}\n{"q": "The fox"}\n')
    code, _, err = cli("sweep", "--resume", "last")
    assert code == 1
    assert str(draft) in err
    assert "the prompts of mine" in err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal to send to another process")
def test_ctrl_c_keeps_what_was_found_and_it_can_go_on(ask: list[str], home: Path) -> None:
    """The first Ctrl-C ends it after the run in progress: exit code 130, a verdict, and the way to go on."""
    command = [sys.executable, "-u", "-c", "from fastdraft_core.cli import main; main()"]
    environment = {**os.environ, "FASTDRAFT_HOME": str(home)}
    slow = [*ask, "--within", "0.0001%", "--gamma", "1-3", "--json"]
    process = subprocess.Popen(
        [*command, *slow],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=environment,
    )
    assert process.stdout
    for line in process.stdout:
        if isinstance(decode_message(line.encode()), PointMeasured):
            break
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "Traceback" not in err
    last = decode_message(out.splitlines()[-1].encode())
    assert isinstance(last, SweepFinished)
    assert last.reason == "stopped"
    (name,) = store.names()
    assert f"fastdraft sweep --resume {name}" in err
    kept = store.read(name)
    assert kept.measured
    assert kept.verdict is not None
    again = subprocess.run(
        [*command, "sweep", "--resume", name, "--budget", "1s", "--json"],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert again.returncode == 0
    assert '"type":"costsmeasured"' not in again.stdout
    assert store.read(name).predicted == kept.predicted
