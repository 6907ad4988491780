"""The draft vocabulary of a job: chosen once, by the tokens of what the draft is to continue, and kept in the job's folder."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fastdraft_core.data.shards import Shard
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Event, Progress
from fastdraft_core.models.draft_vocab import DraftVocab, count_draft_vocab, read_draft_vocab, write_draft_vocab
from fastdraft_core.training.folders import last_checkpoint
from fastdraft_core.training.recipe import TARGET_SOURCE, Recipe

#: Opens the training shard of a source, made first where it is absent.
OpenShard = Callable[[str], Generator[Event, None, Shard]]


def job_draft_vocab(
    recipe: Recipe, folder: Path, open_shard: OpenShard, vocab_size: int, stops: frozenset[int]
) -> Generator[Event, None, DraftVocab | None]:
    """Returns the draft vocabulary of the job in ``folder``; None where its recipe has none.

    By the target's own text where a stage trains on it, prompts left out, else by the sources of the last stage, each by its
    share. The ``stops`` are always in it. A job that has a checkpoint keeps what it was begun with.

    Raises:
        FastdraftError: the recipe asks for more ids than there are, or the job's list is gone.
    """
    size = recipe.model.draft_vocab
    if size is None:
        return None
    if any(last_checkpoint(folder, stage) is not None for stage in recipe.stages):
        vocab = read_draft_vocab(folder)
        if vocab is None:
            raise FastdraftError(
                f"{folder} has checkpoints and no draft_vocab.json, so which ids their heads score is not known. Copy it from "
                "a checkpoint's folder, or train in another job folder."
            )
        return vocab
    shares = _shares(recipe)
    counts, tokens = np.zeros(vocab_size), 0
    for source, share in shares.items():
        shard = yield from open_shard(source)
        found = _counts(shard, vocab_size)
        tokens += int(found.sum())
        counts += share * found / max(1, found.sum())
    told = "the target's own text" if list(shares) == [TARGET_SOURCE] else ", ".join(sorted(shares))
    vocab = count_draft_vocab(counts, size, stops, counted=told, tokens=tokens)
    folder.mkdir(parents=True, exist_ok=True)
    write_draft_vocab(folder, vocab)
    yield Progress(what=f"the draft vocabulary is {vocab}")
    return vocab


def _shares(recipe: Recipe) -> dict[str, float]:
    """The sources whose tokens are counted, and how much each weighs."""
    if any(stage.sources.get(TARGET_SOURCE) for stage in recipe.stages.values()):
        return {TARGET_SOURCE: 1.0}
    last = list(recipe.stages.values())[-1]
    return {source: weight for source, weight in last.sources.items() if weight > 0}


def _counts(shard: Shard, vocab_size: int) -> npt.NDArray[np.int64]:
    """How often each id [V] is in a shard; of what the target wrote, without its prompts."""
    tokens = shard.tokens if shard.mask is None else shard.tokens[shard.mask == 1]
    return np.bincount(tokens, minlength=vocab_size)
