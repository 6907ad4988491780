"""Gather the texts that the smollm2 recipes read: ``python assets/recipes/smollm2_texts.py ~/fastdraft-texts``.

English and code come from Debian packages (``apt-get download``, nothing is installed) and from the Python packages beside
this interpreter; what the target is asked is put together here from lists. The same machine gives the same texts.
"""

from __future__ import annotations

import argparse
import ast
import gzip
import itertools
import json
import random
import re
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path

#: Documentation in English: the manuals of programs and languages, a handbook, a dictionary.
ENGLISH = (
    "libreoffice-help-en-us", "debian-handbook", "gimp-help-en", "dict-gcide", "postgresql-doc-15", "perl-doc", "octave-doc",
    "git-doc", "aptitude-doc-en", "debian-policy", "developers-reference", "debian-faq", "gnucash-docs", "python3-doc",
    "linux-doc-6.1", "emacs-common", "vim-doc", "sqlite3-doc", "inkscape-tutorials", "maxima-doc", "r-doc-html",
)  # fmt: skip
#: Sources of other languages than Python.
CODE = (
    "golang-1.19-src",
    "perl-modules-5.36",
    "libboost1.74-dev",
    "node-lodash",
    "libruby3.1",
    "r-base-core",
    "libjs-jquery",
)
ENDINGS = {".go", ".pm", ".pl", ".hpp", ".h", ".c", ".cpp", ".js", ".rb", ".R", ".sql", ".sh"}
CHARS, LEAST = 40_000, 400


class _Text(HTMLParser):
    """The text of a page, without what is no text of it."""

    _LEFT_OUT, _BREAKS = (
        {"script", "style", "nav", "head"},
        {"p", "br", "li", "tr", "div", "h1", "h2", "h3", "dd", "dt", "pre"},
    )

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._outside = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a line, or what is left out."""
        self._outside += tag in self._LEFT_OUT
        if tag in self._BREAKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        """End what is left out."""
        self._outside -= tag in self._LEFT_OUT

    def handle_data(self, data: str) -> None:
        """Keep the text."""
        if self._outside <= 0:
            self.parts.append(data)


def page_text(page: str) -> str:
    """The words of an HTML page, a paragraph a line."""
    reader = _Text()
    reader.feed(page)
    lines = (" ".join(line.split()) for line in "".join(reader.parts).splitlines())
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def unpacked(names: Iterable[str], folder: Path) -> Iterator[tuple[str, Path]]:
    """The files of Debian packages, one package after another; a package that cannot be had is named and left out."""
    for name in names:
        done = subprocess.run(["apt-get", "download", name], cwd=folder, capture_output=True, text=True)
        package = next(folder.glob("*.deb"), None)
        if done.returncode or package is None:
            print(f"{name}: not to be had here, left out", file=sys.stderr)
            continue
        with tempfile.TemporaryDirectory() as place:
            subprocess.run(["dpkg-deb", "--extract", package, place], check=True)
            package.unlink()
            for path in sorted(Path(place).rglob("*")):
                if path.is_file() and not path.is_symlink():
                    yield name, path


def english(folder: Path) -> Iterator[dict[str, str]]:
    """Pages and plain texts of documentation."""
    for name, path in unpacked(ENGLISH, folder):
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        kind = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
        text = raw.decode("utf-8", "replace")
        if kind in (".html", ".htm", ".xhtml"):
            text = page_text(text)
        elif name == "dict-gcide" and kind == ".dict":
            yield from ({"text": text[i : i + CHARS]} for i in range(0, min(len(text), 12_000_000), CHARS))
            continue
        elif kind not in (".txt", ".rst", ".pod", ".md"):
            continue
        if len(text) >= LEAST and sum(c.isalpha() or c.isspace() for c in text) > 0.8 * len(text):
            yield {"text": text[:CHARS]}


def code(folder: Path) -> Iterator[dict[str, str]]:
    """Sources in other languages."""
    for _, path in unpacked(CODE, folder):
        if path.suffix in ENDINGS:
            yield {"text": path.read_text(encoding="utf-8", errors="replace")[:CHARS]}


def python_files() -> list[Path]:
    """What is written in Python on this machine, the standard library apart, which is a built-in source."""
    found = sorted(Path(sysconfig.get_paths()["purelib"]).rglob("*.py"))
    return [path for path in found if LEAST < path.stat().st_size < 200_000 and "fastdraft" not in str(path)]


def functions(texts: Iterable[str]) -> Iterator[dict[str, str]]:
    """A function's head and the first paragraph of its docstring, for the target to go on with."""
    for text in texts:
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError):
            continue
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.FunctionDef)
                and not node.name.startswith("_")
                and (told := ast.get_docstring(node))
            ):
                first = told.split("\n\n")[0]
                if 20 < len(first) < 300:
                    yield {"text": f'def {node.name}({ast.unparse(node.args)}):\n    """{first}"""\n'}


def filled(patterns: Iterable[str], chance: random.Random, count: int, **lists: list[str]) -> Iterator[str]:
    """``count`` different sentences, every gap of a pattern filled from the list of its name."""
    patterns, seen = list(patterns), set()
    for _ in range(count * 4):
        one = chance.choice(patterns).format_map({name: chance.choice(words) for name, words in lists.items()})
        if one not in seen and len(seen) < count:
            seen.add(one)
            yield one


def words(text: str) -> list[str]:
    """A list written in one line."""
    return [word.strip() for word in text.split(",")]


NAMES = words(
    "Lily, Tom, Mia, Ben, Anna, Sam, Lucy, Max, Sara, Tim, Ella, Jack, Nora, Leo, Amy, Finn, Rosa, Otto, Ivy, Hugo"
)
BEINGS = words(
    "little girl, small boy, brave rabbit, lazy cat, curious puppy, old bear, tiny bird, kind giant, shy fox, clever mouse, "
    "young robot, lonely dragon, happy duck, grumpy goat, farmer, baker, sailor, teacher, king, queen"
)
THINGS = words(
    "red ball, lost key, magic hat, big tree, broken toy, secret door, shiny stone, warm blanket, paper boat, garden, kite, "
    "cake, old book, rainy day, new friend, snowman, train, puddle, lamp, drum"
)
PLACES = words(
    "a park, the woods, a small village, the sea, a big house, a farm, the mountains, a castle, the city, a school"
)
TOPICS = words(
    "photosynthesis, the water cycle, black holes, the French Revolution, inflation, vaccines, plate tectonics, the Roman "
    "Empire, democracy, electric cars, the immune system, machine learning, volcanoes, the Silk Road, jazz, the stock market, "
    "DNA, the Great Wall of China, recycling, the human heart, gravity, antibiotics, the Cold War, impressionism, coral reefs, "
    "the printing press, solar panels, sleep, nutrition, chess, the Amazon rainforest, blockchain, the solar system, coffee, "
    "bees, dinosaurs, the Olympic Games, Shakespeare, the internet, supply and demand, earthquakes, probability, the Moon, "
    "yoga, the Industrial Revolution, bridges, renewable energy, the brain, rivers, evolution, wine, Mozart, tourism, glaciers"
)
TASKS = words(
    "reverses a string, checks whether a number is prime, sorts a list of numbers, counts the vowels of a string, finds the "
    "largest element of a list, merges two sorted lists, computes the factorial of a number, removes duplicates from a list, "
    "checks whether a string is a palindrome, returns the n-th Fibonacci number, counts how often each word occurs, reads a "
    "CSV file, computes the average of a list, finds the second largest number, converts Celsius to Fahrenheit, flattens a "
    "nested list, does a binary search, finds the longest word of a sentence, sums the digits of a number, computes the "
    "greatest common divisor, transposes a matrix, rotates a list, validates an email address, groups words that are "
    "anagrams, finds all pairs that sum to a target, parses a date, capitalises every word, counts the lines of a file, "
    "finds the intersection of two lists, checks for balanced brackets, returns all permutations of a string, computes the "
    "median, generates a random password, converts a number to Roman numerals, finds missing numbers of a range"
)
LANGUAGES = words("Python, Python, Python, Python, Python, JavaScript, Java, C, C++, Go, Rust, SQL, Bash")
ASKED = {
    "code": [
        "Write a {language} function that {task}.", "Write a {language} function that {task}. Explain how it works.",
        "How do I write code in {language} that {task}?", "Write a Python function that {task}, with tests.",
        "Implement a {language} program that {task} and handles errors.", "Show me the shortest {language} code that {task}.",
        "Complete this function and give only the code: a {language} function that {task}.",
        "Give me two ways to write a function that {task}, and compare them.", "Write a class in {language} with a method that {task}.",
    ],
    "stories": [
        "Write a short story about a {being} named {name} and a {thing}.", "Tell me a story for children about {name}, a {being}.",
        "Write a story that begins: One day, {name} found a {thing} in {place}.",
        "Tell a bedtime story about a {being} who lived in {place}.", "Write a poem about a {being} and a {thing}.",
    ],
    "knowledge": [
        "What is {topic}?", "Explain {topic} in simple terms.", "Give me five facts about {topic}.", "Why is {topic} important?",
        "What are the advantages and disadvantages of {topic}?", "How does {topic} relate to {topic2}?",
        "Describe the history of {topic}.", "List three books to learn about {topic}, and say why.",
        "Explain {topic} to a child of ten.", "Compare {topic} and {topic2}.", "What would happen without {topic}?",
    ],
    "maths": [
        "{name} has {a} apples and buys {b} more. {name} then gives away {c}. How many apples are left?",
        "A train goes {a} km in {c} hours. How far does it go in {b} hours at the same speed?",
        "{name} earns ${a} a day and spends ${c}. How much does {name} save in {b} days?",
        "A shop sells {a} pens at ${c} each and {b} books at ${a} each. What is the total?",
        "What is {a} times {b}, minus {c}? Think step by step.", "If {a} people share {b} cakes, how many does each get?",
        "A rectangle is {a} m long and {b} m wide. What are its area and perimeter?",
    ],
    "writing": [
        "Write an email to my boss about {topic}.", "Write a blog post about {topic}.", "Draft a speech of one minute on {topic}.",
        "Plan a trip of {c} days to {place} for two people.", "Write a product description of a {thing}.",
        "Give me ten ideas for a party about {topic}.", "Write a dialogue between a {being} and a {being} about {topic}.",
        "Write a letter of complaint about a {thing}.", "Make a weekly plan for somebody who wants to learn about {topic}.",
        "Write a review of a book about {topic}.", "Rewrite this sentence more formally: I think {topic} is really great.",
    ],
}  # fmt: skip
STARTS = [
    "Once upon a time, there was a {being} named {name}.", "One day, {name} and {name2} went to {place}.",
    "{name} had a {thing}. It was", "Once there was a {being} who loved a {thing}.", "{name} was playing in {place} when",
    "One sunny day, a {being} found a {thing}.", "There was once a {being} called {name}. {name} lived in {place}.",
]  # fmt: skip
SUMMARISED = [
    "Summarize the following text:\n\n{text}", "{text}\n\nSummarize the text above in two sentences.",
    "Read this and list its main points.\n\n{text}", "Summarise this article in one paragraph.\n\n{text}",
    "{text}\n\nWhat is this text about?", "Write a title and a short summary of this text:\n\n{text}",
]  # fmt: skip


def asked(chance: random.Random, count: int) -> Iterator[tuple[str, Iterator[str]]]:
    """Instructions by kind, none of them from a set that a draft is judged by."""
    numbers = [str(number) for number in range(2, 60)]
    lists = dict(
        name=NAMES, name2=NAMES, being=BEINGS, thing=THINGS, place=PLACES, topic=TOPICS, topic2=TOPICS, task=TASKS,
        language=LANGUAGES, a=numbers, b=numbers, c=numbers[:8],
    )  # fmt: skip
    for kind, patterns in ASKED.items():
        yield f"instructions/{kind}", filled(patterns, chance, count, **lists)
    yield "starts/stories", filled(STARTS, chance, count, **lists)


def passages(texts: list[str], chance: random.Random, count: int) -> Iterator[str]:
    """Requests to summarise a passage of whole paragraphs."""
    for text in chance.sample(texts, min(count * 3, len(texts))):
        part = text[(begin := text.find("\n", chance.randrange(max(1, len(text) - 1500)))) + 1 : begin + 1500]
        part = part.rpartition(". ")[0] + "."
        if len(part) > 500:
            yield chance.choice(SUMMARISED).format(text=part.strip())


def main() -> None:
    """Write the files, and say how much is in each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder.expanduser()
    chance = random.Random(1)

    def write(name: str, rows: Iterable[dict[str, str]]) -> list[str]:
        path = folder / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        # In no order, so that the first of them are a sample of all.
        rows = list(rows)
        chance.shuffle(rows)
        texts = [next(iter(row.values())) for row in rows]
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
        print(f"{path}: {len(rows)} texts, {sum(map(len, texts)) / 1e6:.1f} million characters", flush=True)
        return texts

    with tempfile.TemporaryDirectory() as place:
        for kind, requests in asked(chance, 6000):
            field = "text" if kind.startswith("starts") else "instruction"
            write(kind, ({field: one} for one in requests))
        sources = write("python", ({"text": path.read_text("utf-8", "replace")[:CHARS]} for path in python_files()))
        heads = list(functions(sources))
        write("starts/functions", chance.sample(heads, min(len(heads), 8000)))
        pages = write("english", english(Path(place)))
        requests = itertools.islice(passages([page for page in pages if len(page) > 2000], chance, 6000), 6000)
        write("instructions/passages", ({"instruction": one} for one in requests))
        write("code", code(Path(place)))


if __name__ == "__main__":
    main()
