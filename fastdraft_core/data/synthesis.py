"""Sequences that the target writes itself, for sequence-level distillation (paper, FT).

``sequences.jsonl`` only grows: first a header that says who writes and how, then a line for every prompt that was
asked, and after the last batch that was needed the account, in which ok + error + skipped = asked. Batch n depends only
on (seed, n), and its lines on nothing else, so an interrupted synthesis goes on with the prompts that are missing, and one
that is asked for more tokens with the next batch.

Several processes write neighbouring batches at once, and the first one appends them in their order: the file is the same however
many they are, and another number of them goes on with it. What of a round comes behind the last token that was asked for is dropped.

Where the header has a ``top_k``, ``probabilities.bin`` beside it holds the distribution of every written token, as the
sequences come: what a reading of the text would find (``target_logits``), kept while the logits are there.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fastdraft_core.data.generation import Batch, Written
from fastdraft_core.data.memory import memory_for
from fastdraft_core.data.prompts import Prompt, Prompts, Shares
from fastdraft_core.data.shards import token_dtype
from fastdraft_core.data.sparse import SparseRows, record_type, to_records
from fastdraft_core.data.workers import Workers
from fastdraft_core.data.writers import Writer
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Event, Synthesized

OK, ERROR, SKIPPED = "ok", "error", "skipped"
#: After so many batches of which nothing came, nothing will come.
_VAIN_BATCHES = 8


@dataclass(frozen=True, slots=True)
class Plan:
    """What to write: at least ``tokens`` of the target's own, prompts not counted.

    ``temperatures`` have ``shares``, equal ones where there are none; the prompts' kinds have ``weights``. ``top_k`` of the
    target's probabilities are kept for each written token, 0 for none.
    """

    tokens: int
    batch_size: int
    new_tokens: int
    temperatures: Sequence[float]
    seed: int
    weights: Mapping[str, float]
    vocab_size: int | None = None
    shares: Sequence[float] = ()
    top_k: int = 0

    @property
    def temperature_shares(self) -> Sequence[float]:
        """A share for each temperature, equal ones where none are given."""
        return self.shares or [1.0] * len(self.temperatures)


@dataclass
class _Log:
    """The file, open for appending, and what stands in it."""

    file: BinaryIO
    kept: _Kept | None = None
    statuses: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    #: The newest batch and the prompts of it that are there.
    batch: int = 0
    answered: set[str] = field(default_factory=set)
    closed: bool = False

    def take(self, line: dict[str, Any]) -> None:
        """Count one line that stands in the file."""
        self.closed = "asked" in line
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

    def write(self, line: dict[str, Any], sparse: SparseRows | None = None) -> None:
        """Append one line and count it; what is kept of its tokens first, since a line stands for it."""
        if self.kept is not None and sparse is not None:
            self.kept.append(sparse)
        self.file.write(json.dumps(line).encode() + b"\n")
        self.take(line)

    @property
    def account(self) -> dict[str, Any]:
        """The closing line."""
        counts = {status: self.statuses[status] for status in (OK, ERROR, SKIPPED)}
        return {"asked": sum(counts.values()), **counts, "reasons": dict(self.reasons), "tokens": self.tokens}


class _Kept:
    """``probabilities.bin``, open for appending: one record for each token that the target wrote."""

    def __init__(self, file: BinaryIO, plan: Plan) -> None:
        assert plan.vocab_size is not None
        self._file, self._ids = file, token_dtype(plan.vocab_size)
        self._width = record_type(plan.top_k, self._ids).itemsize

    @property
    def tokens(self) -> int:
        """Whole records that are there."""
        return self._file.seek(0, 2) // self._width

    def append(self, rows: SparseRows) -> None:
        """Add the records of one sequence; on the disk before its line is."""
        self._file.write(to_records(rows, self._ids).tobytes())
        self._file.flush()

    def cut(self, tokens: int) -> None:
        """Cut the file to this many records."""
        self._file.truncate(tokens * self._width)


def probabilities_file(path: Path) -> Path:
    """The file beside ``path``, the sequences, that holds the distributions of their tokens."""
    return path.with_name("probabilities.bin")


def synthesize(
    path: Path,
    plan: Plan,
    write: Writer,
    kinds: Mapping[str, Prompts],
    stops: Collection[int],
    header: Mapping[str, Any],
    workers: Workers = Workers(),  # noqa: B008 - frozen
) -> Generator[Event, None, None]:
    """Append to ``path`` until ``plan.tokens`` tokens are there and the account is closed. ``stops`` end a text.

    ``plan.top_k`` must be the one that the file was begun with. All ``workers`` call this with the same; events are the first one's.

    Raises:
        FastdraftError: the file was begun otherwise, nothing comes of the prompts, or memory is too small for a batch.
    """
    turns, names, heat = Shares(list(plan.weights.values())), list(plan.weights), _Heat(plan)
    with contextlib.ExitStack() as stack:
        keeper = _Keeper(path, plan, header, stack) if workers.rank == 0 else None
        while True:
            first, problem = workers.gather(keeper.next_batch() if keeper else None)[0]
            if problem:
                raise FastdraftError(problem)
            if first is None:
                return
            number = first + workers.rank
            kind, before = turns.at(number)
            answers = _answered(write, plan, kinds[names[kind]], before, heat, number, stops)
            found = workers.gather(answers)
            if problem := next((problem for _, problem in found if problem), ""):
                raise FastdraftError(problem)
            if keeper is not None:
                of_kinds = [names[turns.at(first + n)[0]] for n in range(workers.count)]
                yield keeper.take(first, of_kinds, [lines for lines, _ in found])


_Answers = list[tuple[dict[str, Any], SparseRows | None]]


def _answered(
    write: Writer, plan: Plan, prompts: Prompts, before: int, heat: _Heat, number: int, stops: Collection[int]
) -> tuple[_Answers, str]:
    """The lines of one batch, or the problem in words: the other processes must hear of it."""
    try:
        with memory_for(
            f"{plan.batch_size} sequences at once",
            "Lower synthesis.batch_size and run again; what is written is kept only for the same settings.",
        ):
            asked = prompts.batch(before, plan.batch_size)
            return list(_answers(write, plan, asked, heat, number, stops)), ""
    except FastdraftError as error:
        return [], error.message


class _Keeper:
    """The first process's part: what stands in the file, and what is next."""

    def __init__(self, path: Path, plan: Plan, header: Mapping[str, Any], stack: contextlib.ExitStack) -> None:
        self._plan, self._problem, self._vain = plan, "", 0
        self._begin = time.perf_counter()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file, kept = stack.enter_context(path.open("ab+")), None
            if plan.top_k:
                kept = _Kept(stack.enter_context(probabilities_file(path).open("ab")), plan)
            whole = {**header, "sampling": _sampling(plan), **({"top_k": plan.top_k} if plan.top_k else {})}
            self._log = _opened(file, path, whole, kept)
        except FastdraftError as error:
            self._problem = error.message
        else:
            self._already = self._log.tokens

    def next_batch(self) -> tuple[int | None, str]:
        """The number of the next batch, or None where all is there and the account is closed; and why nothing more will come."""
        if self._problem:
            return None, self._problem
        log, plan = self._log, self._plan
        # The newest batch may be there in part.
        if log.tokens < plan.tokens or 0 < len(log.answered) < plan.batch_size:
            return log.batch + (len(log.answered) == plan.batch_size), ""
        if not log.closed:
            log.write(log.account)
        return None, ""

    def take(self, first: int, kinds: Sequence[str], batches: Sequence[_Answers]) -> Synthesized:
        """Append the batches from number ``first`` on, of these ``kinds``, as far as they are needed."""
        log = self._log
        for number, (kind, lines) in enumerate(zip(kinds, batches, strict=True), first):
            if number > first and (log.tokens >= self._plan.tokens or self._problem):
                break
            written = log.statuses[OK]
            for line, sparse in lines:
                if number != log.batch or line["id"] not in log.answered:
                    log.write(line, sparse)
            log.file.flush()
            self._vain = 0 if log.statuses[OK] > written else self._vain + 1
            if self._vain == _VAIN_BATCHES:
                self._problem = _nothing_comes(kind, log.reasons)
        return Synthesized(
            sequences=log.statuses[OK],
            tokens=log.tokens,
            total_tokens=self._plan.tokens,
            tokens_per_second=(log.tokens - self._already) / (time.perf_counter() - self._begin),
            errors=log.statuses[ERROR],
            skipped=log.statuses[SKIPPED],
        )


def begun_with(path: Path) -> dict[str, Any]:
    """The header of a file that was begun; empty where there is none, or a torn one."""
    with contextlib.suppress(FileNotFoundError, ValueError), path.open("rb") as file:
        found: dict[str, Any] = json.loads(file.readline())
        return found
    return {}


def is_complete(path: Path, tokens: int) -> bool:
    """Whether the account is closed and at least ``tokens`` are there, so that nothing is left to write."""
    try:
        with path.open("rb") as file:
            *_, last = file
        line = json.loads(last)
    except (OSError, ValueError):
        return False
    return "asked" in line and line["tokens"] >= tokens


def sequence_rows(path: Path, tokens: int | None = None) -> Iterator[tuple[list[int], list[int]]]:
    """Ids and loss mask of every sequence: only what the target wrote counts.

    Of a file that holds more than ``tokens`` written ones, the sequences up to the end of the batch that reached them: what
    it would hold if no more had been asked for.
    """
    written, batch = 0, None
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if "status" not in row:
                continue
            if tokens is not None and written >= tokens and row["batch"] != batch:
                return
            batch = row["batch"]
            if row["status"] == OK:
                written += len(row["ids"]) - row["prefix"]
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
) -> Iterator[tuple[dict[str, Any], SparseRows | None]]:
    """A line for each of ``prompts``, in their order, and what is kept of its tokens."""
    asked = [(prompt, heat.of(number * plan.batch_size + n)) for n, prompt in enumerate(prompts)]
    going = [(prompt, temperature) for prompt, temperature in asked if not prompt.skipped]
    seed = int(np.random.default_rng([plan.seed, number, 1]).integers(1 << 62))
    written = Written([], [])
    if going:
        temperatures = np.array([temperature for _, temperature in going])
        prompted = [prompt.ids for prompt, _ in going]
        written = write(Batch(prompted, temperatures, plan.new_tokens, stops, seed, plan.vocab_size, plan.top_k))
    kept = written.sparse or repeat(None, len(going))
    answers = iter(zip(written.rows, kept, strict=True))
    for prompt, temperature in asked:
        line = {"id": prompt.id, "batch": number}
        if prompt.skipped:
            yield {**line, "status": SKIPPED, "reason": prompt.skipped}, None
            continue
        row, sparse = next(answers)
        if row is None:
            yield {**line, "status": ERROR, "reason": "logits that are no numbers"}, None
        else:
            answer = {"prefix": len(prompt.ids), "temperature": temperature, "ids": row}
            yield {**line, "status": OK, **answer}, sparse


def _opened(file: BinaryIO, path: Path, header: dict[str, Any], kept: _Kept | None) -> _Log:
    """What stands in the file, its torn last line cut off; a new one gets its header.

    A line whose tokens' distributions are not all there is cut off as well, and what has no line after that.
    """
    log, whole, there = _Log(file, kept), 0, kept.tokens if kept else 0
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
        if kept and line.get("status") == OK and log.tokens + len(line["ids"]) - line["prefix"] > there:
            break
        log.take(line)
        whole += len(text)
    file.truncate(whole)
    if kept:
        kept.cut(log.tokens)
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
