"""What a recipe says of a source of text. Nothing is read here, so that whoever edits recipes loads nothing."""

from __future__ import annotations

from typing import Annotated

import msgspec

#: Sources that every installation holds: the standard library's code, and docstrings as English text.
BUILT_IN = ("code", "text")

#: The source whose documents are what the recipe's target wrote.
TARGET_SOURCE = "target"

Doc = msgspec.Meta


class TextSource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[sources.NAME]``: documents from files of this machine (``path``) or from the hub (``hub``)."""

    path: Annotated[str | None, Doc(description="File or folder; relative to the recipe's own folder.")] = None
    hub: Annotated[str | None, Doc(description="Hugging Face data set id, streamed; only where path is absent.")] = None
    config: Annotated[str | None, Doc(description="The data set's configuration, such as sample-10BT.")] = None
    files: Annotated[
        list[str],
        Doc(description="Files of the data set on the hub to take, such as unified_chip2.jsonl; default: all."),
    ] = []
    split: Annotated[str, Doc(description="The data set's split.")] = "train"
    revision: Annotated[str | None, Doc(description="The data set's commit or tag; default: its newest.")] = None
    field: Annotated[
        str | None, Doc(description="Column that holds the text, or the instruction, for rows; default: text.")
    ] = None
    extensions: Annotated[
        list[str], Doc(description="Endings of the files to take, such as .py; default: text, code, jsonl, parquet.")
    ] = []
    min_chars: Annotated[int, Doc(description="Shorter documents are left out.", ge=1)] = 1
    deduplicate: Annotated[bool, Doc(description="Of documents with the very same text keep the first.")] = True
    special_tokens: Annotated[
        bool,
        Doc(description="Special tokens that stand in the text, such as <|eos|>, are read as such; default: as text."),
    ] = False
    license: Annotated[
        str | None, Doc(description="The data's licence by the hub's name, for the card of what is trained on it.")
    ] = None
    held_out: Annotated[int, Doc(description="One document in this many is kept for evaluation.", ge=2)] = 40
    tokens: Annotated[int | str | None, Doc(description="Stop after about so many training tokens.")] = None

    @property
    def column(self) -> str:
        """The column that holds a document's text."""
        return self.field or "text"

    def problem(self) -> str | None:
        """What is wrong with the section as a whole, as the end of a sentence; None if nothing."""
        if (self.path is None) == (self.hub is None):
            return "needs either path (files of this machine) or hub (a Hugging Face data set id)"
        if self.path is not None and (self.config or self.revision or self.files):
            return "has config, revision or files, which belong to hub and not to path"
        if self.hub is not None and self.extensions:
            return "has extensions, which belong to path and not to hub"
        return None
