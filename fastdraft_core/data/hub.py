"""Documents of a Hugging Face data set, streamed: nothing but what is read comes over the network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastdraft_core.data.documents import Document, Position, row_document
from fastdraft_core.data.files import text_of
from fastdraft_core.errors import FastdraftError
from fastdraft_core.text_sources import TextSource

#: The Stack v2 cannot be streamed as text; this says why and what to do.
STACK_V2 = (
    "The Stack v2 holds Software Heritage ids, not text. Accept its terms on the hub, fetch each row's blob_id from "
    "Software Heritage's bucket (s3://softwareheritage/content/BLOB_ID, gzip, decoded by src_encoding), write rows such as "
    '{"text": "…"} to .jsonl files, and name their folder by path. Any other folder of code does as well.'
)


def refuse_ids(source: TextSource) -> None:
    """Refuse a data set that is known to hold no text.

    Raises:
        FastdraftError: it is one; the message says what to do.
    """
    if str(source.hub).lower().startswith("bigcode/the-stack-v2"):
        raise FastdraftError(STACK_V2)


#: Pieces of neighbouring row groups that a file is read in: what was read before in a piece is read again where a stream goes on.
_PIECES = 16


def hub_documents(source: TextSource, start: Position = ()) -> Iterator[Document]:
    """The text of every row of the split behind ``start``, from all its files in turn.

    Raises:
        FastdraftError: the data set cannot be reached, or its rows hold no text in ``source.column``.
    """
    for position, row in _rows(source, start):
        yield row_document(text_of(row, source.column, _where(source)), position)


def hub_rows(source: TextSource) -> Iterator[tuple[str, Any]]:
    """Every row of the split and where it stands, from all its files in turn; nothing of the data set runs as code.

    Raises:
        FastdraftError: the data set cannot be reached.
    """
    for _, row in _rows(source, ()):
        yield _where(source), row


def _where(source: TextSource) -> str:
    return f"A row of {source.hub}"


def _rows(source: TextSource, start: Position) -> Iterator[tuple[Position, Any]]:
    """Every row behind ``start``, and the position behind it."""
    import datasets

    assert source.hub is not None
    refuse_ids(source)
    try:
        rows = datasets.load_dataset(
            source.hub,
            source.config,
            data_files=source.files or None,
            split=source.split,
            revision=source.revision,
            streaming=True,
        )
        yield from _rows_behind(rows, *(start or (0, 0, 0)))
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise FastdraftError(
            f"The data set {source.hub} cannot be read from the hub ({reason}). Check the network and the id, config and "
            "split, or download it and name its folder by path."
        ) from error


def _rows_behind(rows: Any, turn: int, file: int, read: int) -> Iterator[tuple[Position, Any]]:
    """The rows of a streamed data set from a place on; row groups before it are not touched.

    In each turn every file gives one of its pieces. Files and pieces come in an order that is drawn once for ever, so that a
    beginning is a sample of the whole.
    """
    files = rows.num_shards
    order = np.random.default_rng(files).permutation(files).tolist()
    for number in range(turn, _PIECES):
        for place in range(file, files):
            # A file that has row groups becomes one shard for each of them; the footer alone is read for that.
            groups = rows.shard(num_shards=files, index=order[place]).reshard()
            pieces = min(_PIECES, groups.num_shards)
            if number < pieces:
                piece = int(np.random.default_rng([files, order[place]]).permutation(pieces)[number])
                for count, row in enumerate(groups.shard(num_shards=pieces, index=piece), 1):
                    if count > read:
                        yield (number, place, count), row
            read = 0
        file = 0
