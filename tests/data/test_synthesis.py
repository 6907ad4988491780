"""What the target writes for FT: every prompt accounted for, in whatever pieces it was written."""

from __future__ import annotations

import itertools
import json
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fastdraft_core.data.prompts import Instructions, Magpie, Prompt, Prompts, Shares, Template
from fastdraft_core.data.shards import open_shard, write_shard
from fastdraft_core.data.sparse import record_type
from fastdraft_core.data.synthesis import Plan, probabilities_file, sequence_rows, synthesize
from fastdraft_core.data.target_logits import open_target_logits, score, store_kept
from fastdraft_core.data.tokenizer import train_tokenizer
from fastdraft_core.data.workers import Workers
from fastdraft_core.data.writers import torch_writer
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Synthesized
from tests.folders import WIDTH, tiny_target

TEMPLATE = "{{ bos_token }}{% for m in messages %}user: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}bot:{% endif %}"
TEXTS = {"short": [f"Add {n}." for n in range(40)], "long": ["def add(a, b): " * n for n in (1, 4, 200)]}
STOPS = {1}


def _plan(tokens: int = 400, **changes: Any) -> Plan:
    values = dict(batch_size=4, new_tokens=9, temperatures=[0.0, 1.0], seed=3, weights={"instructions": 1.0})
    return Plan(tokens, **{**values, **changes})  # type: ignore[arg-type]


def _template(text: str | None = TEMPLATE) -> Template:
    tokenizer = train_tokenizer(iter(["def add(a, b):\n    return a + b\n"] * 20), 300)
    tokenizer.chat_template = text
    return Template(tokenizer)


def _instructions() -> dict[str, Prompts]:
    return {"instructions": Instructions(TEXTS, [3.0, 1.0], _template(), 120, 5)}


def _run(path: Path, plan: Plan, kinds: Mapping[str, Prompts], model: Any = None) -> list[Synthesized]:
    events = synthesize(path, plan, torch_writer(model or tiny_target()), kinds, STOPS, {"target": "tiny"})
    return [event for event in events if isinstance(event, Synthesized)]


def _laws(path: Path, top_k: int) -> np.ndarray:
    return np.fromfile(probabilities_file(path), dtype=record_type(top_k, np.uint16))


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_account_closes(tmp_path: Path) -> None:
    """ok + error + skipped = asked, by the last line and by counting; the header says who wrote, and how."""
    path = tmp_path / "s.jsonl"
    last = _run(path, _plan(), _instructions())[-1]
    header, *body, account = _lines(path)
    assert header["target"] == "tiny"
    assert header["sampling"]["temperatures"] == [0.0, 1.0]
    counted = Counter(line["status"] for line in body)
    assert account["asked"] == len(body) == account["ok"] + account["error"] + account["skipped"]
    assert (account["ok"], account["skipped"]) == (counted["ok"], counted["skipped"])
    assert account["skipped"] == last.skipped > 0
    assert account["reasons"] == {"too long": account["skipped"]}
    assert len({line["id"] for line in body}) == len(body)
    rows = list(sequence_rows(path))
    assert len(rows) == account["ok"]
    assert sum(sum(mask) for _, mask in rows) == account["tokens"] >= 400
    # What the target was given does not count, whatever its length.
    assert all(
        mask == [0] * line["prefix"] + [1] * (len(line["ids"]) - line["prefix"])
        for (_, mask), line in zip(rows, [x for x in body if x["status"] == "ok"], strict=True)
    )


@pytest.mark.parametrize("cut", [1, 5, 7, 10, 11])
def test_an_interrupted_synthesis_goes_on_with_the_prompts_that_are_missing(tmp_path: Path, cut: int) -> None:
    """Killed inside a batch, and inside a line: the file comes out as if nobody had disturbed it."""
    whole, path = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    _run(whole, _plan(), _instructions())
    lines = whole.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:cut]) + lines[cut][: len(lines[cut]) // 2])
    _run(path, _plan(), _instructions())
    assert path.read_bytes() == whole.read_bytes()
    assert not _run(path, _plan(), _instructions())


K = 5


def _keeping(**changes: Any) -> Plan:
    return _plan(**{"temperatures": [0.0, 0.7, 2.0], "vocab_size": WIDTH, "top_k": K, **changes})


def test_what_is_kept_while_writing_is_what_a_reading_finds(tmp_path: Path) -> None:
    """At temperature 1 whatever the text was drawn at, of what the target wrote and of nothing else."""
    path = tmp_path / "s.jsonl"
    _run(path, _keeping(), _instructions())
    write_shard(tmp_path / "shard", sequence_rows(path), source="target", tokenizer_hash="t", vocab_size=WIDTH)
    shard = open_shard(tmp_path / "shard", tokenizer_hash="t")
    store_kept(tmp_path / "kept", shard, probabilities_file(path), top_k=K, vocab_size=WIDTH)
    list(score(tmp_path / "read", shard, tiny_target(), top_k=K, vocab_size=WIDTH))
    kept, read = (open_target_logits(tmp_path / name, shard) for name in ("kept", "read"))
    assert shard.mask is not None
    written = shard.mask == 1
    assert len(_laws(path, K)) == written.sum()
    np.testing.assert_allclose(kept.log_probs[written], read.log_probs[written], atol=2e-2)
    assert (kept.ids[written] == read.ids[written]).mean() > 0.99
    assert np.isneginf(kept.log_probs[~written]).all()


@pytest.mark.parametrize("cut", [1, 5, 7, 11])
@pytest.mark.parametrize("lost", ["nothing", "half a record", "records behind the line", "all"])
def test_an_interrupted_synthesis_keeps_one_row_a_token(tmp_path: Path, cut: int, lost: str) -> None:
    """Killed between the two files, or with either of them not on the disk: both come out as if nobody had disturbed them."""
    whole, path = tmp_path / "whole" / "s.jsonl", tmp_path / "cut" / "s.jsonl"
    _run(whole, _keeping(), _instructions())
    lines, laws = whole.read_bytes().splitlines(keepends=True), probabilities_file(whole).read_bytes()
    path.parent.mkdir()
    path.write_bytes(b"".join(lines[:cut]) + lines[cut][: len(lines[cut]) // 2])
    width = record_type(K, np.uint16).itemsize
    there = sum(len(line["ids"]) - line["prefix"] for line in _lines(whole)[:cut] if line.get("status") == "ok")
    left = {"nothing": there + 3, "half a record": there, "records behind the line": max(0, there - 2), "all": 0}[lost]
    probabilities_file(path).write_bytes(laws[: left * width + (width // 2 if lost == "half a record" else 0)])
    _run(path, _keeping(), _instructions())
    assert path.read_bytes() == whole.read_bytes()
    assert probabilities_file(path).read_bytes() == laws


def test_more_tokens_go_on_with_what_is_written(tmp_path: Path) -> None:
    """A file that was closed grows; a shard of fewer tokens is what it was, and one of all of them has its account."""
    short, path = tmp_path / "short" / "s.jsonl", tmp_path / "long" / "s.jsonl"
    _run(short, _keeping(tokens=150), _instructions())
    _run(path, _keeping(tokens=150), _instructions())
    before = path.read_bytes()
    events = _run(path, _keeping(tokens=400), _instructions())
    assert path.read_bytes().startswith(before)
    assert events[0].tokens > 150
    assert list(sequence_rows(path, 150)) == list(sequence_rows(short))
    rows, account = list(sequence_rows(path, 400)), _lines(path)[-1]
    assert rows == list(sequence_rows(path))
    assert account["ok"] == len(rows)
    assert account["tokens"] == sum(sum(mask) for _, mask in rows) == len(_laws(path, K)) >= 400
    assert not _run(path, _keeping(tokens=400), _instructions())


def test_too_few_records_are_refused(tmp_path: Path) -> None:
    """Rows must not slip to other tokens where the file beside the sequences was cut."""
    path = tmp_path / "s.jsonl"
    _run(path, _keeping(), _instructions())
    write_shard(tmp_path / "shard", sequence_rows(path), source="target", tokenizer_hash="t", vocab_size=WIDTH)
    probabilities_file(path).write_bytes(probabilities_file(path).read_bytes()[: -record_type(K, np.uint16).itemsize])
    shard = open_shard(tmp_path / "shard", tokenizer_hash="t")
    with pytest.raises(FastdraftError, match="too few records"):
        store_kept(tmp_path / "kept", shard, probabilities_file(path), top_k=K, vocab_size=WIDTH)


def test_a_damaged_line_is_one_sentence(tmp_path: Path) -> None:
    """What a disk spoilt is named with its place; nothing is written behind it."""
    path = tmp_path / "s.jsonl"
    _run(path, _plan(), _instructions())
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b"\0\0\0\n", *lines[3:]]))
    spoilt = path.read_bytes()
    with pytest.raises(FastdraftError, match=r"s\.jsonl, line 3, is damaged\. Delete the file"):
        _run(path, _plan(), _instructions())
    assert path.read_bytes() == spoilt


def test_another_header_is_refused(tmp_path: Path) -> None:
    """Sequences of two targets must not end up in one file."""
    _run(tmp_path / "s.jsonl", _plan(), _instructions())
    with pytest.raises(FastdraftError, match=r"begun by another target, or with other settings"):
        _run(tmp_path / "s.jsonl", _plan(new_tokens=8), _instructions())


def test_temperatures_have_their_shares(tmp_path: Path) -> None:
    """One greedy sequence to three at 0.8, whatever the batch's size."""
    _run(
        tmp_path / "s.jsonl", _plan(tokens=1200, temperatures=[0.0, 0.8], shares=[1, 3], batch_size=3), _instructions()
    )
    asked = [line["temperature"] for line in _lines(tmp_path / "s.jsonl") if line.get("status") == "ok"]
    assert [sum(Shares([1, 3]).at(n)[0] == 0 for n in range(m)) for m in (4, 400)] == [1, 100]
    assert 0.15 < asked.count(0.0) / len(asked) < 0.35


def test_a_row_is_what_it_would_be_alone(tmp_path: Path) -> None:
    """Prompts of several lengths in one batch: greedy, each answer is that of its prompt alone."""
    _run(tmp_path / "s.jsonl", _plan(temperatures=[0.0]), _instructions())
    for ids, mask in list(sequence_rows(tmp_path / "s.jsonl"))[:6]:
        model, prefix = tiny_target(), mask.count(0)
        for place in range(prefix, len(ids)):
            logits = model(input_ids=torch.tensor([ids[:place]])).logits[0, -1]
            assert int(logits.argmax()) == ids[place]


def test_numbers_that_are_none_are_errors_of_their_rows(tmp_path: Path) -> None:
    """One broken row is counted and left out; its neighbours are whole."""
    model = tiny_target()

    class Broken:
        device, config = model.device, model.config

        def __call__(self, **options: Any) -> Any:
            found = model(**options)
            if len(found.logits) == 4:
                found.logits[1] = torch.nan
            return found

    _run(tmp_path / "s.jsonl", _plan(tokens=60), _instructions(), Broken())
    account = _lines(tmp_path / "s.jsonl")[-1]
    assert account["error"] > 0
    assert account["asked"] == account["ok"] + account["error"] + account["skipped"]


def test_prompts_of_which_nothing_comes_are_an_error(tmp_path: Path) -> None:
    """Every instruction too long for the context: the reason, and no endless loop."""
    kinds = {"instructions": Instructions({"long": TEXTS["long"]}, [1.0], _template(), 5, 5)}
    with pytest.raises(FastdraftError, match=r"Nothing came of .* too long"):
        _run(tmp_path / "s.jsonl", _plan(), kinds)


def test_an_instruction_comes_once_an_epoch() -> None:
    """Every instruction of a set is asked once before any is asked twice, inside the template."""
    template = _template()
    source = Instructions({"set": TEXTS["short"]}, [1.0], template, 120, 5)
    asked = [prompt for number in range(20) for prompt in source.batch(number, 4)]
    assert len({prompt.id for prompt in asked}) == 80
    assert sorted(p.id.split("/")[1] for p in asked if p.id.endswith("/0")) == sorted(map(str, range(40)))
    assert template.decode(asked[0].ids).startswith("user: Add")
    assert source.batch(2, 4) == asked[8:12]


def test_a_target_without_a_template_is_asked_the_plain_text() -> None:
    """A base model has no chat template; an instruction is then just text."""
    template = _template(None)
    assert template.decode(template.encode("def add")) == "def add"
    assert template.digest == ""


class _Scripted:
    """A model that always writes ``Say ba.`` and a line's end: what Magpie's target would invent."""

    def __init__(self, template: Template) -> None:
        self._said = template._tokenizer("Say ba.\n", add_special_tokens=False).input_ids
        self._begin = len(template.around()[0])
        self.device = torch.device("cpu")

    def __call__(self, input_ids: torch.Tensor, past_key_values: Any, **_: Any) -> Any:
        place = getattr(past_key_values, "seen", 0) + input_ids.shape[1]
        past_key_values.seen = place
        past_key_values.select_rows = lambda rows: None
        token = self._said[min(place - self._begin, len(self._said) - 1)]
        logits = torch.full((len(input_ids), 1, 300), -1e4)
        logits[:, :, token] = 0.0
        return type("Output", (), {"logits": logits})


def test_magpie_invents_the_instruction_and_then_answers_it() -> None:
    """The target speaks where a user would, up to the end of that turn; its words then stand in the whole template."""
    template = _template()
    model: Any = _Scripted(template)
    first, *_ = Magpie(torch_writer(model), template, STOPS, 100, lambda text: False, 1).batch(2, 3)
    assert first == Prompt("magpie/6", template.encode("Say ba."))
    refused = Magpie(torch_writer(model), template, STOPS, 100, lambda text: True, 1).batch(0, 1)
    assert refused == [Prompt("magpie/0", [], "contaminated")]
    short = Magpie(torch_writer(model), template, STOPS, len(template.around()[0]) + 1, lambda text: False, 1).batch(
        0, 1
    )
    assert short == [Prompt("magpie/0", [], "no end")]


def test_a_template_that_begins_with_the_users_words_invents_nothing() -> None:
    """Without anything before the user's words there is nothing to go on from."""
    with pytest.raises(FastdraftError, match=r"magpie = 0"):
        _template("{{ messages[0].content }}").around()


def _together(path: Path, plan: Plan, kinds: Mapping[str, Prompts], count: int, rounds: int = 1000) -> None:
    """Several workers in one process, each with what it would have of its own; the first ``rounds`` calls of ``gather``."""
    barrier, slots = threading.Barrier(count), [None] * count
    done: list[BaseException] = []

    def work(rank: int) -> None:
        calls = itertools.count()

        def gather(value: Any) -> list[Any]:
            if next(calls) == rounds:
                raise KeyboardInterrupt
            slots[rank] = value
            barrier.wait()
            found = list(slots)
            barrier.wait()
            return found

        workers = Workers(rank, count, gather)
        try:
            for event in synthesize(path, plan, torch_writer(tiny_target()), kinds, STOPS, {"target": "tiny"}, workers):
                assert rank == 0, event
        except BaseException as error:
            done.append(error)

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({type(error) for error in done}) <= 1
    if done and rounds == 1000:
        raise done[0]


def test_many_writers_make_the_file_of_one(tmp_path: Path) -> None:
    """Whatever their number, also where another number goes on with it: the same bytes, with the same probabilities."""
    plan = _plan(vocab_size=WIDTH, top_k=3)
    _run(tmp_path / "one" / "s.jsonl", plan, _instructions())
    for name, parts in {"two": [(2, 1000)], "going on": [(3, 3), (1, 3), (2, 1000)]}.items():
        path = tmp_path / name / "s.jsonl"
        for count, rounds in parts:
            _together(path, plan, _instructions(), count, rounds)
        assert path.read_bytes() == (tmp_path / "one" / "s.jsonl").read_bytes()
        assert probabilities_file(path).read_bytes() == probabilities_file(tmp_path / "one" / "s.jsonl").read_bytes()


def test_what_one_writer_meets_ends_all(tmp_path: Path) -> None:
    """Nobody waits for one that left."""
    path = tmp_path / "s.jsonl"
    _run(path, _plan(), _instructions())
    with pytest.raises(FastdraftError, match="was begun by another target"):
        _together(path, _plan(seed=9), _instructions(), 2)
    texts: dict[str, Prompts] = {
        "instructions": Instructions({"a": ["def add(a, b): " * 200]}, [1.0], _template(), 20, 5)
    }
    with pytest.raises(FastdraftError, match=r"Nothing came of .* too long"):
        _together(tmp_path / "t.jsonl", _plan(), texts, 3)
