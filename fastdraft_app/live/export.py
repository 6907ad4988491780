"""A run as a file for people and programs: JSON lines, Markdown, plain text, and the screen as a picture."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from fastdraft_app.exports import export_folder, free_name
from fastdraft_app.live.recordings import machine_words
from fastdraft_app.live.replay import MODES, RUN_NAMES, Recording, Track
from fastdraft_app.live.run_pane import given_text
from fastdraft_app.settings.settings import OFF, Settings
from fastdraft_app.theme.palette import UNICODE_MARKS, glyph
from fastdraft_core.events import Block, Compared, ModelCard, PairLoaded, RunMetrics, encode
from fastdraft_core.files import write_atomic
from fastdraft_core.formatting import count, percent, safe
from fastdraft_core.recordings import Recorded

EXPORTS = {
    "md": "Markdown: figures, texts and every block",
    "txt": "plain text: the same to read in a terminal",
    "jsonl": "JSON lines: every event, to replay or to compute with",
    "svg": "SVG picture of the screen",
}
"""What can be exported, by the ending of its file."""

_TableRow = tuple[str, ...]


def export(kind: str, recorded: Recorded, settings: Settings, picture: Callable[[], str]) -> Path:
    """Write ``recorded`` as ``kind`` and return the file; an existing file is never replaced.

    Raises:
        OSError: the folder cannot be written.
    """
    makers = {"md": markdown, "txt": plain_text, "jsonl": json_lines, "svg": lambda _: picture()}
    path = free_name(export_folder(settings), kind)
    write_atomic(path, makers[kind](recorded).encode())
    return path


def json_lines(recorded: Recorded) -> str:
    """The recording itself."""
    return b"".join(map(encode, [recorded.header, *recorded.events])).decode()


def markdown(recorded: Recorded) -> str:
    """A page with the figures as tables and the texts as they are."""
    recording = Recording(recorded.events)
    head, *rows = _figures(recording)
    parts = [
        f"# {_cell(_title(recorded))}",
        _verdict(recording),
        "\n".join([_table_row(head), "| --- |" + " ---: |" * (len(head) - 1), *map(_table_row, rows)]),
        "\n".join(f"- {name}: {_cell(value)}" for name, value in _facts(recorded)),
        f"## Prompt\n\n{_fenced(_given(recorded, recording))}",
    ]
    for mode, track in recording.tracks.items():
        parts.append(f"## {RUN_NAMES[mode].capitalize()} text\n\n{_fenced(track.text(track.num_steps))}")
    if MODES[1] in recording.tracks:
        parts.append(f"## Blocks\n\n{_fenced(_blocks(recording.tracks[MODES[1]]))}")
    return "\n\n".join(part for part in parts if part) + "\n"


def plain_text(recorded: Recorded) -> str:
    """The same without markup, control characters made visible."""
    recording = Recording(recorded.events)
    rows = [*_figures(recording)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    table = ["  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
             for row in rows]  # fmt: skip
    parts = [
        _title(recorded),
        _verdict(recording),
        "\n".join(line.rstrip() for line in table),
        "\n".join(f"{name}: {value}" for name, value in _facts(recorded)),
        f"--- prompt\n{safe(_given(recorded, recording))}",
    ]
    for mode, track in recording.tracks.items():
        parts.append(f"--- {RUN_NAMES[mode]} text\n{safe(track.text(track.num_steps))}")
    if MODES[1] in recording.tracks:
        parts.append(f"--- blocks\n{_blocks(recording.tracks[MODES[1]])}")
    return "\n\n".join(part for part in parts if part) + "\n"


def _given(recorded: Recorded, recording: Recording) -> str:
    """What the models were given: a text, or the turns of a conversation, each question marked."""
    started = next((track.started for track in recording.tracks.values()), None)
    if started is None or not started.chat:
        return recorded.header.run.prompt
    return given_text(started, UNICODE_MARKS).rstrip()


def _title(recorded: Recorded) -> str:
    load = recorded.header.load
    return safe(f"fastdraft: {load.target} with draft {load.draft or OFF}")


def _verdict(recording: Recording) -> str:
    compared = recording.compared
    if compared is None:
        return ""
    faster = f"Speculative decoding ran at {compared.speedup:.2f} times the autoregressive decode speed."
    return " ".join(filter(None, [faster, _agreement(compared), compared.slower]))


def _agreement(compared: Compared) -> str:
    if compared.identical is None:
        return "Both sample from the same distribution; the tokens differ."
    if compared.identical:
        return "Both texts are identical, token by token."
    if compared.parted is None:
        return "The texts differ."
    parted = compared.parted
    margin = f"the target's margin there is {parted.margin:.3g}, rounding noise {parted.noise:.3g}"
    return f"The texts part at token {parted.position} ({'a near-tie' if parted.tie else 'no tie'}: {margin})."


def _figures(recording: Recording) -> Iterator[_TableRow]:
    """A table: a head, then one row a figure with a column for each run that has ended."""
    ended = {mode: track.finished.metrics for mode, track in recording.tracks.items() if track.finished is not None}
    yield ("measured", *(RUN_NAMES[mode] for mode in ended))
    figures: dict[str, Callable[[RunMetrics], str]] = {
        "decode speed": lambda m: f"{m.tokens_per_second:.1f} tokens/s",
        "decode time": lambda m: f"{m.seconds:.3f} s",
        "tokens after the first": lambda m: f"{m.tokens}",
    }
    speculative: dict[str, Callable[[RunMetrics], str]] = {
        "acceptance (accepted/drafted)": lambda m: f"{m.acceptance:.3f}",
        "tau (tokens a target pass, bonus included)": lambda m: f"{m.tau:.2f}",
        "MBSU by parameters": lambda m: f"{m.mbsu:.2f}",
        "draft / verify / overhead time": lambda m: " / ".join(
            percent(share) for share in (m.draft_share, m.verify_share, m.overhead_share)
        ),
    }
    for name, figure in figures.items():
        yield (name, *(figure(metrics) for metrics in ended.values()))
    for name, figure in speculative.items():
        if MODES[1] in ended:
            yield (name, *(figure(metrics) if mode == MODES[1] else "" for mode, metrics in ended.items()))


def _facts(recorded: Recorded) -> list[tuple[str, str]]:
    run, machine = recorded.header.run, recorded.header.machine
    pair = next((event for event in recorded.events if isinstance(event, PairLoaded)), None)
    sampling = "greedy" if run.temperature == 0 else f"T {run.temperature:g}, top-k {run.top_k}, top-p {run.top_p:g}"
    facts = [("settings", f"gamma {run.gamma}, {sampling}, seed {run.seed}, at most {run.max_new_tokens} new tokens")]
    if pair is not None:
        facts.append(("target", _model(pair.target)))
        facts.append(("draft", _model(pair.draft) if pair.draft is not None else pair.draft_problem or OFF))
        facts.append(("runtime", f"{pair.runtime}, {pair.threads} threads"))
    facts.append(("machine", machine_words(recorded.header)))
    if machine is not None:
        versions = [f"{name} {version}" for name, version in machine.versions.items() if version != "absent"]
        facts.append(("versions", ", ".join([f"fastdraft {machine.fastdraft}", f"Python {machine.python}", *versions])))
    facts.append(("how", "timed one after the other, each after a warm-up; times leave the first token out"))
    if recorded.problem:
        facts.append(("note", recorded.problem))
    return [(name, " ".join(safe(value).split())) for name, value in facts]


def _model(card: ModelCard) -> str:
    if not card.is_model:
        return f"{card.name}, {card.architecture}, no model"
    return f"{card.name}, {count(card.parameters)} parameters, {card.architecture}, {card.dtype} on {card.device}"


def _blocks(track: Track) -> str:
    """One line a block: its marks in order, when it ended, and what it cost."""
    return "\n".join(_block(block) for block in track.blocks)


def _block(block: Block) -> str:
    tokens = [*block.drafted, *([block.extra] if block.extra is not None else [])]
    marks = "".join(glyph(token.state, ascii_only=False) for token in tokens)
    costs = f"draft {block.draft_seconds * 1e3:.1f} ms, verify {block.verify_seconds * 1e3:.1f} ms"
    return f"{block.index + 1:4}  {marks:14}  {block.at:8.3f} s  {costs}"


def _table_row(cells: _TableRow) -> str:
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(text: str) -> str:
    """Text inside a table or a list: nothing in it is markup."""
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", text)


def _fenced(text: str) -> str:
    """Text as a code block, with a fence longer than any inside; control characters are made visible."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(longest + 1, 3)
    return f"{fence}text\n{safe(text)}\n{fence}"
