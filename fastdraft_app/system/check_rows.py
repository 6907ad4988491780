"""What the checks of this machine found: a row each, and all about one of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.cells import cell_len
from textual.content import Content

from fastdraft_app.system.machine import counts
from fastdraft_app.theme.palette import Marks
from fastdraft_core.events import Check, CheckStatus
from fastdraft_core.formatting import elide, one_line

STYLES = {"ok": "$success", "warn": "$warning", "fail": "$error", "": "$muted"}
_WORDS = {"ok": "fine", "warn": "a warning", "fail": "broken"}
ABOUT = {
    "versions": "Without torch, transformers and tokenizers nothing decodes; the others are for more runtimes and for training.",
    "processor and memory": "Cores and memory are those that this process may use, a container's limits included.",
    "folders": "FASTDRAFT_HOME moves all of them but the Hugging Face cache, which HF_HOME moves.",
    "logs": "What went wrong stands in them at full length. A job has a log.txt in its own folder.",
    "bundled pair": "What the app opens with: the bundled target and drafts, for which no network is needed, and smollm2 once it was brought.",
    "devices": "The first one is taken where nobody chooses.",
    "memory bandwidth": "Decoding reads all weights for every token, so this bounds the tokens/s of a model larger than the cache.",
}
"""What a group of checks means; one that is not known here has no words."""


def sign(status: CheckStatus, mark: Marks) -> str:
    """The sign of a status, so that it needs no colour."""
    return {"ok": mark.done, "warn": mark.warned, "fail": mark.failed}[status]


def name_width(checks: Sequence[Check], width: int) -> int:
    """Cells for the names in rows of ``width`` cells."""
    return min(max((cell_len(_name(check)) for check in checks), default=0), width * 2 // 5)


def check_row(check: Check, names: int, width: int, mark: Marks, *, stale: bool = False) -> Content:
    """One check on one line of ``width`` cells, its name in ``names`` of them; a ``stale`` one is of the look before."""
    name = elide(_name(check), names, mark.more)
    value = _shortened(one_line(check.value, " ", " "), max(width - names - 4, 0), mark)
    return Content.assemble(
        (sign(check.status, mark), "$muted" if stale else STYLES[check.status]),
        (f" {name}{' ' * (names - cell_len(name))}  ", "$muted"),
        (value, "$muted" if stale else "$foreground"),
    )


def _name(check: Check) -> str:
    """The name without that of the group, which stands over it."""
    return one_line(check.name.removeprefix(f"{check.group}, "), " ", " ")


def _shortened(value: str, width: int, mark: Marks) -> str:
    """``value`` in ``width`` cells; of a long path the end says more."""
    if cell_len(value) <= width or not Path(value).is_absolute():
        return elide(value, width, mark.more)
    kept = value[-width:]
    while cell_len(mark.more + kept) > width:
        kept = kept[1:]
    return mark.more + kept


def check_words(check: Check, mark: Marks) -> Content:
    """All about one check: what was found, what to do, what it means."""
    found = one_line(check.value, "\n", " ")
    parts = [
        Content.assemble((f"{sign(check.status, mark)} {_WORDS[check.status]}", STYLES[check.status]), "   ", found)
    ]
    if check.advice:
        parts.append(Content(one_line(check.advice, "\n", " ")))
    if check.group in ABOUT:
        parts.append(Content.styled(ABOUT[check.group], "$muted"))
    return Content("\n").join(parts)


def count_words(checks: Sequence[Check]) -> Content:
    """How many failures and warnings there are, each in its colour."""
    return Content(" ").join([Content.styled(words, STYLES[status]) for status, words in counts(checks)])
