"""What the inspector's details cost: ``python benchmarks/inspector.py``. The speculative run with and without them, in turn.

The details are computed between two blocks while the stopwatch stands still, so tokens/s should be the
same to noise; the time that the run takes besides is printed for a block. Events are encoded as the engine
does. Prints a table and, as the last line, one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

# A neighbour of this file has the name of a library: this folder comes last where modules are looked for.
sys.path.sort(key=lambda entry: Path(entry).resolve() == Path(__file__).resolve().parent)

import msgspec

from benchmarks.contest import interleave, parse_pair, ratio
from fastdraft_core.bench.tasks import bundled_prompts
from fastdraft_core.decoding.records import Request
from fastdraft_core.decoding.sampling import Sampling
from fastdraft_core.engine.load_options import LoadOptions
from fastdraft_core.engine.pair import Pair, load_pair
from fastdraft_core.events import Block, RunFinished, encode
from fastdraft_core.machine.devices import machine_card

SCHEMA = "fastdraft.benchmark.inspector/1"


def main() -> None:
    """Measure in turn and print."""
    options = _options()
    pair = load_pair(options.target, options.draft, LoadOptions(dtype=options.dtype, threads=options.threads))
    sampling = Sampling(options.temperature)
    requests = [
        pair.request(p.text, max_new_tokens=options.length, sampling=sampling, seed=n, ignore_stops=True)
        for n, p in enumerate(bundled_prompts())
    ]
    beside: dict[bool, list[float]] = {False: [], True: []}
    contenders = {
        "without": lambda request: _run(pair, request, options.gamma, False, beside[False]),
        "with": lambda request: _run(pair, request, options.gamma, True, beside[True]),
    }
    for contender in contenders.values():
        contender(requests[0])
    for seconds in beside.values():
        seconds.clear()
    tallies = interleave(contenders, requests, options.repeats)
    speed = ratio(tallies, "with", "without")
    more = statistics.median(beside[True]) - statistics.median(beside[False])
    print("| details | tokens/s, median |\n| :------ | ---------------: |")
    for name, tally in tallies.items():
        print(f"| {name:7} | {tally.median:16.1f} |")
    print(f"tokens/s with over without, median of the ratios of {options.repeats} repeats: {speed:.3f}")
    print(f"time besides, outside the stopwatch: {1e3 * more:.2f} ms a block, median over the runs")
    result = {
        "schema": SCHEMA,
        "options": vars(options),
        "tokens_per_second": {name: tally.median for name, tally in tallies.items()},
        "ratio": speed,
        "seconds_besides_a_block": more,
        "machine": msgspec.to_builtins(machine_card()),
    }
    print(json.dumps(result))


def _run(pair: Pair, request: Request, gamma: int, inspect: bool, beside: list[float]) -> tuple[int, float]:
    begin, blocks, prefill = time.perf_counter(), 0, 0.0
    for event in pair.events("sd", "", request, gamma, inspect=inspect):
        encode(event)
        blocks += isinstance(event, Block)
        prefill = getattr(event, "prefill_seconds", prefill)
    assert isinstance(event, RunFinished)
    seconds = event.metrics.seconds
    beside.append((time.perf_counter() - begin - prefill - seconds) / blocks)
    return event.metrics.tokens, seconds


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dtype", default="")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--gamma", type=int, default=4)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    return parse_pair(parser)


if __name__ == "__main__":
    main()
