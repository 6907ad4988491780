"""Write a finished job as a model folder: bfloat16 safetensors, tokenizer and a model card."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import msgspec
from safetensors import SafetensorError

from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Evaluated, Event, RecipeChanged, StageAcceptance, decode_message, encode
from fastdraft_core.machine.devices import library_versions
from fastdraft_core.models.draft_vocab import (
    DRAFT_VOCAB_FILE,
    DraftVocab,
    read_draft_vocab,
    write_draft_vocab,
)
from fastdraft_core.text_sources import BUILT_IN, TARGET_SOURCE
from fastdraft_core.training.checkpoints import flush, load_trainer
from fastdraft_core.training.evaluation import stage_acceptance
from fastdraft_core.training.folders import find_checkpoint, last_checkpoint, stage_folder
from fastdraft_core.training.licences import declared, header, licences, public_recipe, shown_name
from fastdraft_core.training.output import building_beside, check_output, install
from fastdraft_core.training.recipe import Recipe, dump_recipe, num_steps, tokens_per_step
from fastdraft_core.training.stages import recipe_corpus
from fastdraft_core.training.start import target_path

#: A smaller gain in expected acceptance is noise: of 4096 positions that differ by about 0.05 each, two standard errors are
#: 0.0016. The 0.05 is our assumption.
_MEASURABLE = 0.002


def publish(recipe: Recipe, folder: Path, output: Path) -> Generator[Event, None, None]:
    """Measure the draft's acceptance by stage, then write the last stage's better checkpoint to ``output``.

    That is ``last``, unless ``best`` had a measurably higher expected acceptance on the same held-out text.

    Raises:
        FastdraftError: a stage has not been finished, or ``output`` cannot be written or holds something else.
    """
    check_output(output, folder)
    stages = {name: _checkpoint(folder, name) for name in recipe.stages}
    read = {s: d for at in stages.values() for s, d in load_trainer(at, tensors=False).held_out.items()}
    final = list(stages)[-1]
    stages[final], why = _better(stage_folder(folder, final), stages[final])
    if recipe.target is not None:
        used = sorted({s for stage in recipe.stages.values() for s in stage.sources if s != TARGET_SOURCE})
        sources = {source: read.get(source, "") for source in used}
        with (folder / "events.jsonl").open("ab") as events:
            corpus = recipe_corpus(recipe)
            for event in stage_acceptance(
                Path(target_path(recipe)),
                stages,
                corpus,
                sources,
                recipe.seed,
                recipe.evaluation,
                trust_remote_code=recipe.trust_remote_code,
            ):
                events.write(encode(event))
                yield event
    _write(recipe, folder, stages[final], output, why)


def _better(stage: Path, last: Path) -> tuple[Path, str]:
    """The checkpoint of the last stage to publish, and for the card why it is not the last one."""
    trainer, best = load_trainer(last, tensors=False), find_checkpoint(stage / "best")
    if best is None or trainer.reached < 0 or trainer.best - trainer.reached < _MEASURABLE:
        return last, ""
    return best, (
        f"Published is the checkpoint of {stage.name.upper()} with the best expected acceptance on held-out text, "
        f"{trainer.best:.3f} over its sources; the last one, which the table's row tells of, had {trainer.reached:.3f}."
    )


def _write(recipe: Recipe, folder: Path, checkpoint: Path, output: Path, why: str) -> None:
    """The model of ``checkpoint`` and its card, written beside ``output`` and renamed."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model: Any = AutoModelForCausalLM.from_pretrained(checkpoint, dtype="bfloat16")
    building = None
    try:
        building = building_beside(output)
        model.save_pretrained(building)
        # The target's, with its code where it has some.
        tokenizer = AutoTokenizer.from_pretrained(checkpoint, trust_remote_code=recipe.trust_remote_code)
        tokenizer.save_pretrained(building)
        vocab = read_draft_vocab(checkpoint)
        if vocab is not None:
            write_draft_vocab(building, vocab)
        (building / "README.md").write_text(model_card(recipe, model, _events(folder), why, vocab), encoding="utf-8")
        flush(building)
        install(building, output, folder)
    except (OSError, SafetensorError) as error:
        # A full disk is a SafetensorError to the weights.
        reason = getattr(error, "strerror", None) or error
        raise FastdraftError(
            f"The finished model could not be written to {output} ({reason}). The training is kept: free some space, or "
            "choose another --output, and run the same command again."
        ) from error
    finally:
        if building is not None:
            shutil.rmtree(building, ignore_errors=True)


def model_card(recipe: Recipe, model: Any, events: list[Event], why: str = "", vocab: DraftVocab | None = None) -> str:
    """Markdown: what it is, how it was made, what was measured, and ``why`` it is not the last checkpoint if it is not."""
    parameters = sum(p.numel() for p in model.parameters())
    kind = (
        f"A draft for the target `{shown_name(recipe.target)}`"
        if recipe.target
        else "A target for speculative decoding"
    )
    found = licences(recipe)
    versions = ", ".join(f"{name} {version}" for name, version in sorted(library_versions().items()))
    return "\n".join(
        [
            header(recipe, found),
            f"# {recipe.name}\n",
            f"{kind}: {model.config.model_type}, {parameters:,} parameters, {model.config.num_hidden_layers} layers x "
            f"{model.config.hidden_size}, vocabulary {model.config.vocab_size}, context "
            f"{model.config.max_position_embeddings}, bfloat16. {_licence(found)}\n",
            *([f"## Draft vocabulary\n\n{_vocabulary(vocab, events)}\n"] if vocab else []),
            f"## Data\n\n{_data(recipe)}\n",
            f"## Training\n\n{_stage_table(recipe, events)}\n",
            *([f"{why}\n"] if why else []),
            *([f"## Acceptance\n\n{_acceptance_table(recipe, events)}\n"] if recipe.target else []),
            "## Recipe\n\nReproduce with `fastdraft train " + recipe.name + "`:\n",
            "```toml\n" + msgspec.toml.encode(public_recipe(dump_recipe(recipe))).decode().strip() + "\n```\n",
            *_changes(events),
            f"Made with Python {sys.version.split()[0]}, {versions}. The corpus changes with these versions.\n",
        ]
    )


def _vocabulary(vocab: DraftVocab, events: list[Event]) -> str:
    """What the head scores, and how much of held-out text that is."""
    held_out: dict[str, float] = {}
    for event in events:
        if isinstance(event, Evaluated):
            held_out |= event.coverage
    return (
        f"The head scores {vocab} (`{DRAFT_VOCAB_FILE}`, the most used first); other ids get a probability of 0. Share of "
        f"held-out tokens that are among them: {_figures(held_out, '{:.3f}')}. Losses and perplexities are of these tokens. "
        "fastdraft loads the head so; the rows of all other ids are in the weights, untrained as outputs, and a program that "
        "scores them drafts worse, never wrongly. `fastdraft export` makes the head safe for such a program."
    )


def _licence(found: dict[str, str]) -> str:
    """What the weights rest on, each with its licence."""
    told = ", ".join(f"`{name}` {licence}" for name, licence in found.items())
    return f"Licence: {declared(found)}, by what it was made of ({told})."


def _data(recipe: Recipe) -> str:
    """Where the weights began and what they were trained on."""
    used = sorted({source for stage in recipe.stages.values() for source in stage.sources})
    start = "untrained weights"
    if recipe.init is not None and recipe.init.model is not None:
        what = "layers" if recipe.init.method == "pruned" else "layers and embeddings"
        start = f"{what} of `{shown_name(recipe.init.model)}`"
    elif recipe.init is not None:
        start = "untrained layers and the target's embeddings, projected onto their principal components,"
    parts = [f"Trained from {start} on {', '.join(f'`{source}`' for source in used)}."]
    if not set(used) & set(BUILT_IN):
        return parts[0]
    parts.append(
        "`code` is the source of the Python standard library, `text` the docstrings of the standard library and of the "
        "installed dependencies with `pydoc_data.topics`, as this installation holds them. One file in 40 is held out. Texts "
        "repeat across files (boilerplate docstrings), so held-out figures on `text` flatter."
    )
    return " ".join(parts)


def _stage_table(recipe: Recipe, events: list[Event]) -> str:
    judged = {e.stage: e for e in events if isinstance(e, Evaluated)}
    titles = ["stage", "tokens", "sources", "perplexity"]
    if recipe.target:
        titles += ["expected acceptance", "accepted/drafted"]
    rows = [_row(titles), _row(["---"] * len(titles))]
    for name, stage in recipe.stages.items():
        tokens = num_steps(stage) * tokens_per_step(stage)
        whole = sum(stage.sources.values())
        sources = ", ".join(f"{s} {100 * w / whole:.3g} %" for s, w in stage.sources.items())
        event = judged.get(name, Evaluated(stage=name, step=0, loss={}))
        cells = [name.upper(), f"{tokens:,}", sources, _figures(event.perplexity, "{:.2f}")]
        if recipe.target:
            cells += [_figures(event.acceptance, "{:.3f}"), _figures(event.accepted, "{:.3f}")]
        rows.append(_row(cells))
    rows.append(
        "\nMeasured at the end of each stage, by source. Perplexity is the exponential of the held-out loss in nats a token."
    )
    if recipe.target:
        rows.append(
            "Expected acceptance is the mean of Σ min(p, q) at temperature 1; accepted/drafted is expected along texts that "
            f"the target wrote, gamma {recipe.evaluation.gamma}, temperature {recipe.evaluation.temperature:g}."
        )
    return "\n".join(rows)


def _changes(events: list[Event]) -> list[str]:
    """That the recipe is not the one that all steps were made with, where that is so."""
    changed = [change for event in events if isinstance(event, RecipeChanged) for change in event.changes]
    if not changed:
        return []
    listed = "\n".join(f"- `{change}`" for change in changed)
    return [f"The recipe was changed after the job had begun, so the same command gives another model:\n\n{listed}\n"]


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _figures(values: dict[str, float], form: str) -> str:
    return ", ".join(f"{source} {form.format(value)}" for source, value in values.items())


def _acceptance_table(recipe: Recipe, events: list[Event]) -> str:
    found = {e.stage: e for e in events if isinstance(e, StageAcceptance)}
    sources = sorted({s for e in found.values() for s in e.acceptance})
    if not sources:
        return "Not measured in real decoding: there are no held-out documents that are long enough to be prompts."
    setting = f"gamma {recipe.evaluation.gamma}, temperature {recipe.evaluation.temperature:g}"
    prompts = f"{recipe.evaluation.prompts} prompts a source, of held-out documents"
    head = f"Accepted/drafted in real decoding on {prompts}, {setting}:\n"
    rows = [head, _row(["after", *sources]), _row(["---", *["---:"] * len(sources)])]
    for stage, event in found.items():
        rows.append(_row([stage.upper(), *(f"{event.acceptance[s]:.3f}" for s in sources)]))
    return "\n".join(rows)


def _checkpoint(folder: Path, stage: str) -> Path:
    found = last_checkpoint(folder, stage)
    if found is None:
        raise FastdraftError(
            f"Stage {stage} of the job in {folder} has no checkpoint yet; run the training to its end."
        )
    return found


def _events(folder: Path) -> list[Event]:
    found: list[Event] = []
    for line in (folder / "events.jsonl").read_bytes().splitlines():
        try:
            found.append(decode_message(line))
        except msgspec.MsgspecError:
            # A kill can leave a half-written line; the rest of the file is good.
            continue
    return found
