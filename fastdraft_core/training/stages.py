"""Run a recipe: tokenizer, shards, synthesis where FT asks for it, then PT → CP → FT."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Generator, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from fastdraft_core import places
from fastdraft_core.bench.tasks import BENCHMARKS, load_tasks
from fastdraft_core.data.corpus import Corpus, kept_shard
from fastdraft_core.data.decontamination import Overlap
from fastdraft_core.data.download_cache import pinned
from fastdraft_core.data.files import list_files
from fastdraft_core.data.hub import refuse_ids
from fastdraft_core.data.instructions import instruction_files
from fastdraft_core.data.locks import alone
from fastdraft_core.data.memory import memory_for
from fastdraft_core.data.mixtures import Mixture
from fastdraft_core.data.shards import Shard
from fastdraft_core.data.target_logits import TargetLogits, logits_folder, open_target_logits, score, target_key
from fastdraft_core.data.tokenizer import tokenizer_hash, train_tokenizer
from fastdraft_core.data.writers import NO_VLLM
from fastdraft_core.engine.pair import stop_ids
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Checkpointed, Event, Mixed, Progress
from fastdraft_core.models.catalog import resolve
from fastdraft_core.models.draft_vocab import DraftVocab
from fastdraft_core.training.budgets import read_before, tokens_needed
from fastdraft_core.training.checkpoints import load_trainer
from fastdraft_core.training.evaluation import Reference, make_reference, make_texts
from fastdraft_core.training.folders import last_checkpoint, stage_folder
from fastdraft_core.training.loop import StageRun, droppable, train_stage
from fastdraft_core.training.processes import check_same, check_shared, first_alone, make_accelerator, together
from fastdraft_core.training.recipe import TARGET_SOURCE, Recipe, Stage, num_steps, rows_per_step
from fastdraft_core.training.samples import Samples, make_samples
from fastdraft_core.training.short_head import shorten_head
from fastdraft_core.training.start import (
    check_context,
    load_target,
    recipe_config,
    starting_model,
    target_config,
    target_path,
    target_tokenizer,
)
from fastdraft_core.training.stop import Stop
from fastdraft_core.training.synthetic import chat_template, prompt_limit, synthetic_shard, write_together
from fastdraft_core.training.trackers import check_trackers, tracked
from fastdraft_core.training.vocabulary import job_draft_vocab

_MAX_HELD_OUT_ROWS = 256
_EVERY_PROMPT = 1 << 30
#: What a chat template is tried with.
_TRIAL = "Hello."


def run_recipe(recipe: Recipe, folder: Path, *, only: str | None = None, stop: Stop | None = None) -> Iterator[Event]:
    """Run every stage of ``recipe`` (or ``only`` one) inside the job ``folder``, from where it stopped.

    Raises:
        FastdraftError: a stage's starting checkpoint is missing, or anything that a user can mend.
        Interrupted: ``stop`` asked for it; what was done so far is saved.
    """
    from transformers.utils import logging

    # Our own events tell of progress.
    logging.disable_progress_bar()
    if recipe.trust_remote_code:
        yield Progress(what=f"code that comes with {recipe.target} runs here: the recipe says trust_remote_code = true")
    check_context(recipe)
    # Refused now, where the architecture cannot make the model, and not after hours of reading.
    recipe_config(recipe)
    check_trackers(recipe)
    accelerator, stop = make_accelerator(), stop or Stop()
    with together(accelerator):
        yield from tracked(recipe, folder, accelerator, _run_stages(recipe, folder, only, accelerator, stop))


def _run_stages(recipe: Recipe, folder: Path, only: str | None, accelerator: Any, stop: Stop) -> Iterator[Event]:
    check_shared(accelerator, folder, places.cache())
    with stop.droppable():
        corpus = recipe_corpus(recipe)
    tokenizer = yield from stop.drop(first_alone(accelerator, _tokenizer(recipe, folder, corpus)))
    check_ahead(recipe, folder, tokenizer, only)
    choosing = _draft_vocab(recipe, folder, corpus, tokenizer, accelerator.device)
    vocab = yield from stop.drop(first_alone(accelerator, choosing))
    previous: str | None = None
    for name, stage in recipe.stages.items():
        if only in (None, name) and not _is_finished(folder, name, stage):
            yield from _run_stage(recipe, folder, name, stage, previous, tokenizer, vocab, corpus, accelerator, stop)
        previous = name


def recipe_corpus(recipe: Recipe) -> Corpus:
    """The recipe's sources, without what overlaps with the evaluation tasks that it names.

    Raises:
        FastdraftError: a task is not known, or its prompts cannot be read.
    """
    if not recipe.decontaminate:
        return Corpus(recipe.sources)
    return Corpus(recipe.sources, Overlap(text for task in recipe.decontaminate for text in _evaluation_prompts(task)))


def _evaluation_prompts(task: str) -> list[str]:
    """Every prompt of a task; one that lies on the hub is read from there once, however often a job starts."""

    def read() -> list[str]:
        tasks = load_tasks(task, count=_EVERY_PROMPT)
        return [text for loaded in tasks for source in loaded.sources for text in source.questions]

    benchmark = BENCHMARKS.get(task)
    if benchmark is None or benchmark.hub is None:
        return read()
    return pinned(task, [asdict(benchmark), _EVERY_PROMPT], read, list[str])


def _run_stage(
    recipe: Recipe,
    folder: Path,
    name: str,
    stage: Stage,
    previous: str | None,
    tokenizer: Any,
    vocab: DraftVocab | None,
    corpus: Corpus,
    accelerator: Any,
    stop: Stop,
) -> Iterator[Event]:
    begun = _begun_with(folder, name)
    shards: dict[tuple[str, bool], Shard] = {}
    for source in stage.sources:
        for held_out in (False, True):
            if source == TARGET_SOURCE and accelerator.num_processes > 1 and (source, held_out) not in begun:
                together = write_together(accelerator, recipe, corpus, tokenizer, held_out=held_out)
                yield from stop.drop(together)
            shard = _shard(recipe, name, corpus, source, tokenizer, accelerator.device, begun, held_out=held_out)
            shards[source, held_out] = yield from stop.drop(first_alone(accelerator, shard))
        _check_held_out(recipe, stage, source, shards[source, True])
        check_same(accelerator, {source: shards[source, False].index.sha256})

    logits = []
    if stage.loss != "ce":
        for source in stage.sources:
            scored = _target_logits(recipe, shards[source, False], stage.top_k, tokenizer, accelerator.device)
            logits.append((yield from stop.drop(first_alone(accelerator, scored))))

    def mixture(held_out: bool, sources: dict[str, float], rows: int) -> Mixture:
        opened = [shards[source, held_out] for source in sources]
        stored = () if held_out else logits
        before = [0 if held_out or not s.index.window else read_before(recipe, name, s.index.source) for s in opened]
        return Mixture(opened, list(sources.values()), stage.sequence_length, rows, recipe.seed, stored, before)

    held_out_rows = {
        s: min(_MAX_HELD_OUT_ROWS, len(shards[s, True].tokens) // (stage.sequence_length + 1) - 1)
        for s in stage.sources
    }
    unseen = {s: mixture(True, {s: 1.0}, held_out_rows[s]) for s in stage.sources}
    training = mixture(False, stage.sources, num_steps(stage) * rows_per_step(stage))
    yield Mixed(
        stage=name,
        tokens=dict(zip(stage.sources, training.tokens, strict=True)),
        epochs={s: n for s, n in zip(stage.sources, training.epochs, strict=True) if shards[s, False].index.whole},
    )
    starting = starting_model(recipe, folder, name, previous, tokenizer, accelerator.device)
    model = yield from stop.drop(starting)
    if vocab is not None:
        shorten_head(model, vocab)
    model = model.to(accelerator.device)
    samples = make_samples(unseen, tokenizer)
    run = StageRun(
        name=name,
        stage=stage,
        model=model,
        tokenizer=tokenizer,
        mixture=training,
        held_out=unseen,
        folder=stage_folder(folder, name),
        accelerator=accelerator,
        compile=recipe.compile,
        checkpoint_seconds=60 * recipe.checkpoint_minutes,
        references=lambda: _references(recipe, unseen, len(tokenizer), samples, stop, accelerator.device),
        stop=stop,
    )
    for event in train_stage(run):
        yield event
        if isinstance(event, Checkpointed) and accelerator.is_main_process and not stop.requested:
            yield from _sampled(run, samples, event.step)


def _draft_vocab(
    recipe: Recipe, folder: Path, corpus: Corpus, tokenizer: Any, device: Any
) -> Generator[Event, None, DraftVocab | None]:
    """Returns the draft vocabulary, where the recipe has one."""
    if recipe.model.draft_vocab is None:
        return None

    def open_shard(source: str) -> Generator[Event, None, Shard]:
        last = list(recipe.stages)[-1]
        return _shard(recipe, last, corpus, source, tokenizer, device, {}, held_out=False)

    stops = stop_ids(Path(target_path(recipe)), tokenizer, recipe.trust_remote_code)
    return (yield from job_draft_vocab(recipe, folder, open_shard, target_config(recipe).vocab_size, stops))


def _check_held_out(recipe: Recipe, stage: Stage, source: str, shard: Shard) -> None:
    """Whether a source keeps enough aside to judge by."""
    if len(shard.tokens) >= 2 * (stage.sequence_length + 1):
        return
    more = {TARGET_SOURCE: "Raise synthesis.tokens"} | {
        name: f"Keep more of it aside with a smaller held_out than {described.held_out} under [sources.{name}], add data"
        for name, described in recipe.sources.items()
    }
    raise FastdraftError(
        f"The held-out side of source {source!r}, which judges the draft, holds {len(shard.tokens):,} tokens, too few for rows "
        f"of {stage.sequence_length}. {more.get(source, 'Add data')}, or shorten sequence_length."
    )


def _sampled(run: StageRun, samples: Samples, step: int) -> Iterator[Event]:
    """What the model writes now; an interruption loses nothing, since a checkpoint was just written."""
    with droppable(run):
        events = list(samples.of(run.model, run.name, step))
    yield from events


def _references(
    recipe: Recipe, held_out: dict[str, Mixture], vocab_size: int, samples: Samples, stop: Stop, device: Any
) -> dict[str, Reference]:
    """The target's probabilities on held-out rows of every source; none where a target itself is trained."""
    if recipe.target is None:
        return {}
    advice = "Free some, or use --device cpu, and run again."
    with stop.droppable(), memory_for(f"the target beside the draft on {device}", advice):
        target = load_target(recipe, device)
        samples.ask_target(target)
        stops = stop_ids(Path(target_path(recipe)), target_tokenizer(recipe), recipe.trust_remote_code)
        found = {}
        for source, mixture in held_out.items():
            texts = make_texts(target, mixture, vocab_size, recipe.evaluation, stops)
            found[source] = replace(make_reference(target, mixture, vocab_size), texts=texts)
        return found


def _target_logits(
    recipe: Recipe, shard: Shard, top_k: int, tokenizer: Any, device: Any
) -> Generator[Event, None, TargetLogits]:
    """Open the target's probabilities of a shard's tokens, having it score them on ``device`` first. Returns them."""
    folder = logits_folder(shard.place, top_k, target_key(Path(target_path(recipe))))

    def store() -> Generator[Event, None, None]:
        yield Progress(what=f"the target reads {shard.index.num_tokens:,} tokens and its probabilities are stored")
        yield from score(folder, shard, load_target(recipe, device), top_k=top_k, vocab_size=len(tokenizer))

    # Two jobs must not append to one file.
    yield from alone(folder, "stores the same probabilities", (folder / "index.json").is_file, store())
    return open_target_logits(folder, shard)


def _tokenizer(recipe: Recipe, folder: Path, corpus: Corpus) -> Generator[Event, None, Any]:
    """The target's tokenizer, or one trained once and kept in the job folder. Returns it."""
    from transformers import AutoTokenizer

    if recipe.target is not None:
        if Path(resolve(recipe.target)).is_file():
            yield Progress(what=f"importing {recipe.target}")
        return target_tokenizer(recipe)
    assert recipe.tokenizer is not None
    kept = folder / "tokenizer"
    if not (kept / "tokenizer.json").is_file():
        yield Progress(what="training the tokenizer")
        texts = (d.text for source in recipe.tokenizer.sources for d in corpus.documents(source))
        # Written beside and renamed: half a tokenizer would stand in the way of every later start.
        building = folder / "tokenizer.building"
        train_tokenizer(texts, recipe.tokenizer.vocab_size).save_pretrained(building)
        shutil.rmtree(kept, ignore_errors=True)
        building.rename(kept)
    return AutoTokenizer.from_pretrained(kept)


def _is_finished(folder: Path, name: str, stage: Stage) -> bool:
    """Whether nothing of a stage is left to do; its data, which may be gone from the cache, is then not asked for."""
    checkpoint = last_checkpoint(folder, name)
    if checkpoint is None:
        return False
    trainer = load_trainer(checkpoint, tensors=False)
    return trainer.step == num_steps(stage) and trainer.judged


def _begun_with(folder: Path, name: str) -> dict[tuple[str, bool], str]:
    """The checksums of the tokens that a stage was begun with, by source and side; none where it begins now."""
    checkpoint = last_checkpoint(folder, name)
    if checkpoint is None:
        return {}
    trainer = load_trainer(checkpoint, tensors=False)
    sides = {False: trainer.shards, True: trainer.held_out}
    return {(source, side): digest for side, digests in sides.items() for source, digest in digests.items()}


def _shard(
    recipe: Recipe,
    stage: str,
    corpus: Corpus,
    source: str,
    tokenizer: Any,
    device: Any,
    begun: dict[tuple[str, bool], str],
    *,
    held_out: bool,
) -> Generator[Event, None, Shard]:
    """Open the shard of one source as far as ``stage`` reads it, making it first where it is absent. Returns it.

    A stage that was ``begun`` goes on with the tokens that it has read so far, also where the source was edited since.
    """
    if digest := begun.get((source, held_out)):
        kept = kept_shard(source, digest, tokenizer_hash(tokenizer), held_out=held_out)
        if kept is not None:
            return kept
    if source == TARGET_SOURCE:
        return (yield from synthetic_shard(recipe, corpus, tokenizer, device, held_out=held_out))
    return (yield from corpus.shard(source, tokenizer, held_out=held_out, tokens=tokens_needed(recipe, stage, source)))


def check_ahead(recipe: Recipe, folder: Path, tokenizer: Any, only: str | None) -> None:
    """See that what the stages of the job in ``folder`` need is there, of those that have not begun; no network is asked.

    Raises:
        FastdraftError: files of a source are absent, or the target cannot write as [synthesis] asks, or its chat template raises.
    """
    coming = [s for name, s in recipe.stages.items() if only in (None, name) and last_checkpoint(folder, name) is None]
    documents = {source for stage in coming for source in stage.sources}
    section = recipe.synthesis
    if TARGET_SOURCE in documents and section is not None:
        template = chat_template(recipe, section, tokenizer)
        if section.instructions or section.magpie:
            # A template that raises would do so after hours of training.
            template.encode(_TRIAL)
        prompt_limit(recipe, section)
        if section.engine == "vllm" and importlib.util.find_spec("vllm") is None:
            raise FastdraftError(NO_VLLM)
        documents |= set(section.sources)
        for name in section.instructions:
            _check_files(recipe, name, instructions=True)
    for name in sorted(documents):
        _check_files(recipe, name)


def _check_files(recipe: Recipe, name: str, *, instructions: bool = False) -> None:
    source = recipe.sources.get(name)
    if source is None:
        return
    if source.path is None:
        refuse_ids(source)
    else:
        list_files(Path(source.path), instruction_files(source) if instructions else source.extensions)
