"""Is a sweep's advice good? A default sweep against a full measured grid: ``python benchmarks/sweep.py``.

First a sweep within its budget, then the whole grid measured anew, every point. Three questions: how far is the recommended
setting below the best one of the grid (geometric mean over the tasks); how well did the sweep's *predictions* meet the
grid's measurements, which they have never seen; how long did the sweep take. Prints a table and one JSON line.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from pathlib import Path

# A neighbour of this file has the name of a library: this folder comes last where modules are looked for.
sys.path.sort(key=lambda entry: Path(entry).resolve() == Path(__file__).resolve().parent)

import msgspec

from fastdraft_core.bench.drafts import Lineup, choose_drafts, load_lineup
from fastdraft_core.bench.setup import Settings, new_plan
from fastdraft_core.bench.surface import fit
from fastdraft_core.bench.sweep import sweep
from fastdraft_core.bench.tasks import Task, load_tasks
from fastdraft_core.cli.options import gammas
from fastdraft_core.engine.load_options import LoadOptions
from fastdraft_core.events import PointMeasured
from fastdraft_core.machine.devices import machine_card
from fastdraft_core.results.overall import overall
from fastdraft_core.results.store import Result

SCHEMA = "fastdraft.benchmark.sweep/1"
#: A grid is as good as this many rounds make it; a sweep would go on to the end of its budget.
_GRID_REPEATS = 8


def main() -> None:
    """Measure and print."""
    options = _options()
    load = LoadOptions(dtype=options.dtype, threads=options.threads, runtime=options.runtime)
    lineup = load_lineup(options.target, choose_drafts(options.target, options.draft), load)
    tasks = [t.fitted(list(lineup.values())) for t in load_tasks(options.task, options.prompts, options.length)]
    advice, seconds = _run(lineup, load, tasks, options, options.budget)
    grid, grid_seconds = _run(lineup, load, tasks, options, options.grid_budget, repeats=_GRID_REPEATS)
    _report(options, advice, seconds, grid, grid_seconds)


def _run(
    lineup: Lineup, load: LoadOptions, tasks: list[Task], options: argparse.Namespace, budget: float, repeats: int = 0
) -> tuple[Result, float]:
    """A sweep until the budget is spent, or until every point is known well enough or has had so many ``repeats``."""
    settings = Settings(
        gammas=gammas(options.gamma),
        temperatures=[float(t) for t in options.temperature.split(",")],
        top_k=0,
        top_p=1.0,
        precision=options.within,
        budget=budget,
        seed=1,
    )
    result = Result(new_plan(lineup, load, tasks, settings, shlex.join(sys.argv)))

    def done() -> bool:
        points = result.measured.values()
        return bool(repeats) and len(points) == result.total and all(p.reached or p.repeats >= repeats for p in points)

    begin = time.monotonic()
    for event in sweep(lineup, tasks, result, budget, done):
        if isinstance(event, PointMeasured):
            print(f"{event.draft} gamma {event.gamma} {event.task}: {event.speedup:.2f}", file=sys.stderr)
    return result, time.monotonic() - begin


def _report(options: argparse.Namespace, advice: Result, seconds: float, grid: Result, grid_seconds: float) -> None:
    found = {key: point.speedup for key, point in grid.measured.items()}
    # A setting counts where the grid has it on every task.
    whole = {s: mean for s, mean in overall(found).items() if sum(k[:2] == s for k in found) == len(grid.groups)}
    assert advice.verdict is not None
    setting = (advice.verdict.draft, advice.verdict.gamma)
    best = max(whole, key=lambda s: whole[s], default=None)
    chosen = whole.get((setting[0] or "", setting[1] or 0))
    shared = [key for key in found if key in advice.predicted]
    r_squared, worst = (
        fit([found[k] for k in shared], [advice.predicted[k].speedup for k in shared])
        if len(shared) > 2
        else (None, None)
    )
    below = 1 - chosen / whole[best] if best and chosen else None
    rows = [
        ("sweep", f"{seconds:.0f} s, {len(advice.measured)} of {advice.total} points measured"),
        ("advice", " ".join(advice.verdict.words[:1])),
        ("grid", f"{grid_seconds:.0f} s, {len(found)} of {grid.total} points measured"),
        ("best of the grid", f"{best[0]} gamma {best[1]}, {whole[best]:.3f}x" if best else "unknown"),
        ("advice below it", "unknown" if below is None else f"{below:.1%} (aim: at most 3 %)"),
        ("R² of the predictions", "unknown" if r_squared is None else f"{r_squared:.3f} (aim: at least 0.95)"),
        ("worst prediction", "unknown" if worst is None else f"{worst:.1%}"),
        ("busy repeats", f"{sum(p.busy for r in (advice, grid) for p in r.measured.values())}"),
    ]
    print("| figure                | value |\n| :-------------------- | :---- |")
    for name, value in rows:
        print(f"| {name:21} | {value} |")
    report = {
        "schema": SCHEMA,
        "machine": msgspec.to_builtins(machine_card()),
        "options": vars(options),
        "seconds": seconds,
        "recommended": setting,
        "best": best,
        "below_best": below,
        "r_squared": r_squared,
        "worst": worst,
        "predicted": [[*key, p.speedup] for key, p in advice.predicted.items()],
        "measured": [[*key, p.speedup, p.low, p.high] for key, p in grid.measured.items()],
    }
    print(json.dumps(report))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pair", dest="target", default="demo", metavar="TARGET")
    parser.add_argument("--draft", action="append", default=[])
    parser.add_argument("--gamma", default="1-8")
    parser.add_argument("--temperature", default="0")
    parser.add_argument("--task", default="code,text")
    parser.add_argument("--prompts", type=int, default=6)
    parser.add_argument("--length", type=int, default=0)
    parser.add_argument("--within", type=float, default=0.03)
    parser.add_argument("--budget", type=float, default=300.0, help="seconds of the sweep")
    parser.add_argument("--grid-budget", type=float, default=7200.0, help="seconds of the full grid at most")
    parser.add_argument("--runtime", default="torch")
    parser.add_argument("--dtype", default="")
    parser.add_argument("--threads", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
