"""Our decoding against transformers' own, in one run: ``python benchmarks/decoding.py --gamma 4``.

Same pair, prompts, gamma, lengths, dtype and threads; greedy; interleaved; warm-up left out. For
transformers a prefill is timed apart and taken off, as our own time to the first token is.
Prints a table and, as the last line, one JSON object. Ratios are of total tokens over total time.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

# A neighbour of this file has the name of a library: this folder comes last where modules are looked for.
sys.path.sort(key=lambda entry: Path(entry).resolve() == Path(__file__).resolve().parent)

import msgspec
import torch

from benchmarks.contest import Contender, Tally, interleave, parse_pair, ratio
from fastdraft_core.bench.costs import predict
from fastdraft_core.bench.measure import costs_at
from fastdraft_core.bench.tasks import bundled_prompts
from fastdraft_core.decoding.records import Pass, Request
from fastdraft_core.decoding.sampling import Sampling
from fastdraft_core.engine.load_options import LoadOptions
from fastdraft_core.engine.pair import Pair, load_pair
from fastdraft_core.machine.devices import machine_card

SCHEMA = "fastdraft.benchmark.decoding/1"


def main() -> None:
    """Measure and print."""
    options = _options()
    pair = load_pair(options.target, options.draft, LoadOptions(dtype=options.dtype, threads=options.threads))
    prompts = bundled_prompts(options.task or None)
    requests = [
        pair.request(p.text, max_new_tokens=options.length, sampling=Sampling(), ignore_stops=True) for p in prompts
    ]
    passes: list[Pass] = []
    contenders: dict[str, Contender] = {
        "fastdraft AR": lambda r: _ours(pair, r, "ar", options.gamma, []),
        "transformers AR": lambda r: by_transformers(pair, r, None, options.gamma),
        "fastdraft SD": lambda r: _ours(pair, r, "sd", options.gamma, passes),
        "transformers SD": lambda r: by_transformers(pair, r, _model(pair.draft), options.gamma),
    }
    for run in contenders.values():
        run(requests[0])
    passes.clear()
    tallies = interleave(contenders, requests, options.repeats)
    costs = costs_at(pair, prompts, [options.gamma], options.length)
    _report(pair, options, tallies, passes, predict(passes, costs), costs)


def _ours(pair: Pair, request: Request, mode: str, gamma: int, passes: list[Pass]) -> tuple[int, float]:
    found = [record for record in pair.decode(mode, request, gamma) if isinstance(record, Pass)]
    passes += found
    return sum(len(p.emitted) for p in found), found[-1].at


def by_transformers(pair: Pair, request: Request, assistant: Any, gamma: int) -> tuple[int, float]:
    """transformers on the target of ``pair``, with ``assistant`` where there is one: decoded tokens and their seconds."""
    model = _model(pair.target)
    if assistant is not None:
        settings = assistant.generation_config
        settings.num_assistant_tokens, settings.num_assistant_tokens_schedule = gamma, "constant"
        settings.assistant_confidence_threshold = 0.0
    ids = torch.tensor([request.prompt])
    extra: dict[str, Any] = {"assistant_model": assistant} if assistant is not None else {}

    def generate(count: int) -> tuple[int, float]:
        begin = time.perf_counter()
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=count,
            min_new_tokens=count,
            do_sample=False,
            pad_token_id=0,
            eos_token_id=None,
            **extra,
        )
        return out.shape[1] - ids.shape[1], time.perf_counter() - begin

    # One token costs the prefill and the call's own set-up; both are left out on our side too.
    _, first = generate(1)
    tokens, seconds = generate(request.max_new_tokens)
    return tokens - 1, seconds - first


def _model(runtime: Any) -> Any:
    return runtime.model


def _report(
    pair: Pair, options: argparse.Namespace, tallies: dict[str, Tally], passes: list[Pass], expected: float, costs: Any
) -> None:
    rate = {name: tally.median for name, tally in tallies.items()}
    ratios = {
        "AR fastdraft / transformers": ratio(tallies, "fastdraft AR", "transformers AR"),
        "SD fastdraft / transformers": ratio(tallies, "fastdraft SD", "transformers SD"),
        "fastdraft SD / AR, measured": ratio(tallies, "fastdraft SD", "fastdraft AR"),
    }
    outside = sum(p.overhead_seconds for p in passes) / sum(
        p.overhead_seconds + p.draft_seconds + p.verify_seconds for p in passes
    )
    print(f"| {'contender':16} | tokens/s, median of {options.repeats} repeats |")
    print("| :--------------- | ---------------------------: |")
    for name, value in rate.items():
        print(f"| {name:16} | {value:28.1f} |")
    for name, value in ratios.items():
        print(f"{name}: {value:.3f}")
    print(f"fastdraft SD / AR, predicted: {expected:.3f}")
    print(f"time outside the two models (SD): {outside:.1%}")
    result = {
        "schema": SCHEMA,
        "options": vars(options),
        "tokens_per_second": rate,
        "ratios": ratios,
        "predicted": expected,
        "outside_models": outside,
        "verify": costs.verify,
        "draft_cost": costs.draft[options.gamma - 1],
        "threads": pair.threads,
        "dtype": pair.target.card.dtype,
        "machine": msgspec.to_builtins(machine_card()),
    }
    print(json.dumps(result))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gamma", type=int, default=4)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--task", default="", help="code or text; default both")
    parser.add_argument("--dtype", default="")
    parser.add_argument("--threads", type=int, default=0)
    return parse_pair(parser)


if __name__ == "__main__":
    main()
