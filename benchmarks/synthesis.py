"""Synthesis speed against a peer: ``python benchmarks/synthesis.py [MODEL] [--rows 32] [--new-tokens 64] [--repeats 3]``.

The same target, prompts, temperatures and stops, taking turns: our batched continuation on OpenVINO (a CPU's default) and on
PyTorch, and ``generate`` of transformers on the same batch, padded on the left where lengths differ. Only tokens up to a row's own end count. Prompts are cut from the
standard library's source: batches of one length, as prefixes of the corpus are drawn, and of mixed lengths, as sorted
instructions are. Does speculative decoding pay here? One more contender writes the same rows one after the other with
``--draft``, the draft that the stage before left. Prints a table and, last, one JSON line.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import json
import statistics
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# A neighbour of this file has the name of a library: this folder comes last where modules are looked for.
sys.path.sort(key=lambda entry: Path(entry).resolve() == Path(__file__).resolve().parent)

import msgspec
import numpy as np
import torch

from fastdraft_core.data.generation import Batch
from fastdraft_core.data.openvino_writer import openvino_writer
from fastdraft_core.data.writers import Writer, torch_writer
from fastdraft_core.decoding.records import Pass, Request
from fastdraft_core.decoding.sampling import Sampling
from fastdraft_core.engine.load_options import LoadOptions
from fastdraft_core.engine.pair import Pair, load_pair, stop_ids
from fastdraft_core.machine.devices import choose_device, choose_dtype, choose_threads, machine_card
from fastdraft_core.models.catalog import resolve
from fastdraft_core.models.folders import load_tokenizer
from fastdraft_core.runtimes.torch.loading import load_model

_TEMPERATURE = 0.8
_OPENVINO, _TORCH, _PEER = "fastdraft, OpenVINO", "fastdraft, PyTorch", "transformers"
_SPECULATIVE = "speculative, one by one"
_ONE_LENGTH, _MIXED = "one length", "mixed lengths"
_LENGTHS = (8, 16, 32, 64)


@dataclass(frozen=True, slots=True)
class Job:
    """A batch to continue: prompts and one temperature for all of it."""

    kind: str
    prompts: list[list[int]]
    temperature: float
    seed: int


#: Continues a batch; returns its new tokens.
Contender = Callable[[Job], int]


def main() -> None:
    """Run all contenders on every batch, in turns."""
    asked = _arguments()
    with contextlib.ExitStack() as open_meanwhile:
        _contest(asked, open_meanwhile)


def _contest(asked: argparse.Namespace, stack: contextlib.ExitStack) -> None:
    torch.set_num_threads(choose_threads())
    folder, device = Path(resolve(asked.model)), choose_device()
    model = load_model(folder, asked.model, device=device, dtype=choose_dtype(device)).eval()
    tokenizer = load_tokenizer(folder, asked.model)
    stops, width = stop_ids(folder, tokenizer), len(tokenizer)
    contenders = {
        _TORCH: ours(torch_writer(model), asked.new_tokens, stops, width),
        _PEER: theirs(model, asked.new_tokens, stops),
    }
    if device == "cpu":
        writer = stack.enter_context(openvino_writer(folder, asked.model))
        contenders = {_OPENVINO: ours(writer, asked.new_tokens, stops, width), **contenders}
    if asked.draft:
        pair = load_pair(asked.model, asked.draft, LoadOptions(runtime="torch"))
        contenders[_SPECULATIVE] = one_by_one(pair, asked.new_tokens, asked.gamma)
    jobs = _jobs(tokenizer, asked.rows)
    for contender in contenders.values():
        contender(jobs[0])
    rates = measure(contenders, jobs, asked.repeats)
    print(
        f"{asked.model} on {device} in {choose_dtype(device)}, batches of {asked.rows}, {asked.new_tokens} new tokens a row"
    )
    ratios = {}
    for kind in (_ONE_LENGTH, _MIXED):
        for name in contenders:
            print(f"{kind:<16}{name:<28}{statistics.median(rates[kind, name]):>10,.0f} tokens/s")
        for name in (n for n in contenders if n != _PEER):
            paired = zip(rates[kind, name], rates[kind, _PEER], strict=True)
            ratio = ratios[f"{kind}, {name}, over {_PEER}"] = statistics.median(a / b for a, b in paired)
            print(f"{kind:<16}{name} over {_PEER:<28}{ratio:>6.2f}x")
    told = {f"{kind}, {name}": statistics.median(found) for (kind, name), found in rates.items()}
    result = {"tokens_per_second": told, "ratios": ratios, "rows": asked.rows, "new_tokens": asked.new_tokens}
    print(json.dumps({"benchmark": "synthesis", **result, "machine": msgspec.to_builtins(machine_card())}))


def measure(contenders: dict[str, Contender], jobs: list[Job], repeats: int) -> dict[tuple[str, str], list[float]]:
    """Tokens/s by kind of batch and contender, one figure a repeat; who begins changes every time."""
    rates: dict[tuple[str, str], list[float]] = {}
    for repeat in range(repeats):
        counts: dict[tuple[str, str], list[float]] = {}
        for number, job in enumerate(jobs):
            for name in list(contenders)[:: 1 if (repeat + number) % 2 == 0 else -1]:
                begin = time.perf_counter()
                tokens = contenders[name](job)
                tally = counts.setdefault((job.kind, name), [0.0, 0.0])
                tally[0] += tokens
                tally[1] += time.perf_counter() - begin
        for key, (tokens, seconds) in counts.items():
            rates.setdefault(key, []).append(tokens / seconds)
    return rates


def ours(writer: Writer, new_tokens: int, stops: frozenset[int], vocab_size: int) -> Contender:
    """The continuation that writes sequences.jsonl."""

    def write(job: Job) -> int:
        heat = np.full(len(job.prompts), job.temperature)
        rows = writer(Batch(job.prompts, heat, new_tokens, stops, job.seed, vocab_size)).rows
        return sum(len(row) - len(prompt) for row, prompt in zip(rows, job.prompts, strict=True) if row is not None)

    return write


def theirs(model: Any, new_tokens: int, stops: frozenset[int]) -> Contender:
    """``generate`` with its own cache; a row that ended is padded until the last one does."""
    ends = sorted(stops)

    def write(job: Job) -> int:
        torch.manual_seed(job.seed)
        longest = max(map(len, job.prompts))
        ids = torch.tensor([[ends[0]] * (longest - len(p)) + p for p in job.prompts], device=model.device)
        mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in job.prompts], device=model.device)
        heat = (
            {"do_sample": True, "temperature": job.temperature, "top_k": 0} if job.temperature else {"do_sample": False}
        )
        with torch.inference_mode():
            found = model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=new_tokens,
                eos_token_id=ends,
                pad_token_id=ends[0],
                **heat,
            )
        return sum(_written(row, stops) for row in found[:, longest:].tolist())

    return write


def one_by_one(pair: Pair, new_tokens: int, gamma: int) -> Contender:
    """Speculative decoding, a sequence at a time; prefills count, as they do for the others."""

    def write(job: Job) -> int:
        tokens = 0
        for number, prompt in enumerate(job.prompts):
            request = Request(prompt, new_tokens, Sampling(job.temperature), stops=pair.stops, seed=job.seed + number)
            tokens += sum(len(done.emitted) for done in pair.decode("sd", request, gamma) if isinstance(done, Pass))
        return tokens

    return write


def _written(row: list[int], stops: frozenset[int]) -> int:
    """Tokens up to the first stop, which counts."""
    return next((place + 1 for place, token in enumerate(row) if token in stops), len(row))


def _jobs(tokenizer: Any, rows: int) -> list[Job]:
    """A batch of every length and as many of mixed ones, greedy and sampled by turns."""
    ids = [
        token for module in (argparse, textwrap, statistics) for token in tokenizer(inspect.getsource(module)).input_ids
    ]
    rng = np.random.default_rng(1)

    def prompts(lengths: np.ndarray) -> list[list[int]]:
        return [ids[start : start + length] for length in lengths for start in [int(rng.integers(len(ids) - length))]]

    jobs = []
    for number, length in enumerate(_LENGTHS):
        for kind, low, high in ((_ONE_LENGTH, length, length), (_MIXED, length, length + max(4, length // 4))):
            drawn = prompts(rng.integers(low, high + 1, rows))
            jobs.append(Job(kind, drawn, _TEMPERATURE * (number % 2), seed=number))
    return jobs


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="demo")
    parser.add_argument("--rows", type=int, default=32, help="sequences a batch")
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--draft", default="demo:S", help="for speculative decoding; empty leaves it out")
    parser.add_argument("--gamma", type=int, default=4)
    return parser.parse_args()


if __name__ == "__main__":
    main()
