"""Documents of local files: text and code by extension, rows of jsonl and parquet. Memory stays constant.

A file of rows is several segments, so that a beginning of the shuffled segments is a sample of a single large file, too.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from fastdraft_core.data.documents import Document, Segment, row_document
from fastdraft_core.errors import FastdraftError

TEXT = (".txt", ".md", ".rst", ".tex")
# fmt: off
CODE = (
    ".py", ".c", ".h", ".cc", ".cpp", ".hpp", ".cu", ".java", ".js", ".jsx", ".ts", ".tsx", ".go", ".rs", ".rb",
    ".php", ".cs", ".swift", ".kt", ".scala", ".sh", ".sql", ".r", ".jl", ".lua", ".pl", ".hs", ".ml", ".ex", ".erl",
    ".clj", ".dart", ".html", ".css", ".m", ".f90", ".asm", ".vue", ".zig", ".nim", ".v", ".vhd",
)
# fmt: on
ROWS = (".jsonl", ".jsonl.gz", ".parquet")
#: A longer text is cut into documents of about this many characters, at the ends of paragraphs or lines.
PIECE_CHARS = 1 << 14
_PARQUET_ROWS = 256
#: A segment of a jsonl file, some 16 thousand tokens; of one above a gigabyte, its 16,384th part.
_SEGMENT_BYTES, _MOST_SEGMENTS = 1 << 16, 1 << 14
#: What may stand where a text is looked for.
_KINDS = {list: "a list", dict: "an object", int: "a number", float: "a number", bool: "a boolean", bytes: "bytes"}


def list_files(path: Path, extensions: list[str]) -> list[Path]:
    """The files of ``path`` to read, sorted; hidden ones and those of hidden folders are passed over.

    So is what has a name and no content of its own: a link whose file is gone, a named pipe, a socket.

    Raises:
        FastdraftError: there is no such path, or nothing in it has one of the endings.
    """
    endings = tuple(_dotted(e) for e in extensions) or (*TEXT, *CODE, *ROWS)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise FastdraftError(f"There is no file or folder {path}; check the path of the source in the recipe.")
    found = []
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        named = (Path(folder) / n for n in names if n.lower().endswith(endings) and not n.startswith("."))
        found += [file for file in named if file.is_file()]
    if not found:
        wanted = ", ".join(endings) if extensions else "text, code, .jsonl, .jsonl.gz or .parquet"
        raise FastdraftError(f"No file in {path} ends with {wanted}; set extensions under [sources] to take others.")
    return sorted(found)


def fingerprint(path: Path, extensions: list[str]) -> str:
    """Names, sizes and times of the files: another fingerprint means that shards must be built again."""
    root = path if path.is_dir() else path.parent
    listed = []
    for file in list_files(path, extensions):
        with _reading(file):
            seen = file.stat()
        listed.append((file.relative_to(root).as_posix(), seen.st_size, seen.st_mtime_ns))
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


def file_segments(path: Path, field: str, extensions: list[str]) -> Iterator[Segment]:
    """Every segment of a file or folder, in the order of the file names; ``field`` is the column of the rows' texts.

    Raises:
        FastdraftError: a file cannot be read; reading a segment raises it as well where a row has no text in ``field``.
            The message says where.
    """
    root = path if path.is_dir() else path.parent
    for file in list_files(path, extensions):
        name = file.relative_to(root).as_posix()
        ending = file.name.lower()
        if ending.endswith(".parquet"):
            for group in range(_row_groups(file)):
                yield Segment(f"{name}:{group}", partial(_group_documents, file, field, group))
        elif ending.endswith(".jsonl"):
            with _reading(file):
                size = file.stat().st_size
            step = max(_SEGMENT_BYTES, -(-size // _MOST_SEGMENTS))
            for start in range(0, size, step):
                yield Segment(f"{name}:{start}", partial(_line_documents, file, field, start, start + step))
        elif ending.endswith(ROWS):
            yield Segment(name, partial(_line_documents, file, field, 0, None))
        else:
            yield Segment(name, partial(_text_documents, file, name))


def _group_documents(file: Path, field: str, group: int, skip: int) -> Iterator[Document]:
    with _reading(file):
        for where, row in islice(_parquet_rows(file, field, group), skip, None):
            yield row_document(text_of(row, field, where))


def _line_documents(file: Path, field: str, start: int, stop: int | None, skip: int) -> Iterator[Document]:
    """The rows whose lines begin in ``[start, stop)``, behind the first ``skip``."""
    with _reading(file):
        for where, line in islice(_lines(file, start, stop), skip, None):
            yield row_document(text_of(_parsed(line, where), field, where))


def text_of(row: Any, field: str, where: object) -> str:
    """The text of a row; a missing one is empty, and no filter keeps it.

    Raises:
        FastdraftError: the row has no such field, or it holds no text; the message names those it has.
    """
    if isinstance(row, dict) and field in row:
        text = "" if row[field] is None else row[field]
        if isinstance(text, str):
            return text
        raise FastdraftError(
            f"{where} has no text in the field {field!r}, which holds {_KINDS.get(type(text), 'something else')}. Mend the row, or "
            "set field under [sources] to a column of texts."
        )
    has = ", ".join(map(str, row)) if isinstance(row, dict) and row else "no fields"
    raise FastdraftError(f"{where} has no text in the field {field!r}; it has {has}. Set field under [sources].")


def file_rows(path: Path, extensions: list[str]) -> Iterator[tuple[str, Any]]:
    """Every row of the jsonl, json and parquet files of a file or folder, and where it stands, as a sentence begins.

    Raises:
        FastdraftError: a file cannot be read; the message says where.
    """
    for file in list_files(path, extensions):
        with _reading(file):
            if file.suffix.lower() == ".parquet":
                yield from _parquet_rows(file)
            elif file.suffix.lower() == ".json":
                yield from _json_rows(file)
            else:
                yield from _jsonl_rows(file)


@contextlib.contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Around reading ``file``: what is wrong with it is one sentence."""
    try:
        yield
    # Half a gzip stream is an EOFError, a damaged one an error of zlib's own.
    except (OSError, EOFError, zlib.error) as error:
        raise FastdraftError(f"{file} cannot be read ({error}). Mend or remove it, and run again.") from error


def _json_rows(file: Path) -> Iterator[tuple[str, Any]]:
    """The members of a list; such a file is read as a whole."""
    try:
        rows = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise FastdraftError(f"{file} is no JSON ({error}). Rows one a line belong into a .jsonl file.") from error
    if not isinstance(rows, list):
        raise FastdraftError(f"{file} holds no list of rows. Write a list, or rows one a line in a .jsonl file.")
    for number, row in enumerate(rows, 1):
        yield f"{file}, row {number},", row


def _jsonl_rows(file: Path) -> Iterator[tuple[str, Any]]:
    for where, line in _lines(file, 0, None):
        yield str(where), _parsed(line, where)


@dataclass(frozen=True, slots=True)
class _Line:
    """Where a row stands; its number is counted where somebody asks for it."""

    file: Path
    offset: int

    def __str__(self) -> str:
        with _opened(self.file) as stream:
            number = 1 + stream.read(self.offset).count(b"\n")
        return f"{self.file}, line {number},"


def _opened(file: Path) -> Any:
    return gzip.open(file, "rb") if file.suffix.lower() == ".gz" else file.open("rb")


def _lines(file: Path, start: int, stop: int | None) -> Iterator[tuple[_Line, bytes]]:
    """The lines that hold something and begin in ``[start, stop)``, and where each stands."""
    with _opened(file) as stream:
        if start:
            # A line that begins before belongs to the segment before.
            stream.seek(start - 1)
            start += len(stream.readline()) - 1
        for line in stream:
            if stop is not None and start >= stop:
                return
            if line.strip():
                yield _Line(file, start), line
            start += len(line)


def _parsed(line: bytes, where: object) -> Any:
    try:
        return json.loads(line)
    # Lists inside lists by the thousand are JSON, and more than the parser takes.
    except (ValueError, RecursionError) as error:
        raise FastdraftError(f"{where} is no JSON ({error}).") from error


def _row_groups(file: Path) -> int:
    with _reading(file), _parquet(file) as table:
        return int(table.num_row_groups)


@contextlib.contextmanager
def _parquet(file: Path) -> Iterator[Any]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(file) as table:
            yield table
    except pyarrow.ArrowException as error:
        raise FastdraftError(f"{file} cannot be read as parquet ({error}). Mend or remove it.") from error


def _parquet_rows(file: Path, field: str | None = None, group: int | None = None) -> Iterator[tuple[str, Any]]:
    """Every row, or those of one ``group`` of rows; with the column ``field`` alone where that is named."""
    with _parquet(file) as table:
        names = table.schema_arrow.names
        if field is not None and field not in names:
            text_of(dict.fromkeys(names), field, str(file))
        groups, columns = None if group is None else [group], None if field is None else [field]
        for batch in table.iter_batches(_PARQUET_ROWS, row_groups=groups, columns=columns):
            for row in batch.to_pylist():
                yield str(file), row


def _text_documents(file: Path, name: str, skip: int) -> Iterator[Document]:
    """The text as one document, or as several where it is long, behind the first ``skip``; a file without text has none."""
    with _reading(file):
        yield from islice(_pieces(file, name), skip, None)


def _pieces(file: Path, name: str) -> Iterator[Document]:
    with file.open(encoding="utf-8-sig", errors="replace") as stream:
        rest, number = "", 0
        while True:
            read = stream.read(2 * PIECE_CHARS)
            rest += read
            if "\0" in read:
                return
            while len(rest) > 2 * PIECE_CHARS or (rest and not read):
                piece, rest = _cut(rest)
                if piece.strip():
                    yield Document(f"{name}:{number}" if number else name, piece)
                number += 1
            if not read:
                return


def _cut(text: str) -> tuple[str, str]:
    """A document from the beginning of ``text``, and what is left."""
    if len(text) <= 2 * PIECE_CHARS:
        return text, ""
    for mark in ("\n\n", "\n", " "):
        if (at := text.find(mark, PIECE_CHARS, 2 * PIECE_CHARS)) >= 0:
            return text[: at + len(mark)], text[at + len(mark) :]
    return text[:PIECE_CHARS], text[PIECE_CHARS:]


def _dotted(extension: str) -> str:
    return f".{extension.lower().lstrip('*').lstrip('.')}"
