"""Does choosing gamma while decoding pay? Two policies against every fixed gamma: ``python benchmarks/adaptive_gamma.py``.

*Running acceptance* takes, before every block, the length that the measured costs and the acceptance of the last tokens
predict to be the fastest. *Confidence* drafts on while the draft's own probabilities say that another token is worth what it
costs; the token that triggers the stop is kept (pitfall 20). Code and text prompts mixed, all contenders interleaved in one
run. Prints a table and, as the last line, one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# A neighbour of this file has the name of a library: this folder comes last where modules are looked for.
sys.path.sort(key=lambda entry: Path(entry).resolve() == Path(__file__).resolve().parent)

import msgspec
import torch

from benchmarks.contest import Contender, interleave, parse_pair, ratio
from fastdraft_core.bench.costs import Costs, measure_costs
from fastdraft_core.bench.tasks import bundled_prompts
from fastdraft_core.decoding.drafters import Drafter
from fastdraft_core.decoding.records import Pass, Request
from fastdraft_core.decoding.sampling import Sampling, Verdict
from fastdraft_core.decoding.speculative import speculative
from fastdraft_core.engine.load_options import LoadOptions
from fastdraft_core.engine.pair import Pair, load_pair
from fastdraft_core.machine.devices import machine_card
from fastdraft_core.metrics import predicted_speedup

SCHEMA = "fastdraft.benchmark.adaptive_gamma/1"
#: What one judged token leaves of the weight of those before it: about the last thirty count.
_MEMORY = 0.97
#: A new length must promise so much more than the present one.
_WORTH_A_CHANGE = 1.02


@dataclass(slots=True)
class RunningAcceptance:
    """Block lengths by the acceptance seen so far in this text, which begins at ``acceptance``."""

    inner: Drafter
    costs: Costs
    acceptance: float
    gamma: int
    logits: list[torch.Tensor] = field(default_factory=list)
    skipped: int = 0
    _begun: int = 0
    _drafted: int = 0

    def prepare(self, gamma: int, sampling: Sampling) -> None:
        """For every length up to ``gamma``."""
        for length in range(1, gamma + 1):
            self.inner.prepare(length, sampling)

    def start(self, ids: list[int]) -> None:
        """Read a new prompt."""
        self.inner.start(ids)

    def propose(
        self, ids: list[int], gamma: int, sampling: Sampling, stream: torch.Generator
    ) -> tuple[list[int], torch.Tensor | None]:
        """The drafter's own proposal, as long as is now the best."""
        promised = [_promise(self.acceptance, self.costs, width) for width in range(1, len(self.costs.verify))]
        best = max(range(len(promised)), key=promised.__getitem__)
        if promised[best] > _WORTH_A_CHANGE * promised[self.gamma - 1]:
            self.gamma = best + 1
        drafted, q = self.inner.propose(ids, min(gamma, self.gamma), sampling, stream)
        self._begun, self._drafted = len(ids), len(drafted)
        return drafted, q

    def learn(self, ids: list[int], drafted: list[int], verdict: Verdict, logits: torch.Tensor) -> None:
        """As the drafter inside."""
        self.inner.learn(ids, drafted, verdict, logits)

    def why_steps(self, gamma: int, sampling: Sampling) -> str:
        """As the drafter inside."""
        return self.inner.why_steps(gamma, sampling)

    def keep(self, length: int) -> None:
        """Learn from the verdict, and forget what was read past the first ``length`` tokens."""
        accepted = length - self._begun
        for position in range(min(accepted + 1, self._drafted)):
            self.acceptance = _MEMORY * self.acceptance + (1 - _MEMORY) * (position < accepted)
        self.inner.keep(length)


@dataclass(slots=True)
class Confidence:
    """Drafts until another token is no longer worth its cost, by the draft's own probabilities."""

    inner: Drafter
    costs: Costs
    speedup: float
    logits: list[torch.Tensor] = field(default_factory=list)
    skipped: int = 0

    def prepare(self, gamma: int, sampling: Sampling) -> None:
        """It drafts token by token."""
        self.inner.prepare(1, sampling)

    def start(self, ids: list[int]) -> None:
        """Read a new prompt."""
        self.inner.start(ids)

    def propose(
        self, ids: list[int], gamma: int, sampling: Sampling, stream: torch.Generator
    ) -> tuple[list[int], torch.Tensor | None]:
        """Token by token; the one after which it stops is proposed too."""
        drafted: list[int] = []
        distributions: list[torch.Tensor] = []
        likely = 1.0
        while len(drafted) < gamma:
            token, q = self.inner.propose([*ids, *drafted], 1, sampling, stream)
            if not token:
                break
            drafted += token
            if q is not None:
                distributions.append(q)
            likely *= float(self.inner.logits[-1].float().softmax(-1)[token[0]])
            if likely / self.speedup < self._price(len(drafted)):
                break
        return drafted, torch.cat(distributions) if distributions else None

    def learn(self, ids: list[int], drafted: list[int], verdict: Verdict, logits: torch.Tensor) -> None:
        """As the drafter inside."""
        self.inner.learn(ids, drafted, verdict, logits)

    def why_steps(self, gamma: int, sampling: Sampling) -> str:
        """As the drafter inside."""
        return self.inner.why_steps(gamma, sampling)

    def keep(self, length: int) -> None:
        """Forget what was read past the first ``length`` tokens."""
        self.inner.keep(length)

    def _price(self, drafted: int) -> float:
        """What one more token costs after ``drafted``, in autoregressive steps."""
        verify = self.costs.verify
        return self.costs.draft[-1] + verify[min(drafted + 1, len(verify) - 1)] - verify[drafted]


def main() -> None:
    """Measure and print."""
    options = _options()
    pair = load_pair(options.target, options.draft, LoadOptions(runtime=options.runtime))
    sampling = Sampling(options.temperature)
    prompts = [p for task in ("code", "text") for p in bundled_prompts(task)[: options.prompts]]
    requests = [
        pair.request(p.text, max_new_tokens=options.length, sampling=sampling, seed=n, ignore_stops=True)
        for n, p in enumerate(prompts)
    ]
    costs = measure_costs(pair, requests, options.most)
    acceptance = _acceptance(pair, requests, options.most)
    widths = range(1, options.most + 1)
    speedup, gamma = max((_promise(acceptance, costs, width), width) for width in widths)
    contenders: dict[str, Contender] = {f"gamma {width}": _fixed(pair, width) for width in widths}
    contenders["running acceptance"] = _with(
        pair, options.most, lambda: RunningAcceptance(pair.drafter(), costs, acceptance, gamma)
    )
    contenders["confidence"] = _with(pair, options.most, lambda: Confidence(pair.drafter(), costs, speedup))
    for run in contenders.values():
        run(requests[0])
    tallies = interleave(contenders, requests, options.repeats)
    best = max((name for name in contenders if name.startswith("gamma")), key=lambda name: tallies[name].median)
    print(f"{options.draft} on {pair.runtime}, T {options.temperature}; acceptance of the probe {acceptance:.2f}")
    for name, tally in tallies.items():
        print(f"| {name:20} | {tally.median:8.1f} tokens/s | {ratio(tallies, name, best):.3f} of {best} |")
    result = {
        "schema": SCHEMA,
        "options": vars(options),
        "runtime": pair.runtime,
        "best": best,
        "ratios": {name: ratio(tallies, name, best) for name in tallies},
        "rates": {name: tally.rates for name, tally in tallies.items()},
        "costs": msgspec.to_builtins(costs),
        "machine": msgspec.to_builtins(machine_card()),
    }
    print(json.dumps(result))


def _promise(acceptance: float, costs: Costs, gamma: int) -> float:
    """The predicted speed-up if every token is accepted with the same chance."""
    tau = sum(acceptance**n for n in range(gamma + 1))
    return predicted_speedup(tau, gamma, costs.draft[gamma - 1], costs.verify[gamma], costs.overhead)


def _acceptance(pair: Pair, requests: Sequence[Request], gamma: int) -> float:
    """Accepted over judged tokens."""
    passes = [r for request in requests for r in pair.decode("sd", request, gamma) if isinstance(r, Pass)]
    return sum(p.accepted for p in passes) / sum(p.judged for p in passes)


def _fixed(pair: Pair, gamma: int) -> Contender:
    return _with(pair, gamma, pair.drafter)


def _with(pair: Pair, gamma: int, drafter: Callable[[], Drafter]) -> Contender:
    def contender(request: Request) -> tuple[int, float]:
        records = speculative(pair.target, drafter(), request, gamma)
        passes = [record for record in records if isinstance(record, Pass)]
        return sum(len(p.emitted) for p in passes), passes[-1].at

    return contender


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runtime", default="openvino")
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--most", type=int, default=8, help="the longest block")
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--prompts", type=int, default=3, help="of each task")
    parser.add_argument("--repeats", type=int, default=3)
    return parse_pair(parser)


if __name__ == "__main__":
    main()
