"""The model that a stage starts from: untrained, taken from another one, or what the stage before reached."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastdraft_core.engine.pair import stop_ids
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Event, Progress
from fastdraft_core.machine.devices import choose_device, choose_dtype
from fastdraft_core.models.folders import load_tokenizer, local_folder
from fastdraft_core.models.tokens import check_ids
from fastdraft_core.runtimes.torch.loading import load_model
from fastdraft_core.runtimes.torch.runtime import context_length
from fastdraft_core.training.architecture import model_config, new_model, read_config
from fastdraft_core.training.folders import find_checkpoint, last_checkpoint, stage_folder
from fastdraft_core.training.inheritance import inherited_config, inherited_model
from fastdraft_core.training.processes import training_attention
from fastdraft_core.training.projection import project_embeddings
from fastdraft_core.training.recipe import Recipe
from fastdraft_core.training.shape_check import usable_attention

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def starting_model(
    recipe: Recipe, folder: Path, name: str, previous: str | None, tokenizer: Any, device: Any
) -> Generator[Event, None, PreTrainedModel]:
    """Returns the model of stage ``name``; one that goes on gets the weights of its own checkpoint later.

    Raises:
        FastdraftError: the stage before has no such checkpoint, or the model of ``[init]`` does not fit.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    attention = training_attention(device, compiled=recipe.compile)
    if last_checkpoint(folder, name) is not None:
        return new_model(recipe_config(recipe, tokenizer), seed=recipe.seed, attention=attention)
    if previous is not None:
        start = getattr(recipe, name).start
        found = find_checkpoint(stage_folder(folder, previous) / start)
        if found is None:
            raise FastdraftError(
                f"Stage {name} starts from the {start} checkpoint of {previous}, and there is none in {folder}. "
                f"Run {previous} first, or leave it out with {previous}.skip = true."
            )
        usable = usable_attention(AutoConfig.from_pretrained(found), attention)
        return AutoModelForCausalLM.from_pretrained(found, attn_implementation=usable, dtype="float32")
    config = recipe_config(recipe, tokenizer)
    if recipe.init is None:
        return new_model(config, seed=recipe.seed, attention=attention)
    yield Progress(what=f"starting from {recipe.init.model or recipe.target}")
    if recipe.init.method == "projected":
        target = load_model(
            Path(target_path(recipe)),
            str(recipe.target),
            device="cpu",
            dtype="float32",
            trust_remote_code=recipe.trust_remote_code,
        )
        model = new_model(config, seed=recipe.seed, attention=attention)
        told = project_embeddings(model, target, str(recipe.target))
    else:
        model, told = inherited_model(recipe.init, config, tokenizer, str(recipe.target), attention)
    yield Progress(what=f"started from {told}")
    return model


def recipe_config(recipe: Recipe, tokenizer: Any = None, target: Any = None) -> Any:
    """The configuration of the model that ``recipe`` trains; of a target or another model only config.json is read.

    Without a ``tokenizer``, before one is trained or loaded, special ids are left at the architecture's own. ``target`` is
    the target's configuration, where it is known already.

    Raises:
        FastdraftError: the target cannot be had, or its configuration cannot be read.
    """
    # Nothing is ever padded, and an architecture's own padding id, such as Phi-3's, may lie outside a small vocabulary.
    special: dict[str, Any] = {"pad_token_id": None}
    if tokenizer:
        special |= {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    if recipe.target is None:
        assert recipe.tokenizer is not None
        vocab_size = len(tokenizer) if tokenizer else recipe.tokenizer.vocab_size
        architecture = recipe.model.architecture or "llama"
    else:
        target = target or target_config(recipe)
        architecture, vocab_size = recipe.model.architecture or target.model_type, target.vocab_size
        if recipe.init is not None and recipe.init.method != "projected":
            return inherited_config(recipe.init, recipe.model, vocab_size=vocab_size, special=special)
    return model_config(recipe.model, architecture=architecture, vocab_size=vocab_size, special=special)


def check_context(recipe: Recipe, target: Any = None) -> None:
    """See that the target, of this configuration where it is known already, can read the rows of every stage.

    It judges the draft on them.

    Raises:
        FastdraftError: its context is shorter, or its configuration cannot be had.
    """
    if recipe.target is None:
        return
    context = context_length(target or target_config(recipe))
    for name, stage in recipe.stages.items():
        if stage.sequence_length > context:
            raise FastdraftError(
                f"{name}.sequence_length is {stage.sequence_length}, longer than the context of {recipe.target}, which is "
                f"{context:,} tokens. Shorten it."
            )


def target_config(recipe: Recipe) -> Any:
    """The target's configuration; of a model that also sees or hears, the part that writes."""
    assert recipe.target is not None
    return read_config(recipe.target, trust_remote_code=recipe.trust_remote_code).get_text_config()


def target_path(recipe: Recipe) -> str:
    """The local folder of the recipe's target."""
    assert recipe.target is not None
    return str(local_folder(recipe.target))


def target_tokenizer(recipe: Recipe) -> PreTrainedTokenizerBase:
    """The target's own tokenizer.

    Raises:
        FastdraftError: it cannot be read, has no end-of-text token for the end of a document, or puts tokens into every
            prompt that the target does not have.
    """
    folder, name = Path(target_path(recipe)), str(recipe.target)
    tokenizer = load_tokenizer(folder, name, trust_remote_code=recipe.trust_remote_code)
    if tokenizer.eos_token_id is None:
        ends = sorted(stop_ids(folder, tokenizer, recipe.trust_remote_code))
        told = ", ".join(f"{tokenizer.convert_ids_to_tokens(i)!r} (id {i})" for i in ends)
        raise FastdraftError(
            f"The tokenizer of {recipe.target} names no end-of-text token, with which every document ends. Add eos_token to "
            f"{folder / 'tokenizer_config.json'}{f'; the configuration ends texts with {told}' if told else ''}."
        )
    check_ids(tokenizer, int(target_config(recipe).vocab_size), name)
    return tokenizer


def load_target(recipe: Recipe, device: Any = None) -> PreTrainedModel:
    """The target as it decodes: on ``device``, which is this process's own, or the best one; in that device's dtype."""
    name = choose_device() if device is None else str(device)
    folder, trust = Path(target_path(recipe)), recipe.trust_remote_code
    dtype = choose_dtype(name)
    return load_model(folder, str(recipe.target), device=name, dtype=dtype, trust_remote_code=trust).eval()
