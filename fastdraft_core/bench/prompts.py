"""Prompts to measure with: the bundled ones by task, or lines of a file."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from fastdraft_core import places
from fastdraft_core.bench.rows import file_rows, has_rows, read_text
from fastdraft_core.errors import FastdraftError
from fastdraft_core.runtimes.prompt_ids import refuse_surrogates


@dataclass(frozen=True, slots=True)
class Prompt:
    """A text to continue and the task it belongs to."""

    task: str
    name: str
    text: str


def bundled_prompts(task: str | None = None) -> list[Prompt]:
    """The project's own prompts, all or those of one task (``code`` or ``text``).

    Raises:
        FastdraftError: there is no such task.
    """
    data = tomllib.loads((places.assets() / "demo" / "prompts.toml").read_text(encoding="utf-8"))
    prompts = [Prompt(**entry) for entry in data["prompt"]]
    chosen = [p for p in prompts if task in (None, p.task)]
    if not chosen:
        raise FastdraftError(f"There is no task {task!r}; bundled: {', '.join(sorted({p.task for p in prompts}))}.")
    return chosen


def file_prompts(path: Path, field: str = "prompt") -> list[Prompt]:
    """Prompts of a file: every row of a ``.jsonl`` or ``.json`` (its ``field``), or any other file as one prompt.

    Raises:
        FastdraftError: the file cannot be read, a row lacks the field, or there is nothing to continue.
    """
    task = path.name.partition(".")[0]
    if not has_rows(path):
        return [Prompt(task, path.name, not_empty(read_text(path), f"The prompt of {path}"))]
    prompts = []
    for number, row in enumerate(file_rows(path), 1):
        if field not in row:
            raise FastdraftError(f"{path}, row {number}: there is no JSON object with the field {field!r}.")
        text = not_empty(str(row[field]), f"The prompt of {path}, row {number},")
        prompts.append(Prompt(task, f"{path.name}:{number}", text))
    return prompts


def not_empty(text: str, what: str) -> str:
    """``text``; white space alone would be measured as if it were a prompt.

    Raises:
        FastdraftError: there is nothing else in it, or it is no Unicode; the sentence begins with ``what``.
    """
    if not text.strip():
        raise FastdraftError(f"{what} is empty; give some text to continue.")
    refuse_surrogates(text, what.rstrip(","))
    return text
