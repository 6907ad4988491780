"""What the wizard knows beside the questions: the target on disk, this machine, what the draft comes to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fastdraft_app.wizard.answers import Answers, parameters
from fastdraft_app.wizard.proposal import Measures
from fastdraft_app.wizard.questions import DEVICE, QUESTIONS, STEPS, Question, get_value
from fastdraft_app.wizard.sources import described, origin
from fastdraft_core import places
from fastdraft_core.events import Check
from fastdraft_core.formatting import count, in_bytes
from fastdraft_core.machine import limits
from fastdraft_core.models.local_models import BYTES_A_WEIGHT, ShelfModel, drafts_for, memory
from fastdraft_core.models.published import TARGETS, KnownTarget
from fastdraft_core.models.weights import is_ir_alone

_ONE = "accelerate launch --num_processes {processes} -m fastdraft_core.cli train RECIPE.toml"
_SEVERAL = (
    "accelerate launch --multi_gpu --num_machines N --machine_rank RANK --main_process_ip FIRST --main_process_port 29500"
    " --num_processes ALL -m fastdraft_core.cli train RECIPE.toml"
)
_ACCELERATORS = ("cuda", "xpu", "hpu")


@dataclass
class Findings:
    """What was found out so far; None is not known yet. ``devices`` is as `doctor` says it."""

    models: Sequence[ShelfModel] | None = None
    devices: Sequence[Check] | None = None


def facts(step: int, answers: Answers, known: Findings) -> list[str]:
    """Lines beside the fields of a page."""
    tell = _TELLERS.get(STEPS[step].title)
    return list(tell(answers, known)) if tell else []


def free_memory() -> int:
    """Bytes that a new process could take, a container's limit included."""
    return limits.memory()[1]


def free_disk() -> int:
    """Bytes that are free where jobs are kept."""
    return places.free_disk(places.jobs())


def known_problem(question: Question, answers: Answers, known: Findings) -> str:
    """What is wrong with a field, right in itself, on this machine or for this target; nothing while they are not known."""
    told = _KNOWN_RULES.get(question.path.rpartition(".")[2])
    return told(question, answers, known) if told else ""


def _no_such_device(question: Question, answers: Answers, known: Findings) -> str:
    del question
    names = [check.name for check in known.devices or ()]
    here = {"cpu", *(name.removeprefix("device ").partition(":")[0] for name in names if name.startswith("device "))}
    if "memory" not in names or not answers.device or answers.device in here:
        return ""
    return f"There is no {answers.device} device on this machine; here are: {', '.join(sorted(here))}."


def _beyond_context(question: Question, answers: Answers, known: Findings) -> str:
    """Rows of a stage, or a prompt and what the target adds to it, must fit into the target's context."""
    section, _, key = question.path.rpartition(".")
    writes = key == "new_tokens"
    target = _target(answers, known)
    if (
        target is None
        or not target.entry.context
        or answers.text(QUESTIONS["ft.skip" if writes else f"{section}.skip"]) == "yes"
    ):
        return ""
    prompt = _longest_prompt(answers) if writes else 0
    if answers.whole(question) + prompt <= target.entry.context:
        return ""
    beside = f", and prompts have up to {prompt}" if writes else ""
    return f"The target's context is {target.entry.context:,} tokens{beside}; take fewer."


def _longest_prompt(answers: Answers) -> int:
    """Tokens of the longest prompt that the target continues."""
    if not answers.text(QUESTIONS["synthesis.sources"]):
        return 1
    prefixes = get_value(answers.base, "synthesis.prefix_tokens")
    assert isinstance(prefixes, list | tuple)
    return int(max(prefixes))


_KNOWN_RULES: dict[str, Callable[[Question, Answers, Findings], str]] = {
    DEVICE: _no_such_device,
    "sequence_length": _beyond_context,
    "new_tokens": _beyond_context,
}


def _target(answers: Answers, known: Findings) -> ShelfModel | None:
    name = answers.text(QUESTIONS["target"]).strip()
    return next((model for model in known.models or () if name == model.name or _same(name, model.folder)), None)


def _documented(answers: Answers) -> KnownTarget | None:
    """The target as its authors document it, where drafts are published for it."""
    name = answers.text(QUESTIONS["target"]).strip()
    return next((target for target in TARGETS if target.name == name), None)


def _measures(answers: Answers, known: Findings) -> tuple[int, float]:
    """Vocabulary and parameters of the target, by its files or else by its authors; 0 for what they do not tell."""
    found, documented = _target(answers, known), _documented(answers)
    if found is not None:
        return found.entry.vocab_size or 0, found.parameters or 0
    return (documented.vocabulary or 0, documented.parameters or 0) if documented is not None else (0, 0)


def measures(answers: Answers, known: Findings) -> Measures | None:
    """What a training follows from; None where the target's vocabulary is not known, or not yet."""
    found, (vocabulary, weights) = _target(answers, known), _measures(answers, known)
    if not vocabulary:
        return None
    documented = _documented(answers)
    context = (found.entry.context if found else documented.context if documented else 0) or 0
    # The known targets are all chat models.
    chat = found.chat if found is not None else documented is not None
    return Measures(answers.text(QUESTIONS["target"]).strip(), vocabulary, weights, context, chat)


def _same(name: str, folder: Path) -> bool:
    try:
        return Path(name).expanduser().resolve() == folder.resolve()
    except (OSError, RuntimeError, ValueError):
        return False


def _of_target(answers: Answers, known: Findings) -> Iterator[str]:
    target = _target(answers, known)
    if answers.text(QUESTIONS["trust_remote_code"]) == "yes":
        yield "Python code that comes with the target WILL RUN on this machine, with all that you may do here. Read it first."
    if known.models is None:
        yield "looking at the models of this machine"
        return
    if target is None:
        yield "It is not among the models of this machine. A hub id is downloaded by the job; a gated one needs `hf auth login` first."
        if (documented := _documented(answers)) is not None:
            yield from _words_of_documented(documented)
    else:
        needs = memory(target)
        yield f"{target.entry.architecture}, {target.place}"
        context = f", context {target.entry.context:,} tokens" if target.entry.context else ""
        template = "has a" if target.chat else "has no"
        yield f"{count(target.parameters or 0)} parameters, vocabulary {target.entry.vocab_size}{context}, {in_bytes(target.entry.weight_bytes)} on disk"
        yield f"It {template} chat template."
        if needs:
            yield _room(needs["bf16"])
        yield f"{len(drafts_for(target, known.models))} drafts here fit it"
    others = (model for model in known.models if not is_ir_alone(model.folder))
    targets = [model.name for model in others if drafts_for(model, known.models) or model.place != "jobs"]
    yield f"Here are: {', '.join(targets[:8])}"


def _words_of_documented(target: KnownTarget) -> Iterator[str]:
    told = [f"{target.architecture}ForCausalLM" if target.architecture else ""]
    told += [f"{count(target.parameters)} parameters" if target.parameters else ""]
    told += [f"vocabulary {target.vocabulary}" if target.vocabulary else "", "gated" if target.gated else ""]
    yield f"{', '.join(word for word in told if word)} (documented)"
    if target.parameters:
        yield _room(BYTES_A_WEIGHT["bf16"] * target.parameters)


def _room(needed: float) -> str:
    free = free_memory()
    return f"in memory {in_bytes(needed)} as bf16 (modelled); {in_bytes(free)} are free: {'enough' if needed < free else 'TOO LITTLE'}"


def _of_device(answers: Answers, known: Findings) -> Iterator[str]:
    del answers
    if known.devices is None:
        yield "asking `fastdraft doctor` what this machine has"
    for check in known.devices or ():
        yield f"{check.name:<17} {check.value}"
    names = [check.name for check in known.devices or ()]
    accelerators = [name for name in names if name.startswith("device ") and _is_accelerator(name)]
    if len(accelerators) > 1:
        yield f"A job takes one of them; all {len(accelerators)} together: save the recipe (F5), then"
        yield f"  {_ONE.format(processes=len(accelerators))}"
    yield "Several machines, FASTDRAFT_HOME on a disk that they share: save the recipe (F5), then on each of them"
    yield f"  {_SEVERAL}"
    yield "F6 measures for about ten seconds how fast the draft as it is now trains on the chosen device."


def _is_accelerator(name: str) -> bool:
    return name.removeprefix("device ").startswith(_ACCELERATORS)


def _of_draft(answers: Answers, known: Findings) -> Iterator[str]:
    shape, (vocabulary, weights) = answers.shape(), _measures(answers, known)
    if shape is None:
        yield "The shape makes no sense yet."
        return
    if not vocabulary:
        yield "How many parameters that are depends on the target's vocabulary, which is not known here."
        return
    number = parameters(shape, vocabulary)
    table = vocabulary * shape.hidden_size * (1 if shape.tie_embeddings else 2)
    yield f"{number:,} parameters ({table / number:.0%} of them embedding and head), {in_bytes(2 * number)} as bf16"
    if answers.text(QUESTIONS["init.method"]) in ("pruned", "transplant"):
        yield "A draft of another model's layers has that model's shape but for num_layers; the review says what differs."
    if weights:
        yield f"c = {number / weights:.3f} of the target's parameters (modelled; the measured c counts time)"
        name = answers.text(QUESTIONS["target"]).strip()
        yield f"{name} has {weights:,.0f} parameters. The paper's drafts come to c = 0.014 to 0.031."


def _of_places(answers: Answers, known: Findings) -> Iterator[str]:
    del known
    name = answers.text(QUESTIONS["name"]).strip()
    yield f"Job and checkpoints: {places.jobs() / name}"
    yield f"Finished model: {places.jobs() / name / 'model'}"
    yield f"{in_bytes(free_disk())} are free there"
    yield "Held-out loss and expected acceptance are measured during each stage; real acceptance at the end."


def _of_data(answers: Answers, known: Findings) -> Iterator[str]:
    del known
    yield "Sources: code and text are built in."
    yield from _of_sources(answers)
    yield "F7 adds a file, a folder or a data set of the hub, and takes it off again."
    yield "Learning rate empty: chosen by the draft's width. F6 shows documents and their tokens."


def _of_sources(answers: Answers) -> Iterator[str]:
    for name, source in described(answers).items():
        yield f"{name}: {origin(source)}"


def _of_ft(answers: Answers, known: Findings) -> Iterator[str]:
    del known
    yield from _of_sources(answers)
    yield "F7 adds prefixes or instructions of a file, a folder or a data set. F6 has the target write a few samples now."
    yield "Magpie, above 0: the target also invents instructions; only a chat model with a template can."


_TELLERS: dict[str, Callable[[Answers, Findings], Iterator[str]]] = {
    "Target": _of_target,
    "Device": _of_device,
    "Draft": _of_draft,
    "PT data": _of_data,
    "CP mixture": _of_data,
    "FT": _of_ft,
    "Schedule": _of_places,
}
