"""The engine process over its pipes, with a real target: order of events, cancelling, and never an orphan."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import msgspec
import psutil
import pytest

from fastdraft_core import events
from fastdraft_core.engine.process import Engine
from fastdraft_core.events import Cancel, Event, Load, Run, decode_message, encode
from fastdraft_core.machine import bandwidth

PATIENCE = 300
#: The bundled target, as target and as draft.
TARGET = "demo"
COMMAND = [sys.executable, "-m", "fastdraft_core.engine.process"]
PEAK = bandwidth.Bandwidth(
    single_thread=10.0, all_threads=15.0, threads=2, buffer_bytes=1 << 20, busy_share=0.0, method="made for a test",
    machine=bandwidth.machine_id(), measured_on="2026-01-01",
)  # fmt: skip
PARENT = """
import subprocess, sys
engine = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
print(engine.pid, flush=True)
engine.stdin.write(bytes.fromhex(sys.argv[1]))
engine.stdin.flush()
for line in engine.stdout:
    print(line.decode()[:40].split('"')[3], flush=True)
"""


class Process:
    """An engine; what it says is read as it comes."""

    def __init__(self, home: Path) -> None:
        self.popen = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "FASTDRAFT_HOME": str(home), "OMP_NUM_THREADS": "1"},
        )
        self.on_cpu = False
        self.lines: Queue[bytes] = Queue()
        Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.popen.stdout
        for line in self.popen.stdout:
            self.lines.put(line)

    def send(self, *commands: Event | bytes) -> None:
        """Write commands, each as one line."""
        assert self.popen.stdin
        self.popen.stdin.write(b"".join(c if isinstance(c, bytes) else encode(c) for c in commands))
        self.popen.stdin.flush()

    def until(self, *last: type) -> list[Any]:
        """All events up to the first of one of these kinds."""
        found: list[Any] = []
        while not found or not isinstance(found[-1], last):
            found.append(decode_message(self.lines.get(timeout=PATIENCE)))
        return found


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """One engine with the bundled target as target and as draft."""
    home = tmp_path_factory.mktemp("home")
    # As measured before, so that these tests need not.
    (home / "cache").mkdir()
    (home / "cache" / "bandwidth.json").write_bytes(msgspec.json.encode(PEAK))
    process = Process(home)
    process.send(Load(target=TARGET, draft=TARGET, dtype="float32", threads=1, runtime="torch"))
    steps = process.until(events.PairLoaded, events.Failed)
    assert isinstance(steps[-1], events.PairLoaded)
    assert isinstance(steps[0], events.Machine)
    assert all(isinstance(step, events.Progress) for step in steps[1:-1])
    process.on_cpu = steps[-1].target.device == "cpu"
    if process.on_cpu:
        (peak,) = process.until(events.PeakBandwidth)
        assert (peak.gigabytes_per_second, peak.threads, peak.lower_bound) == (PEAK.single_thread, 1, False)
    yield process
    process.popen.kill()
    process.popen.wait()


def short_run(**changes: Any) -> Run:
    return Run(**{**dict(prompt="Once upon a time", gamma=3, temperature=0.0, max_new_tokens=14), **changes})


def test_a_run_is_both_modes_one_after_the_other(engine: Process) -> None:
    """The screen relies on it: ar from start to finish, then sd, then the comparison; greedy texts are the same."""
    engine.send(short_run())
    found = engine.until(events.Compared, events.Failed)
    names = [type(e).__name__ for e in found]
    assert names.count("RunStarted") == names.count("RunFinished") == 2
    half = names.index("RunFinished") + 1
    for mode, part in (("ar", found[:half]), ("sd", found[half:-1])):
        assert [type(e) for e in part[:2]] == [events.RunStarted, events.FirstToken]
        assert all(isinstance(e, events.Block) for e in part[2:-1])
        assert {e.mode for e in part} == {mode}
        assert part[-1].reason == "length"
    ar, sd = found[half - 1], found[-2]
    assert ar.text == sd.text
    assert found[-1].identical is True
    cost = found[-1].cost
    assert sd.metrics.tau / cost.total == pytest.approx(found[-1].speedup)
    assert bool(found[-1].slower) is (found[-1].speedup < 1)
    assert all(block.bytes_read > 4 * 22_000_000 for block in found if isinstance(block, events.Block))
    if engine.on_cpu:
        # Told again after the first comparison, where it would be measured if nobody had done it before.
        assert engine.until(events.PeakBandwidth)[-1].gigabytes_per_second == PEAK.single_thread
    # The draft is the target: 13 tokens after the first are three blocks of four and one more.
    assert [len(e.drafted) for e in found[half + 2 : -2]] == [3, 3, 3, 0]


def test_a_malformed_line_is_ignored(engine: Process) -> None:
    """Whatever arrives, the next command is answered."""
    engine.send(
        b"nonsense\n",
        b'{"type":"run"}\n',
        b'{"type":"explode"}\n',
        b"\xff\xfe\n",
        b'{"type":"load","target":"\xff"}\n',
        b"\n",
        short_run(),
    )
    assert isinstance(engine.until(events.Compared, events.Failed)[-1], events.Compared)


def test_a_cancel_ends_the_run(engine: Process) -> None:
    """Pressing stop keeps what was decoded, says so, and starts no second mode."""
    engine.send(short_run(max_new_tokens=480, seed=1))
    engine.until(events.Block)
    engine.send(Cancel(), short_run(prompt="Lily"))
    found = engine.until(events.Compared, events.Failed)
    (cancelled,) = [e for e in found if isinstance(e, events.RunFinished) and e.reason == "cancelled"]
    assert cancelled.mode == "ar"
    assert cancelled.metrics.tokens < 479
    started = [(e.mode, e.prompt) for e in found if isinstance(e, events.RunStarted)]
    assert started == [("ar", "Lily"), ("sd", "Lily")]


def test_a_prompt_that_is_too_long_fails_in_words(engine: Process) -> None:
    """And the pair stays usable."""
    engine.send(short_run(prompt="word " * 600), short_run())
    assert "Shorten the prompt" in engine.until(events.Failed)[-1].message
    assert isinstance(engine.until(events.Compared, events.Failed)[-1], events.Compared)


def test_a_draft_that_does_not_fit_leaves_the_target(engine: Process, tiny_pair: tuple[str, str]) -> None:
    """Pitfall 15: another vocabulary means no speculation, with the reason, and plain decoding goes on."""
    engine.send(Load(target=TARGET, draft=tiny_pair[1], dtype="float32", threads=1, runtime="torch"), short_run())
    loaded = engine.until(events.PairLoaded, events.Failed)[-1]
    assert loaded.draft is None
    assert "vocabularies differ" in loaded.draft_problem
    started = [e for e in engine.until(events.RunFinished) if isinstance(e, events.RunStarted)]
    assert [e.mode for e in started] == ["ar"]


def test_a_bad_model_fails_and_the_engine_goes_on(engine: Process, tmp_path: Path) -> None:
    """A wrong path is one sentence with the log's name; the same process then loads a good model."""
    engine.send(Load(target=str(tmp_path / "nowhere"), draft=""), short_run())
    failed = engine.until(events.Failed)[-1]
    assert "nowhere" in failed.message
    assert Path(failed.log).is_file()
    assert "No model is loaded" in engine.until(events.Failed)[-1].message
    engine.send(Load(target=TARGET, draft="", dtype="float32", threads=1, runtime="torch"))
    assert isinstance(engine.until(events.PairLoaded, events.Failed)[-1], events.PairLoaded)


def test_another_runtime_is_another_load(engine: Process) -> None:
    """The screen's key sends the same pair again: OpenVINO runs it, says so with its own figures, and the texts agree."""
    load = Load(target=TARGET, draft=TARGET, dtype="float32", threads=1, runtime="openvino")
    engine.send(load, short_run())
    loaded = engine.until(events.PairLoaded, events.Failed)[-1]
    assert (loaded.runtime, loaded.runtime_reason, loaded.draft_problem) == ("openvino", "", None)
    assert (loaded.target.compute, loaded.target.kv_dtype) == ("float32", "float32")
    assert engine.until(events.Compared, events.Failed)[-1].identical is True
    engine.send(Load(target=TARGET, draft="", device="gpu.9", runtime="openvino"))
    assert "no device 'gpu.9'" in engine.until(events.Failed)[-1].message


def test_closing_its_input_ends_it_within_a_run(engine: Process) -> None:
    """The app that quits leaves no process: the end of standard input ends a run and the engine. Keep this test last."""
    engine.send(Load(target=TARGET, draft="", dtype="float32", threads=1, runtime="torch"))
    engine.send(short_run(max_new_tokens=480))
    engine.until(events.Block)
    assert engine.popen.stdin
    engine.popen.stdin.close()
    assert engine.popen.wait(timeout=PATIENCE) == 0


def test_quit_ends_it_while_its_input_is_open(home: Path) -> None:
    """The thread that waits for the next command does not stand in the way."""
    process = Process(home)
    process.send(events.Quit())
    assert process.popen.wait(PATIENCE) == 0


def test_an_app_that_is_killed_leaves_no_engine(home: Path) -> None:
    """kill -9 of the parent, in the middle of a run: nothing is left, and nothing was asked to clean up."""
    commands = encode(Load(target=TARGET, draft="", dtype="float32", threads=1, runtime="torch")) + encode(
        short_run(max_new_tokens=480)
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, commands.hex(), *COMMAND],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "FASTDRAFT_HOME": str(home), "OMP_NUM_THREADS": "1"},
    )
    assert parent.stdout
    child = psutil.Process(int(parent.stdout.readline()))
    assert any(line.strip() == "runstarted" for line in parent.stdout)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    psutil.wait_procs([child], timeout=PATIENCE)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def answers(*commands: Event, cancel_at: str = "") -> list[Event]:
    """What an engine says to ``commands``; the last of them is called off as soon as ``cancel_at`` is told."""
    found: list[Event] = []

    def emit(event: Event) -> None:
        found.append(event)
        if cancel_at and isinstance(event, events.Progress) and event.what.startswith(cancel_at):
            engine.read(io.BytesIO(encode(Cancel())))

    engine = Engine(emit)
    for command in commands[:-1]:
        engine.carry_out(command)
    if not cancel_at:
        engine.carry_out(commands[-1])
        return found
    engine.put(commands[-1])
    engine.serve()
    return found


LOAD = Load(target=TARGET, draft="", dtype="float32", threads=1, runtime="torch")


def test_reading_a_long_prompt_tells_how_far_it_is_and_can_be_called_off() -> None:
    """A prompt of more than a pass: nothing is decoded after the cancel; a run that goes on says how much is read."""
    long = Run(prompt="once upon a time there was " * 60, gamma=2, temperature=0.0, max_new_tokens=4)
    found = answers(LOAD, long, cancel_at="reading the prompt")
    assert isinstance(found[-1], events.Progress)
    assert not any(isinstance(event, events.RunStarted | events.Failed) for event in found)
    whole = answers(LOAD, long)
    told = [e for e in whole if isinstance(e, events.Progress) and e.what == "reading the prompt"]
    (started,) = (e for e in whole if isinstance(e, events.RunStarted))
    assert [e.done for e in told] == [0, 256, started.prompt_tokens]
    assert {e.total for e in told} == {started.prompt_tokens}
    (first,) = (e for e in whole if isinstance(e, events.FirstToken))
    assert first.kept == started.prompt_tokens
    assert first.prefill_seconds > 0


def test_loading_is_called_off_at_its_next_step() -> None:
    """Whoever chooses another model does not wait for the one before, nor for its failure."""
    found = answers(msgspec.structs.replace(LOAD, draft="demo:S"), cancel_at="comparing")
    assert not any(isinstance(event, events.PairLoaded | events.Failed) for event in found)
