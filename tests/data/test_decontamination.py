"""Decontamination: what overlaps with an evaluation prompt is found, and nothing else."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdraft_core.data.decontamination import NUM_WORDS, Overlap

SHARED = Path(__file__).parents[3] / "shared" / "data"
words = st.lists(st.sampled_from("alpha beta gamma delta epsilon zeta eta theta".split()), min_size=1, max_size=60)  # noqa: SIM905


def by_hand(prompts: list[list[str]], text: list[str]) -> bool:
    """The definition, word by word."""
    for prompt in prompts:
        n = min(len(prompt), NUM_WORDS)
        if n < 8:
            continue
        wanted = {tuple(prompt[i : i + n]) for i in range(len(prompt) - n + 1)}
        if any(tuple(text[i : i + n]) in wanted for i in range(len(text) - n + 1)):
            return True
    return False


@given(st.lists(words, max_size=4), words, st.data())
def test_it_is_the_definition(prompts: list[list[str]], text: list[str], data: st.DataObject) -> None:
    """A shared run of 13 words, or a whole prompt of 8 to 12, is found wherever it lies; nothing else is."""
    if prompts and data.draw(st.booleans()):
        source = data.draw(st.sampled_from(prompts))
        start = data.draw(st.integers(0, len(source)))
        text = text[: len(text) // 2] + source[start : start + 15] + text[len(text) // 2 :]
    overlap = Overlap(" ".join(p) for p in prompts)
    assert overlap.contaminates(" ".join(text)) == by_hand(prompts, text)


def test_case_and_punctuation_do_not_hide_an_overlap() -> None:
    """A prompt that was formatted anew is the same prompt."""
    overlap = Overlap(["def has_close(numbers: List[float], threshold: float) -> bool: check if any two are near"])
    assert overlap.contaminates(
        "x = 1\nDEF has_close( numbers:list[float],threshold:float )->bool:\n  Check if any two are near!"
    )
    assert not overlap.contaminates(
        "def has_far(numbers: List[float], threshold: float) -> bool: check if two are near"
    )


def test_order_counts() -> None:
    """The same words in another order are another text."""
    letters = [chr(ord("a") + n) for n in range(13)]
    overlap = Overlap([" ".join(letters)])
    assert overlap.contaminates(" ".join(letters))
    assert not overlap.contaminates(" ".join(reversed(letters)))


def test_short_prompts_are_not_looked_for() -> None:
    """'import json' would throw half of all code away."""
    assert not Overlap(["import json", "The quick brown fox jumps over the"])
    assert not Overlap().contaminates("anything")


def test_the_digest_names_what_is_looked_for() -> None:
    """Shards are kept by it: other prompts are other shards, and a copy in a worker process is the same."""
    prompts = [" ".join(f"word{i}" for i in range(20)), " ".join(f"other{i}" for i in range(9))]
    overlap = Overlap(prompts)
    assert pickle.loads(pickle.dumps(overlap)).digest == overlap.digest == Overlap(prompts).digest
    assert len({overlap.digest, Overlap(prompts[:1]).digest, Overlap().digest}) == 3


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is absent")
def test_real_prompts_are_found_in_a_corpus_that_holds_them() -> None:
    """All of HumanEval's long prompts are found in text that quotes them, and hardly any in other real text."""
    import gzip

    with gzip.open(SHARED / "humaneval" / "HumanEval.jsonl.gz", "rt") as lines:
        prompts = [json.loads(line)["prompt"] for line in lines]
    overlap = Overlap(prompts)
    assert all(overlap.contaminates(f"Some text before. {p} and after") for p in prompts)
    stories = json.loads((SHARED / "tinystories" / "tinystories_1000.json").read_text())
    assert not any(overlap.contaminates(story) for story in stories)
