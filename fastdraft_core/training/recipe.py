"""A recipe is the only description of a training: strict TOML, one frozen class a section."""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from fastdraft_core import places
from fastdraft_core.errors import FastdraftError
from fastdraft_core.formatting import parse_count as parse_count
from fastdraft_core.text_sources import BUILT_IN, TextSource
from fastdraft_core.text_sources import TARGET_SOURCE as TARGET_SOURCE

Doc = msgspec.Meta


#: No draft, and no target of today, is wider or deeper: a slip of the finger is told before tensors overflow.
_WIDEST, _DEEPEST = 1 << 16, 1 << 10
#: The stages, in their order.
STAGES = ("pt", "cp", "ft")


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every section: an unknown key is an error."""


class ModelShape(_Section, frozen=True):
    """``[model]``: the network to train."""

    hidden_size: Annotated[int, Doc(description="Width of the residual stream.", ge=8, le=_WIDEST)]
    num_layers: Annotated[
        int, Doc(description="Transformer layers; depth drives a draft's latency.", ge=1, le=_DEEPEST)
    ]
    num_heads: Annotated[int, Doc(description="Attention heads; must divide hidden_size.", ge=1)]
    num_kv_heads: Annotated[int, Doc(description="Key-value heads; must divide num_heads.", ge=1)]
    intermediate_size: Annotated[int, Doc(description="Width of the feed-forward network.", ge=8, le=4 * _WIDEST)]
    context_length: Annotated[int, Doc(description="Longest sequence in tokens.", ge=8)] = 512
    tie_embeddings: Annotated[bool, Doc(description="Share the input embedding with the output head.")] = True
    draft_vocab: Annotated[
        Annotated[int, Doc(ge=16)] | None,
        Doc(
            description="Ids that a draft's head scores, those that the target's own text uses most (FR-Spec); default: all."
        ),
    ] = None
    architecture: Annotated[str | None, Doc(description="transformers model type; default: the target's own.")] = None


class TokenizerSection(_Section, frozen=True):
    """``[tokenizer]``: train one; only for a target, since a draft takes its target's."""

    vocab_size: Annotated[int, Doc(description="Number of ids, special ones included.", ge=300)]
    sources: Annotated[list[str], Doc(description="Sources whose text it is trained on.")]


class Synthesis(_Section, frozen=True):
    """``[synthesis]``: sequences that the target writes, for FT."""

    tokens: Annotated[int | str, Doc(description="Tokens to generate, such as 2M.")]
    temperatures: Annotated[list[float], Doc(description="Temperatures; 0 is greedy.", min_length=1)]
    shares: Annotated[list[float], Doc(description="A share for each temperature; default: equal ones.")] = []
    sources: Annotated[dict[str, float], Doc(description="Sources of prefixes of the corpus, with weights.")] = {}
    instructions: Annotated[
        dict[str, float],
        Doc(
            description="Sources whose rows are instructions (Alpaca, Dolly, Evol-Instruct, OIG, prompt), with weights."
        ),
    ] = {}
    magpie: Annotated[
        float, Doc(description="Weight of instructions that the target invents; it needs a chat template.", ge=0)
    ] = 0.0
    prefix_tokens: Annotated[tuple[int, ...], Doc(description="Prefix lengths, one a batch in turn.", min_length=1)] = (
        8,
        16,
        32,
        64,
    )
    new_tokens: Annotated[int, Doc(description="Tokens that the target adds to each prefix.", ge=1)] = 192
    batch_size: Annotated[int, Doc(description="Sequences generated together.", ge=1)] = 128
    engine: Annotated[
        Literal["auto", "torch", "openvino", "vllm"],
        Doc(
            description="What runs the target: torch, openvino (on a CPU), vllm where it is installed; auto: openvino on a CPU if it can."
        ),
    ] = "auto"

    @property
    def weights(self) -> dict[str, float]:
        """The kinds of prompts that are used, with their weights."""
        kinds = {"prefixes": self.sources, "instructions": self.instructions, "magpie": {"": self.magpie}}
        return {kind: weight for kind, parts in kinds.items() if (weight := sum(parts.values())) > 0}


class Evaluation(_Section, frozen=True):
    """``[evaluation]``: the decoding that a draft is judged by; the paper's setting unless told otherwise."""

    gamma: Annotated[int, Doc(description="Tokens drafted a block.", ge=1)] = 3
    temperature: Annotated[float, Doc(description="Temperature of target and draft; 0 is greedy.", ge=0)] = 0.6
    prompts: Annotated[int, Doc(description="Prompts a source that the finished stages decode.", ge=1)] = 20


class Init(_Section, frozen=True):
    """``[init]``: start the first stage from an existing small model; without it, from nothing."""

    method: Annotated[
        Literal["pruned", "transplant", "projected"],
        Doc(
            description="pruned: layers of a sibling of the target; transplant: of a donor with another vocabulary; projected: "
            "untrained layers, and the target's embeddings on their principal components."
        ),
    ]
    model: Annotated[str | None, Doc(description="The sibling or donor: a folder or a hub id; none for projected.")] = (
        None
    )
    layers: Annotated[
        list[int] | None, Doc(description="Its layers to keep, from 0; default: model.num_layers evenly spread ones.")
    ] = None


class Stage(_Section, frozen=True):
    """``[pt]``, ``[cp]``, ``[ft]``: one stage of training."""

    tokens: Annotated[int | str, Doc(description="Training tokens, such as 12M or 5B.")]
    sources: Annotated[
        dict[str, float], Doc(description="Sources with weights, or with tokens such as 5B; 'target' is what it wrote.")
    ]
    start: Annotated[
        Literal["last", "best"],
        Doc(
            description="The checkpoint of the stage before that this one starts from; best is by expected acceptance."
        ),
    ] = "last"
    skip: Annotated[bool, Doc(description="Leave this stage out; the next one starts from the one before it.")] = False
    sequence_length: Annotated[int, Doc(description="Tokens a row.", ge=8)] = 256
    batch_tokens: Annotated[int, Doc(description="Tokens an optimizer step, over all devices.", ge=8)] = 8192
    document_mask: Annotated[
        bool, Doc(description="Attention does not cross from one document into another; positions begin anew.")
    ] = False
    micro_batch: Annotated[int, Doc(description="Rows in one forward pass.", ge=1)] = 16
    learning_rate: Annotated[
        Annotated[float, Doc(gt=0)] | None, Doc(description="Peak learning rate; default: by the model's width.")
    ] = None
    schedule: Annotated[Literal["wsd", "cosine"], Doc(description="wsd (warm-up, stable, linear decay) or cosine.")] = (
        "wsd"
    )
    final_learning_rate: Annotated[float, Doc(description="Last learning rate, as a share of the peak.", ge=0)] = 0.0
    warmup: Annotated[float, Doc(description="Share of the steps that warm up.", ge=0, lt=1)] = 0.02
    decay: Annotated[float, Doc(description="wsd: share of the steps that decay to the final rate.", ge=0, le=1)] = 0.3
    weight_decay: Annotated[float, Doc(description="Weight decay, on matrices only.", ge=0)] = 0.1
    optimizer: Annotated[str, Doc(description="muon (for matrices) or adamw.", pattern="^(muon|adamw)$")] = "muon"
    clip_norm: Annotated[float, Doc(description="Gradients are scaled down to this norm.", gt=0)] = 1.0
    activation_checkpointing: Annotated[
        bool, Doc(description="Compute each layer again in the backward pass: less memory, about a third more time.")
    ] = False
    loss: Annotated[
        Literal["ce", "ce+kl", "ce+tvd", "kl", "tvd"],
        Doc(description="ce, or distillation from the target's probabilities; ce+kl and ce+tvd are halves of both."),
    ] = "ce"
    top_k: Annotated[int, Doc(description="Target probabilities stored a token, for losses other than ce.", ge=1)] = 32


class Recipe(_Section, frozen=True):
    """A whole training, from sources to a model folder."""

    name: Annotated[str, Doc(description="Names the job folder.", pattern=r"^[A-Za-z0-9][\w.-]*$")]
    model: Annotated[ModelShape, Doc(description="The network to train.")]
    target: Annotated[str | None, Doc(description="The target of a draft: demo, a folder or a hub id.")] = None
    trust_remote_code: Annotated[
        bool, Doc(description="Run Python code that comes WITH the target. Only for a target you trust.")
    ] = False
    sources: Annotated[
        dict[str, TextSource], Doc(description="Sources of text by name; code and text are built in.")
    ] = {}
    decontaminate: Annotated[
        list[str], Doc(description="Evaluation tasks, as bench --task names them: what overlaps is not trained on.")
    ] = msgspec.field(default_factory=lambda: list(BUILT_IN))
    init: Annotated[Init | None, Doc(description="An existing model to start from; default: untrained weights.")] = None
    tokenizer: Annotated[TokenizerSection | None, Doc(description="Train a tokenizer; only without a target.")] = None
    synthesis: Annotated[Synthesis | None, Doc(description="What the target writes for FT.")] = None
    pt: Annotated[Stage | None, Doc(description="Pre-training.")] = None
    cp: Annotated[Stage | None, Doc(description="Continued pre-training.")] = None
    ft: Annotated[Stage | None, Doc(description="Fine-tuning on the target's own sequences.")] = None
    evaluation: Annotated[Evaluation, Doc(description="How a draft's acceptance is measured.")] = Evaluation()
    seed: Annotated[int, Doc(description="Fixes weights and the order of data.")] = 1
    compile: Annotated[bool, Doc(description="Compile the loss with torch.compile; needs a C++ compiler.")] = False
    log_with: Annotated[
        list[Literal["tensorboard", "wandb", "trackio"]],
        Doc(
            description="Where figures of the training go as well: tensorboard and trackio stay on this machine, wandb sends them to "
            "its server; each is installed by hand. Default: nowhere."
        ),
    ] = []
    checkpoint_minutes: Annotated[float, Doc(description="Minutes between checkpoints.", gt=0)] = 5.0

    @property
    def stages(self) -> dict[str, Stage]:
        """The stages that run, in their order."""
        present = {name: stage for name in STAGES if (stage := getattr(self, name)) is not None}
        return {name: stage for name, stage in present.items() if not stage.skip}


def check_stage(recipe: Recipe, name: str) -> None:
    """Whether ``name`` is a stage that runs; empty means all of them.

    Raises:
        FastdraftError: it is not.
    """
    if name and name not in recipe.stages:
        raise FastdraftError(f"The recipe has no stage {name!r}; it has {', '.join(recipe.stages)}.")


def num_steps(stage: Stage) -> int:
    """Optimizer steps of a stage: its tokens over the tokens of a step, rounded up."""
    return math.ceil(parse_count(stage.tokens) / tokens_per_step(stage))


def rows_per_step(stage: Stage) -> int:
    """Rows of one optimizer step over all devices."""
    return max(1, stage.batch_tokens // stage.sequence_length)


def tokens_per_step(stage: Stage) -> int:
    """Tokens of one optimizer step over all devices."""
    return rows_per_step(stage) * stage.sequence_length


def load_recipe(name: str, settings: list[str] | None = None) -> Recipe:
    """Read a recipe file, or a bundled one by name, and apply ``section.key=value`` settings.

    Raises:
        FastdraftError: there is no such file, or the recipe is broken; the message says where.
    """
    path = Path(name) if name.endswith(".toml") else places.assets() / "recipes" / f"{name}.toml"
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        bundled = ", ".join(sorted(p.stem for p in (places.assets() / "recipes").glob("*.toml")))
        raise FastdraftError(f"No recipe at {path}. Give a .toml file or a bundled name: {bundled}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FastdraftError(f"{path} is not valid TOML: {error}.") from error
    data = _resolve_paths(_count_sources(data, str(path)), path.parent)
    for setting in settings or ():
        _apply(data, setting)
    return parse_recipe(_resolve_paths(data, Path.cwd()), str(path))


def parse_recipe(data: dict[str, Any], where: str) -> Recipe:
    """Check ``data`` against the recipe's classes and rules."""
    try:
        recipe = msgspec.convert(_count_sources(data, where), Recipe)
    except msgspec.ValidationError as error:
        raise FastdraftError(f"{where}: {_explain(str(error))}") from error
    check(recipe, where)
    return recipe


def _count_sources(data: dict[str, Any], where: str) -> dict[str, Any]:
    """``data`` with every stage that gives its sources in tokens turned into weights and their sum.

    ``sources = { a = "5B", b = "2.5B" }`` is ``tokens = 7.5B`` with those weights.
    """
    counted = dict(data)
    for name in STAGES:
        stage: Any = data.get(name)
        sources = stage.get("sources") if isinstance(stage, dict) else None
        if not isinstance(sources, dict) or not any(isinstance(v, str) for v in sources.values()):
            continue
        if not all(isinstance(v, str) for v in sources.values()):
            raise FastdraftError(f"{where}: {name}.sources mixes weights and tokens; give either for all sources.")
        counts = {source: parse_count(value) for source, value in sources.items()}
        tokens = sum(counts.values())
        if "tokens" in stage and parse_count(stage["tokens"]) != tokens:
            raise FastdraftError(
                f"{where}: {name}.tokens is {stage['tokens']}, but its sources add up to {tokens:,}. Leave tokens out."
            )
        counted[name] = {**stage, "tokens": tokens, "sources": counts}
    return counted


def _resolve_paths(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """``data`` with the path of every source and task made absolute, from ``folder``."""

    def absolute(path: str) -> str:
        return str((folder / Path(path).expanduser()).resolve())

    resolved = dict(data)
    if isinstance(sources := data.get("sources"), dict):
        resolved["sources"] = {
            name: {**source, "path": absolute(source["path"])}
            if isinstance(source, dict) and isinstance(source.get("path"), str)
            else source
            for name, source in sources.items()
        }
    if isinstance(tasks := data.get("decontaminate"), list):
        named = [str(task).partition("=") for task in tasks]
        resolved["decontaminate"] = [f"{name}={absolute(file)}" if file else name for name, _, file in named]
    return resolved


def dump_recipe(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain data without its empty sections."""

    def prune(value: Any) -> Any:
        return {k: prune(v) for k, v in value.items() if v not in (None, {})} if isinstance(value, dict) else value

    return prune(msgspec.to_builtins(recipe))


def _apply(data: dict[str, Any], setting: str) -> None:
    key, separator, text = setting.partition("=")
    if not separator:
        raise FastdraftError(f"--set {setting} has no '='; write for example --set pt.tokens=2M.")
    *sections, last = key.strip().split(".")
    for section in sections:
        data = data.setdefault(section, {})
        if not isinstance(data, dict):
            raise FastdraftError(f"--set {setting}: {section} is a value, not a section of the recipe.")
    try:
        data[last] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        data[last] = text.strip()


def _explain(error: str) -> str:
    """The message of msgspec, with the nearest known key where one was misspelt."""
    match = re.search(r"unknown field `(.+?)`", error)
    if not match:
        return error
    sections = (Recipe, ModelShape, Evaluation, Init, TokenizerSection, Synthesis, Stage, TextSource)
    known = {field for section in sections for field in section.__struct_fields__}
    near = difflib.get_close_matches(match[1], sorted(known), n=1, cutoff=0.0)
    return f"{error}. Did you mean {near[0]!r}?" if near else error


#: Numbers that are no less than 0 wherever they stand: weights, shares, temperatures.
_FROM_ZERO = re.compile(r"(pt|cp|ft)\.sources\..+|synthesis\.(sources\..+|instructions\..+|temperatures|shares)")


def check(recipe: Recipe, where: str) -> None:
    """Check a recipe from ``where``, whose sections are each well-formed.

    Raises:
        FastdraftError: two of its values do not go together.
    """
    for stage in recipe.stages.values():
        parse_count(stage.tokens)
    _check_numbers(msgspec.to_builtins(recipe), "", where)
    _check_shape(recipe, where)
    if recipe.synthesis is not None:
        _check_synthesis(recipe.synthesis, where)
    if (recipe.target is None) == (recipe.tokenizer is None):
        raise FastdraftError(f"{where}: give either target (to train a draft) or [tokenizer] (to train a target).")
    if recipe.trust_remote_code and recipe.target is None:
        raise FastdraftError(
            f"{where}: trust_remote_code is about the code of a target, and there is none. Leave it out."
        )
    if recipe.model.draft_vocab is not None and recipe.target is None:
        raise FastdraftError(
            f"{where}: model.draft_vocab shortens the head of a draft, and a target scores every id. Leave it out."
        )
    if not recipe.stages:
        raise FastdraftError(f"{where}: there is no stage to run; add at least one of [pt], [cp], [ft] without skip.")
    _check_starts(recipe, where)
    for name, stage in recipe.stages.items():
        if stage.loss != "ce" and set(stage.sources) != {TARGET_SOURCE}:
            raise FastdraftError(
                f"{where}: {name}.loss = {stage.loss!r} needs the target's probabilities, which are stored for the source "
                f"'{TARGET_SOURCE}' alone. Use only that source, or loss = 'ce'."
            )
    if any(TARGET_SOURCE in stage.sources for stage in recipe.stages.values()) and recipe.synthesis is None:
        raise FastdraftError(f"{where}: a stage uses the source 'target', so the recipe needs [synthesis].")
    _check_sources(recipe, where)


def _check_numbers(value: Any, key: str, where: str) -> None:
    """TOML knows nan and inf, and a recipe needs neither; what is drawn by weight or seeded needs numbers from 0 on."""
    if isinstance(value, dict):
        for name, part in value.items():
            _check_numbers(part, f"{key}.{name}" if key else name, where)
    elif isinstance(value, list | tuple):
        for part in value:
            _check_numbers(part, key, where)
    elif isinstance(value, float) and not math.isfinite(value):
        raise FastdraftError(f"{where}: {key} is {value}; give a finite number.")
    elif isinstance(value, int | float) and value < 0 and (key == "seed" or _FROM_ZERO.fullmatch(key)):
        raise FastdraftError(f"{where}: {key} is {value}; give 0 or more.")


def _check_shape(recipe: Recipe, where: str) -> None:
    """The rows that every stage reads fit into the model, and into a step."""
    shape = recipe.model
    size, rest = divmod(shape.hidden_size, shape.num_heads)
    # An inherited model brings the size of its own heads.
    if (recipe.init is None or recipe.init.method == "projected") and not rest and size % 2:
        raise FastdraftError(
            f"{where}: model.hidden_size {shape.hidden_size} over model.num_heads {shape.num_heads} gives heads of {size}, and "
            "rotary positions need an even size. Change one of them."
        )
    for name, stage in recipe.stages.items():
        if stage.sequence_length > shape.context_length:
            raise FastdraftError(
                f"{where}: {name}.sequence_length is {stage.sequence_length}, longer than model.context_length = "
                f"{shape.context_length}. Shorten the first or raise the second."
            )
        if stage.batch_tokens < stage.sequence_length:
            raise FastdraftError(
                f"{where}: {name}.batch_tokens is {stage.batch_tokens}, less than one row of {name}.sequence_length = "
                f"{stage.sequence_length}. Raise the first or shorten the second."
            )
        if not sum(stage.sources.values()) > 0:
            raise FastdraftError(f"{where}: {name}.sources gives no source a weight above 0.")


def _check_synthesis(synthesis: Synthesis, where: str) -> None:
    parse_count(synthesis.tokens)
    if not synthesis.weights:
        raise FastdraftError(
            f"{where}: [synthesis] has nothing to give to the target; set sources, instructions or magpie with weights."
        )
    if synthesis.shares and (len(synthesis.shares) != len(synthesis.temperatures) or min(synthesis.shares) <= 0):
        raise FastdraftError(
            f"{where}: synthesis.shares needs one number above 0 for each of the {len(synthesis.temperatures)} temperatures."
        )


def _check_starts(recipe: Recipe, where: str) -> None:
    """What starts from a draft's best checkpoint, or from another model, is a draft."""
    if recipe.init is not None and (recipe.init.method == "projected") != (recipe.init.model is None):
        raise FastdraftError(
            f"{where}: init.method = 'projected' takes the embeddings of the target and no other model; the other methods need "
            "init.model."
        )
    if recipe.target is not None:
        return
    if recipe.init is not None:
        raise FastdraftError(f"{where}: [init] starts a draft, so the recipe needs target in place of [tokenizer].")
    for name, stage in recipe.stages.items():
        if stage.start == "best":
            raise FastdraftError(
                f"{where}: {name}.start = 'best' needs a target, since the best checkpoint is by acceptance. Use 'last'."
            )


def _check_sources(recipe: Recipe, where: str) -> None:
    """Every source is described once, and every one that is used is described."""
    for name, source in recipe.sources.items():
        problem = source.problem()
        if name in (*BUILT_IN, TARGET_SOURCE) or not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
            problem = "needs another name: letters, digits, '-', '_' and '.'; code, text and target are taken"
        if problem:
            raise FastdraftError(f"{where}: [sources.{name}] {problem}.")
        if source.tokens is not None:
            parse_count(source.tokens)
    known = {*BUILT_IN, *recipe.sources}
    used: dict[str, Iterable[str]] = {name: set(s.sources) - {TARGET_SOURCE} for name, s in recipe.stages.items()}
    used["synthesis"] = recipe.synthesis.sources if recipe.synthesis else ()
    used["synthesis.instructions"] = recipe.synthesis.instructions if recipe.synthesis else ()
    used["tokenizer"] = recipe.tokenizer.sources if recipe.tokenizer else ()
    for section, names in used.items():
        allowed = known - set(BUILT_IN) if section == "synthesis.instructions" else known
        for name in sorted(set(names) - allowed):
            raise FastdraftError(
                f"{where}: {section} uses the source {name!r}, which is not described. Add [sources.{name}], or use one "
                f"of: {', '.join(sorted(allowed)) or 'none yet'}."
            )
