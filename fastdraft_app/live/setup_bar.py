"""What is being run: the pair, the settings, the prompt."""

from __future__ import annotations

from textual.content import Content

from fastdraft_app.settings.settings import Settings
from fastdraft_app.theme.palette import Marks
from fastdraft_app.widgets.line import fields, first_fitting
from fastdraft_core.events import ModelCard, PairLoaded
from fastdraft_core.formatting import count, elide, one_line

_SHORT_DTYPES = {"bfloat16": "bf16", "float32": "f32", "float16": "f16"}


def setup(settings: Settings, pair: PairLoaded | None, width: int, mark: Marks) -> Content:
    """Target, draft and settings in one line, in as many words as fit."""
    target = _model(settings.target, pair.target if pair else None, mark)
    draft = _model(settings.draft, pair.draft if pair else None, mark)
    choices = [
        _named(mark.gamma, str(settings.gamma)),
        _named("T", f"{settings.temperature:g}"),
        *([_named("top-k", str(settings.top_k))] if settings.top_k else []),
        *([_named("top-p", f"{settings.top_p:g}")] if settings.top_p < 1 else []),
        _named("seed", str(settings.seed)),
    ]
    machine = _machine(pair)
    named = [_named("target", target), _named("draft", draft)]
    return first_fitting(
        width,
        fields(*named, *choices, *machine, gap=3),
        fields(*named, *choices, *machine, gap=2),
        fields(Content(f"{target} + {draft}"), *choices, *machine, gap=2),
        fields(Content(f"{target} + {draft}"), *choices, *machine[:1], gap=2),
        fields(Content(elide(f"{target} + {draft}", max(width - 24, 12), mark.more)), *choices, gap=2),
    )


def prompt_line(name: str, prompt: str, width: int, mark: Marks, ascii_only: bool) -> Content:
    """The prompt's name and its beginning on one line."""
    head = Content.assemble(("prompt ", "$muted"), name, "   ")
    flat = one_line(prompt.rstrip("\n"), f" {mark.newline} ", " ", ascii_only)
    text = elide(" ".join(flat.split()), max(width - head.cell_length, 0), mark.more)
    return head + Content.styled(text, "$muted")


def _model(name: str, card: ModelCard | None, mark: Marks) -> str:
    short = name.rstrip("/").rpartition("/")[2] or name
    short = elide(one_line(short, " ", " "), 24, mark.more)
    return f"{short} {count(card.parameters)}" if card is not None else short


def _machine(pair: PairLoaded | None) -> list[Content]:
    if pair is None:
        return []
    dtype = _SHORT_DTYPES.get(pair.target.dtype, pair.target.dtype)
    threads = f"{pair.threads} thread" + ("s" if pair.threads != 1 else "")
    return [Content(f"{pair.runtime} {dtype}"), Content(threads)]


def _named(name: str, value: str) -> Content:
    return Content.assemble((f"{name} ", "$muted"), value)
