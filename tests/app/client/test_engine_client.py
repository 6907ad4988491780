"""The engine process is fed, watched and never left behind."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic

import pytest

from fastdraft_app.client.engine import EngineClient, EngineStopped
from fastdraft_core.events import Cancel, Compared, Failed, Load, PairLoaded, Run, RunFinished
from tests.app.helpers import fake_command, gone, until


async def started(log: Path, *options: str) -> EngineClient:
    """An engine with a pair loaded."""
    client = EngineClient(log, fake_command(*options))
    await client.start(lambda: None)
    client.send(Load(target="demo", draft="demo:S"))
    await until(client, PairLoaded)
    return client


async def test_lines_that_are_no_events_are_ignored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A library that prints into the pipe does not break the app; the log shows what was ignored."""
    logging.getLogger("fastdraft_app").propagate = True
    client = await started(tmp_path / "engine.log", "--noise", "--speed", "50")
    client.send(Run(prompt="x", gamma=4, temperature=0, max_new_tokens=16))
    assert isinstance(await until(client, Compared), Compared)
    await client.stop()
    assert "Some library says hello" in caplog.text


async def test_a_file_of_the_users_folder_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who starts the app beside a ``random.py`` of his own has an engine all the same."""
    (tmp_path / "random.py").write_text("raise SystemExit('this is no part of fastdraft')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH")
    client = EngineClient(tmp_path / "engine.log")
    await client.start(lambda: None)
    client.send(Run(prompt="x", gamma=4, temperature=0, max_new_tokens=16))
    assert "no model" in (await until(client, Failed)).message.lower()
    await client.stop()


async def test_a_killed_engine_is_reported_with_its_signal(tmp_path: Path) -> None:
    """The user learns that the engine died, of what, and where the log is."""
    client = await started(tmp_path / "engine.log")
    assert client.pid is not None
    os.kill(client.pid, signal.SIGKILL)
    stopped = await until(client, EngineStopped)
    assert isinstance(stopped, EngineStopped)
    assert (stopped.reason, stopped.log) == ("signal 9", tmp_path / "engine.log")
    assert not client.running
    client.send(Cancel())
    await client.start(lambda: None)
    assert client.running
    await client.stop()


async def test_an_engine_that_exits_is_reported_with_its_code_and_words(tmp_path: Path) -> None:
    """An engine that fails to start leaves its words in the log that the banner names."""
    code = "import sys; print('no such module', file=sys.stderr); sys.exit(3)"
    client = EngineClient(tmp_path / "engine.log", [sys.executable, "-c", code])
    await client.start(lambda: None)
    stopped = await until(client, EngineStopped)
    assert isinstance(stopped, EngineStopped)
    assert stopped.reason == "exit code 3"
    assert "no such module" in (tmp_path / "engine.log").read_text()
    await client.stop()


async def test_cancel_is_immediate(tmp_path: Path) -> None:
    """A cancelled run ends within a token."""
    client = await started(tmp_path / "engine.log", "--speed", "0.2")
    client.send(Run(prompt="x", gamma=4, temperature=0))
    await asyncio.sleep(0.3)
    client.send(Cancel())
    asked = monotonic()
    finished = await until(client, RunFinished)
    assert isinstance(finished, RunFinished)
    assert finished.reason == "cancelled"
    assert monotonic() - asked < 0.5
    await client.stop()


@pytest.mark.parametrize("options", [(), ("--stubborn",)])
async def test_stop_leaves_no_process(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Leaving the app ends the engine, politely or not."""
    client = await started(tmp_path / "engine.log", *options)
    pid = client.pid
    assert pid is not None
    await client.stop()
    assert await gone(pid)
    assert not client.incoming


def test_engine_ends_with_an_app_that_was_killed(tmp_path: Path) -> None:
    """Even a kill -9 of the app leaves no engine behind, because its input closes."""
    code = (
        "import asyncio, pathlib, sys\n"
        "from fastdraft_app.client.engine import EngineClient\n"
        "async def main():\n"
        "    client = EngineClient(pathlib.Path(sys.argv[1]), sys.argv[2:])\n"
        "    await client.start(lambda: None)\n"
        "    print(client.pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "engine.log"), *fake_command()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as app:
        assert app.stdout is not None
        pid = int(app.stdout.readline())
        app.kill()
    assert asyncio.run(gone(pid))
