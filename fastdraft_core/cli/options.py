"""Options that several commands share, each described once."""

from __future__ import annotations

import contextlib
import functools
import inspect
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastdraft_core.engine.load_options import LoadOptions
from fastdraft_core.errors import FastdraftError

if TYPE_CHECKING:
    from fastdraft_core.bench.tasks import Prompt
    from fastdraft_core.engine.pair import Pair
    from fastdraft_core.events import ModelCard
    from fastdraft_core.training.recipe import Recipe

Target = Annotated[
    str,
    typer.Argument(
        help="Target: demo, smollm2, a model folder, a .gguf file, ollama:NAME or a hub id.", show_default=False
    ),
]
Draft = Annotated[
    str,
    typer.Option(
        help="Draft: demo:XS, demo:S, demo:M, smollm2:S, smollm2:M, a model folder, a .gguf file, ollama:NAME or a hub id; @vocab=N behind it scores N ids alone. "
        "Without training: ngram:2-4 (repeated text), self:int4, self:int8 or self:layers=8 (the target itself), "
        "cascade:ngram:2-4+DRAFT (a lookup before a draft), other:MODEL (another vocabulary)."
    ),
]
Temperature = Annotated[float, typer.Option(min=0.0, help="Sampling temperature; 0 is greedy.")]
TopK = Annotated[int, typer.Option(min=0, help="Keep the k most probable tokens; 0 keeps all.")]
TopP = Annotated[
    float, typer.Option(min=0.0, max=1.0, help="Keep the smallest set with this probability; 1 keeps all.")
]
Gamma = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Drafted tokens a block; default: the best of a kept sweep of this pair, else 4.",
        show_default=False,
    ),
]
Verification = Annotated[
    str,
    typer.Option(help="How sampled blocks are judged: token by token, or the whole block at once (keeps no fewer)."),
]
Seed = Annotated[int, typer.Option(help="Fixes every random number.")]
Length = Annotated[int, typer.Option(min=1, help="New tokens.")]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16 or float16; default: what the processor does well.")]
Device = Annotated[
    str, typer.Option(help="cpu, cuda, xpu or hpu (torch); cpu, gpu or npu (openvino); default: the best one found.")
]
DraftDevice = Annotated[str, typer.Option(help="The draft's device; default: the target's.")]
Runtime = Annotated[str, typer.Option(help="torch, openvino, or auto: what was measured faster here for this pair.")]
Weights = Annotated[
    str,
    typer.Option(
        "--weights",
        "--precision",
        help="OpenVINO: original, bf16, f16, int8, int8_sym, int4 or int4:GROUP:RATIO; torch: int8 or int4; of the target.",
    ),
]
DraftWeights = Annotated[str, typer.Option(help="The same for the draft.")]
KvPrecision = Annotated[str, typer.Option(help="OpenVINO: f32, bf16, f16, u8 or u4 keys and values.")]
Threads = Annotated[int, typer.Option(min=0, help="CPU threads; 0: all cores that are free for this process.")]
Trust = Annotated[
    bool,
    typer.Option("--trust-remote-code", help="Run Python code that comes WITH the model. Only for models you trust."),
]
IgnoreStop = Annotated[
    bool, typer.Option("--ignore-stop", help="Decode every text to its full length, past where the model ends it.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON lines instead of text.")]
Task = Annotated[str, typer.Option(help="Bundled prompts: code or text; default: both.")]
PromptFile = Annotated[Path | None, typer.Option(help="Prompts from a file: .jsonl by --field, else one text.")]
Field = Annotated[str, typer.Option(help="Field of a .jsonl prompt file.")]


#: Seconds between two lines of what goes on, where no terminal shows it.
_SILENCE = 3.0
#: How models are loaded, by the names of ``LoadOptions``: every command that loads a pair has all of these.
_LOADING: dict[str, tuple[Any, Any]] = {
    "runtime": (Runtime, "auto"),
    "device": (Device, ""),
    "draft_device": (DraftDevice, ""),
    "dtype": (Dtype, ""),
    "weights": (Weights, ""),
    "draft_weights": (DraftWeights, ""),
    "kv_precision": (KvPrecision, ""),
    "threads": (Threads, 0),
    "trust_remote_code": (Trust, False),
}


def loading(command: Callable[..., None]) -> Callable[..., None]:
    """Give ``command`` the options of loading models; it receives them together as ``load``, a ``LoadOptions``."""

    @functools.wraps(command)
    def with_options(**given: Any) -> None:
        load = LoadOptions(**{name: given.pop(name) for name in _LOADING})
        command(**given, load=load)

    own = inspect.signature(command, eval_str=True)
    parameters = [p for p in own.parameters.values() if p.name != "load"]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in _LOADING.items()
    ]
    # Typer reads both: the signature for the defaults, the annotations for the types.
    with_options.__signature__ = own.replace(parameters=[*parameters, *added])  # type: ignore[attr-defined]
    with_options.__annotations__ = {p.name: p.annotation for p in [*parameters, *added]}
    return with_options


class Occasionally:
    """Steps of something long for a log: the newest one every few seconds, none of what is done at once."""

    def __init__(self, say: Callable[[str], object], clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._clock = clock
        self._said = clock()

    def __call__(self, step: str) -> None:
        """Say ``step`` if nothing was said for a while."""
        if (now := self._clock()) - self._said >= _SILENCE:
            self._said = now
            self._say(step)


@contextlib.contextmanager
def loading_steps() -> Iterator[Callable[[str], None]]:
    """What hears of the steps of loading: a line that changes in a terminal, a line now and then in a log."""
    from fastdraft_core.cli import talk

    with talk.status("loading") as status:
        report: Callable[[str], None] = status.update if talk.is_terminal else Occasionally(talk.print)
        yield report


def needed_draft(target: str, draft: str) -> str:
    """``draft``, or the bundled one that ``target`` is shown with.

    Raises:
        FastdraftError: none is named, and none is bundled.
    """
    from fastdraft_core.models.catalog import usual_draft

    if found := draft or usual_draft(target):
        return found
    raise FastdraftError(
        f"No draft of {target} is bundled. Name one with --draft: a model with its vocabulary, or a way that needs no training, "
        "such as ngram:2-4."
    )


def load_pair(target: str, draft: str, load: LoadOptions) -> Pair:
    """Load a pair and say on stderr what is being done, and with how many threads."""
    from fastdraft_core.cli import talk
    from fastdraft_core.engine import pair as pairs

    warn_of_code(load)
    with loading_steps() as report:
        pair = pairs.load_pair(target, draft or None, load, report)
    card, other = pair.target.card, pair.draft.card if pair.draft else None
    beside = f", draft {sized(other)}" if other else ""
    talk.print(
        f"target {sized(card)}{beside} · {pair.runtime} {card.precision} on {card.device} · "
        f"{pair.threads} threads · loaded in {pair.seconds:.1f} s"
    )
    say_runtime(pair)
    return pair


def calibrated_gamma(target: str, draft: str, temperature: float, load: LoadOptions) -> int:
    """The fastest gamma of a kept sweep of this pair, told on stderr with where it comes from; else the usual one."""
    from fastdraft_core.cli import talk
    from fastdraft_core.machine.cpu import cpu_name
    from fastdraft_core.models.catalog import lasting
    from fastdraft_core.models.draft_spec import lasting_draft
    from fastdraft_core.results.advice import calibrated_gamma as advised

    found = advised(lasting(target), lasting_draft(draft), temperature, cpu_name(), asdict(load))
    if found.words:
        talk.print(found.words)
    return found.gamma


def sized(card: ModelCard) -> str:
    """A model by its name and size; what drafts without a model by its name alone."""
    return f"{card.name} {card.parameters / 1e6:.1f}M" if card.is_model else f"{card.name} (no model)"


def with_trust(settings: list[str] | None, trust: bool) -> list[str]:
    """The settings of a recipe, with what ``--trust-remote-code`` means there; without it the recipe's own word stands."""
    return [*(settings or ()), *(["trust_remote_code=true"] if trust else [])]


def warn_of_target_code(recipe: Recipe) -> None:
    """Say on stderr that the target's own code will run, where the recipe says so."""
    from fastdraft_core.cli import talk

    if recipe.trust_remote_code:
        talk.print(f"Code that comes with {recipe.target} will run on this machine: trust_remote_code = true.")


def warn_of_code(load: LoadOptions) -> None:
    """Say on stderr that foreign code will run, where the user asked for it."""
    from fastdraft_core.cli import talk

    if load.trust_remote_code:
        talk.print("Code that comes with the models will run on this machine, because of --trust-remote-code.")


def say_runtime(pair: Pair) -> None:
    """Say on stderr why this runtime, where nobody chose it, how to have it measured again, and what does not run its fast way."""
    from fastdraft_core.cli import talk
    from fastdraft_core.engine.runtime_choice import REMEMBERED, choices_file

    if pair.runtime_reason:
        talk.print(f"runtime {pair.runtime}: {pair.runtime_reason}")
    for card in (pair.target.card, pair.draft.card if pair.draft else None):
        if card is not None and card.fallback:
            talk.print(f"{card.name}: {card.fallback}")
    if pair.runtime_reason.endswith(REMEMBERED):
        talk.print(f"To measure both again, delete {choices_file()}", soft_wrap=True)


def prompts(task: str, file: Path | None, field: str) -> list[Prompt]:
    """The prompts that ``--task`` or ``--prompt-file`` name.

    Raises:
        FastdraftError: both are given, there is no such task, or the file cannot be read or has an empty prompt.
    """
    from fastdraft_core.bench.tasks import bundled_prompts, file_prompts

    refuse_both(task, file)
    return file_prompts(file, field) if file else bundled_prompts(task or None)


def refuse_both(task: str, file: Path | None) -> None:
    """Rather than measuring on one of both without a word."""
    if task and file:
        raise FastdraftError("--task and --prompt-file both say what to measure on; give one of them.")


def gammas(text: str) -> list[int]:
    """``1-8`` or ``1,3,5`` as numbers.

    Raises:
        FastdraftError: it is neither, a range has no numbers, or a number is below 1.
    """
    try:
        found: set[int] = set()
        for part in text.split(","):
            first, dash, last = part.partition("-")
            numbers = range(int(first), int(last if dash else first) + 1)
            if not numbers:
                raise ValueError(f"{part} runs backwards")
            found.update(numbers)
    except ValueError as error:
        raise FastdraftError(f"--gamma {text} is not understood; write for example 4, 1-8 or 1,3,5.") from error
    if min(found) < 1:
        raise FastdraftError("gamma counts drafted tokens and starts at 1.")
    return sorted(found)
