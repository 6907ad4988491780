"""What the live screen costs: engine under the app in a pseudo-terminal against the engine alone.

``python benchmarks/live_view.py`` runs the same comparison (bundled pair, first prompt, gamma 4, greedy,
384 tokens) in turn under the real app at 160x48 and without a screen, each in a fresh engine process.
A run of fewer tokens is over in half a second, most of which the screen spends on opening it.
Prints a table and one JSON line.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pty
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec

from fastdraft_app.settings.settings import Settings
from fastdraft_core.bench.tasks import bundled_prompts
from fastdraft_core.events import Compared, PairLoaded, RunFinished, decode_message, encode
from fastdraft_core.machine.devices import machine_card

SCHEMA = "fastdraft.benchmark.live_view/1"
ENGINE = [sys.executable, "-m", "fastdraft_core.engine.process"]
_WAIT_SECONDS = 120


def main() -> None:
    """Measure in turn and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--length", type=int, default=384, help="new tokens")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        _child(options.child, options.length)
        return
    rates: dict[str, dict[str, list[float]]] = {"headless": {"ar": [], "sd": []}, "live": {"ar": [], "sd": []}}
    for repeat in range(options.repeats):
        for kind in ("headless", "live") if repeat % 2 == 0 else ("live", "headless"):
            for mode, rate in (_headless if kind == "headless" else _live)(options.length).items():
                rates[kind][mode].append(rate)
    costs = {}
    print("| mode | headless t/s | under the app t/s | cost, median of ratios |")
    print("| :--- | -----------: | ----------------: | ---------------------: |")
    for mode in ("ar", "sd"):
        alone, shown = rates["headless"][mode], rates["live"][mode]
        costs[mode] = 1 - statistics.median(b / a for a, b in zip(alone, shown, strict=True))
        print(
            f"| {mode:4} | {statistics.median(alone):12.1f} | {statistics.median(shown):17.1f} | {costs[mode]:22.1%} |"
        )
    card = msgspec.to_builtins(machine_card())
    print(
        json.dumps(
            {"schema": SCHEMA, "length": options.length, "tokens_per_second": rates, "cost": costs, "machine": card}
        )
    )


def _headless(length: int) -> dict[str, float]:
    engine = subprocess.Popen(ENGINE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert engine.stdin
    assert engine.stdout
    with engine:
        settings = Settings(prompt=bundled_prompts()[0].text, length=length)
        engine.stdin.write(encode(settings.load()))
        engine.stdin.flush()
        found: dict[str, float] = {}
        for line in engine.stdout:
            event = decode_message(line)
            if isinstance(event, PairLoaded):
                engine.stdin.write(encode(settings.run()))
                engine.stdin.flush()
            if isinstance(event, RunFinished):
                found[event.mode] = event.metrics.tokens_per_second
            if isinstance(event, Compared):
                engine.stdin.close()
                break
    return found


def _live(length: int) -> dict[str, float]:
    """The app itself in a pseudo-terminal; what its engine says is copied to a file on the way."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "events.jsonl"
        copy.touch()
        pid, terminal = pty.fork()
        if pid == 0:
            os.execv(sys.executable, [sys.executable, __file__, "--child", str(copy), "--length", str(length)])
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 48, 160, 0, 0))
        threading.Thread(target=_discard, args=(terminal,), daemon=True).start()
        found = {e.mode: e.metrics.tokens_per_second for e in _until_compared(copy) if isinstance(e, RunFinished)}
        os.write(terminal, b"q")
        os.waitpid(pid, 0)
    return found


def _child(copy: Path, length: int) -> None:
    from fastdraft_app.app import FastdraftApp
    from fastdraft_app.cli import parse
    from fastdraft_app.client.engine import EngineClient

    tee = ["sh", "-c", f'exec "$0" -m fastdraft_core.engine.process | tee "{copy}"', sys.executable]
    FastdraftApp(parse(["--no-intro", "--length", str(length)]), EngineClient(copy.with_suffix(".log"), tee)).run()


def _until_compared(copy: Path) -> Iterator[object]:
    import time

    read, end = 0, time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < end:
        data = copy.read_bytes()[read:]
        whole = data[: data.rfind(b"\n") + 1]
        read += len(whole)
        for line in whole.splitlines():
            event = decode_message(line)
            yield event
            if isinstance(event, Compared):
                return
        time.sleep(0.2)
    raise SystemExit("The app showed no comparison in two minutes.")


def _discard(terminal: int) -> None:
    import contextlib

    with contextlib.suppress(OSError):
        while os.read(terminal, 1 << 16):
            pass


if __name__ == "__main__":
    main()
