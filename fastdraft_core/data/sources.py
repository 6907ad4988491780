"""Where documents come from: files, the hub, or the built-in corpus that every installation holds.

Of the built-in sources, ``code`` is the source of the Python standard library. ``text`` is ``pydoc_data.topics`` and the
docstrings of the standard library and of fastdraft's installed dependencies. Nothing is copied
into the project; the corpus is read from the machine that trains.
"""

from __future__ import annotations

import ast
import gc
import importlib.metadata
import inspect
import re
import sysconfig
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache, partial
from itertools import islice
from pathlib import Path

from fastdraft_core.data.documents import Document, Filter, Position, Segment, shuffled
from fastdraft_core.data.files import file_segments
from fastdraft_core.data.hub import hub_documents
from fastdraft_core.errors import FastdraftError
from fastdraft_core.text_sources import TextSource

#: Packages whose docstrings (and those of everything they require) are the English text.
DOCSTRING_ROOTS = (
    "torch",
    "transformers",
    "openvino",
    "optimum-intel",
    "nncf",
    "accelerate",
    "datasets",
    "textual",
    "textual-plotext",
    "psutil",
    "msgspec",
    "platformdirs",
    "typer",
)
#: Folders of the standard library that are tables, tests or somebody else's package.
_SKIPPED_FOLDERS = {"test", "tests", "idle_test", "encodings", "pydoc_data", "site-packages", "__pycache__"}
_MIN_DOCSTRING_CHARS = 80
_HOLDERS = (ast.stmt, ast.excepthandler, ast.match_case)


def read_documents(
    name: str, source: TextSource | None = None, start: Position = (), *, held_out: bool | None = None
) -> Iterator[Document]:
    """Every document of ``source``, or of the built-in source ``name`` where that is None, in one order for ever.

    The order mixes what lies side by side. ``start`` is a position that a document told, behind which to go on. Where one
    side alone is wanted (``held_out``), what is known to hold nothing of it is not read; other documents still come.

    Raises:
        FastdraftError: ``name`` is not known, or something cannot be read.
    """
    if source is not None and source.path is None:
        return hub_documents(source, start)
    modulus = (source or TextSource()).held_out
    return _read_on(shuffled(_segments(name, source)), start, modulus, held_out)


def listed_documents(name: str, source: TextSource | None = None) -> Iterator[Document]:
    """Every document of a source as its files lie there, by name.

    Raises:
        FastdraftError: as ``read_documents``.
    """
    if source is not None and source.path is None:
        return hub_documents(source)
    return (document for segment in _segments(name, source) for document in segment.read(0))


def _segments(name: str, source: TextSource | None) -> Iterable[Segment]:
    if source is not None:
        return file_segments(Path(str(source.path)), source.column, source.extensions)
    if name not in _SOURCES:
        raise FastdraftError(
            f"Unknown data source {name!r}. Use one of {', '.join(_SOURCES)}, or describe it under [sources.{name}]."
        )
    return _SOURCES[name]()


def _read_on(segments: list[Segment], start: Position, modulus: int, held_out: bool | None) -> Iterator[Document]:
    """The documents behind ``start``, which is the number of a segment and how many documents of it were given."""
    begun, given = start or (0, 0)
    for number, segment in enumerate(islice(segments, begun, None), begun):
        skip = given if number == begun else 0
        if held_out in (None, Document(segment.file, "").is_held_out(modulus)) or not segment.file:
            for count, document in enumerate(segment.read(skip), skip + 1):
                yield replace(document, position=(number, count))


def documents(name: str, source: TextSource | None = None, *, held_out: bool) -> Iterator[Document]:
    """The documents of ``source``, filtered, on one side of the held-out split.

    Raises:
        FastdraftError: ``name`` is not known, or something cannot be read.
    """
    settings = source or TextSource()
    kept = Filter(min_chars=settings.min_chars, deduplicate=settings.deduplicate)
    for document in kept(read_documents(name, source)):
        if document.is_held_out(settings.held_out) == held_out:
            yield document


def _code() -> Iterator[Segment]:
    for name, path in _standard_library_files():
        yield _segment(name, partial(_code_documents, name, path))


def _text() -> Iterator[Segment]:
    from pydoc_data.topics import topics

    for topic, text in topics.items():
        name = f"pydoc_data.topics:{topic}"
        yield _segment(name, partial(list, [Document(name, text.strip())]))
    for name, path in (*_standard_library_files(), *_dependency_files(DOCSTRING_ROOTS)):
        yield _segment(name, partial(_docstrings, name, path))


def _segment(file: str, read: Callable[[], list[Document]]) -> Segment:
    """One file."""
    return Segment(file, lambda skip: islice(read(), skip, None), file)


_SOURCES: dict[str, Callable[[], Iterable[Segment]]] = {"code": _code, "text": _text}


def _code_documents(name: str, path: Path) -> list[Document]:
    text = _read(path)
    return [Document(name, text)] if text.strip() else []


@cache
def _standard_library_files() -> tuple[tuple[str, Path], ...]:
    root = Path(sysconfig.get_paths()["stdlib"])
    named = ((path.relative_to(root), path) for path in sorted(root.rglob("*.py")))
    return tuple((name.as_posix(), path) for name, path in named if not _SKIPPED_FOLDERS.intersection(name.parts))


@cache
def _dependency_files(roots: tuple[str, ...]) -> tuple[tuple[str, Path], ...]:
    """Python files of the named distributions and, transitively, of what they require; listed once a process."""
    return tuple(_find_dependency_files(roots))


def _find_dependency_files(roots: Iterable[str]) -> Iterator[tuple[str, Path]]:
    pending, done = sorted(roots), set[str]()
    while pending:
        name = re.sub(r"[-_.]+", "-", pending.pop(0)).lower()
        if name in done:
            continue
        done.add(name)
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        for requirement in distribution.requires or ():
            if "extra ==" not in requirement:
                match = re.match(r"[A-Za-z0-9._-]+", requirement)
                pending.extend([match.group()] if match else [])
        for file in sorted(distribution.files or (), key=str):
            if file.suffix == ".py" and not _SKIPPED_FOLDERS.intersection(file.parts):
                yield file.as_posix(), Path(str(file.locate()))


def _docstrings(name: str, path: Path) -> list[Document]:
    collecting = gc.isenabled()
    # A tree is very many objects and no cycle; to look for cycles among them takes a third of the time of parsing.
    gc.disable()
    try:
        return [Document(name, inspect.cleandoc(text).strip()) for text in _long_docstrings(_read(path))]
    finally:
        if collecting:
            gc.enable()


def _long_docstrings(source: str) -> Iterator[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return
    for node in _statements(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node, clean=False)
            if text and len(text) >= _MIN_DOCSTRING_CHARS:
                yield text


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """The nodes of ``ast.walk`` that are or hold statements, in its order: without all the expressions, in half its time."""
    todo = deque[ast.AST]([tree])
    while todo:
        node = todo.popleft()
        for field in node._fields:
            inside = getattr(node, field, None)
            if isinstance(inside, list):
                todo.extend(one for one in inside if isinstance(one, _HOLDERS))
        yield node


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="ignore")
    except OSError:
        return ""
