"""What does judging whole blocks gain over judging tokens? ``python benchmarks/verification.py demo --draft demo:S``.

Texts are decoded with the rule for tokens. At each of their blocks the expected number of accepted tokens is computed under both
rules, from the p and q that were there, with all random numbers averaged out; so both are of the very same blocks and a
few hundred of them tell a gain of one per cent. Nothing is timed. Prints a table and one JSON line.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from itertools import accumulate
from operator import mul
from pathlib import Path

# A neighbour of this file has the name of a library: this folder comes last where modules are looked for.
sys.path.sort(key=lambda entry: Path(entry).resolve() == Path(__file__).resolve().parent)

import msgspec
import torch

from fastdraft_core.bench.drafts import load_lineup
from fastdraft_core.bench.tasks import bundled_prompts
from fastdraft_core.cli.options import gammas
from fastdraft_core.decoding.records import Streams
from fastdraft_core.decoding.sampling import Sampling, Verdict, block_thresholds, process
from fastdraft_core.decoding.speculative import lossless, speculative
from fastdraft_core.engine.load_options import LoadOptions
from fastdraft_core.engine.pair import Pair
from fastdraft_core.machine.devices import machine_card

SCHEMA = "fastdraft.benchmark.verification/1"


def main() -> None:
    """Measure and print."""
    options = _options()
    load = LoadOptions(runtime=options.runtime, dtype=options.dtype, threads=options.threads)
    lineup = load_lineup(options.target, options.draft or ["demo:S"], load)
    print("| draft | T | gamma | blocks | accepted by token | by block | tau by token | by block | gain ± error |")
    print("| :--- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | :--- |")
    rows = []
    for name, pair in lineup.items():
        for temperature in (float(t) for t in options.temperature.split(",")):
            for gamma in gammas(options.gamma):
                row = _row(name, temperature, gamma, _blocks(pair, options, temperature, gamma))
                print(
                    f"| {name} | {temperature:g} | {gamma} | {row['blocks']} | {row['token']:.3f} | {row['block']:.3f} | "
                    f"{1 + row['token']:.3f} | {1 + row['block']:.3f} | {row['gain']:.2%} ± {row['error']:.2%} |",
                    flush=True,
                )
                rows.append(row)
    card = msgspec.to_builtins(machine_card())
    print(json.dumps({"schema": SCHEMA, "machine": card, "options": vars(options), "rows": rows}))


def _blocks(pair: Pair, options: argparse.Namespace, temperature: float, gamma: int) -> list[tuple[float, float]]:
    """Expected accepted tokens of every block that drafted something: token by token, and over the block."""
    found: list[tuple[float, float]] = []

    def judge(
        drafted: list[int], q: torch.Tensor | None, logits: torch.Tensor, sampling: Sampling, streams: Streams
    ) -> Verdict:
        if q is not None and drafted:
            found.append(_expected(drafted, q, process(logits, sampling)))
        return lossless(drafted, q, logits, sampling, streams)

    for number, prompt in enumerate(bundled_prompts(None)[: options.prompts]):
        request = pair.request(
            prompt.text, max_new_tokens=options.length, sampling=Sampling(temperature), seed=number, ignore_stops=True
        )
        for _ in speculative(pair.target, pair.drafter(), request, gamma, judge):
            pass
    return found


def _expected(drafted: list[int], q: torch.Tensor, p: torch.Tensor) -> tuple[float, float]:
    """The expected number of accepted tokens of one block under both rules."""
    rows = range(len(drafted))
    ratios = [min(1.0, float(p[n, drafted[n]] / q[n, drafted[n]])) for n in rows]
    _, thresholds = block_thresholds(drafted, q, p)
    block, longer = 0.0, 1.0
    # The longest kept beginning has n tokens where its own number is below the threshold and no longer one's is.
    for n in reversed(rows):
        block += (n + 1) * thresholds[n] * longer
        longer *= 1 - thresholds[n]
    return sum(accumulate(ratios, mul)), block


def _row(name: str, temperature: float, gamma: int, blocks: list[tuple[float, float]]) -> dict[str, object]:
    """Means, and the gain in tokens a block with its standard error."""
    token, block = (statistics.fmean(side) for side in zip(*blocks, strict=True))
    more = [after - before for before, after in blocks]
    error = statistics.stdev(more) / len(more) ** 0.5
    return {
        "draft": name,
        "temperature": temperature,
        "gamma": gamma,
        "blocks": len(blocks),
        "token": token,
        "block": block,
        "gain": (block - token) / (1 + token),
        "error": error / (1 + token),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", nargs="?", default="demo")
    parser.add_argument("--draft", action="append", help="a way to draft; repeatable")
    parser.add_argument("--gamma", default="4,8")
    parser.add_argument("--temperature", default="0.6,1")
    parser.add_argument("--prompts", type=int, default=6)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--runtime", default="torch")
    parser.add_argument("--dtype", default="")
    parser.add_argument("--threads", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
