"""Documents of a Hugging Face data set, streamed: nothing but what is read comes over the network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastdraft_core.data.documents import Document, row_document
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


def hub_documents(source: TextSource) -> Iterator[Document]:
    """The text of every row of the split, in its order.

    Raises:
        FastdraftError: the data set cannot be reached, or its rows hold no text in ``source.column``.
    """
    for where, row in hub_rows(source):
        yield row_document(text_of(row, source.column, where))


def hub_rows(source: TextSource) -> Iterator[tuple[str, Any]]:
    """Every row of the split, in its order, and where it stands; nothing of the data set runs as code.

    Raises:
        FastdraftError: the data set cannot be reached.
    """
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
        for row in rows:
            yield f"A row of {source.hub}", row
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise FastdraftError(
            f"The data set {source.hub} cannot be read from the hub ({reason}). Check the network and the id, config and "
            "split, or download it and name its folder by path."
        ) from error
