"""A draft vocabulary: the ids that a draft's head scores (FR-Spec, arXiv 2502.14856).

The last product of a small draft over a large vocabulary is most of its work, and nearly all text is made of a few
thousand tokens. A draft with a draft vocabulary reads every id and scores only those in its list; it gives all others a
probability of exactly 0. The verdict on its tokens stays as it is, and so does the distribution of the output: where the
draft offers nothing, the residual max(p - q, 0) is the target's own p.

The list is kept as ``draft_vocab.json`` in the draft's folder.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.catalog import ModelName

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

#: The name of the list in a model's folder.
DRAFT_VOCAB_FILE = "draft_vocab.json"


class DraftVocab(msgspec.Struct, frozen=True, kw_only=True):
    """The scored ``ids``, the most used first, of ``vocab_size`` that there are.

    They cover the share ``coverage`` of the ``tokens`` that were counted, which are of ``counted``, such as "the target's
    own text".
    """

    ids: list[int]
    vocab_size: int
    counted: str
    tokens: int
    coverage: float

    def __str__(self) -> str:
        """The size of the list, and what it covers."""
        return (
            f"{len(self.ids):,} of {self.vocab_size:,} ids, which are {self.coverage:.1%} of {self.tokens:,} tokens of "
            f"{self.counted}"
        )


def count_draft_vocab(
    counts: npt.NDArray[np.number], size: int, always: Collection[int], *, counted: str, tokens: int
) -> DraftVocab:
    """The ``size`` most used ids by ``counts`` [V], the lower id first among equals; the ids of ``always`` are in it.

    Raises:
        FastdraftError: ``size`` is not between the number of ``always`` and V.
    """
    order = (-counts).argsort(kind="stable").tolist()
    ids = _with_always(order, size, always, "model.draft_vocab")
    whole = float(counts.sum())
    coverage = float(counts[ids].sum()) / whole if whole else 0.0
    return DraftVocab(ids=ids, vocab_size=len(counts), counted=counted, tokens=tokens, coverage=coverage)


def _with_always(order: Sequence[int], size: int, always: Collection[int], setting: str) -> list[int]:
    """The first ``size`` ids of ``order``; the last ones make way for those of ``always`` that are not among them."""
    if not len(always) < size < len(order):
        raise FastdraftError(
            f"{setting} is {size}, and the vocabulary has {len(order):,} ids: give fewer than that and more than "
            f"{len(always)}, or leave it out."
        )
    missing = sorted(set(always) - set(order[:size]))
    kept = list(order[:size])
    for at in range(size - 1, -1, -1):
        if not missing:
            break
        if kept[at] not in always:
            kept[at] = missing.pop()
    return kept


def head_ids(folder: Path, name: ModelName, known_ids: int, stops: Collection[int]) -> list[int] | None:
    """The ids that the head of the draft in ``folder`` scores, ascending, where it is loaded as ``name``; None for all.

    With ``@vocab=N`` they are the N ids that come first in the draft's own list, by use, or where it has none the N lowest
    ids: a byte-pair vocabulary numbers its tokens in the order in which they were merged, the commonest first. ``stops`` are
    among them.

    Raises:
        FastdraftError: the draft's list is damaged, or N is more than the draft can score.
    """
    vocab = read_draft_vocab(folder)
    if name.draft_vocab is None:
        return sorted(vocab.ids) if vocab is not None else None
    if vocab is not None and name.draft_vocab > len(vocab.ids):
        raise FastdraftError(
            f"{name.base} was trained to score {len(vocab.ids):,} ids, so {name} asks too much. Give at most that, or leave "
            "@vocab out."
        )
    order = list(range(known_ids)) if vocab is None else vocab.ids
    if vocab is not None and name.draft_vocab == len(order):
        return sorted(order)
    return sorted(_with_always(order, name.draft_vocab, set(stops) & set(order), f"@vocab of {name.base}"))


def write_draft_vocab(folder: Path, vocab: DraftVocab) -> None:
    """Keep the list in a model's folder.

    Raises:
        OSError: the folder cannot be written.
    """
    # Renamed when it is whole, with the permissions of any file: it is given away with the model.
    building = folder / f"{DRAFT_VOCAB_FILE}.building"
    building.write_bytes(msgspec.json.encode(vocab))
    building.replace(folder / DRAFT_VOCAB_FILE)


def read_draft_vocab(folder: Path) -> DraftVocab | None:
    """The list of the model in ``folder``; None where its head scores every id.

    Raises:
        FastdraftError: the file is damaged.
    """
    path = folder / DRAFT_VOCAB_FILE
    try:
        vocab = msgspec.json.decode(path.read_bytes(), type=DraftVocab)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise FastdraftError(f"{path} cannot be read ({error}). Copy or download the draft again.") from error
    found = set(vocab.ids)
    if len(found) != len(vocab.ids) or not found or not found <= set(range(vocab.vocab_size)):
        raise FastdraftError(
            f"{path} is damaged: its ids are not {len(vocab.ids)} different ones of {vocab.vocab_size}. Copy or download the "
            "draft again."
        )
    return vocab
