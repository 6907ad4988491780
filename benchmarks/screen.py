"""How quick the live screen is: first paint, first token, idle processor time, and how late tokens and keys are.

``python benchmarks/screen.py`` drives the real app at 160x48 in a pseudo-terminal. First paint, first token and
idle load are of the bundled pair; lateness is of an engine without models that gives 200 and 1,000 tokens/s
(``stamped_engine.py``). Prints a table and, as the last line, one JSON object. What the screen costs the models
is measured by ``live_view.py``.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import json
import os
import pty
import re
import select
import statistics
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psutil

from fastdraft_core.machine.devices import machine_card

SCHEMA = "fastdraft.benchmark.screen/1"
SIZE = (160, 48)
RATES = (200, 1000)
_STAMP = re.compile(rb"([as])(\d{5})x(\d+);")
_PROBE_SECONDS = 0.01


class Terminal:
    """A program of this file, or the app itself, in a pseudo-terminal; every read has its moment."""

    def __init__(self, *command: str) -> None:
        self.began = time.monotonic()
        self.output = b""
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="xterm-256color", COLORTERM="truecolor")
            os.execv(sys.executable, [sys.executable, *command])
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", SIZE[1], SIZE[0], 0, 0))

    def read(self, seconds: float) -> bytes:
        """What is written within ``seconds``, as soon as there is something."""
        if not select.select([self._fd], [], [], seconds)[0]:
            return b""
        try:
            data = os.read(self._fd, 1 << 16)
        except OSError:
            return b""
        self.output += data
        return data

    def until(self, pattern: bytes, seconds: float = 180.0) -> float:
        """Seconds from the start of the program until ``pattern`` was on the terminal."""
        found, end = re.compile(pattern), time.monotonic() + seconds
        while not found.search(self.output):
            if time.monotonic() > end:
                raise SystemExit(f"The app did not show {pattern!r} in {seconds:.0f} s.")
            self.read(0.5)
        return time.monotonic() - self.began

    def close(self) -> None:
        """Leave the app."""
        os.write(self._fd, b"q")
        end = time.monotonic() + 10
        while time.monotonic() < end and not os.waitpid(self.pid, os.WNOHANG)[0]:
            self.read(0.05)
        os.close(self._fd)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="starts of the app")
    parser.add_argument("--seconds", type=float, default=5.0, help="of streaming at each rate")
    parser.add_argument("--idle", type=float, default=10.0, help="seconds of idling that are measured")
    parser.add_argument("--child", nargs=3, metavar=("RATE", "COUNT", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        _child(*options.child)
        return
    before = os.getloadavg()[0]
    starts = [_start(idle=options.idle if last else 0.0) for last in [False] * (options.repeats - 1) + [True]]
    result = {
        "first_paint": statistics.median(s["paint"] for s in starts),
        "first_token": statistics.median(s["token"] for s in starts),
        "idle_cpu": starts[-1]["idle"],
        "lag": {str(rate): _lateness(rate, int(rate * options.seconds)) for rate in RATES},
    }
    _print(result)
    card = msgspec.to_builtins(machine_card())
    print(json.dumps({"schema": SCHEMA, **result, "repeats": options.repeats, "load_before": before, "machine": card}))


def _start(idle: float) -> dict[str, float]:
    """Seconds to the first picture and to the first token of the bundled pair; then how much an idle app takes."""
    terminal = Terminal("-m", "fastdraft_app.app", "--no-intro")
    found = {"paint": terminal.until(rb"quit"), "token": terminal.until(rb"timing the autoregressive run, [1-9]")}
    if idle:
        terminal.until(rb"space replays")
        # What is kept on disk and measured once after a run is over by then.
        _drain(terminal, 5.0)
        process = psutil.Process(terminal.pid)
        begin, used = time.monotonic(), sum(process.cpu_times()[:2])
        _drain(terminal, idle)
        found["idle"] = (sum(process.cpu_times()[:2]) - used) / (time.monotonic() - begin)
    terminal.close()
    return found


def _drain(terminal: Terminal, seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        terminal.read(left)


def _lateness(rate: int, count: int) -> dict[str, Any]:
    """Milliseconds between a token's moment and its picture, while it is timed and in the replay, and of a key press.

    ``cpu`` is the app's share of a core during the replay.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "child.json"
        terminal = Terminal(__file__, "--child", str(rate), str(count), str(file))
        timed: dict[tuple[bytes, int], float] = {}
        _watch(terminal, lambda key, stamp, now: timed.setdefault(key, 1000 * now - stamp), b"replayed together")
        replayed: dict[tuple[bytes, int], float] = {}
        _watch(terminal, lambda key, _, now: replayed.setdefault(key, now), b"space replays")
        terminal.close()
        child = json.loads(file.read_text())
    late = [1000 * (now - child["replay"] - _due(key, rate)) for key, now in replayed.items() if now >= child["replay"]]
    # A picture of a token before it is due is one of the timed run that was still on its way.
    return {
        "timed": _figures(list(timed.values())),
        "replayed": _figures([value for value in late if value >= 0]),
        "keys": _figures([1000 * value for value in child["probes"]]),
        "cpu": child["load"],
    }


def _due(key: tuple[bytes, int], rate: int) -> float:
    mode, number = key
    return (number + 1) / rate if mode == b"a" else (number // 5 + 1) * 5 / rate


def _watch(terminal: Terminal, see: Callable[[tuple[bytes, int], float, float], object], end: bytes) -> None:
    rest, limit = b"", time.monotonic() + 300
    while end not in terminal.output[-200_000:]:
        if time.monotonic() > limit:
            raise SystemExit("The replay did not come to its end in five minutes.")
        data = terminal.read(0.5)
        now = time.monotonic()
        rest += data
        for match in _STAMP.finditer(rest):
            see((match[1], int(match[2])), float(match[3]), now)
        rest = rest[-40:]
    terminal.output = b""


def _figures(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "count": len(ordered),
        "p50": ordered[len(ordered) // 2],
        "p95": ordered[int(len(ordered) * 0.95)],
        "max": ordered[-1],
    }


def _child(rate: str, count: str, file: str) -> None:
    """The app on the stamped engine; tells when the replay began, how long a key would have waited, and the app's load."""
    from fastdraft_app.app import FastdraftApp
    from fastdraft_app.cli import parse
    from fastdraft_app.client.engine import EngineClient
    from fastdraft_app.live.session import Phase, Session

    command = [sys.executable, str(Path(__file__).with_name("stamped_engine.py")), rate, count]
    app = FastdraftApp(
        parse(["--no-intro", "--recordings", "0", "--prompt", " ", "--length", count]),
        EngineClient(Path(file).with_suffix(".log"), command),
    )
    playing: list[Session] = []
    clocks: list[tuple[float, float]] = []
    probes: list[float] = []
    replay = Session.replay

    def noted(session: Session) -> None:
        clocks.append((time.monotonic(), time.process_time()))
        playing.append(session)
        replay(session)

    async def probe() -> None:
        while True:
            begin = time.monotonic()
            await asyncio.sleep(_PROBE_SECONDS)
            if playing and playing[0].phase is Phase.PLAYING:
                clocks.append((time.monotonic(), time.process_time()))
                probes.append(clocks[-1][0] - begin - _PROBE_SECONDS)

    Session.replay = noted  # type: ignore[method-assign]
    app.call_later(lambda: app.run_worker(probe()))
    app.run()
    (began, used), (ended, used_then) = clocks[0], clocks[-1]
    load = (used_then - used) / (ended - began)
    Path(file).write_text(json.dumps({"replay": began, "probes": probes, "load": load}))


def _print(result: dict[str, Any]) -> None:
    rows = [
        ("first paint", f"{result['first_paint']:.2f} s"),
        ("first token on screen", f"{result['first_token']:.2f} s"),
        ("processor time when idle", f"{result['idle_cpu']:.1%} of a core"),
    ]
    for rate, lag in result["lag"].items():
        for name, words in (
            ("timed", "token late while timed, 6 repaints/s"),
            ("replayed", "token late in the replay, 30 repaints/s"),
            ("keys", "key waits in the replay"),
        ):
            figures = lag[name]
            value = f"{figures['p50']:.0f} / {figures['p95']:.0f} / {figures['max']:.0f} ms"
            rows.append((f"{words}, {int(rate):,} tokens/s: p50 / p95 / max", value))
        rows.append((f"processor time in the replay, {int(rate):,} tokens/s", f"{lag['cpu']:.0%} of a core"))
    width = max(len(name) for name, _ in rows)
    print(f"| {'what':{width}} | {'measured':>22} |")
    print(f"| :{'-' * (width - 1)} | {'-' * 21}: |")
    for name, value in rows:
        print(f"| {name:{width}} | {value:>22} |")


if __name__ == "__main__":
    main()
