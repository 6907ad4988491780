"""A draft vocabulary in training: which ids are chosen, what the loss is of, that a job goes on, and what is kept."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from fastdraft_core.data.sparse import top_log_probs
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Evaluated, Event, Progress, StageFinished, Step
from fastdraft_core.jobs.run import run_job
from fastdraft_core.models.draft_vocab import (
    DRAFT_VOCAB_FILE,
    DraftVocab,
    count_draft_vocab,
    read_draft_vocab,
    write_draft_vocab,
)
from fastdraft_core.training import loop
from fastdraft_core.training.flops import flops_per_token
from fastdraft_core.training.losses import next_token_loss, token_losses
from fastdraft_core.training.plan import plan
from fastdraft_core.training.projection import principal_components, project_embeddings
from fastdraft_core.training.recipe import Recipe, load_recipe
from fastdraft_core.training.short_head import shorten_head
from fastdraft_core.training.start import starting_model
from fastdraft_core.training.stop import Interrupted, Stop
from tests.folders import WIDTH, tiny_target, tiny_tokenizer
from tests.jobs.tiny import STEP_TOKENS, tiny_recipe, write_world

_SIZE = 40
_SHAPE = {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "num_kv_heads": 1, "intermediate_size": 32}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("world"))


def _recipe(world: Path, steps: int = 12, **changes: Any) -> Recipe:
    shape = {**_SHAPE, "context_length": 64, "draft_vocab": _SIZE, **changes.pop("model", {})}
    return tiny_recipe(world, steps=steps, model=shape, **{"checkpoint_minutes": 5.0, **changes})


def _vocab(ids: list[int], vocab_size: int) -> DraftVocab:
    return DraftVocab(ids=ids, vocab_size=vocab_size, counted="a test", tokens=1, coverage=1.0)


def test_the_most_used_ids_are_chosen_and_those_that_end_a_text() -> None:
    """The lower id first among equals, so that the list is the same everywhere; a stop id is in it though nobody uses it."""
    counts = np.array([0, 5, 0, 9, 5, 1, 0, 0])
    vocab = count_draft_vocab(counts, 4, {7}, counted="a test", tokens=20)
    assert vocab.ids == [3, 1, 4, 7]
    assert vocab.coverage == pytest.approx(19 / 20)
    for size in (1, 8):
        with pytest.raises(FastdraftError, match="has 8 ids"):
            count_draft_vocab(counts, size, {7}, counted="a test", tokens=20)


def test_a_damaged_list_is_refused_by_name(tmp_path: Path) -> None:
    """A list that names an id twice, or one that there is not, would score tokens wrongly without a word."""
    assert read_draft_vocab(tmp_path) is None
    for ids in ([1, 1], [1, 9], []):
        write_draft_vocab(tmp_path, _vocab(ids, 8))
        with pytest.raises(FastdraftError, match=DRAFT_VOCAB_FILE):
            read_draft_vocab(tmp_path)
    (tmp_path / DRAFT_VOCAB_FILE).write_text("{")
    with pytest.raises(FastdraftError, match="cannot be read"):
        read_draft_vocab(tmp_path)


@pytest.mark.parametrize("tied", [True, False])
def test_the_loss_is_cross_entropy_over_the_list(tied: bool) -> None:
    """As a softmax over the K scored logits by hand, in one piece and in many; outside tokens are masked out."""
    torch.manual_seed(0)
    model: Any = tiny_target()
    model.config.tie_word_embeddings = tied
    if tied:
        model.get_output_embeddings().weight = model.get_input_embeddings().weight
    listed = sorted(np.random.default_rng(0).choice(WIDTH, _SIZE, replace=False).tolist())
    ids = torch.randint(0, WIDTH, (3, 9))
    ids[:, ::2] = torch.tensor(listed)[torch.randint(0, _SIZE, ids[:, ::2].shape)]
    mask = torch.isin(ids, torch.tensor(listed))
    logits = model(input_ids=ids[:, :-1]).logits[..., listed].flatten(0, 1)
    columns = torch.tensor([listed.index(i) if i in listed else 0 for i in ids[:, 1:].flatten().tolist()])
    wanted = (F.cross_entropy(logits, columns, reduction="none") * mask[:, 1:].flatten()).sum()
    shorten_head(model, _vocab(listed[::-1], WIDTH))
    for training in (True, False):
        model.train(training)
        for most in (1 << 20, 4 * WIDTH):
            torch.testing.assert_close(next_token_loss(model, ids, mask, max_logits=most), wanted)


def test_a_trained_step_pays_for_the_list_alone() -> None:
    """While it is trained the head makes K columns; who judges the model sees V of them, the others impossible."""
    model: Any = tiny_target()
    whole = flops_per_token(model, 16)
    listed = list(range(5, 5 + _SIZE))
    full = model(input_ids=torch.tensor([[7, 8]])).logits
    shorten_head(model, _vocab(listed, WIDTH))
    assert whole - flops_per_token(model, 16) == 6 * (WIDTH - _SIZE) * model.config.hidden_size
    assert model.train()(input_ids=torch.tensor([[7, 8]])).logits.shape == (1, 2, _SIZE)
    seen = model.eval()(input_ids=torch.tensor([[7, 8]])).logits
    torch.testing.assert_close(seen[..., listed], full[..., listed])
    assert (seen.isfinite().sum(-1) == _SIZE).all()


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), k=st.integers(1, 11))
@pytest.mark.parametrize("kind", ["kl", "tvd", "ce+kl"])
def test_distillation_takes_the_target_given_the_list(kind: str, seed: int, k: int) -> None:
    """All ids stored: the dense loss against p restricted to the list and scaled to 1; fewer: never more, and finite."""
    torch.manual_seed(seed)
    listed = [1, 4, 5, 8, 10]
    draft, target = 2 * torch.randn(6, len(listed)), 2 * torch.randn(6, 11)
    columns = torch.full((11,), -1)
    columns[listed] = torch.arange(len(listed))
    labels = torch.randint(0, len(listed), (6,))

    def loss(number: int) -> torch.Tensor:
        ids, log_probs = top_log_probs(target, number)
        return token_losses(kind, draft, labels, (columns[ids], log_probs), short=True)

    log_p, log_q = target[:, listed].log_softmax(-1), draft.log_softmax(-1)
    dense = {
        "kl": (log_p.exp() * (log_p - log_q)).sum(-1),
        "tvd": (log_p.exp() - log_q.exp()).abs().sum(-1) / 2,
    }[kind.removeprefix("ce+")]
    if kind.startswith("ce"):
        dense = (dense + F.cross_entropy(draft, labels, reduction="none")) / 2
    torch.testing.assert_close(loss(11), dense, rtol=1e-4, atol=1e-5)
    assert loss(k).isfinite().all()


@pytest.mark.parametrize("tied", [True, False])
def test_a_job_learns_with_a_draft_vocabulary_and_says_what_it_covers(tmp_path: Path, world: Path, tied: bool) -> None:
    """The loss falls; the list, by the tokens of the training source, stands in every checkpoint and covers what it says."""
    events: list[Event] = list(run_job(_recipe(world, steps=40, model={"tie_embeddings": tied}), tmp_path))
    losses = [e.loss["small"] for e in events if isinstance(e, Evaluated)]
    # That of a draft that has learnt nothing.
    assert losses[-1] < math.log(_SIZE) - 0.5
    told = [e.what for e in events if isinstance(e, Progress) if "draft vocabulary" in e.what]
    assert len(told) == 1
    assert f"{_SIZE} of {WIDTH} ids" in told[0]
    vocab = read_draft_vocab(tmp_path)
    assert vocab is not None
    assert (len(vocab.ids), vocab.counted) == (_SIZE, "small")
    assert 1 in vocab.ids
    for kept in ("last", "best"):
        folder = tmp_path / "checkpoints/pt" / kept
        assert read_draft_vocab(folder) == vocab
        # A folder that any tool loads: the whole head is there.
        plain: Any = AutoModelForCausalLM.from_pretrained(folder)
        assert plain.get_output_embeddings().weight.shape[0] == WIDTH
    coverage = [e.coverage["small"] for e in events if isinstance(e, Evaluated)]
    assert 0.5 < coverage[-1] <= 1
    assert coverage[-1] == pytest.approx(vocab.coverage, abs=0.1)


def test_the_target_s_own_text_chooses_the_list(tmp_path: Path, world: Path) -> None:
    """Where a stage learns from what the target wrote, its tokens count and prompts do not; the text is written first."""
    stage = {"tokens": STEP_TOKENS, "sequence_length": 16, "batch_tokens": STEP_TOKENS, "micro_batch": 4}
    synthesis = {
        "tokens": 400,
        "sources": {"small": 1.0},
        "temperatures": [0.8],
        "prefix_tokens": [8],
        "new_tokens": 24,
        "batch_size": 4,
        "engine": "torch",
    }
    recipe = _recipe(world, synthesis=synthesis, ft={**stage, "sources": {"target": 1.0}})
    events = list(run_job(recipe, tmp_path))
    assert [e.stage for e in events if isinstance(e, StageFinished)] == ["pt", "ft"]
    vocab = read_draft_vocab(tmp_path)
    assert vocab is not None
    assert vocab.counted == "the target's own text"
    # An untrained target writes any id, the texts hold few of them.
    assert not set(vocab.ids) <= set(tiny_tokenizer()("The sum of 1 and 2 is 3.\n").input_ids)
    # 24 of every sequence's 32 tokens are the target's own.
    assert vocab.tokens < 600


def _stopped_after(recipe: Recipe, job: Path, step: int, losses: list[float]) -> None:
    stop = Stop()
    for event in run_job(recipe, job, stop=stop):
        if isinstance(event, Step):
            losses.append(event.loss)
            if event.step == step:
                stop.request()


def test_a_job_goes_on_as_if_nobody_had_stopped_it(
    tmp_path: Path, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the middle and run again: the same losses step by step, and the same list."""
    recipe = _recipe(world, steps=6)
    monkeypatch.setattr(loop, "_EVENT_SECONDS", 0.0)
    whole = [e.loss for e in run_job(recipe, tmp_path / "whole") if isinstance(e, Step)]
    seen: list[float] = []
    with pytest.raises(Interrupted):
        _stopped_after(recipe, tmp_path / "parts", 3, seen)
    kept = (tmp_path / "parts" / DRAFT_VOCAB_FILE).read_bytes()
    seen += [e.loss for e in run_job(recipe, tmp_path / "parts") if isinstance(e, Step)]
    assert seen == whole
    assert (tmp_path / "parts" / DRAFT_VOCAB_FILE).read_bytes() == kept
    (tmp_path / "parts" / DRAFT_VOCAB_FILE).unlink()
    with pytest.raises(FastdraftError, match=r"no draft_vocab\.json"):
        list(run_job(recipe, tmp_path / "parts"))


def test_a_plan_counts_the_short_head(world: Path) -> None:
    """FLOPs and logits of the plan are of K columns, not V; a size that the target does not have is refused."""
    (short,) = plan(_recipe(world), seconds=0.1).stages
    (whole,) = plan(_recipe(world, model={"draft_vocab": None}), seconds=0.1).stages
    assert whole.flops - short.flops == whole.tokens * 6 * (WIDTH - _SIZE) * 16
    assert short.memory < whole.memory
    with pytest.raises(FastdraftError, match=f"has {WIDTH} ids"):
        plan(_recipe(world, model={"draft_vocab": WIDTH}), seconds=0.1)


def test_a_target_has_no_draft_vocabulary() -> None:
    """A target scores every id, or its output would not be its own."""
    with pytest.raises(FastdraftError, match="a target scores every id"):
        load_recipe("demo-target", ["model.draft_vocab=64"])


def test_projected_embeddings_keep_what_a_narrow_table_can() -> None:
    """A table of low rank survives: distances between tokens are those of the target, to one common scale."""
    torch.manual_seed(0)
    table = torch.randn(50, 4) @ torch.randn(4, 12) + 3.0
    narrow, kept = principal_components(table, 4)
    assert kept == pytest.approx(1.0)
    before, after = (torch.cdist(rows.double(), rows.double()) for rows in (table, narrow))
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("tied", [True, False])
def test_a_draft_starts_with_projected_embeddings(tmp_path: Path, world: Path, tied: bool) -> None:
    """init.method = projected: any shape, the target's table made narrow, with the spread of untrained weights."""
    recipe = _recipe(world, init={"method": "projected"}, model={"tie_embeddings": tied})
    stream = starting_model(recipe, tmp_path, "pt", None, tiny_tokenizer(), torch.device("cpu"))
    told = []
    while True:
        try:
            told.append(next(stream))
        except StopIteration as end:
            model = end.value
            break
    assert "16 principal components" in str(told[-1])
    target = AutoModelForCausalLM.from_pretrained(world / "target")
    pairs = [(model.get_input_embeddings(), target.get_input_embeddings())]
    if tied:
        assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    else:
        pairs.append((model.get_output_embeddings(), target.get_output_embeddings()))
    for ours, theirs in pairs:
        narrow, _ = principal_components(theirs.weight, 16)
        torch.testing.assert_close(ours.weight.detach(), narrow * (0.02 / narrow.std()))
    list(run_job(recipe, tmp_path / "job"))


def test_what_projection_cannot_do_is_one_sentence(world: Path) -> None:
    """A draft as wide as its target, a model beside the target, and another method without one."""
    with pytest.raises(FastdraftError, match=r"Make model\.hidden_size smaller"):
        project_embeddings(tiny_target(), tiny_target(), "target")
    for init in ({"method": "projected", "model": "other"}, {"method": "pruned"}):
        with pytest.raises(FastdraftError, match=r"need init\.model"):
            _recipe(world, init=init)
