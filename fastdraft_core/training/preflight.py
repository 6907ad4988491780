"""What later stages will ask for, looked at before the first one spends hours: files, a chat template, an engine."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from fastdraft_core.data.files import list_files
from fastdraft_core.data.hub import refuse_ids
from fastdraft_core.data.instructions import instruction_files
from fastdraft_core.data.writers import NO_VLLM
from fastdraft_core.errors import FastdraftError
from fastdraft_core.training.folders import last_checkpoint
from fastdraft_core.training.recipe import TARGET_SOURCE, Recipe
from fastdraft_core.training.synthetic import chat_template, prompt_limit

#: What a chat template is tried with.
_TRIAL = "Hello."


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
