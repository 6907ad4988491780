"""Which way to draft pays, for which task? ``python benchmarks/strategies.py demo --draft demo:S --draft ngram:2-4``.

One target in memory, every way to draft beside it, autoregressive and speculative runs next to each other (a sweep of fixed block
lengths). Prints acceptance, tau, c, v and the speed-up with its interval of every way on every task, then one JSON line. What a
way gives (acceptance, tau) is the same on a busy machine; what it costs is not.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path

# A neighbour of this file has the name of a library: this folder comes last where modules are looked for.
sys.path.sort(key=lambda entry: Path(entry).resolve() == Path(__file__).resolve().parent)

import msgspec

from fastdraft_core.bench.drafts import load_lineup
from fastdraft_core.bench.setup import Settings, new_plan
from fastdraft_core.bench.sweep import sweep
from fastdraft_core.bench.tasks import load_tasks
from fastdraft_core.cli.options import gammas
from fastdraft_core.engine.load_options import LoadOptions
from fastdraft_core.events import PointMeasured
from fastdraft_core.machine.devices import machine_card
from fastdraft_core.results.store import Result

SCHEMA = "fastdraft.benchmark.strategies/1"
#: Every way that needs nothing but the bundled pair, on either runtime.
_WAYS = ("demo:XS", "demo:S", "demo:M", "ngram:2-4", "self:layers=4", "cascade:ngram:2-4+demo:S")


def main() -> None:
    """Measure and print."""
    options = _options()
    load = LoadOptions(dtype=options.dtype, threads=options.threads, runtime=options.runtime)
    lineup = load_lineup(options.target, options.draft or list(_WAYS), load)
    tasks = [t.fitted(list(lineup.values())) for t in load_tasks(options.task, options.prompts, options.length)]
    settings = Settings(
        gammas=gammas(options.gamma),
        temperatures=[float(t) for t in options.temperature.split(",")],
        top_k=0,
        top_p=1.0,
        precision=options.within,
        budget=options.budget,
        seed=1,
        verification=options.verification,
    )
    result = Result(new_plan(lineup, load, tasks, settings, shlex.join(sys.argv)))
    for event in sweep(lineup, tasks, result, options.budget):
        if isinstance(event, PointMeasured):
            print(f"{event.draft} gamma {event.gamma} {event.task}: {event.speedup:.2f}", file=sys.stderr)
    _report(result)


def _report(result: Result) -> None:
    print("| draft | task | T | gamma | accepted | tau | c | v | predicted | speed-up [95 %] |")
    print("| :--- | :--- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | :--- |")
    for key in result.grid:
        guess, point = result.predicted.get(key), result.measured.get(key)
        shown = [key.draft, key.task, f"{key.temperature:g}", str(key.gamma)]
        if point is not None:
            found = point.metrics
            shown += [
                f"{found.acceptance:.3f}",
                f"{found.tau:.2f}",
                f"{point.cost.draft:.3f}",
                f"{point.cost.verify:.2f}",
            ]
        elif guess is not None:
            shown += [
                f"({guess.acceptance:.3f})",
                f"({guess.tau:.2f})",
                f"({guess.cost.draft:.3f})",
                f"({guess.cost.verify:.2f})",
            ]
        else:
            continue
        shown.append("" if guess is None else f"{guess.speedup:.2f}")
        shown.append("" if point is None else f"{point.speedup:.2f} [{point.low:.2f}, {point.high:.2f}]")
        print(f"| {' | '.join(shown)} |")
    words = result.verdict.words if result.verdict is not None else []
    print("\nFigures in brackets are predicted, from the target's own text.", *words, sep="\n")
    found = {
        "schema": SCHEMA,
        "machine": machine_card(),
        "plan": result.plan,
        "costs": list(result.costs.values()),
        "predicted": list(result.predicted.values()),
        "measured": list(result.measured.values()),
    }
    print(json.dumps(msgspec.to_builtins(found)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", nargs="?", default="demo")
    parser.add_argument("--draft", action="append", help="a way to draft; repeatable")
    parser.add_argument("--gamma", default="2,4,8")
    parser.add_argument("--temperature", default="0")
    parser.add_argument("--verification", default="token")
    parser.add_argument("--task", default="code,text")
    parser.add_argument("--prompts", type=int, default=6)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--within", type=float, default=0.03)
    parser.add_argument("--budget", type=float, default=600.0)
    parser.add_argument("--runtime", default="openvino")
    parser.add_argument("--dtype", default="")
    parser.add_argument("--threads", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
