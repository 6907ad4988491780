"""What there is to say of a model, and of a published draft."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from textual.content import Content

from fastdraft_app.theme.palette import Marks
from fastdraft_core.formatting import count, elide, in_bytes, one_line
from fastdraft_core.models.local_models import BYTES_A_WEIGHT, ShelfModel, drafts_for, memory, targets_for
from fastdraft_core.models.published import PUBLISHED, KnownTarget, Published

_NAMED = 12


def model_row(model: ShelfModel, width: int, mark: Marks) -> Content:
    """One model on one line: name, architecture, parameters, vocabulary, size."""
    parameters = count(model.parameters) if model.parameters else "?"
    return row(
        f"{model.name} {model.entry.quantization}".rstrip(),
        (kind(model), parameters, f"{model.entry.vocab_size or '?'}", in_bytes(model.entry.weight_bytes)),
        width,
        mark,
    )


def row(name: str, facts: tuple[str, str, str, str], width: int, mark: Marks) -> Content:
    """A name and its architecture, parameters, vocabulary and size on one line."""
    told = f"{facts[0]:<12}{facts[1]:>7}{facts[2]:>9}{facts[3]:>10}"
    room = max(width - len(told) - 1, 12)
    name = one_line(name, " ", " ")
    # Of a long path the end says more.
    if len(name) > room:
        name = mark.more + name[-(room - len(mark.more)) :]
    return Content.assemble(f"{name:<{room}} ", (told, "$muted"))


def model_heading(width: int) -> Content:
    """The names of the columns of ``model_row``."""
    facts = f"{'kind':<12}{'weights':>7}{'vocab.':>9}{'on disk':>10}"
    return Content.styled(f"{'model':<{max(width - len(facts) - 1, 12)}} {facts}", "$muted")


def kind(model: ShelfModel) -> str:
    """The architecture without what all have in common."""
    return elide(model.entry.architecture.removesuffix("ForCausalLM").removesuffix("LMHeadModel"), 11)


def model_words(model: ShelfModel, models: Sequence[ShelfModel]) -> Content:
    """All about one model: what it is, what it needs, what fits."""
    tokens = f"{model.num_tokens:,} tokens" if model.tokenizer else "no readable tokenizer"
    needs = ", ".join(f"{name} {in_bytes(needed)}" for name, needed in memory(model).items())
    lines = [
        fact("what", ", ".join(filter(None, (model.entry.architecture, model.entry.quantization, model.place)))),
        fact("where", str(model.folder)),
        fact(
            "weights", f"{model.parameters:,} parameters" if model.parameters else "unknown: its headers cannot be read"
        ),
        fact("on disk", in_bytes(model.entry.weight_bytes)),
        fact("in memory", f"{needs} (modelled)" if needs else "unknown"),
        fact("vocabulary", f"{model.entry.vocab_size or '?'} logits, tokenizer: {tokens}"),
        *([fact("OpenVINO", f"not here: {model.conversion_problem}")] if model.conversion_problem else []),
        Content(""),
        *_partners("drafts that fit it", drafts_for(model, models), model),
        *_partners("targets that it fits", targets_for(model, models), model),
        Content(""),
        Content.styled("Checked: both tokenizers give every id the same token.", "$muted"),
    ]
    return Content("\n").join(lines)


def _partners(title: str, found: list[ShelfModel], model: ShelfModel) -> list[Content]:
    if not model.tokenizer:
        return [fact(title, "cannot be checked without its tokenizer")]
    if not found:
        return [fact(title, "none here")]
    names = [one_line(one.name, " ", " ") for one in found[:_NAMED]]
    rest = [f"and {len(found) - _NAMED} more"] if len(found) > _NAMED else []
    return [Content.styled(title, "$muted"), *(Content(f"  {name}") for name in (*names, *rest))]


def fact(name: str, words: str) -> Content:
    """A name and what there is to say of it."""
    return Content.assemble((f"{name:<10} ", "$muted"), one_line(words, " ", " "))


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
