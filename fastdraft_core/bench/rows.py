"""Rows of a data set: from a local file, or from the model hub through ``datasets``."""

from __future__ import annotations

import gzip
import itertools
import json
from pathlib import Path
from typing import Any

from fastdraft_core.errors import FastdraftError

Row = dict[str, Any]

#: Rows read of a data set on the hub, from its beginning: enough to choose prompts from.
_MOST_HUB_ROWS = 500
_LINES = (".jsonl", ".jsonl.gz")


def has_rows(path: Path) -> bool:
    """Whether a file's name says that it holds rows; any other file is one text."""
    return path.name.endswith((*_LINES, ".json"))


def read_text(path: Path) -> str:
    """The text of a file, unpacked if its name ends with ``.gz``.

    Raises:
        FastdraftError: it cannot be read as text.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        # Some editors put a byte order mark before the text; it is no part of it.
        return data.decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise FastdraftError(f"{path} cannot be read as text ({error}).") from error


def file_rows(path: Path) -> list[Row]:
    """Rows of a ``.jsonl`` (``.jsonl.gz``), or of a ``.json`` that holds a list. A bare string is the row ``{"text": …}``.

    Raises:
        FastdraftError: the file cannot be read, or holds something else; the message names the line.
    """
    text = read_text(path)
    if path.name.endswith(_LINES):
        # Not splitlines, which also ends a line at characters that a JSON string may hold, such as U+2028.
        lines = [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
        rows = [_row(_json(line, f"{path}, line {n}"), f"{path}, line {n}") for n, line in lines]
    else:
        items = _json(text, str(path))
        rows = [_row(item, f"{path}, row {n}") for n, item in enumerate(items, 1)] if isinstance(items, list) else []
    if not rows:
        raise FastdraftError(f"{path} holds no rows; give a file with one JSON object a line, or a list of them.")
    return rows


def hub_rows(dataset: str, config: str | None, split: str) -> list[Row]:
    """The first rows of a split of a data set on the hub; nothing of it runs as code.

    Raises:
        FastdraftError: it is not there or the hub cannot be reached.
    """
    import datasets

    try:
        stream = datasets.load_dataset(dataset, config, split=split, streaming=True)
        return [dict(row) for row in itertools.islice(stream, _MOST_HUB_ROWS)]
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise FastdraftError(
            f"The data set {dataset} cannot be read from the hub ({reason}). Check the network, or give a local file: "
            "--task NAME=FILE."
        ) from error


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FastdraftError(f"{where}: this is no JSON ({error}).") from error


def _row(item: Any, where: str) -> Row:
    if isinstance(item, str):
        return {"text": item}
    if not isinstance(item, dict):
        raise FastdraftError(f"{where}: there is neither a JSON object nor a text.")
    return item
