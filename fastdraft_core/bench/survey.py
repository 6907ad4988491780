"""What passes cost and how much is accepted on one task at one temperature, and the surface that follows from it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from fastdraft_core.bench.acceptance import Fate, fate, probabilities
from fastdraft_core.bench.costs import Probe
from fastdraft_core.bench.drafts import Lineup
from fastdraft_core.bench.surface import predicted
from fastdraft_core.bench.tasks import Task
from fastdraft_core.decoding.records import Pass, Request, cut
from fastdraft_core.decoding.sampling import Sampling
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import CostsMeasured, Event

#: Between the seeds of two repeats, more than a task has prompts.
_SEED_STEP = 1 << 16
#: Tokens of a probe where time is short, for each token of the longest block: every length comes up about once.
_SHORT_PROBE = 3


@dataclass(frozen=True, slots=True)
class Group:
    """One task at one temperature: its requests by prompt."""

    task: Task
    sampling: Sampling
    requests: list[Request]

    def request(self, prompt: int, repeat: int) -> Request:
        """Sampled repeats draw other texts, so that the interval knows of them; greedy ones are the same."""
        request = self.requests[prompt]
        return replace(request, seed=request.seed + repeat * _SEED_STEP)


class Survey:
    """Autoregressive texts and probes of every draft, prompt by prompt; what is known can be told after any of them."""

    def __init__(self, group: Group, lineup: Lineup, gammas: Sequence[int]) -> None:
        self._group = group
        self._lineup = lineup
        self._gammas = gammas
        self._pair = next(iter(lineup.values()))
        self._probes = {name: Probe(pair, max(gammas)) for name, pair in lineup.items()}
        self._texts: dict[str, list[int]] = {name: [] for name in lineup}
        """The prompts that each draft was probed on in the first round."""
        self._written: dict[tuple[str, int], list[int]] = {}
        """The text that a draft's fate is read from, by draft and prompt."""
        self._emitted: list[list[int]] = []
        self._baseline: list[Pass] = []

    @property
    def begun(self) -> bool:
        """Whether every draft was probed on some prompt."""
        return all(self._texts.values())

    @property
    def precise(self) -> bool:
        """Whether the costs of every draft are known as well as they need be."""
        return all(probe.precise for probe in self._probes.values())

    def step(self, number: int, repeat: int, check: Callable[[], None], until: float) -> None:
        """Decode prompt ``number`` in both modes with every draft; ``check`` may raise before each run.

        Where whole texts would take longer than ``until``, drafts are probed on the beginnings alone.
        """
        # Costs are the same past the end of a text, and a short answer would hold too few passes; fates are read up to the end.
        request, begun = replace(self._group.request(number, repeat), stops=frozenset()), time.monotonic()
        # As in the turns of measured points, every other baseline follows one: its first passes find everything prepared.
        baseline_last = bool(repeat) and number % 2 == 1
        if not baseline_last:
            self._run_baseline(request, repeat, check)
        now, probed = time.monotonic(), request
        if now + (now - begun) * len(self._probes) > until:
            short = _SHORT_PROBE * max(self._gammas)
            probed = replace(request, max_new_tokens=min(request.max_new_tokens, short))
        for name, probe in self._probes.items():
            check()
            text = [] if probe.precise else probe.run(probed)
            if not repeat:
                self._texts[name].append(number)
                self._written[name, number] = self._read_from(text, number)
        if baseline_last:
            self._run_baseline(request, repeat, check)

    def _run_baseline(self, request: Request, repeat: int, check: Callable[[], None]) -> None:
        check()
        records = list(self._pair.decode("ar", request, 0))
        self._baseline += [record for record in records if isinstance(record, Pass)]
        if not repeat:
            self._emitted.append([token for record in records for token in record.emitted])

    def told(self) -> Iterator[Event]:
        """Costs and the predicted surface of every draft that was probed."""
        task, temperature = self._group.task.name, self._group.sampling.temperature
        likely = [] if self._group.sampling.greedy else [self._target_chances(n) for n in range(len(self._emitted))]
        for name, numbers in self._texts.items():
            if not numbers:
                continue
            probe = self._probes[name]
            probe.baseline = self._baseline
            costs = probe.costs()
            yield CostsMeasured(
                name=name,
                task=task,
                temperature=temperature,
                step_seconds=costs.step_seconds,
                verify=costs.verify,
                draft=statistics.fmean(costs.draft),
                overhead=costs.overhead,
                first=costs.first,
            )
            fates = [self._fate(name, number, likely[number] if likely else None) for number in numbers]
            fates = [found for found in fates if found.chances]
            if not fates:
                raise FastdraftError(
                    f"{self._pair.target.card.name} ends every text of {task} with its first token, so there is nothing to measure. Give "
                    "other prompts, or --ignore-stop."
                )
            reaches = [found.reach for found in fates if found.reach is not None]
            for gamma in self._gammas:
                yield predicted(
                    [found.chances for found in fates],
                    costs,
                    draft=name,
                    gamma=gamma,
                    temperature=temperature,
                    task=task,
                    reaches=reaches or None,
                )

    def _read_from(self, text: list[int], number: int) -> list[int]:
        """The text of prompt ``number`` that tells a draft's fate: greedy, the one that speculative decoding wrote, if whole.

        In bfloat16 a pass over several tokens rounds a near-tie otherwise than a pass over one, and from there on the texts
        of the two modes differ; the draft will meet the speculative one. Sampled, all drafts share the autoregressive one.
        """
        shared = self._emitted[number]
        read = text if self._group.sampling.greedy and len(text) == len(shared) else shared
        return cut(read, self._group.requests[number].stops)

    def _target_chances(self, number: int) -> list[float]:
        prompt = self._group.requests[number].prompt
        text = cut(self._emitted[number], self._group.requests[number].stops)
        return probabilities(self._pair.target, prompt, text, self._group.sampling)

    def _fate(self, name: str, number: int, likely: list[float] | None) -> Fate:
        """A draft's fate along one text; ``likely`` are the target's chances for its tokens, all 1 when greedy."""
        draft, text = self._lineup[name].draft, self._written[name, number]
        assert draft is not None
        prompt, most = self._group.requests[number].prompt, max(self._gammas)
        return fate(draft, likely, prompt, text, self._group.sampling, most)
