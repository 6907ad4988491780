"""Our decoding on OpenVINO against openvino-genai's and against our own on PyTorch: ``python benchmarks/openvino.py``.

Same pair, IR, prompts, gamma, lengths and threads; greedy; f32 and int8; all contenders interleaved in one run; warm-up
left out. For openvino-genai a prefill is timed apart and taken off, as our own time to the first token is. Prints
tables and, as the last line, one JSON object. Ratios are of total tokens over total time.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# This file has the name of the library: its folder comes last where modules are looked for.
sys.path.sort(key=lambda entry: Path(entry).resolve() == Path(__file__).resolve().parent)

import msgspec
import numpy as np
import torch

from benchmarks.contest import Contender, Tally, interleave, parse_pair, ratio
from benchmarks.split import split
from fastdraft_core.bench.costs import Costs, predict
from fastdraft_core.bench.measure import costs_at
from fastdraft_core.bench.tasks import Prompt, bundled_prompts
from fastdraft_core.decoding.records import Pass, Request
from fastdraft_core.decoding.sampling import Sampling
from fastdraft_core.engine.load_options import LoadOptions
from fastdraft_core.engine.pair import Pair, load_pair
from fastdraft_core.export.formats import ExportOptions, export
from fastdraft_core.machine.devices import choose_dtype, choose_threads, machine_card

SCHEMA = "fastdraft.benchmark.openvino/1"
#: Weights, dtype of the computation, and of keys and values. int8 and int4 compute in what the processor does well.
PRECISIONS = {"f32": ("original", "float32", "f32"), "int8": ("int8", "", "u8"), "int4": ("int4", "", "u8")}
_HINTS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
#: A thread pool that just worked spins for a while; the next contender must not share the cores with it.
REST = 0.2
_CACHE_GB = 1


@dataclass(slots=True)
class Ours:
    """Our runtime on a pair; remembers the passes and the texts for the prediction and the comparison."""

    pair: Pair
    gamma: int
    torch_threads: int
    passes: list[Pass] = field(default_factory=list)
    texts: dict[str, dict[tuple[int, ...], list[int]]] = field(default_factory=lambda: {"ar": {}, "sd": {}})

    def run(self, mode: str) -> Contender:
        """A contender that decodes in ``mode``."""

        def contender(request: Request) -> tuple[int, float]:
            # Beside OpenVINO, PyTorch only samples.
            torch.set_num_threads(self.torch_threads)
            time.sleep(REST)
            first, *found = self.pair.decode(mode, request, self.gamma)
            passes = [record for record in found if isinstance(record, Pass)]
            self.texts[mode][tuple(request.prompt)] = [i for record in (first, *passes) for i in record.emitted]
            if mode == "sd":
                self.passes += passes
            return sum(len(p.emitted) for p in passes), passes[-1].at

        return contender


@dataclass(slots=True)
class Theirs:
    """A pipeline of openvino-genai; remembers the texts."""

    pipe: Any
    gamma: int
    texts: dict[tuple[int, ...], list[int]] = field(default_factory=dict)

    @classmethod
    def load(cls, target: Path, draft: Path | None, properties: dict[str, Any], gamma: int) -> Theirs:
        """A pipeline with as much memory for keys and values as it may want."""
        import openvino_genai

        scheduler = openvino_genai.SchedulerConfig()
        # A kept prefix would make the prefill, which is taken off, cheaper than it is in the run.
        scheduler.cache_size, scheduler.enable_prefix_caching = _CACHE_GB, False
        properties = {**properties, "scheduler_config": scheduler}
        extra = {"draft_model": openvino_genai.draft_model(str(draft), "CPU", **properties)} if draft else {}
        return cls(openvino_genai.LLMPipeline(str(target), "CPU", **extra, **properties), gamma if draft else 0)

    def run(self, request: Request) -> tuple[int, float]:
        """Decode; one token costs the prefill and the call's own set-up, which both are taken off."""
        time.sleep(REST)
        _, first = self._generate(request, 1)
        ids, seconds = self._generate(request, request.max_new_tokens)
        self.texts[tuple(request.prompt)] = ids
        return len(ids) - 1, seconds - first

    def _generate(self, request: Request, count: int) -> tuple[list[int], float]:
        import openvino
        import openvino_genai

        speculation = {"num_assistant_tokens": self.gamma} if self.gamma else {}
        settings = openvino_genai.GenerationConfig(max_new_tokens=count, ignore_eos=True, **speculation)
        ids = np.array([request.prompt])
        inputs = openvino_genai.TokenizedInputs(openvino.Tensor(ids), openvino.Tensor(np.ones_like(ids)))
        begin = time.perf_counter()
        output = self.pipe.generate(inputs, settings)
        return list(output.tokens[0]), time.perf_counter() - begin


def main() -> None:
    """Measure and print."""
    options = _options()
    threads = choose_threads(options.threads)
    prompts = bundled_prompts(options.task or None)[: options.prompts or None]
    contenders: dict[str, Contender] = {}
    ours: dict[str, Ours] = {}
    theirs: dict[str, Theirs] = {}
    with tempfile.TemporaryDirectory() as folder:
        for precision in options.precision.split(","):
            ours[precision], theirs[f"{precision} AR"], theirs[f"{precision} SD"] = load_both(
                options, precision, Path(folder), threads
            )
            for mode in ("AR", "SD"):
                contenders[f"{precision} {mode} fastdraft"] = ours[precision].run(mode.lower())
                contenders[f"{precision} {mode} genai"] = theirs[f"{precision} {mode}"].run
        on_torch = Ours(load_pair(options.target, options.draft, LoadOptions(threads=threads)), options.gamma, threads)
        for mode in ("AR", "SD"):
            contenders[f"torch {mode} fastdraft"] = on_torch.run(mode.lower())
        requests = [_request(on_torch.pair, prompt, options.length) for prompt in prompts]
        for run in contenders.values():
            run(requests[0])
        for side in ours.values():
            side.passes.clear()
        tallies = interleave(contenders, requests, options.repeats)
        found = {
            precision: _precision_report(precision, side, theirs, tallies, prompts, requests, options)
            for precision, side in ours.items()
        }
        _report(options, threads, tallies, found, on_torch.pair)


def load_both(options: argparse.Namespace, precision: str, folder: Path, threads: int) -> tuple[Ours, Theirs, Theirs]:
    """One IR for both programs, and both programs told the same."""
    weights, dtype, kv = PRECISIONS[precision]
    paths = [folder / f"{role}-{precision}" for role in ("target", "draft")]
    for name, path in zip((options.target, options.draft), paths, strict=True):
        export(name, path, ExportOptions("openvino", weights), lambda step: None)
    settings = LoadOptions(dtype=dtype, threads=threads, runtime="openvino", kv_precision=kv)
    pair = load_pair(str(paths[0]), str(paths[1]), settings)
    properties = {
        "INFERENCE_PRECISION_HINT": _HINTS[choose_dtype("cpu", dtype)],
        "KV_CACHE_PRECISION": kv,
        "INFERENCE_NUM_THREADS": threads,
    }
    plain, speculative = (Theirs.load(paths[0], draft, properties, options.gamma) for draft in (None, paths[1]))
    return Ours(pair, options.gamma, 1), plain, speculative


def _request(pair: Pair, prompt: Prompt, length: int) -> Request:
    return pair.request(prompt.text, max_new_tokens=length, sampling=Sampling(), ignore_stops=True)


def _precision_report(
    precision: str,
    side: Ours,
    theirs: dict[str, Theirs],
    tallies: dict[str, Tally],
    prompts: Sequence[Prompt],
    requests: Sequence[Request],
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Ratios, the prediction and where the time goes, after the contest: nothing here is timed beside others."""
    torch.set_num_threads(1)
    costs: Costs = costs_at(side.pair, prompts, [options.gamma], options.length)
    predicted = predict(side.passes, costs)
    measured = ratio(tallies, f"{precision} SD fastdraft", f"{precision} AR fastdraft")
    mine, other = side.texts["sd"], theirs[f"{precision} SD"].texts
    return {
        "AR of genai": ratio(tallies, f"{precision} AR fastdraft", f"{precision} AR genai"),
        "SD of genai": ratio(tallies, f"{precision} SD fastdraft", f"{precision} SD genai"),
        "AR of torch": ratio(tallies, f"{precision} AR fastdraft", "torch AR fastdraft"),
        "SD of torch": ratio(tallies, f"{precision} SD fastdraft", "torch SD fastdraft"),
        "speed-up measured": measured,
        "speed-up predicted": predicted,
        "prediction error": predicted / measured - 1,
        "speed-up of genai": ratio(tallies, f"{precision} SD genai", f"{precision} AR genai"),
        "prompts with the text of genai": sum(mine[key] == other[key] for key in mine),
        "prompts with the text of our AR": sum(mine[key] == side.texts["ar"][key] for key in mine),
        "costs": msgspec.to_builtins(costs),
        "split": split(side.pair, requests, options.gamma),
        "target": msgspec.to_builtins(side.pair.target.card),
    }


def _report(
    options: argparse.Namespace, threads: int, tallies: dict[str, Tally], found: dict[str, dict[str, Any]], pair: Pair
) -> None:
    print(f"| {'contender':20} | tokens/s, median of {options.repeats} repeats |")
    print("| :------------------- | ---------------------------: |")
    for name, tally in tallies.items():
        print(f"| {name:20} | {tally.median:28.1f} |")
    for precision, figures in found.items():
        print(f"\n{precision}: computed in {figures['target']['compute']}, torch in {pair.target.card.dtype}")
        for name, value in figures.items():
            if isinstance(value, float):
                print(f"  {name}: {value:.3f}")
            elif isinstance(value, int):
                print(f"  {name}: {value} of {options.prompts or len(bundled_prompts(options.task or None))}")
        print("  a block of ours: " + ", ".join(f"{name} {share:.1%}" for name, share in figures["split"].items()))
    result = {
        "schema": SCHEMA,
        "options": vars(options),
        "threads": threads,
        "tokens_per_second": {name: tally.median for name, tally in tallies.items()},
        "rates": {name: tally.rates for name, tally in tallies.items()},
        "precisions": found,
        "torch_dtype": pair.target.card.dtype,
        "machine": msgspec.to_builtins(machine_card()),
    }
    print(json.dumps(result))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gamma", type=int, default=4)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--task", default="", help="code or text; default both")
    parser.add_argument("--prompts", type=int, default=0, help="use only the first so many")
    parser.add_argument("--precision", default="f32,int8")
    parser.add_argument("--threads", type=int, default=0)
    return parse_pair(parser)


if __name__ == "__main__":
    main()
