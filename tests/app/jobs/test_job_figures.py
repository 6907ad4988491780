"""What a job's screen tells beside its curves: the use of the machine, evaluations, and a second job."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from fastdraft_app.client.device_use import DeviceUse, accelerator
from fastdraft_app.client.log_tail import LogLines, LogTail
from fastdraft_app.jobs.job_list import JobList
from fastdraft_app.jobs.job_text import evaluation_table
from fastdraft_app.theme.palette import marks
from fastdraft_app.widgets.chart import Chart, _spread
from fastdraft_app.widgets.line import TextLine
from fastdraft_core.events import Evaluated, encode
from fastdraft_core.jobs.folder import EVENTS
from fastdraft_core.jobs.processes import this_process
from fastdraft_core.jobs.view import JobReader
from tests.app.conftest import MakeApp
from tests.app.helpers import RECORDING, wait_for
from tests.app.job_folders import job
from tests.app.jobs.test_jobs_screen import open_job, open_jobs


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder at the front of PATH for stand-ins of the makers' tools."""
    folder = tmp_path / "tools"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return folder


def stand_in(folder: Path, name: str, says: str) -> None:
    """A program called ``name`` that keeps what it was asked and says this."""
    program = folder / name
    program.write_text(f"#!/bin/sh\necho \"$@\" > '{folder}/asked'\ncat <<'END'\n{says}\nEND\n")
    program.chmod(0o755)


@pytest.mark.skipif(sys.platform == "win32", reason="shell scripts")
def test_the_makers_tools_tell_of_the_jobs_own_device(tools: Path) -> None:
    """The line of the job's device is taken, not that of its neighbour; what a device does not tell is left out."""
    assert accelerator("cuda:1") == accelerator("cpu") == ""
    stand_in(tools, "nvidia-smi", "0, NVIDIA A, 81559, 10, 3, 70.1\n1, NVIDIA B, 81559, 40960, 97, [N/A]")
    assert accelerator("cuda:1") == "cuda:1: NVIDIA B, 97 % busy, 42.95 GB of 85.52 GB"
    assert "--query-gpu=index" in (tools / "asked").read_text()
    stand_in(tools, "hl-smi", "0, HL-225, 98304 MiB, 49152 MiB, 88 %, 410 W")
    assert accelerator("hpu") == "hpu: HL-225, 88 % busy, 51.54 GB of 103.08 GB, 410 W"
    assert "-Q index,name" in (tools / "asked").read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="shell scripts")
@pytest.mark.parametrize("says", ["", "No devices were found", "0, a, b", "\x1b[31m, , , , ,"])
def test_a_tool_that_says_something_else_is_no_error(tools: Path, says: str) -> None:
    """A driver that fell over prints a sentence; the line is then absent."""
    stand_in(tools, "nvidia-smi", says)
    assert accelerator("cuda:0") == ""


async def test_the_use_of_a_running_job_is_one_line_and_absent_without_a_process(make_app: MakeApp) -> None:
    """Processor and memory of the job's process; a paused job has no such line."""
    assert "cores" in DeviceUse().poll(os.getpid(), "cpu")
    assert DeviceUse().poll(1 << 22, "cpu") == ""
    job("mine", "running", 30, process=this_process())
    job("other", "paused", 30)
    app = make_app("--replay", str(RECORDING))
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await open_job(pilot, "mine", 2)
        line = screen.query_one("#device", TextLine)
        await wait_for(pilot, lambda: line.display and "resident" in line.text)
        await pilot.press("escape")
        screen = await open_job(pilot, "other", 2)
        await pilot.pause(2.5)
        assert not screen.query_one("#device").display


def test_evaluations_show_all_that_was_measured_and_every_column() -> None:
    """Perplexity and the expected accepted/drafted have their tables; columns that do not fit follow below, counted."""
    folder = job("mine", "paused", 240)
    sources = {f"source-{n}": 0.1 * n for n in range(1, 8)}
    told = Evaluated(
        stage="ft", step=120, loss=dict.fromkeys(sources, 2.0), acceptance=sources, accepted=sources, gamma=3
    )
    with (folder / EVENTS).open("ab") as file:
        file.write(encode(told))
    table = evaluation_table(JobReader(folder).view(), 60, marks(False)).plain
    assert "accepted/drafted expected along the target's texts, gamma 3, T 0" in table
    assert "held-out perplexity, measured" in table
    assert "7.389" in table
    assert "columns 1 to 3 of" in table
    assert all(name in table for name in sources)
    assert max(map(len, table.splitlines()[:8])) <= 100


async def test_two_jobs_stand_on_one_chart(make_app: MakeApp) -> None:
    """c marks one; the charts of the other show both by name, and c there ends it."""
    job("first", "paused", 60)
    job("second", "paused", 120)
    app = make_app("--replay", str(RECORDING))
    async with app.run_test(size=(160, 48)) as pilot:
        jobs = await open_jobs(pilot, 2)
        jobs.query_one("#jobs", JobList).choose("first")
        await pilot.pause()
        await pilot.press("c")
        await wait_for(pilot, lambda: "comparing with first" in jobs.query_one("#title", TextLine).text)
        screen = await open_job(pilot, "second", 2)
        names = [one.name for one in screen.query_one("#loss", Chart).series]
        assert names == ["second: training, smoothed", "first: training, smoothed"]
        names = [one.name for one in screen.query_one("#acceptance", Chart).series]
        assert names == ["second: code", "second: text", "first: code", "first: text"]
        assert "first" in screen.query_one("#legend", TextLine).text
        await pilot.press("c")
        await wait_for(pilot, lambda: len(screen.query_one("#loss", Chart).series) == 3)


def test_a_log_is_read_on_and_not_again(tmp_path: Path) -> None:
    """Only what was added is read; half a line waits for its end; a log that began anew replaces the old one."""
    path = tmp_path / "log.txt"
    tail = LogTail(path)
    assert tail.read() == LogLines([], anew=False)
    path.write_bytes(b"one\ntw")
    assert tail.read() == LogLines(["one"], anew=True)
    with path.open("ab") as file:
        file.write(b"o\nthree\n")
    assert tail.read() == LogLines(["two", "three"], anew=False)
    assert tail.read() == LogLines([], anew=False)
    path.write_bytes(b"x\n")
    assert tail.read() == LogLines(["x"], anew=True)
    path.write_bytes(b"".join(b"line %d\n" % n for n in range(60_000)))
    found = tail.read()
    assert found.anew
    assert found.lines[-1] == "line 59999"
    assert all(line.startswith("line ") for line in found.lines)
    assert len(found.lines) < 40_000


def test_marks_on_a_line_are_few_and_the_last_point_has_one() -> None:
    """A line of four hundred marks would hide every other line."""
    points = [(float(x), 1.0) for x in range(400)]
    for number in range(4):
        kept = _spread(points, 12, number)
        assert 12 <= len(kept) <= 14
        assert kept[-1] == points[-1]
        assert kept == sorted(kept)
    assert _spread(points[:1], 12, 1) == points[:1]
