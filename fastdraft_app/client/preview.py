"""What the wizard shows of machine and data: the command line finds it out, in processes of its own."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from fastdraft_app.client.command import fastdraft, last_words
from fastdraft_app.client.doctor import read_check
from fastdraft_app.client.train import scratch_recipe
from fastdraft_core.events import Check, Previewed, decode_message
from fastdraft_core.training.recipe import Recipe

_TELLING = ("device ", "hpu", "bf16", "cores", "memory")


async def devices() -> list[Check]:
    """What can train here, as ``fastdraft doctor`` says it: empty where it says nothing.

    Raises:
        OSError: the process cannot be started.
    """
    _, lines, _ = await fastdraft("doctor", "--json", outlive=False)
    checks = [check for line in lines if (check := read_check(line.encode())) is not None]
    return [check for check in checks if check.name.startswith(_TELLING)]


async def preview(recipe: Recipe, sources: Sequence[str]) -> list[Previewed] | str:
    """Samples of ``sources``, or the sentence that says why there are none.

    Raises:
        OSError: the recipe cannot be written, or the process not be started.
    """
    named = [part for source in sources for part in ("--source", source)]
    code, lines, talk = await fastdraft("preview", str(scratch_recipe(recipe)), *named, "--json", outlive=False)
    try:
        found = [event for line in lines if isinstance(event := decode_message(line.encode()), Previewed)]
    except msgspec.MsgspecError as error:
        return f"What the preview said cannot be read ({error})."
    if code or not found:
        return last_words(talk, "There are no documents in these sources.")
    return found
