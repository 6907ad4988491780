"""Whether a source of text can be used: the command line reads it, in a process of its own."""

from __future__ import annotations

import msgspec

from fastdraft_app.client.command import fastdraft, last_words
from fastdraft_app.client.train import scratch_recipe
from fastdraft_core.events import Glanced, decode_message
from fastdraft_core.training.recipe import Recipe


async def check_source(recipe: Recipe, name: str) -> Glanced | str:
    """What a short look into the source ``name`` of ``recipe`` finds, or the sentence that says why it cannot be used.

    Raises:
        OSError: the recipe cannot be written, or the process not be started.
    """
    code, lines, talk = await fastdraft(
        "sources", str(scratch_recipe(recipe)), "--source", name, "--json", outlive=False
    )
    try:
        found = decode_message(lines[-1].encode()) if lines and not code else None
    except msgspec.MsgspecError:
        found = None
    if isinstance(found, Glanced):
        return found
    return last_words(talk, f"fastdraft sources ended with exit code {code}.")
