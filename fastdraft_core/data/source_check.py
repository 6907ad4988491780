"""A short look into a source: can it be read, and is there something to train on and something to hold out?"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import msgspec

from fastdraft_core.data.documents import Document, Filter
from fastdraft_core.data.files import ROWS, list_files
from fastdraft_core.data.instructions import instruction_files, read_instructions
from fastdraft_core.data.sources import listed_documents
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Glanced
from fastdraft_core.text_sources import TextSource

#: One document in so many is held out where a source is too small for what it asks.
_SMALLER = (20, 10, 5, 3, 2)
_MOST_DOCUMENTS = 1000
_MOST_FILES = 200
_SHOWN_CHARS = 400


def glance(name: str, source: TextSource, *, instructions: bool = False) -> Glanced:
    """Read the first row of every file, and documents until both sides of the split have one.

    With ``instructions`` the rows are requests of the known forms.

    Raises:
        FastdraftError: something cannot be read, or there are too few documents for two sides.
    """
    files = _files(source, instructions)
    of_rows = [file for file in files if instructions or file.name.lower().endswith(ROWS)]
    for file in of_rows[:_MOST_FILES]:
        next(_read(name, msgspec.structs.replace(source, path=str(file)), instructions), None)
    keep = Filter(min_chars=source.min_chars, deduplicate=source.deduplicate)
    found, sides = list[Document](), set[bool]()
    for document in islice(keep(_read(name, source, instructions)), _MOST_DOCUMENTS):
        found.append(document)
        sides.add(document.is_held_out(source.held_out))
        if len(sides) == 2:
            break
    return Glanced(
        source=name,
        files=len(files) if source.path is not None else None,
        first=found[0].text.strip()[:_SHOWN_CHARS] if found else "",
        held_out=_held_out(name, found, source.held_out),
    )


def _files(source: TextSource, instructions: bool) -> list[Path]:
    if source.path is None:
        return []
    return list_files(Path(source.path), instruction_files(source) if instructions else source.extensions)


def _read(name: str, source: TextSource, instructions: bool) -> Iterator[Document]:
    return read_instructions(source) if instructions else listed_documents(name, source)


def _held_out(name: str, found: list[Document], wanted: int) -> int:
    """The largest share that leaves a document on both sides."""
    for modulus in (wanted, *(smaller for smaller in _SMALLER if smaller < wanted)):
        if len({document.is_held_out(modulus) for document in found}) == 2:
            return modulus
    raise FastdraftError(
        f"Source {name!r} has {f'{len(found)} documents' if len(found) != 1 else '1 document'} with text, too few to train "
        "on some and to hold out one for evaluation. Add documents, or take a file or folder with more."
    )
