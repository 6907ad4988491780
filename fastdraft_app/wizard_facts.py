"""What the wizard knows beside the questions: the target on disk, this machine, what the draft comes to."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from fastdraft_app.text import count, size
from fastdraft_app.wizard import Answers, parameters
from fastdraft_app.wizard_fields import FIELDS, STEPS
from fastdraft_app.wizard_sources import described, origin
from fastdraft_core import places
from fastdraft_core.shelf import ShelfModel, drafts_for, memory

_ONE = "accelerate launch --num_processes {processes} -m fastdraft_core.cli train RECIPE.toml"
_SEVERAL = (
    "accelerate launch --multi_gpu --num_machines N --machine_rank RANK --main_process_ip FIRST --main_process_port 29500"
    " --num_processes ALL -m fastdraft_core.cli train RECIPE.toml"
)
_ACCELERATORS = ("cuda", "xpu", "hpu")


@dataclass
class Known:
    """What was found out so far; None is not known yet. ``devices`` are names and words, as `doctor` says them."""

    models: Sequence[ShelfModel] | None = None
    devices: Sequence[tuple[str, str]] | None = None


def facts(step: int, answers: Answers, known: Known) -> list[str]:
    """Lines beside the fields of a page."""
    tell = _TELLERS.get(STEPS[step].title)
    return list(tell(answers, known)) if tell else []


def free_memory() -> int:
    """Bytes that a new process could take."""
    return int(psutil.virtual_memory().available)


def free_disk() -> int:
    """Bytes that are free where jobs are kept."""
    return shutil.disk_usage(places.existing_parent(places.jobs())).free


def _target(answers: Answers, known: Known) -> ShelfModel | None:
    name = answers.text(FIELDS["target"]).strip()
    return next((model for model in known.models or () if name == model.name or _same(name, model.folder)), None)


def _same(name: str, folder: Path) -> bool:
    try:
        return Path(name).expanduser().resolve() == folder.resolve()
    except (OSError, RuntimeError, ValueError):
        return False


def _of_target(answers: Answers, known: Known) -> Iterator[str]:
    target = _target(answers, known)
    if known.models is None:
        yield "looking at the models of this machine"
        return
    if target is None:
        yield "It is not among the models of this machine. A hub id is downloaded by the job; a gated one needs `hf auth login` first."
    else:
        needs = memory(target)
        yield f"{target.entry.architecture}, {target.place}"
        context = f", context {target.entry.context:,} tokens" if target.entry.context else ""
        yield f"{count(target.parameters or 0)} parameters, vocabulary {target.entry.vocab_size}{context}, {size(target.entry.weight_bytes)} on disk"
        if needs:
            free = free_memory()
            enough = "enough" if needs["bf16"] < free else "TOO LITTLE"
            yield f"in memory {size(needs['bf16'])} as bf16 (modelled); {size(free)} are free: {enough}"
        yield f"{len(drafts_for(target, known.models))} drafts here fit it"
    targets = [model.name for model in known.models if drafts_for(model, known.models) or model.place != "jobs"]
    yield f"Here are: {', '.join(targets[:8])}"


def _of_device(answers: Answers, known: Known) -> Iterator[str]:
    del answers
    if known.devices is None:
        yield "asking `fastdraft doctor` what this machine has"
    for name, words in known.devices or ():
        yield f"{name:<18}{words}"
    accelerators = [name for name, _ in known.devices or () if name.startswith("device ") and _is_accelerator(name)]
    if len(accelerators) > 1:
        yield f"A job takes one of them; all {len(accelerators)} together: save the recipe (F5), then"
        yield f"  {_ONE.format(processes=len(accelerators))}"
    yield "Several machines, FASTDRAFT_HOME on a disk that they share: save the recipe (F5), then on each of them"
    yield f"  {_SEVERAL}"
    yield "F6 measures for about ten seconds how fast the draft as it is now trains on the chosen device."


def _is_accelerator(name: str) -> bool:
    return name.removeprefix("device ").startswith(_ACCELERATORS)


def _of_draft(answers: Answers, known: Known) -> Iterator[str]:
    shape, target = answers.shape(), _target(answers, known)
    if shape is None:
        yield "The shape makes no sense yet."
        return
    if target is None or not target.entry.vocab_size:
        yield "How many parameters that are depends on the target's vocabulary, which is not known here."
        return
    number = parameters(shape, target.entry.vocab_size)
    table = target.entry.vocab_size * shape.hidden_size * (1 if shape.tie_embeddings else 2)
    yield f"{number:,} parameters ({table / number:.0%} of them embedding and head), {size(2 * number)} as bf16"
    if target.parameters:
        yield f"c = {number / target.parameters:.3f} of the target's parameters (modelled; the measured c counts time)"
        yield f"{target.name} has {target.parameters:,} parameters. The paper's drafts come to c = 0.014 to 0.031."


def _of_places(answers: Answers, known: Known) -> Iterator[str]:
    del known
    name = answers.text(FIELDS["name"]).strip()
    yield f"Job and checkpoints: {places.jobs() / name}"
    yield f"Finished model: {places.jobs() / name / 'model'}"
    yield f"{size(free_disk())} are free there"
    yield "Held-out loss and expected acceptance are measured during each stage; real acceptance at the end."


def _of_data(answers: Answers, known: Known) -> Iterator[str]:
    del known
    yield "Sources: code and text are built in."
    yield from _of_sources(answers)
    yield "F7 adds a file, a folder or a data set of the hub, and takes it off again."
    yield "Learning rate empty: chosen by the draft's width. F6 shows documents and their tokens."


def _of_sources(answers: Answers) -> Iterator[str]:
    for name, source in described(answers).items():
        yield f"{name}: {origin(source)}"


def _of_ft(answers: Answers, known: Known) -> Iterator[str]:
    del known
    yield from _of_sources(answers)
    yield "F7 adds prefixes or instructions of a file, a folder or a data set. F6 has the target write a few samples now."
    yield "Magpie, above 0: the target also invents instructions; only a chat model with a template can."


_TELLERS: dict[str, Callable[[Answers, Known], Iterator[str]]] = {
    "Target": _of_target,
    "Device": _of_device,
    "Draft": _of_draft,
    "PT data": _of_data,
    "CP mixture": _of_data,
    "FT": _of_ft,
    "Schedule": _of_places,
}
