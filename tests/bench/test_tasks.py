"""Tasks: every benchmark's rows become prompts, by templates written in one place; what cannot is one sentence."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from fastdraft_core.bench.tasks import BENCHMARKS, PAPER, Task, file_prompts, file_rows, file_task, load_tasks, spread
from fastdraft_core.decoding.sampling import Sampling
from fastdraft_core.engine.load_options import LoadOptions
from fastdraft_core.engine.pair import Pair, load_pair
from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.catalog import DEMO
from fastdraft_core.models.conversation import Conversation
from tests.bench.letters import letters_pair

ROWS = {
    "cnn-dm": {"article": "A dog ran. It barked.", "highlights": "Dog."},
    "tinystories": {"text": " ".join(f"word{i}" for i in range(50))},
    "dolly": {"instruction": "Name a river.", "context": "", "response": "Rhine"},
    "humaneval": {"task_id": "HumanEval/0", "prompt": "def f(x):\n    ", "test": "{not a field}"},
    "mbpp": {"task_id": 1, "text": "Add two numbers.", "test_list": ["assert f(1, 2) == 3", "assert f(0, 0) == 0"]},
    "gsm8k": {"question": "One and one?", "answer": "2"},
    "spec-bench": {"question_id": 81, "category": "writing", "turns": ["Write a poem.", "Again."]},
}


def jsonl(path: Path, rows: list[object]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def prompt_of(name: str, row: object, tmp_path: Path) -> str:
    """The one prompt that a task makes of a row."""
    (task,) = load_tasks(f"{name}={jsonl(tmp_path / 'rows.jsonl', [row])}")
    return task.sources[0].text()


@pytest.fixture(scope="module")
def demo() -> Pair:
    """The bundled target alone."""
    return load_pair(DEMO, None, LoadOptions(device="cpu", dtype="float32", threads=1))


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_makes_a_prompt_of_its_rows(name: str, tmp_path: Path) -> None:
    """A row as published gives a prompt that holds its text, and nothing of its answer."""
    text = prompt_of(name, ROWS[name], tmp_path)
    question = {"dolly": "Name a river.", "mbpp": "assert f(1, 2) == 3", "spec-bench": "Write a poem."}
    assert question.get(name, "word0" if name == "tinystories" else next(iter(text.split()))) in text
    for answer in ("Rhine", "Dog.", "{not a field}", "Again.", "f(0, 0)"):
        assert answer not in text


def test_a_story_is_begun_and_not_told(tmp_path: Path) -> None:
    """TinyStories is completion: its prompt is a beginning of 32 words, spaces as they were."""
    text = prompt_of("tinystories", {"text": "One  day,\n\n" + "a " * 60}, tmp_path)
    assert text.startswith("One  day,\n\na a")
    assert len(text.split()) == 32


def test_an_instruction_with_context_keeps_it(tmp_path: Path) -> None:
    """Dolly rows with a context are asked with it; ready-made prompts are taken as they are."""
    row = {"instruction": "Which river?", "context": "The Rhine flows.", "response": "x"}
    assert "The Rhine flows." in prompt_of("dolly", row, tmp_path)
    assert prompt_of("dolly", {"prompt": "### Instruction:\nHi", "answer": "x"}, tmp_path) == "### Instruction:\nHi"


def test_braces_in_a_row_are_text(tmp_path: Path) -> None:
    """Data is data: nothing in it is a field of a template."""
    assert prompt_of("gsm8k", {"question": "What is {answer} or {0.__class__}?", "answer": "4"}, tmp_path) == (
        "Question: What is {answer} or {0.__class__}?\nAnswer:"
    )


def test_prompts_are_spread_over_the_rows(tmp_path: Path) -> None:
    """Spec-Bench is sorted by category: the first rows alone would be one of six."""
    assert spread(range(480), 6) == [0, 80, 160, 240, 320, 400]
    assert spread(range(3), 6) == [0, 1, 2]
    file = jsonl(tmp_path / "q.jsonl", [{"turns": [f"q{i}"]} for i in range(12)])
    (task,) = load_tasks(f"spec-bench={file}", count=3)
    assert [s.text() for s in task.sources] == ["q0", "q4", "q8"]


def test_lists_archives_and_bare_strings_are_rows(tmp_path: Path) -> None:
    """The formats in which these benchmarks are passed around."""
    (tmp_path / "stories.json").write_text(json.dumps(["One.", "Two."]))
    assert file_rows(tmp_path / "stories.json") == [{"text": "One."}, {"text": "Two."}]
    packed = jsonl(tmp_path / "H.jsonl.gz", [ROWS["humaneval"]])
    assert file_rows(packed) == [ROWS["humaneval"]]
    assert [p.task for p in file_prompts(packed)] == ["H"]


def test_a_line_ends_at_a_newline_only(tmp_path: Path) -> None:
    """A JSON string may hold U+2028 or U+0085 as they are; blank lines are no rows, and damage is named by its line."""
    path = tmp_path / "x.jsonl"
    path.write_text('{"prompt": "a\u2028b\x85c"}\n\n{"prompt": "d"}\r\n\n', encoding="utf-8", newline="")
    assert [row["prompt"] for row in file_rows(path)] == ["a\u2028b\x85c", "d"]
    path.write_text('{"prompt": "a"}\n\n{"prompt"\n', encoding="utf-8")
    with pytest.raises(FastdraftError, match="line 3"):
        file_rows(path)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("poems", "no task 'poems'; use code, text, cnn-dm"),
        ("code,code", "twice"),
        (" , ", "empty"),
        ("spec-bench", "give its file: --task spec-bench=FILE"),
        ("gsm8k=/nowhere.jsonl", "/nowhere.jsonl"),
    ],
)
def test_wrong_tasks_are_one_sentence(asked: str, words: str) -> None:
    """Before any model is loaded."""
    with pytest.raises(FastdraftError, match=words):
        load_tasks(asked)


def test_a_row_of_something_else_is_named(tmp_path: Path) -> None:
    """The wrong file says which fields are missed and which are there; damaged lines are named."""
    file = jsonl(tmp_path / "x.jsonl", [{"a": 1, "b": 2}])
    with pytest.raises(FastdraftError, match="A row of gsm8k has no question; it has a, b"):
        load_tasks(f"gsm8k={file}")
    file.write_text('{"question": "fine"}\nnot json\n')
    with pytest.raises(FastdraftError, match="line 2: this is no JSON"):
        load_tasks(f"gsm8k={file}")
    file.write_text("[1]\n")
    with pytest.raises(FastdraftError, match="line 1: there is neither a JSON object nor a text"):
        load_tasks(f"gsm8k={file}")


def test_the_hub_out_of_reach_is_one_sentence() -> None:
    """Offline, a benchmark without a local file says what to do; tests run offline."""
    with pytest.raises(FastdraftError, match=r"openai/gsm8k cannot be read from the hub.*NAME=FILE"):
        load_tasks("gsm8k")


def test_prompts_are_cut_to_fit_the_context(demo: Pair, tmp_path: Path) -> None:
    """An article longer than the context loses its end, not the question after it; the card says how many were cut."""
    rows: list[object] = [{"article": "The quick brown fox jumps. " * 400}, {"article": "Short one."}]
    (task,) = load_tasks(f"cnn-dm={jsonl(tmp_path / 'a.jsonl', rows)}", length=40)
    fitted = task.fitted([demo])
    assert fitted.cut == 1
    assert all(text.endswith("Summary:") for text in fitted.texts)
    sizes = [len(demo.encode(text)) for text in fitted.texts]
    assert 300 < sizes[0] <= demo.target.context_length - 41
    card = fitted.card(demo)
    assert (card.name, card.cut, card.prompts, card.length, card.chat) == ("cnn-dm", 1, 2, 40, False)
    assert "{article}" in card.template


def test_a_context_too_small_for_anything_is_refused(tmp_path: Path) -> None:
    """Rather than measuring something else than was asked."""
    pair = letters_pair()
    pair.target.context_length = 70
    task = file_task(_text(tmp_path, "abcde" * 10), "prompt", length=64)
    with pytest.raises(FastdraftError, match="do not fit into the context"):
        task.fitted([pair])
    (task,) = load_tasks(f"tinystories={jsonl(tmp_path / 'blank.jsonl', [{'text': ' '}])}")
    with pytest.raises(FastdraftError, match="is empty"):
        task.fitted([pair])


def test_the_digest_knows_the_prompts(tmp_path: Path) -> None:
    """Two results are of the same prompts exactly when their digests are equal."""
    pair = letters_pair()

    def digest(text: str) -> str:
        return file_task(_text(tmp_path, text), "prompt").fitted([pair]).card(pair).digest

    assert digest("abc") == digest("abc") != digest("abd")


def test_a_file_is_remembered_by_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep begun beside its prompts goes on from the app, which was started somewhere else."""
    pair = letters_pair()
    (tmp_path / "rows.jsonl").write_text('{"prompt": "abc"}\n')
    monkeypatch.chdir(_text(tmp_path, "abc").parent)
    (rows,) = load_tasks("humaneval=rows.jsonl", length=4)
    cards = [task.fitted([pair]).card(pair) for task in (rows, file_task(Path("mine.txt"), "prompt", length=4))]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = [*load_tasks(cards[0].request, length=4), file_task(Path(cards[1].request), cards[1].field, length=4)]
    assert [task.fitted([pair]).card(pair) for task in again] == cards


def _text(folder: Path, text: str) -> Path:
    path = folder / "mine.txt"
    path.write_text(text)
    return path


REAL = {
    "cnn-dm": "cnn_dailymail/spec_bench_sum_80.jsonl",
    "tinystories": "tinystories/tinystories_1000.json",
    "dolly": "dolly/dolly_151.jsonl",
    "humaneval": "humaneval/HumanEval.jsonl.gz",
    "mbpp": "mbpp/mbpp.test.jsonl",
    "gsm8k": "gsm8k/test.jsonl",
    "spec-bench": "spec_bench/question.jsonl",
}


@pytest.mark.shared
@pytest.mark.parametrize("name", REAL)
def test_the_real_files_become_prompts(name: str, shared: Path, demo: Pair) -> None:
    """The benchmarks as published, on the bundled target with its small context."""
    (task,) = load_tasks(f"{name}={shared / 'data' / REAL[name]}")
    fitted: Task = task.fitted([demo])
    assert len(fitted.texts) == 6
    assert len(set(fitted.texts)) == 6
    assert all(8 <= len(demo.encode(text)) <= 512 - 128 - 1 for text in fitted.texts)


def test_the_papers_tasks_are_all_there() -> None:
    """The four of the paper, which --preset paper runs."""
    assert set(PAPER) <= BENCHMARKS.keys() == ROWS.keys()


@pytest.mark.parametrize(
    ("value", "words"), [(None, "null"), (["def add"], "a list"), ({"a": 1}, "a JSON object"), (3, "a number")]
)
def test_a_prompt_that_is_no_text_is_named(tmp_path: Path, value: object, words: str) -> None:
    """None and a list were measured as the texts "None" and "['def add']"."""
    path = tmp_path / "mine.jsonl"
    path.write_text(f"{json.dumps({'prompt': 'x'})}\n{json.dumps({'prompt': value})}\n")
    with pytest.raises(FastdraftError, match=rf"row 2: the field 'prompt' holds {words} and no text"):
        file_task(path, "prompt")


def test_a_prompt_that_is_no_unicode_is_named(tmp_path: Path) -> None:
    """JSON can escape half a surrogate pair, which no tokenizer takes."""
    path = tmp_path / "mine.jsonl"
    path.write_text('{"prompt": "half \\ud83d a pair"}\n')
    with pytest.raises(FastdraftError, match=r"row 1 is no valid Unicode: character 6"):
        file_task(path, "prompt")


@pytest.fixture
def two_turns(tmp_path: Path) -> str:
    """A Spec-Bench file of one conversation, as ``--task`` takes it."""
    return f"spec-bench={jsonl(tmp_path / 'question.jsonl', [{'turns': ['Ask one.', 'And then?']}])}"


def greedy(pair: Pair, asked: str | Conversation, length: int) -> list[int]:
    """The target's own greedy answer."""
    request = pair.request(asked, max_new_tokens=length, sampling=Sampling())
    return [token for record in pair.decode("ar", request, 0) for token in record.emitted]


def test_a_later_turn_comes_after_the_models_own_answer(chat_pair: tuple[str, str], two_turns: str) -> None:
    """As Spec-Bench runs its conversations: turn 2 is asked after what the model answered to turn 1, token by token."""
    pair = load_pair(*chat_pair, LoadOptions(device="cpu", dtype="float32", threads=1))
    (task,) = load_tasks(two_turns, length=16)
    fitted = task.fitted([pair])
    answer = greedy(pair, "Ask one.", 16)
    first, second = fitted.texts
    assert first == "Ask one."
    assert isinstance(second, Conversation)
    assert (second.question, second.earlier[0].question, second.earlier[0].ids) == ("And then?", "Ask one.", answer)
    card = fitted.card(pair)
    assert (card.prompts, card.later, card.unfit) == (1, 1, 0)
    assert card.digest == task.fitted([pair]).card(pair).digest
    # What has no room is left out, and counted.
    (long,) = load_tasks(two_turns, length=100)
    card = long.fitted([pair]).card(pair)
    assert (card.prompts, card.later, card.unfit) == (1, 0, 1)


def test_a_model_without_a_template_reads_turns_as_paragraphs(tiny_pair: tuple[str, str], two_turns: str) -> None:
    """It is continued, not asked: what it wrote stands between the two turns."""
    pair = load_pair(*tiny_pair, LoadOptions(device="cpu", dtype="float32", threads=1))
    (task,) = load_tasks(two_turns, length=12)
    answer = pair.tokenizer.decode(greedy(pair, "Ask one.", 12), skip_special_tokens=True)
    assert task.fitted([pair]).texts == ["Ask one.", f"Ask one.\n\n{answer}\n\nAnd then?"]


def test_text_of_a_later_turn_is_kept_out_of_training(two_turns: str) -> None:
    """What is asked later is evaluated on as well."""
    assert [source.questions for source in load_tasks(two_turns)[0].sources] == [["Ask one.", "And then?"]]
