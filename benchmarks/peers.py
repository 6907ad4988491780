"""Our decoding beside transformers, OpenVINO GenAI and llama.cpp: ``python benchmarks/peers.py --precision int8``.

Same target, draft, prompts, gamma, lengths and threads; greedy; all contenders interleaved in one run; warm-up left out.
Ours and OpenVINO GenAI run one IR of int8 or int4, llama.cpp the nearest GGUF (q8_0, q4_1), transformers the weights as
they are, since it has no such format here. The GGUF files are exported first, or given. A prefill is taken off for all:
timed apart for transformers and GenAI; llama.cpp's server tells its decode time itself, without the way through its port.
Prints a table and, as the last line, one JSON object. Ratios are of total tokens over total time.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# A neighbour of this file has the name of a library: this folder comes last where modules are looked for.
sys.path.sort(key=lambda entry: Path(entry).resolve() == Path(__file__).resolve().parent)

import msgspec
import torch

from benchmarks.contest import Contender, Tally, interleave, parse_pair, ratio
from benchmarks.decoding import by_transformers
from benchmarks.openvino import REST, Ours, load_both
from fastdraft_core.bench.tasks import bundled_prompts
from fastdraft_core.decoding.records import Request
from fastdraft_core.decoding.sampling import Sampling
from fastdraft_core.engine.load_options import LoadOptions
from fastdraft_core.engine.pair import Pair, load_pair
from fastdraft_core.export.formats import ExportOptions, export
from fastdraft_core.machine.devices import choose_threads, machine_card
from tests.models.gguf.llama_cpp import LlamaCpp

SCHEMA = "fastdraft.benchmark.peers/1"
#: The GGUF weights nearest to an IR's: a scale for each 32 weights, and for int4 an offset as well.
NEAREST = {"int8": "q8_0", "int4": "q4_1"}


@dataclass(slots=True)
class GgufPeer:
    """llama.cpp's server with a target, and maybe a draft; remembers the texts."""

    server: LlamaCpp
    texts: dict[tuple[int, ...], list[int]] = field(default_factory=dict)

    def run(self, request: Request) -> tuple[int, float]:
        """Decode; the first token is the prefill's."""
        time.sleep(REST)
        ids, seconds = self.server.timed(request.prompt, request.max_new_tokens)
        self.texts[tuple(request.prompt)] = ids
        return len(ids) - 1, seconds


def main() -> None:
    """Measure and print."""
    options = _options()
    threads = choose_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        ours, plain, speculative = load_both(options, options.precision, Path(folder), threads)
        llama = {
            mode: GgufPeer(LlamaCpp(file, draft=draft, gamma=options.gamma, threads=threads, context=options.context))
            for file, drafts in [_gguf_files(options, Path(folder))]
            for mode, draft in (("AR", None), ("SD", drafts))
        }
        on_torch = load_pair(options.target, options.draft, LoadOptions(threads=threads))
        contenders: dict[str, Contender] = {
            "AR fastdraft": ours.run("ar"),
            "AR genai": plain.run,
            "AR transformers": _transformers(on_torch, None, options.gamma, threads),
            "AR llama.cpp": llama["AR"].run,
            "SD fastdraft": ours.run("sd"),
            "SD genai": speculative.run,
            "SD transformers": _transformers(on_torch, on_torch.draft, options.gamma, threads),
            "SD llama.cpp": llama["SD"].run,
        }
        requests = _requests(on_torch, options)
        for run in contenders.values():
            run(requests[0])
        tallies = interleave(contenders, requests, options.repeats)
        _report(options, threads, tallies, on_torch, _equal_texts(ours, llama))


def _gguf_files(options: argparse.Namespace, folder: Path) -> tuple[Path, Path]:
    """Target and draft for llama.cpp: the user's own target file, or exports."""
    weights = NEAREST[options.precision]
    target = Path(options.target_gguf) if options.target_gguf else _exported(options.target, folder, weights, "")
    return target, _exported(options.draft, folder, weights, options.target_gguf or options.target)


def _exported(name: str, folder: Path, weights: str, target: str) -> Path:
    output = folder / ("draft-gguf" if target else "target-gguf")
    facts = export(name, output, ExportOptions("gguf", weights, target), lambda step: None)
    return output / facts.file


def _transformers(pair: Pair, draft: Any, gamma: int, threads: int) -> Contender:
    def contender(request: Request) -> tuple[int, float]:
        torch.set_num_threads(threads)
        time.sleep(REST)
        return by_transformers(pair, request, None if draft is None else draft.model, gamma)

    return contender


def _requests(pair: Pair, options: argparse.Namespace) -> list[Request]:
    prompts = bundled_prompts(options.task or None)[: options.prompts or None]
    return [
        pair.request(prompt.text, max_new_tokens=options.length, sampling=Sampling(), ignore_stops=True)
        for prompt in prompts
    ]


def _equal_texts(ours: Ours, llama: dict[str, GgufPeer]) -> dict[str, int]:
    """Prompts whose text is the same with the draft as without it, for the two whose arithmetic is the same in both."""
    own = ours.texts["sd"]
    theirs = llama["SD"].texts
    return {
        "prompts": len(theirs),
        "fastdraft SD as AR": sum(own[key] == ours.texts["ar"][key] for key in own),
        "llama.cpp SD as AR": sum(theirs[key] == llama["AR"].texts[key] for key in theirs),
    }


def _report(
    options: argparse.Namespace, threads: int, tallies: dict[str, Tally], pair: Pair, equal: dict[str, int]
) -> None:
    weights = {
        "fastdraft": options.precision,
        "genai": options.precision,
        "transformers": pair.target.card.dtype,
        "llama.cpp": Path(options.target_gguf).name or NEAREST[options.precision],
    }
    print(
        f"| contender    | weights  | AR tokens/s | SD tokens/s, gamma {options.gamma} | SD / AR | fastdraft SD / its SD |"
    )
    print("| :----------- | :------- | ----------: | -------------------: | ------: | --------------------: |")
    found = {}
    for name, stored in weights.items():
        found[name] = {
            "speed-up": ratio(tallies, f"SD {name}", f"AR {name}"),
            "fastdraft AR": ratio(tallies, "AR fastdraft", f"AR {name}"),
            "fastdraft SD": ratio(tallies, "SD fastdraft", f"SD {name}"),
        }
        rates = [tallies[f"{mode} {name}"].median for mode in ("AR", "SD")]
        print(
            f"| {name:12} | {stored:8} | {rates[0]:11.1f} | {rates[1]:20.1f} | {found[name]['speed-up']:7.2f} | "
            f"{found[name]['fastdraft SD']:21.2f} |"
        )
    print(
        f"Medians of {options.repeats} repeats over {equal['prompts']} prompts. The same text with the draft as without:"
    )
    print(
        f"fastdraft {equal['fastdraft SD as AR']}, llama.cpp {equal['llama.cpp SD as AR']} of {equal['prompts']} prompts."
    )
    result = {
        "schema": SCHEMA,
        "options": vars(options),
        "threads": threads,
        "weights": weights,
        "tokens_per_second": {name: tally.median for name, tally in tallies.items()},
        "rates": {name: tally.rates for name, tally in tallies.items()},
        "ratios": found,
        "equal_texts": equal,
        "machine": msgspec.to_builtins(machine_card()),
    }
    print(json.dumps(result))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target-gguf", default="", help="llama.cpp's own target; default: exported from --target")
    parser.add_argument("--precision", choices=list(NEAREST), default="int8")
    parser.add_argument("--gamma", type=int, default=4)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--context", type=int, default=512, help="tokens that llama.cpp has room for")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--task", default="", help="code or text; default both")
    parser.add_argument("--prompts", type=int, default=0, help="use only the first so many")
    parser.add_argument("--threads", type=int, default=0)
    return parse_pair(parser)


if __name__ == "__main__":
    main()
