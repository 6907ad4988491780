"""What an evaluation says of a draft without decoding is what decoding would have found."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from fastdraft_core.data.mixtures import Mixture
from fastdraft_core.data.shards import open_shard, write_shard
from fastdraft_core.decoding.drafters import ModelDrafter
from fastdraft_core.decoding.records import Pass, Request
from fastdraft_core.decoding.sampling import Sampling
from fastdraft_core.decoding.speculative import speculative
from fastdraft_core.decoding.totals import acceptance_rate
from fastdraft_core.engine.pair import load_runtime
from fastdraft_core.events import Evaluated
from fastdraft_core.jobs.describe import describe
from fastdraft_core.training.evaluation import accepted_share, make_texts
from fastdraft_core.training.recipe import Evaluation
from tests.folders import WIDTH, tiny_target, tiny_tokenizer
from tests.runtimes.models import noisy


@pytest.fixture
def mixture(tmp_path: Path) -> Mixture:
    """Eight rows of ids at random."""
    ids = np.random.default_rng(1).integers(3, WIDTH, 2000).tolist()
    write_shard(tmp_path / "shard", [(ids, None)], source="x", tokenizer_hash="tiny", vocab_size=WIDTH)
    return Mixture([open_shard(tmp_path / "shard", tokenizer_hash="tiny")], [1.0], 64, 8, seed=1)


@pytest.mark.parametrize("temperature", [0.0, 0.6])
def test_a_draft_that_is_the_target_is_always_accepted(mixture: Mixture, temperature: float) -> None:
    """p = q: nothing is ever refused."""
    texts = make_texts(tiny_target(), mixture, WIDTH, Evaluation(gamma=3, temperature=temperature))
    assert accepted_share(tiny_target(), texts) == pytest.approx(1.0, abs=1e-4)
    assert [len(p) for p in texts.p] == [len(row) - texts.prompt - 1 for row in texts.ids]


def test_texts_end_where_the_target_ends_them(mixture: Mixture) -> None:
    """What an instruct model would write after its answer's end is no text that a draft is judged on."""
    evaluation = Evaluation(gamma=3, temperature=0.6)
    whole = make_texts(tiny_target(), mixture, WIDTH, evaluation)
    stop = whole.ids[0][whole.prompt + 3]
    ended = make_texts(tiny_target(), mixture, WIDTH, evaluation, {stop})
    assert len(ended.ids[0]) <= whole.prompt + 4
    assert all(stop not in row[ended.prompt : -1] for row in ended.ids)
    assert accepted_share(tiny_target(), ended) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("gamma", [1, 3])
def test_greedy_it_is_what_real_decoding_accepts(mixture: Mixture, tiny_pair: tuple[str, str], gamma: int) -> None:
    """The same prompts and lengths, decoded for real: the very same accepted/drafted."""
    texts = make_texts(tiny_target(), mixture, WIDTH, Evaluation(gamma=gamma, temperature=0.0))
    target, draft = (
        load_runtime(Path(folder), "x", tiny_tokenizer(), device="cpu", dtype="float32") for folder in tiny_pair
    )
    passes = []
    for row in texts.ids:
        request = Request(row[: texts.prompt], len(row) - texts.prompt, Sampling(0.0), seed=1)
        passes += [r for r in speculative(target, ModelDrafter(draft), request, gamma) if isinstance(r, Pass)]
    assert 0.05 < acceptance_rate(passes) < 0.95
    assert accepted_share(noisy(tiny_target(), 0.2), texts) == pytest.approx(acceptance_rate(passes))


def test_an_evaluation_is_told_with_perplexity_and_both_acceptances() -> None:
    """A person reads perplexity and acceptance by source, with the setting that they hold for."""
    event = Evaluated(stage="ft", step=7, loss={"code": 2.0, "text": 800.0}, acceptance={"code": 0.5})
    assert event.perplexity == {"code": pytest.approx(math.exp(2.0)), "text": math.inf}
    assert "code 2.0000 (perplexity 7.389)" in describe(event)
    assert "expected acceptance: code 0.500" in describe(event)
    told = describe(Evaluated(stage="ft", step=7, loss={}, accepted={"code": 0.25}, gamma=3, temperature=0.6))
    assert "accepted/drafted: code 0.250 (gamma 3, T 0.6" in told
