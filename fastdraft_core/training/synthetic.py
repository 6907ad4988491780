"""The source ``target``: what the recipe's target writes, as a shard, once for all drafts that ask for the same."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from fastdraft_core import places
from fastdraft_core.data.corpus import Corpus
from fastdraft_core.data.locks import alone
from fastdraft_core.data.openvino_writer import openvino_writer
from fastdraft_core.data.prompts import MATERIAL_TOKENS, Instructions, Magpie, Prefixes, Prompts, Template
from fastdraft_core.data.shards import Shard, open_shard, write_shard
from fastdraft_core.data.synthesis import (
    Plan,
    begun_with,
    is_complete,
    probabilities_file,
    sequence_rows,
    synthesize,
)
from fastdraft_core.data.target_logits import logits_folder, store_kept, target_key
from fastdraft_core.data.tokenizer import tokenizer_hash
from fastdraft_core.data.workers import Workers
from fastdraft_core.data.writers import Writer, choose_engine, torch_writer, vllm_writer
from fastdraft_core.engine.pair import stop_ids
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Event, Progress
from fastdraft_core.runtimes.openvino.ir_cache import is_converted
from fastdraft_core.runtimes.torch.runtime import context_length
from fastdraft_core.training.processes import first_alone
from fastdraft_core.training.recipe import TARGET_SOURCE, Recipe, Synthesis, parse_count
from fastdraft_core.training.start import load_target, target_config, target_path

#: The target writes this many times fewer tokens for evaluation than for training, and never more than the second number:
#: an evaluation reads at most 256 rows.
_HELD_OUT, _MAX_HELD_OUT_TOKENS = 20, 1 << 19


@dataclass(frozen=True, slots=True)
class _Material:
    """What prompts are made of, on one side of the held-out split."""

    shards: list[Shard]
    instructions: dict[str, list[str]]
    longer: Callable[[int], list[Shard]] | None


@dataclass(frozen=True, slots=True)
class _Asked:
    """The sequences of one side that a recipe asks for: what goes into them, and where they lie."""

    section: Synthesis
    material: _Material
    template: Template
    tokenizer_hash: str
    weights: str
    folder: Path
    file: Path
    top_k: int


def synthetic_shard(
    recipe: Recipe, corpus: Corpus, tokenizer: Any, device: Any, *, held_out: bool
) -> Generator[Event, None, Shard]:
    """Open the shard of the target's own sequences, having it write them on ``device`` first. Returns it.

    Raises:
        FastdraftError: the prompts cannot be had or are too long for the target, or Magpie is asked of one without a
            chat template.
    """
    asked = yield from _asked(recipe, corpus, tokenizer, held_out=held_out)
    plan = _plan(recipe, asked, tokenizer, held_out=held_out)

    def write() -> Generator[Event, None, None]:
        if not is_complete(asked.file, plan.tokens):
            yield Progress(what=_writes(plan, held_out))
            with contextlib.ExitStack() as open_while_writing:
                engine, writer = yield from _writer(recipe, asked.section, device, asked.file, open_while_writing)
                yield from _sequences(recipe, asked, plan, corpus, tokenizer, engine, writer, Workers())
        rows = sequence_rows(asked.file, plan.tokens)
        hashed = asked.tokenizer_hash
        write_shard(asked.folder, rows, source=TARGET_SOURCE, tokenizer_hash=hashed, vocab_size=len(tokenizer))

    # Two jobs must not append to one file.
    there = (asked.folder / "index.json").is_file
    yield from alone(asked.file.parent, "has the target write the same", there, write())
    shard = open_shard(asked.folder, tokenizer_hash=asked.tokenizer_hash)
    if asked.top_k and probabilities_file(asked.file).is_file():
        stored = logits_folder(asked.folder, asked.top_k, asked.weights)

        def store() -> Generator[Event, None, None]:
            yield Progress(what=f"what the target kept while it wrote {shard.index.num_tokens:,} tokens is stored")
            kept = probabilities_file(asked.file)
            store_kept(stored, shard, kept, top_k=asked.top_k, vocab_size=len(tokenizer))

        yield from alone(stored, "stores the same probabilities", (stored / "index.json").is_file, store())
    return shard


def write_together(
    accelerator: Any, recipe: Recipe, corpus: Corpus, tokenizer: Any, *, held_out: bool
) -> Generator[Event, None, None]:
    """Have all processes write the sequences of one side, each its share of the batches; ``synthetic_shard`` finds them.

    vLLM spreads itself over the devices that it sees, so that is left to the first process.

    Raises:
        FastdraftError: as ``synthetic_shard``, in all processes.
    """
    if recipe.synthesis is None or recipe.synthesis.engine == "vllm":
        return
    asked = yield from first_alone(accelerator, _asked(recipe, corpus, tokenizer, held_out=held_out))
    plan = _plan(recipe, asked, tokenizer, held_out=held_out)
    workers = Workers(accelerator.process_index, accelerator.num_processes, _gathered)
    there = (asked.folder / "index.json").is_file() or is_complete(asked.file, plan.tokens)
    # What the first process sees decides for all.
    if workers.gather(there)[0]:
        return
    if accelerator.is_main_process:
        yield Progress(what=f"{_writes(plan, held_out)}, with {workers.count} processes")
    with contextlib.ExitStack() as open_while_writing:
        writer = _writer(recipe, asked.section, accelerator.device, asked.file, open_while_writing)
        # One after the other: the first may have to convert the target.
        engine, write = yield from first_alone(accelerator, writer)
        work = _sequences(recipe, asked, plan, corpus, tokenizer, engine, write, workers)
        if accelerator.is_main_process:
            work = alone(asked.file.parent, "has the target write the same", lambda: False, work)
        yield from work


def _gathered(value: Any) -> list[Any]:
    from accelerate.utils import gather_object

    found: list[Any] = gather_object([value])
    return found


def _writes(plan: Plan, held_out: bool) -> str:
    return f"the target writes {plan.tokens:,} tokens ({'held-out' if held_out else 'train'})"


def _asked(recipe: Recipe, corpus: Corpus, tokenizer: Any, *, held_out: bool) -> Generator[Event, None, _Asked]:
    """Make what prompts are made of, where it is absent. Returns what is asked for."""
    section = recipe.synthesis
    assert section is not None
    template = chat_template(recipe, section, tokenizer)
    hashed, weights = tokenizer_hash(tokenizer), target_key(Path(target_path(recipe)))
    side = "held-out" if held_out else "train"

    def names(material: _Material) -> tuple[str, Path]:
        key = _key(section, recipe.seed, material, weights, hashed)
        any_length = _key(msgspec.structs.replace(section, tokens=0), recipe.seed, material, weights, hashed)
        return key, _file(side, key, any_length)

    material = _whole_material(section, corpus, hashed, held_out=held_out)
    if material is None or not names(material)[1].is_file():
        material = yield from _material(section, corpus, tokenizer, held_out=held_out)
    key, file = names(material)
    folder = places.cache() / "shards" / f"target-{side}-{key}"
    # Evaluation reads the held-out side with the target itself, and a file goes on as it was begun.
    wanted = 0 if held_out or section.engine == "vllm" else kept_top_k(recipe)
    top_k = begun_with(file).get("top_k", 0) if file.is_file() else min(wanted, len(tokenizer))
    return _Asked(section, material, template, hashed, weights, folder, file, top_k)


def _sequences(
    recipe: Recipe,
    asked: _Asked,
    plan: Plan,
    corpus: Corpus,
    tokenizer: Any,
    engine: str,
    writer: Writer,
    workers: Workers,
) -> Generator[Event, None, None]:
    """Write what is missing of the sequences."""
    stops = stop_ids(Path(target_path(recipe)), tokenizer, recipe.trust_remote_code)
    limit = prompt_limit(recipe, asked.section)
    kinds = _kinds(asked.section, asked.material, asked.template, limit, writer, stops, plan.seed, corpus)
    header = {
        **_revision(recipe),
        "weights": asked.weights,
        "tokenizer": asked.tokenizer_hash,
        "template": asked.template.digest,
        "engine": engine,
    }
    yield from synthesize(asked.file, plan, writer, kinds, stops, header, workers)


def kept_top_k(recipe: Recipe) -> int:
    """How many of its probabilities the target keeps while it writes: what stages learn of its text, 0 for the text alone."""
    read = [stage for stage in recipe.stages.values() if TARGET_SOURCE in stage.sources and stage.loss != "ce"]
    return max((stage.top_k for stage in read), default=0)


def _file(side: str, key: str, any_length: str) -> Path:
    """The file of sequences; more tokens of the same go on with what is there.

    ``key`` names it with its length, as earlier versions did: one that was begun so goes on.
    """
    folder = places.cache() / "synthesis"
    begun = folder / f"{side}-{key}" / "sequences.jsonl"
    return begun if begun.is_file() else folder / f"{side}-{any_length}" / "sequences.jsonl"


def _writer(
    recipe: Recipe, section: Synthesis, device: Any, file: Path, stack: contextlib.ExitStack
) -> Generator[Event, None, tuple[str, Writer]]:
    """Returns the engine and its writer, which lives as long as ``stack``. What ``file`` was begun with goes on."""
    folder, name, trust = Path(target_path(recipe)), str(recipe.target), recipe.trust_remote_code
    asked = begun_with(file).get("engine", "auto") if section.engine == "auto" else section.engine
    engine = choose_engine(asked, device.type, folder, name)
    if engine == "vllm":
        return engine, vllm_writer(folder, trust_remote_code=trust)
    if engine == "openvino":
        if not is_converted(folder, name, ""):
            yield Progress(what=f"converting {name} to OpenVINO, once")
        try:
            return engine, stack.enter_context(openvino_writer(folder, name, trust_remote_code=trust))
        except FastdraftError as error:
            if asked != "auto":
                raise
            yield Progress(what=f"PyTorch writes, since OpenVINO cannot: {error.message}")
    return "torch", torch_writer(load_target(recipe, device))


def chat_template(recipe: Recipe, section: Synthesis, tokenizer: Any) -> Template:
    """The chat template of the recipe's target.

    Raises:
        FastdraftError: it has none, and Magpie needs one.
    """
    template = Template(tokenizer)
    if section.magpie and not template.text:
        raise FastdraftError(
            f"Magpie has the target invent instructions after its chat template, and {recipe.target} has none: it is no "
            "chat model. Set synthesis.magpie = 0 and use sources or instructions."
        )
    return template


def prompt_limit(recipe: Recipe, section: Synthesis) -> int:
    """Tokens that a prompt may have in the target's context.

    Raises:
        FastdraftError: there is no room for one, or the target's configuration cannot be had.
    """
    context = context_length(target_config(recipe))
    limit = context - section.new_tokens
    shortest = max(section.prefix_tokens) if section.sources else 1
    if limit < shortest:
        raise FastdraftError(
            f"The target's context of {context:,} tokens does not hold {shortest} of a prompt and synthesis.new_tokens = "
            f"{section.new_tokens}. Lower one of them."
        )
    return limit


def held_out_tokens(section: Synthesis) -> int:
    """Tokens that the target writes for evaluation alone."""
    return min(parse_count(section.tokens) // _HELD_OUT, _MAX_HELD_OUT_TOKENS)


def _plan(recipe: Recipe, asked: _Asked, tokenizer: Any, *, held_out: bool) -> Plan:
    section = asked.section
    return Plan(
        tokens=held_out_tokens(section) if held_out else parse_count(section.tokens),
        batch_size=section.batch_size,
        new_tokens=section.new_tokens,
        temperatures=section.temperatures,
        # The two sides must not draw alike: what the target invents has no held-out half.
        seed=2 * recipe.seed + held_out,
        weights=section.weights,
        vocab_size=len(tokenizer),
        shares=section.shares,
        top_k=asked.top_k,
    )


def _whole_material(section: Synthesis, corpus: Corpus, hashed: str, *, held_out: bool) -> _Material | None:
    """What an earlier version drew prompts from: a text that was begun with it goes on, since to write it takes longest."""
    shards = [corpus.whole_shard(name, hashed, held_out=held_out) for name in section.sources]
    there = [shard for shard in shards if shard is not None]
    if not there or len(there) < len(shards):
        return None
    return _Material(there, _instructions(section, corpus, held_out=held_out), None)


def _instructions(section: Synthesis, corpus: Corpus, *, held_out: bool) -> dict[str, list[str]]:
    return {name: corpus.instructions(name, held_out=held_out) for name in section.instructions}


def _material(
    section: Synthesis, corpus: Corpus, tokenizer: Any, *, held_out: bool
) -> Generator[Event, None, _Material]:
    def opened(tokens: int) -> Generator[Event, None, list[Shard]]:
        shards = []
        for source in section.sources:
            shards.append((yield from corpus.shard(source, tokenizer, held_out=held_out, tokens=tokens)))
        return shards

    @lru_cache(maxsize=1)
    def longer(tokens: int) -> list[Shard]:
        work = opened(tokens)
        while True:
            try:
                next(work)
            except StopIteration as end:
                found: list[Shard] = end.value
                return found

    shards = yield from opened(MATERIAL_TOKENS)
    return _Material(shards, _instructions(section, corpus, held_out=held_out), longer)


def _kinds(
    section: Synthesis,
    material: _Material,
    template: Template,
    limit: int,
    writer: Writer,
    stops: frozenset[int],
    seed: int,
    corpus: Corpus,
) -> dict[str, Prompts]:
    """The kinds of prompts that [synthesis] asks for, by name."""
    kinds: dict[str, Prompts] = {}
    if section.sources:
        sources = list(section.sources.values())
        kinds["prefixes"] = Prefixes(material.shards, sources, section.prefix_tokens, seed, material.longer)
    if section.instructions:
        shares = list(section.instructions.values())
        kinds["instructions"] = Instructions(material.instructions, shares, template, limit, seed)
    if section.magpie:
        kinds["magpie"] = Magpie(writer, template, stops, limit, corpus.evaluation.contaminates, seed)
    return kinds


def _key(section: Synthesis, seed: int, material: _Material, weights: str, hashed: str) -> str:
    """Names everything that the sequences depend on; the tokenizer's hash covers its chat template."""
    read = [shard.index.sha256 for shard in material.shards]
    whole = [msgspec.to_builtins(section), weights, hashed, read, material.instructions, seed]
    return hashlib.sha256(json.dumps(whole).encode()).hexdigest()[:16]


def _revision(recipe: Recipe) -> dict[str, str]:
    """The target by name, and the commit where it lies in the hub's cache."""
    folder = Path(target_path(recipe))
    revision = folder.name if folder.parent.name == "snapshots" else ""
    return {"synthesis": "fastdraft/1", "target": str(recipe.target), "revision": revision}
