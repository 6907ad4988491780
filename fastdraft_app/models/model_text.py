"""What there is to say of a model, and of a published draft."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from fastdraft_app.theme.palette import Marks
from fastdraft_core.formatting import count, elide, in_bytes, one_line
from fastdraft_core.models.local_models import ShelfModel, drafts_for, memory, targets_for

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
