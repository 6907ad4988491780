"""What there is to say of models that others publish: known targets and the drafts for them."""

from __future__ import annotations

from collections.abc import Iterator

from textual.content import Content

from fastdraft_app.models.model_text import fact, row
from fastdraft_app.theme.palette import Marks
from fastdraft_core.formatting import count, elide, in_bytes
from fastdraft_core.models.local_models import BYTES_A_WEIGHT
from fastdraft_core.models.published import PUBLISHED, KnownTarget, Published

_BY_HAND = "Without a network: bring the model's folder by hand, and add it to the shelf with a."


def target_row(target: KnownTarget, width: int, here: bool, mark: Marks) -> Content:
    """One known target on one line, as ``model_row`` shows those that are here."""
    parameters = count(target.parameters) if target.parameters else "?"
    where = f"{mark.done} here" if here else "gated" if target.gated else ""
    return row(target.name, (target.architecture or "?", parameters, f"{target.vocabulary or '?'}", where), width, mark)


def published_row(published: Published, width: int, here: bool, mark: Marks) -> Content:
    """One published draft on one line."""
    where = f" {mark.done} here" if here else ""
    return Content.assemble(elide(published.draft, width - len(where), mark.more), (where, "$muted"))


def target_words(target: KnownTarget, here: bool) -> Content:
    """A known target and how to get it."""
    needs = (
        ", ".join(f"{name} {in_bytes(target.parameters * bytes_)}" for name, bytes_ in BYTES_A_WEIGHT.items())
        if target.parameters
        else ""
    )
    drafts = [one.draft for one in PUBLISHED if one.target == target.name]
    lines = [
        fact("what", f"{target.architecture} (documented)" if target.architecture else "not documented"),
        fact(
            "weights", f"{count(target.parameters)} parameters (documented)" if target.parameters else "not documented"
        ),
        fact("in memory", f"{needs} (modelled)" if needs else "unknown"),
        fact("vocabulary", f"{target.vocabulary} logits (documented)" if target.vocabulary else "not documented"),
        *([fact("note", target.note)] if target.note else []),
        fact("here", "yes, in the Hugging Face cache" if here else "no"),
        Content(""),
        Content.styled("published drafts for it", "$muted"),
        *(Content(f"  {name}") for name in drafts),
        Content(""),
        *_getting(target.name, [f"fastdraft download {target.name}"], target.gated),
    ]
    return Content("\n").join(lines)


def published_words(published: Published, here: bool) -> Content:
    """A published draft and how to get it."""
    lines = [
        fact("draft", published.draft),
        fact("target", published.target + (f", as {published.target_ir}" if published.target_ir else "")),
        *([fact("note", published.note)] if published.note else []),
        fact("here", "yes, in the Hugging Face cache" if here else "no"),
        Content(""),
        *_getting(published.target, published.commands, published.gated),
    ]
    return Content("\n").join(lines)


def _getting(gated_name: str, commands: list[str], gated: bool) -> Iterator[Content]:
    yield Content.styled("b downloads it. The same in a shell (broken off, it goes on where it stopped):", "$muted")
    yield from (Content.styled(f"  {command}", "$primary") for command in commands)
    yield Content("")
    if gated:
        yield Content(f"{gated_name} is gated: accept its terms on its model page first, then `hf auth login`.")
    yield Content.styled(_BY_HAND, "$muted")
