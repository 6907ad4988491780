"""The built-in corpus and its held-out split."""

from __future__ import annotations

import ast
import hashlib
import itertools
from pathlib import Path

import pytest

from fastdraft_core.data import sources
from fastdraft_core.data.documents import Document, Segment
from fastdraft_core.data.sources import documents, read_documents
from fastdraft_core.errors import FastdraftError
from fastdraft_core.text_sources import TextSource


@pytest.fixture(autouse=True)
def small_corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same code over a few packages: the whole corpus takes a minute to read."""
    library = [p for p in sources._standard_library_files() if p[0].startswith(("json/", "logging/", "secrets"))]
    monkeypatch.setattr(sources, "_standard_library_files", lambda: tuple(library))
    monkeypatch.setattr(sources, "DOCSTRING_ROOTS", ("platformdirs", "msgspec"))


def both_sides(source: str) -> tuple[list[Document], list[Document]]:
    """Training and held-out documents."""
    return list(documents(source, held_out=False)), list(documents(source, held_out=True))


@pytest.mark.parametrize("source", ["code", "text"])
def test_training_and_held_out_share_no_file(source: str) -> None:
    """A held-out figure means something only if no part of its files was trained on."""
    train, held_out = both_sides(source)
    assert len(train) > len(held_out) > 0
    assert not {d.file for d in train} & {d.file for d in held_out}


@pytest.mark.parametrize("source", ["code", "text"])
def test_no_text_twice_not_even_across_the_split(source: str) -> None:
    """Docstrings are copied between packages: a copy on the other side would leak the answer."""
    texts = [d.text for d in itertools.chain(*both_sides(source))]
    assert len(texts) == len(set(texts))


HIDDEN = '''
async def deep():
    """{deep}"""
    try:
        class Tried:
            """{tried}"""
    except* OSError:
        def caught():
            """{caught}"""
    finally:
        def at_last():
            """{at_last}"""
def beside():
    """{beside}"""
match 1:
    case 1:
        def matched():
            """{matched}"""
for _ in []:
    with open("x") as file, open("y"):
        def opened():
            """{opened}"""
else:
    def elsewhere():
        """{elsewhere}"""
'''


def test_every_docstring_is_found_in_the_order_of_a_walk(tmp_path: Path) -> None:
    """Wherever a function may hide; another order would be another shard, which a job that goes on refuses."""
    names = ("deep", "tried", "caught", "at_last", "beside", "matched", "opened", "elsewhere")
    path = tmp_path / "hidden.py"
    path.write_text(HIDDEN.format(**{name: f"Where it hides: {name}. " + "Long. " * 16 + "End." for name in names}))
    holders = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    walked = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, holders)]
    assert [document.text for document in sources._docstrings("hidden.py", path)] == list(
        map(ast.get_docstring, walked)
    )
    assert len(walked) == len(names)


def test_a_copy_in_a_held_out_file_is_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same text in a training file and a held-out one stays on the side that came first."""
    names = [f"file-{i}.py" for i in range(200)]
    segments = [Segment(n, lambda skip, n=n: iter([Document(n, "same")][skip:]), n) for n in names]  # type: ignore[misc]
    monkeypatch.setitem(sources._SOURCES, "code", lambda: segments)
    assert len([*both_sides("code")[0], *both_sides("code")[1]]) == 1


@pytest.mark.parametrize("source", ["code", "text"])
def test_what_is_wanted_of_one_side_is_all_that_is_read(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look for held-out text must not parse every package: what is known to be on the other side is passed over."""
    opened: list[str] = []
    read = sources._read

    def noting(path: Path) -> str:
        opened.append(path.name)
        return read(path)

    every = [d for d in read_documents(source) if d.held_out]
    monkeypatch.setattr(sources, "_read", noting)
    assert list(read_documents(source, held_out=True)) == every
    assert 0 < len(opened) < len(list(sources._standard_library_files())) / 2


@pytest.mark.parametrize("source", ["code", "text"])
def test_a_source_goes_on_behind_any_document(source: str) -> None:
    """A killed build enters it where it was, and gets what it would have got."""
    every = list(read_documents(source))
    for at in (0, len(every) // 2, len(every) - 1):
        assert list(read_documents(source, start=every[at].position)) == every[at + 1 :]
        rest = read_documents(source, start=every[at].position)
        assert [d.position for d in rest] == [d.position for d in every[at + 1 :]]


def test_the_beginning_of_a_source_is_of_all_its_files(tmp_path: Path) -> None:
    """A small budget reads a beginning; the first files by name are no sample. The order is the same on every machine."""
    for number in range(100):
        (tmp_path / f"{number:03}.txt").write_text(f"text {number}")
    numbers = [int(d.text.split()[1]) for d in read_documents("mine", TextSource(path=str(tmp_path)))]
    assert sorted(numbers) == list(range(100))
    assert 30 < sum(numbers[:20]) / 20 < 70
    assert numbers[:5] == [int(name[:3]) for name in sorted((f"{n:03}.txt" for n in range(100)), key=_digest)[:5]]


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def test_code_and_its_docstrings_are_on_one_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """A standard library file that is held out as code is held out as text too."""
    names = {name for name, _ in sources._standard_library_files()}
    held_out_code = {d.file for d in documents("code", held_out=True)}
    train_text = {d.file for d in documents("text", held_out=False)}
    assert not held_out_code & train_text & names


def test_the_split_never_changes() -> None:
    """Another split would mix yesterday's training data into today's held-out figure: it is fixed by name."""
    names = ("secrets.py", "http/client.py", "logging/handlers.py", "argparse.py", "ast.py", "json/decoder.py")
    assert [Document(name, "any text").held_out for name in names] == [True, True, True, False, False, False]
    share = sum(Document(f"{i}.py", "").held_out for i in range(4000)) / 4000
    assert 0.015 < share < 0.035


def test_tests_and_tables_are_left_out() -> None:
    """The corpus is code and prose, not encodings' tables, test data or other people's packages."""
    for name, _ in sources._standard_library_files():
        assert not sources._SKIPPED_FOLDERS.intersection(Path(name).parts)


def test_text_is_prose_of_some_length() -> None:
    """One-word docstrings teach nothing; indentation of the source is taken off."""
    prose = [d for d in documents("text", held_out=False) if not d.file.startswith("pydoc_data")]
    assert prose
    assert all(d.text == d.text.strip() for d in prose)


def test_files_that_do_not_parse_are_passed_over(tmp_path: Path) -> None:
    """Installed packages hold templates and Python 2 files; one of them must not end a training."""
    broken = tmp_path / "broken.py"
    broken.write_text("def (:\n")
    assert list(sources._docstrings("broken.py", broken)) == []
    assert list(sources._docstrings("gone.py", tmp_path / "gone.py")) == []


def test_an_unknown_source_names_the_known_ones() -> None:
    """A misspelt source in a recipe is one sentence."""
    with pytest.raises(FastdraftError, match=r"code, text, or describe it under \[sources.books\]"):
        next(documents("books", held_out=False))
