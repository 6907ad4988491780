"""Sequences that the target writes itself, for sequence-level distillation (paper, FT).

``sequences.jsonl`` only grows: first a header that says who writes and how, then a line for every prompt that was
asked, and last the account, in which ok + error + skipped = asked. Batch n depends only on (seed, n), and its lines on
nothing else, so an interrupted synthesis goes on with the prompts that are missing.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fastdraft_core.data.generation import Batch, Row
from fastdraft_core.data.memory import memory_for
from fastdraft_core.data.prompts import Prompt, Prompts, Shares
from fastdraft_core.data.writers import Writer
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Event, Synthesized

OK, ERROR, SKIPPED = "ok", "error", "skipped"
#: After so many batches of which nothing came, nothing will come.
_VAIN_BATCHES = 8


@dataclass(frozen=True, slots=True)
class Plan:
    """What to write: at least ``tokens`` of the target's own, prompts not counted.

    ``temperatures`` have ``shares``, equal ones where there are none; the prompts' kinds have ``weights``.
    """

    tokens: int
    batch_size: int
    new_tokens: int
    temperatures: Sequence[float]
    seed: int
    weights: Mapping[str, float]
    vocab_size: int | None = None
    shares: Sequence[float] = ()

    @property
    def temperature_shares(self) -> Sequence[float]:
        """A share for each temperature, equal ones where none are given."""
        return self.shares or [1.0] * len(self.temperatures)


@dataclass
class _Log:
    """The file, open for appending, and what stands in it."""

    file: BinaryIO
    statuses: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    #: The newest batch and the prompts of it that are there.
    batch: int = 0
    answered: set[str] = field(default_factory=set)
    closed: bool = False

    def take(self, line: dict[str, Any]) -> None:
        """Count one line that stands in the file."""
        if "asked" in line:
            self.closed = True
        if "status" not in line:
            return
        if line["batch"] != self.batch:
            self.batch, self.answered = line["batch"], set()
        self.answered.add(line["id"])
        self.statuses[line["status"]] += 1
        if "reason" in line:
            self.reasons[line["reason"]] += 1
        if line["status"] == OK:
            self.tokens += len(line["ids"]) - line["prefix"]

    def write(self, line: dict[str, Any]) -> None:
        """Append one line and count it."""
        self.file.write(json.dumps(line).encode() + b"\n")
        self.take(line)

    @property
    def account(self) -> dict[str, Any]:
        """The closing line."""
        counts = {status: self.statuses[status] for status in (OK, ERROR, SKIPPED)}
        return {"asked": sum(counts.values()), **counts, "reasons": dict(self.reasons), "tokens": self.tokens}


def synthesize(
    path: Path,
    plan: Plan,
    write: Writer,
    kinds: Mapping[str, Prompts],
    stops: Collection[int],
    header: Mapping[str, Any],
) -> Generator[Event, None, None]:
    """Append to ``path`` until ``plan.tokens`` tokens are there and the account is closed. ``stops`` end a text.

    Raises:
        FastdraftError: the file was begun otherwise, nothing comes of the prompts, or memory is too small for a batch.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    turns, names, heat = Shares(list(plan.weights.values())), list(plan.weights), _Heat(plan)
    begin = time.perf_counter()
    with path.open("ab+") as file:
        log = _opened(file, path, {**header, "sampling": _sampling(plan)})
        already, vain = log.tokens, 0
        # The newest batch may be there in part.
        while log.tokens < plan.tokens or 0 < len(log.answered) < plan.batch_size:
            number = log.batch + (len(log.answered) == plan.batch_size)
            kind, before = turns.at(number)
            written = log.statuses[OK]
            with memory_for(
                f"{plan.batch_size} sequences at once",
                "Lower synthesis.batch_size and run again; what is written is kept only for the same settings.",
            ):
                prompts = kinds[names[kind]].batch(before, plan.batch_size)
                lines = list(_answers(write, plan, prompts, heat, number, stops))
            for line in lines:
                if number != log.batch or line["id"] not in log.answered:
                    log.write(line)
            file.flush()
            vain = 0 if log.statuses[OK] > written else vain + 1
            if vain == _VAIN_BATCHES:
                raise FastdraftError(_nothing_comes(names[kind], log.reasons))
            yield Synthesized(
                sequences=log.statuses[OK],
                tokens=log.tokens,
                total_tokens=plan.tokens,
                tokens_per_second=(log.tokens - already) / (time.perf_counter() - begin),
                errors=log.statuses[ERROR],
                skipped=log.statuses[SKIPPED],
            )
        if not log.closed:
            log.write(log.account)


def begun_with(path: Path) -> dict[str, Any]:
    """The header of a file that was begun; empty where there is none, or a torn one."""
    with contextlib.suppress(FileNotFoundError, ValueError), path.open("rb") as file:
        found: dict[str, Any] = json.loads(file.readline())
        return found
    return {}


def sequence_rows(path: Path) -> Iterator[tuple[list[int], list[int]]]:
    """Ids and loss mask of every sequence: only what the target wrote counts."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if row.get("status") == OK:
                yield row["ids"], [0] * row["prefix"] + [1] * (len(row["ids"]) - row["prefix"])


class _Heat:
    """The temperature of every prompt, by its place in all of the synthesis."""

    def __init__(self, plan: Plan) -> None:
        self._temperatures = plan.temperatures
        self._turns = Shares(plan.temperature_shares)

    def of(self, place: int) -> float:
        return float(self._temperatures[self._turns.at(place)[0]])


def _answers(
    write: Writer, plan: Plan, prompts: list[Prompt], heat: _Heat, number: int, stops: Collection[int]
) -> Iterator[dict[str, Any]]:
    """A line for each of ``prompts``, in their order."""
    asked = [(prompt, heat.of(number * plan.batch_size + n)) for n, prompt in enumerate(prompts)]
    going = [(prompt, temperature) for prompt, temperature in asked if not prompt.skipped]
    seed = int(np.random.default_rng([plan.seed, number, 1]).integers(1 << 62))
    rows: dict[str, Row] = {}
    if going:
        temperatures = np.array([temperature for _, temperature in going])
        prompted = [prompt.ids for prompt, _ in going]
        found = write(Batch(prompted, temperatures, plan.new_tokens, stops, seed, plan.vocab_size))
        rows = {prompt.id: row for (prompt, _), row in zip(going, found, strict=True)}
    for prompt, temperature in asked:
        line = {"id": prompt.id, "batch": number}
        if prompt.skipped:
            yield {**line, "status": SKIPPED, "reason": prompt.skipped}
        elif (row := rows[prompt.id]) is None:
            yield {**line, "status": ERROR, "reason": "logits that are no numbers"}
        else:
            yield {**line, "status": OK, "prefix": len(prompt.ids), "temperature": temperature, "ids": row}


def _opened(file: BinaryIO, path: Path, header: dict[str, Any]) -> _Log:
    """What stands in the file, its torn last line cut off; a new one gets its header."""
    log, whole = _Log(file), 0
    file.seek(0)
    for number, text in enumerate(file):
        if not text.endswith(b"\n"):
            break
        try:
            line = json.loads(text)
        except ValueError as error:
            raise FastdraftError(
                f"{path}, line {number + 1}, is damaged. Delete the file to have the target write anew."
            ) from error
        if number == 0 and _identity(line) != _identity(header):
            raise FastdraftError(
                f"{path} was begun by another target, or with other settings. Delete it to have the target write anew."
            )
        log.take(line)
        whole += len(text)
    file.truncate(whole)
    if not whole:
        log.write(header)
    return log


def _identity(header: Mapping[str, Any]) -> dict[str, Any]:
    """Who writes and how, whatever name the target was given and wherever it lies."""
    return {key: value for key, value in header.items() if key not in ("target", "revision")}


def _sampling(plan: Plan) -> dict[str, Any]:
    shares = plan.temperature_shares
    return {
        "temperatures": [float(t) for t in plan.temperatures],
        "shares": [share / sum(shares) for share in shares],
        "new_tokens": plan.new_tokens,
        "batch_size": plan.batch_size,
        "seed": plan.seed,
        "prompts": dict(plan.weights),
    }


def _nothing_comes(kind: str, reasons: Counter[str]) -> str:
    told = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common()) or "no reason"
    return (
        f"Nothing came of {_VAIN_BATCHES} batches of prompts in a row, the last of {kind} ({told}). Shorten "
        "synthesis.new_tokens if prompts are too long for the target's context, or choose other prompts."
    )
