"""Instructions from the files of known sets: what a person asks, without anybody's answer.

Forms, told apart row by row: Alpaca (instruction, input), Dolly (instruction, context), Evol-Instruct (instruction, or
conversations of human and gpt), OIG (text with ``<human>:`` and ``<bot>:``), and rows with a ready prompt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastdraft_core.data.documents import Document, row_document
from fastdraft_core.data.files import file_rows
from fastdraft_core.data.hub import hub_rows
from fastdraft_core.errors import FastdraftError
from fastdraft_core.text_sources import TextSource

_FILES = [".jsonl", ".jsonl.gz", ".json", ".parquet"]
_OIG = re.compile(r"<human>:(.*?)(?:<bot>:|\Z)", re.DOTALL)


def read_instructions(source: TextSource) -> Iterator[Document]:
    """The first request of every row; a row without one, such as a conversation that only the model leads, is passed over.

    Raises:
        FastdraftError: a file cannot be read, or a row has none of the known forms; the message says where.
    """
    for where, row in _rows(source):
        text = instruction(row, source.field)
        if text is None:
            has = ", ".join(map(str, row)) if isinstance(row, dict) and row else "no fields"
            raise FastdraftError(
                f"{where} is no instruction of a known form (Alpaca, Dolly, Evol-Instruct, OIG or prompt); it has {has}. Name "
                "the column that holds the instruction by field under [sources]."
            )
        if text.strip():
            yield row_document(text.strip())


def instruction(row: Any, field: str | None = None) -> str | None:
    """What the person asks in ``row``: nothing in a conversation without a person; None where the form is not known.

    ``field`` is the column of an unknown set. A form that is known goes before it, unless that form is a bare ``prompt``.
    """
    if not isinstance(row, dict):
        return None
    for key in ("conversations", "messages", "prompt"):
        if isinstance(row.get(key), list | tuple):
            return _first_turn(row[key])
    if isinstance(text := row.get("instruction"), str):
        given = next((row[key] for key in ("input", "context") if isinstance(row.get(key), str)), "")
        return f"{text}\n\n{given}" if given.strip() else text
    if isinstance(text := row.get(field or "text"), str):
        if match := _OIG.search(text):
            return match[1]
        if field is not None:
            return text
    return row["prompt"] if isinstance(row.get("prompt"), str) else None


def _first_turn(turns: Any) -> str | None:
    """The first request of a conversation, in either of the two usual ways to write one; empty where nobody asks."""
    for turn in turns:
        if not isinstance(turn, dict):
            return None
        if turn.get("from", turn.get("role")) in ("human", "user"):
            return _words(turn.get("value", turn.get("content")))
    return ""


def _words(content: Any) -> str | None:
    """The text of a turn, which may be in parts; parts that are no text, such as pictures, are left out."""
    if isinstance(content, list | tuple):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return "\n".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else None


def instruction_files(source: TextSource) -> list[str]:
    """The endings of the files that a source on this machine is read from."""
    return source.extensions or _FILES


def _rows(source: TextSource) -> Iterator[tuple[str, Any]]:
    if source.path is None:
        return hub_rows(source)
    return file_rows(Path(source.path), instruction_files(source))
