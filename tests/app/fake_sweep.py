"""A sweep without models: plays a recorded stream, keeps it as the real one does, and stops when it is asked to.

``--pause SECONDS`` between lines, ``--lines N`` holds after N lines until it is stopped, ``--fail SENTENCE`` ends with it
and exit code 1 instead, ``--stubborn`` ignores the first request to stop; the rest of the command line is that of
``fastdraft`` and is written to ``--arguments FILE``.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path

from fastdraft_core.events import Event, SweepFinished, SweepStarted, SweepVerdict, decode_message, encode
from fastdraft_core.results import store

STREAM = Path(__file__).with_name("sweep.jsonl")


def main() -> int:
    """Play the stream."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--lines", type=int, default=10**9)
    parser.add_argument("--fail", default="")
    parser.add_argument("--arguments", default="")
    options, given = parser.parse_known_args()
    if options.arguments:
        Path(options.arguments).write_text("\n".join(given))
    if options.fail:
        sys.stderr.write(f"target demo\nfastdraft: {options.fail}\n")
        return 1
    asked: list[bool] = []
    signal.signal(signal.SIGINT, lambda *_: asked.append(True))
    resumed = any(argument.startswith("--resume") for argument in given)
    events = [decode_message(line) for line in STREAM.read_bytes().splitlines()]
    assert isinstance(events[0], SweepStarted)
    write = store.writer(events[0].name)

    def tell(event: Event) -> None:
        write(event)
        sys.stdout.buffer.write(encode(event))
        sys.stdout.buffer.flush()

    for number, event in enumerate(events[1:] if resumed else events):
        while number >= options.lines and not asked:
            time.sleep(0.01)
        if asked:
            tell(SweepVerdict(words=["Stopped early."], draft=None, gamma=None, blame=None, break_even=None, measured=0,
                              predicted=0, r_squared=None, max_error=None))  # fmt: skip
            tell(SweepFinished(reason="stopped", seconds=1.0))
            return 130
        tell(event)
        time.sleep(options.pause)
    return 0


if __name__ == "__main__":
    sys.exit(main())
