"""A look at what a recipe would train on, before anything is spent: documents, their tokens, and what the target writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from fastdraft_core.data.corpus import Corpus
from fastdraft_core.data.documents import Document
from fastdraft_core.data.generation import Batch
from fastdraft_core.data.prompts import Magpie, Template
from fastdraft_core.data.tokenizer import backend
from fastdraft_core.data.tokenizing import plain
from fastdraft_core.data.writers import Writer, torch_writer
from fastdraft_core.engine.pair import stop_ids
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Previewed
from fastdraft_core.models.prompt_ids import text_ids
from fastdraft_core.training.recipe import TARGET_SOURCE, Recipe, Synthesis
from fastdraft_core.training.stages import recipe_corpus
from fastdraft_core.training.start import load_target, target_path, target_tokenizer
from fastdraft_core.training.synthetic import chat_template, prompt_limit

#: Documents that lie side by side are alike; of a source every so many are looked at.
_STRIDE = 25
_SHOWN_TOKENS = 160
_WRITTEN_TOKENS = 64


def preview(recipe: Recipe, sources: Sequence[str], count: int) -> Iterator[Previewed]:
    """``count`` samples of each of ``sources``, of which ``target`` is what the target writes by [synthesis].

    A source of instructions is shown as the target reads it, inside its chat template.

    Raises:
        FastdraftError: a source is unknown or empty, the recipe has no target, or the target cannot be had.
    """
    if recipe.target is None:
        raise FastdraftError("This recipe trains a target and its tokenizer, so there are no tokens to show yet.")
    tokenizer = target_tokenizer(recipe)
    corpus = recipe_corpus(recipe)
    for name in sources:
        if name == TARGET_SOURCE:
            yield from _written(recipe, corpus, tokenizer, count)
            continue
        if name in _only_instructions(recipe):
            yield from _instructions(corpus, name, Template(tokenizer), tokenizer, count)
            continue
        source = recipe.sources.get(name)
        encode = plain(backend(tokenizer), special_tokens=source is not None and source.special_tokens).encode
        for document in _documents(corpus, name, count):
            ids = encode(document.text).ids
            tokens = _pieces(tokenizer, ids[:_SHOWN_TOKENS])
            yield Previewed(source=name, document=document.file, num_tokens=len(ids), tokens=tokens)


def _only_instructions(recipe: Recipe) -> set[str]:
    """The sources that are sets of instructions, and documents to no stage."""
    section = recipe.synthesis
    if section is None:
        return set()
    documents = {name for stage in recipe.stages.values() for name in stage.sources}
    return set(section.instructions) - documents - set(section.sources)


def _instructions(corpus: Corpus, name: str, template: Template, tokenizer: Any, count: int) -> Iterator[Previewed]:
    for number, text in enumerate(corpus.instructions(name, held_out=False)[:count], 1):
        ids = template.encode(text)
        tokens = _pieces(tokenizer, ids[:_SHOWN_TOKENS])
        yield Previewed(source=name, document=f"instruction {number}", num_tokens=len(ids), tokens=tokens)


def _written(recipe: Recipe, corpus: Corpus, tokenizer: Any, count: int) -> Iterator[Previewed]:
    section = recipe.synthesis
    if section is None:
        raise FastdraftError("The recipe has no [synthesis], so the target writes nothing.")
    template, limit = chat_template(recipe, section, tokenizer), prompt_limit(recipe, section)
    stops = stop_ids(Path(target_path(recipe)), tokenizer, recipe.trust_remote_code)
    write = torch_writer(load_target(recipe))
    prompts = [
        (name, ids)
        for name, ids in _prompts(recipe, section, corpus, tokenizer, template, limit, write, stops, count)
        if 0 < len(ids) <= limit
    ]
    if not prompts:
        raise FastdraftError(
            f"There is no prompt to show: what [synthesis] gives to {recipe.target} is empty or longer than the {limit:,} tokens "
            "that its context leaves. Show more samples, or choose other sources or instructions."
        )
    heat = np.array(list(islice(cycle(section.temperatures), len(prompts))), dtype=np.float64)
    new = min(section.new_tokens, _WRITTEN_TOKENS)
    rows = write(Batch([ids for _, ids in prompts], heat, new, stops, recipe.seed, len(tokenizer))).rows
    for (name, ids), row, temperature in zip(prompts, rows, heat.tolist(), strict=True):
        written = row or ids
        tokens, given = _pieces(tokenizer, written), len(ids)
        yield Previewed(
            source=TARGET_SOURCE,
            document=name,
            num_tokens=len(written) - given,
            tokens=tokens,
            given=given,
            temperature=temperature,
        )


def _prompts(
    recipe: Recipe,
    section: Synthesis,
    corpus: Corpus,
    tokenizer: Any,
    template: Template,
    limit: int,
    write: Writer,
    stops: frozenset[int],
    count: int,
) -> Iterator[tuple[str, list[int]]]:
    """``count`` prompts of every kind that the section asks for, by name; one of which nothing came is empty."""
    length = max(section.prefix_tokens)
    for source in section.sources:
        for document in _documents(corpus, source, count):
            yield f"prefix of {document.file}", text_ids(tokenizer, document.text)[:length]
    for source in section.instructions:
        for text in corpus.instructions(source, held_out=False)[:count]:
            yield f"instruction of {source}", template.encode(text)
    if section.magpie:
        invented = Magpie(write, template, stops, limit, corpus.evaluation.contaminates, recipe.seed).batch(0, count)
        yield from (("instruction that the target invented", prompt.ids) for prompt in invented)


def _documents(corpus: Corpus, source: str, count: int) -> Iterator[Document]:
    """``count`` documents of a source, from places that lie apart; fewer where it is small.

    Raises:
        FastdraftError: it holds none.
    """
    document = None
    for document in islice(corpus.documents(source), 0, _STRIDE * count, _STRIDE):
        yield document
    if document is None:
        raise FastdraftError(f"Source {source!r} has no document to train on. Add documents, or change its filters.")


def _pieces(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """The text of each id alone."""
    return [str(tokenizer.decode([token])) for token in ids]
