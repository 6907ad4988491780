"""What is measured on: the paper's tasks and others, with their templates and lengths. This is the one place for them.

The paper names its tasks and nothing of their prompts or lengths, so those here are this project's own. The prompts of a
task are spread evenly over its rows, so that one run differs from the next in nothing.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import itertools
import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from fastdraft_core import places
from fastdraft_core.decoding.sampling import Sampling
from fastdraft_core.engine.pair import Pair
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import TaskCard
from fastdraft_core.models.conversation import Conversation
from fastdraft_core.models.prompt_ids import refuse_surrogates

Row = dict[str, Any]

#: Rows read of a data set on the hub, from its beginning: enough to choose prompts from.
_MOST_HUB_ROWS = 500
_LINES = (".jsonl", ".jsonl.gz")


def has_rows(path: Path) -> bool:
    """Whether a file's name says that it holds rows; any other file is one text."""
    return path.name.endswith((*_LINES, ".json"))


def read_text(path: Path) -> str:
    """The text of a file, unpacked if its name ends with ``.gz``.

    Raises:
        FastdraftError: it cannot be read as text.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        # Some editors put a byte order mark before the text; it is no part of it.
        return data.decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise FastdraftError(f"{path} cannot be read as text ({error}).") from error


def file_rows(path: Path) -> list[Row]:
    """Rows of a ``.jsonl`` (``.jsonl.gz``), or of a ``.json`` that holds a list. A bare string is the row ``{"text": …}``.

    Raises:
        FastdraftError: the file cannot be read, or holds something else; the message names the line.
    """
    text = read_text(path)
    if path.name.endswith(_LINES):
        # Not splitlines, which also ends a line at characters that a JSON string may hold, such as U+2028.
        lines = [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
        rows = [_row(_json(line, f"{path}, line {n}"), f"{path}, line {n}") for n, line in lines]
    else:
        items = _json(text, str(path))
        rows = [_row(item, f"{path}, row {n}") for n, item in enumerate(items, 1)] if isinstance(items, list) else []
    if not rows:
        raise FastdraftError(f"{path} holds no rows; give a file with one JSON object a line, or a list of them.")
    return rows


def hub_rows(dataset: str, config: str | None, split: str) -> list[Row]:
    """The first rows of a split of a data set on the hub; nothing of it runs as code.

    Raises:
        FastdraftError: it is not there or the hub cannot be reached.
    """
    import datasets

    try:
        stream = datasets.load_dataset(dataset, config, split=split, streaming=True)
        return [dict(row) for row in itertools.islice(stream, _MOST_HUB_ROWS)]
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise FastdraftError(
            f"The data set {dataset} cannot be read from the hub ({reason}). Check the network, or give a local file: "
            "--task NAME=FILE."
        ) from error


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FastdraftError(f"{where}: this is no JSON ({error}).") from error


def _row(item: Any, where: str) -> Row:
    if isinstance(item, str):
        return {"text": item}
    if not isinstance(item, dict):
        raise FastdraftError(f"{where}: there is neither a JSON object nor a text.")
    return item


@dataclass(frozen=True, slots=True)
class Prompt:
    """A text to continue and the task it belongs to."""

    task: str
    name: str
    text: str


#: JSON's words for what is no text.
_KINDS = {list: "list", dict: "JSON object", bool: "boolean"}


def bundled_prompts(task: str | None = None) -> list[Prompt]:
    """The project's own prompts, all or those of one task (``code`` or ``text``).

    Raises:
        FastdraftError: there is no such task.
    """
    data = tomllib.loads((places.assets() / "demo" / "prompts.toml").read_text(encoding="utf-8"))
    prompts = [Prompt(**entry) for entry in data["prompt"]]
    chosen = [p for p in prompts if task in (None, p.task)]
    if not chosen:
        raise FastdraftError(f"There is no task {task!r}; bundled: {', '.join(sorted({p.task for p in prompts}))}.")
    return chosen


def file_prompts(path: Path, field: str = "prompt") -> list[Prompt]:
    """Prompts of a file: every row of a ``.jsonl`` or ``.json`` (its ``field``), or any other file as one prompt.

    Raises:
        FastdraftError: the file cannot be read, a row lacks the field or has no text in it, or there is nothing to continue.
    """
    task = path.name.partition(".")[0]
    if not has_rows(path):
        return [Prompt(task, path.name, not_empty(read_text(path), f"The prompt of {path}"))]
    prompts = []
    for number, row in enumerate(file_rows(path), 1):
        if field not in row:
            raise FastdraftError(f"{path}, row {number}: there is no JSON object with the field {field!r}.")
        if not isinstance(row[field], str):
            told = "null" if row[field] is None else f"a {_KINDS.get(type(row[field]), 'number')}"
            raise FastdraftError(
                f"{path}, row {number}: the field {field!r} holds {told} and no text. Name the field that holds the prompt by "
                "--field, or mend the row."
            )
        text = not_empty(row[field], f"The prompt of {path}, row {number},")
        prompts.append(Prompt(task, f"{path.name}:{number}", text))
    return prompts


def not_empty(text: str, what: str) -> str:
    """``text``; white space alone would be measured as if it were a prompt.

    Raises:
        FastdraftError: there is nothing else in it, or it is no Unicode; the sentence begins with ``what``.
    """
    if not text.strip():
        raise FastdraftError(f"{what} is empty; give some text to continue.")
    refuse_surrogates(text, what.rstrip(","))
    return text


_Item = TypeVar("_Item")

#: New tokens after each bundled prompt or prompt of a plain file, and prompts a task.
LENGTH = 64
PROMPTS = 6
_ROUNDS = 40


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A public benchmark: where it lies on the hub (id, configuration, split) and how a row becomes a prompt.

    Of a field that is a list, such as the turns of a conversation, the first item is used; what follows in the field ``cut`` is
    asked after the model's own answers.
    The first of ``templates`` whose fields the row has is used; ``cut`` is the field that is shortened where a context
    is too small, and to its first ``words`` where that makes the task. ``chat`` None means the model's chat
    template where it has one; a text to be continued never stands in it.
    """

    hub: tuple[str, str | None, str] | None
    templates: tuple[str, ...]
    cut: str
    length: int
    chat: bool | None = None
    words: int | None = None


BENCHMARKS = {
    "cnn-dm": Benchmark(
        ("abisee/cnn_dailymail", "3.0.0", "test"),
        ("Summarize the following news article.\n\n{article}\n\nSummary:",),
        cut="article",
        length=128,
    ),
    "tinystories": Benchmark(
        ("roneneldan/TinyStories", None, "validation"), ("{text}",), cut="text", length=128, chat=False, words=32
    ),
    "dolly": Benchmark(
        ("databricks/databricks-dolly-15k", None, "train"),
        ("{prompt}", "{instruction}\n\n{context}\n\nAnswer:", "{instruction}\n\nAnswer:"),
        cut="context",
        length=128,
    ),
    "humaneval": Benchmark(
        ("openai/openai_humaneval", None, "test"), ("{prompt}",), cut="prompt", length=128, chat=False
    ),
    "mbpp": Benchmark(
        ("google-research-datasets/mbpp", "full", "test"),
        ('"""\n{text}\n\n{test_list}\n"""\n',),
        cut="text",
        length=128,
        chat=False,
    ),
    "gsm8k": Benchmark(
        ("openai/gsm8k", "main", "test"), ("Question: {question}\nAnswer:",), cut="question", length=128
    ),
    # Not on the hub; its question.jsonl is given as a file.
    "spec-bench": Benchmark(None, ("{turns}",), cut="turns", length=128),
}
#: The paper's four, in its order.
PAPER = ("cnn-dm", "tinystories", "dolly", "humaneval")
_BUNDLED = ("code", "text")


@dataclass(frozen=True, slots=True)
class Source:
    """A prompt as a row and its template; ``later`` is what is asked after the model's answer, turn by turn."""

    row: Row
    template: str
    cut: str
    later: tuple[str, ...] = ()

    def text(self, words: int | None = None) -> str:
        """The prompt, with at most ``words`` words of the field that may be cut."""
        row = self.row
        if words is not None and isinstance(row.get(self.cut), str):
            row = {**row, self.cut: _first_words(row[self.cut], words)}
        return self.template.format_map(row)

    @property
    def questions(self) -> list[str]:
        """All that is asked."""
        return [self.text(), *self.later]

    @property
    def words(self) -> int:
        """Words of the field that may be cut."""
        return len(str(self.row.get(self.cut, "")).split())


@dataclass(frozen=True, slots=True)
class Task:
    """A task ready to run once a pair is known.

    ``request`` and ``field`` are what was typed for it, a file by its whole path: a sweep goes on from any folder. ``texts`` are what
    is decoded, later turns as conversations; ``unfit`` counts later turns that no context has room for.
    """

    name: str
    request: str
    source: str
    sources: list[Source]
    length: int
    chat: bool | None = None
    field: str = ""
    texts: list[str | Conversation] = dataclasses.field(default_factory=list)
    cut: int = 0
    unfit: int = 0

    def fitted(self, pairs: Sequence[Pair]) -> Task:
        """With the texts of the prompts, shortened where prompt and new tokens would not fit into every context.

        Raises:
            FastdraftError: a prompt does not fit even with one word left.
        """
        room = min(r.context_length for p in pairs for r in (p.target, p.draft) if r is not None) - self.length - 1
        texts: list[str | Conversation] = []
        cut = 0
        for source in self.sources:
            first = _fit(source, pairs[0], self.chat, room, self.name)
            cut += first != source.text()
            texts += [first, *_later(source, first, pairs[0], self, room)]
        turns = sum(1 + len(source.later) for source in self.sources)
        return replace(self, texts=texts, cut=cut, unfit=turns - len(texts))

    def card(self, pair: Pair) -> TaskCard:
        """The task as it is run with this pair."""
        template = getattr(pair.tokenizer, "chat_template", None)
        return TaskCard(
            name=self.name,
            request=self.request,
            field=self.field,
            source=self.source,
            template=" | ".join(dict.fromkeys(s.template for s in self.sources)),
            prompts=len(self.sources),
            later=len(self.texts) - len(self.sources),
            unfit=self.unfit,
            length=self.length,
            cut=self.cut,
            chat=bool(template) and self.chat is not False,
            digest=hashlib.sha256("\0".join(map(_words, self.texts)).encode()).hexdigest()[:16],
            prompt=_words(self.texts[0]),
        )


def load_tasks(asked: str, count: int = PROMPTS, length: int = 0) -> list[Task]:
    """The tasks of a list such as ``code,text,humaneval=HumanEval.jsonl.gz``; ``length`` 0 means each task's own.

    A name is a bundled task (code, text) or a benchmark, from the hub or from the file after ``=``.

    Raises:
        FastdraftError: a name is not known, or its rows cannot be read.
    """
    names = [part.strip() for part in asked.split(",") if part.strip()]
    if not names:
        raise FastdraftError("--task is empty; name at least one task, for example code,text.")
    tasks = [_load(name, count, length) for name in names]
    if len({t.name for t in tasks}) < len(tasks):
        raise FastdraftError("--task names a task twice.")
    return tasks


def file_task(path: Path, field: str, count: int = PROMPTS, length: int = 0) -> Task:
    """A plain prompt file as a task of its own.

    Raises:
        FastdraftError: it cannot be read, a row lacks the field, or a prompt is empty.
    """
    path = path.expanduser().absolute()
    prompts = file_prompts(path, field)
    sources = [Source({"text": p.text}, "{text}", "text") for p in spread(prompts, count)]
    return Task(prompts[0].task, str(path), path.name, sources, length or LENGTH, field=field)


def spread(items: Sequence[_Item], count: int) -> list[_Item]:
    """At most ``count`` items, evenly spaced over all of them."""
    count = min(count, len(items))
    return [items[i * len(items) // count] for i in range(count)]


def _load(request: str, count: int, length: int) -> Task:
    name, _, file = request.partition("=")
    if name in _BUNDLED and not file:
        prompts = spread(bundled_prompts(name), count)
        sources = [Source({"text": p.text}, "{text}", "text") for p in prompts]
        return Task(name, request, "bundled prompts", sources, length or LENGTH)
    if name not in BENCHMARKS:
        known = ", ".join((*_BUNDLED, *BENCHMARKS))
        raise FastdraftError(f"There is no task {name!r}; use {known}, or --prompt-file for prompts of your own.")
    benchmark = BENCHMARKS[name]
    if file:
        path = Path(file).expanduser().absolute()
        rows, source, request = file_rows(path), path.name, f"{name}={path}"
    elif benchmark.hub:
        rows, source = hub_rows(*benchmark.hub), " ".join(part for part in benchmark.hub if part)
    else:
        raise FastdraftError(f"{name} is not on the hub; give its file: --task {name}=FILE.")
    sources = [_source(row, benchmark, name) for row in spread(rows, count)]
    return Task(name, request, source, sources, length or benchmark.length, benchmark.chat)


def _source(row: Row, benchmark: Benchmark, name: str) -> Source:
    turns = row.get(benchmark.cut)
    later = tuple(map(str, turns[1:])) if isinstance(turns, list) else ()
    row = {key: value[0] if isinstance(value, list) and value else value for key, value in row.items()}
    for template in benchmark.templates:
        needed = re.findall(r"{(\w+)", template)
        if all(row.get(f) for f in needed):
            cut = benchmark.cut if benchmark.cut in needed else needed[0]
            if benchmark.words is not None:
                row = {**row, cut: _first_words(row[cut], benchmark.words)}
            return Source(row, template, cut, later)
    wanted = " or ".join(sorted({", ".join(re.findall(r"{(\w+)", t)) for t in benchmark.templates}))
    raise FastdraftError(f"A row of {name} has no {wanted}; it has {', '.join(map(str, row)) or 'nothing'}.")


def _first_words(text: str, count: int) -> str:
    words = list(re.finditer(r"\S+", text))
    return text if len(words) <= count else text[: words[count - 1].end()]


def _later(source: Source, first: str, pair: Pair, task: Task, room: int) -> Iterator[str | Conversation]:
    """The later turns of a prompt, as Spec-Bench has them: each after all that was asked before it and what the model answered.

    The answers are the target's own, greedy, at most the task's length: the same for every draft. A turn that does not fit into
    ``room`` tokens ends the conversation. A model without a chat template reads the turns as paragraphs of one text.
    """
    asked = pair.given(first, chat=task.chat)
    for question in source.later:
        request = pair.request(asked, max_new_tokens=task.length, sampling=Sampling(), chat=False)
        ids = [token for record in pair.decode("ar", request, 0) for token in record.emitted]
        answer = pair.tokenizer.decode(ids, skip_special_tokens=True)
        if isinstance(asked, Conversation):
            asked = Conversation(question, asked.answered(answer, ids), asked.system)
        else:
            asked = f"{asked}\n\n{answer}\n\n{question}"
        if len(pair.ids(asked, chat=False)) > room:
            return
        yield asked


def _words(asked: str | Conversation) -> str:
    """All that is said in a prompt, for its digest."""
    if isinstance(asked, str):
        return asked
    return "\0".join(message["content"] for message in asked.messages())


def _fit(source: Source, pair: Pair, chat: bool | None, room: int, name: str) -> str:
    words: int | None = None
    for _ in range(_ROUNDS):
        text = not_empty(source.text(words), f"A prompt of {name}")
        size = len(pair.ids(text, chat=chat))
        if size <= room:
            return text
        now = words if words is not None else source.words
        if now <= 1:
            break
        words = max(1, min(now - 1, int(now * room / size)))
    raise FastdraftError(
        f"A prompt of {name} and its new tokens do not fit into the context ({room} tokens are left for a prompt). "
        "Use a smaller --length, or models with a longer context."
    )
