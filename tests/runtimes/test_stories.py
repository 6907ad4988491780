"""A target that nobody here made: stories260K, with drafts that are disturbed copies of it (pitfalls 5, 19)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from fastdraft_core.decoding.drafters import ModelDrafter
from fastdraft_core.decoding.losslessness import accept_all, check_greedy, check_law
from fastdraft_core.decoding.records import Pass, Request
from fastdraft_core.decoding.rounding import measure_rounding
from fastdraft_core.decoding.sampling import Sampling
from fastdraft_core.decoding.speculative import autoregressive, speculative
from tests.runtimes.every import RUNTIMES, on
from tests.runtimes.models import noisy

pytestmark = pytest.mark.shared

NEW_TOKENS = 8
OPENING = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park."


@pytest.fixture(scope="module", params=RUNTIMES)
def stories(request: pytest.FixtureRequest) -> Any:
    """Target, a noisy draft, and the tokenizer, on each runtime."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from tests.conftest import SHARED

    folder = SHARED / "models" / "stories260K"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent")
    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    target, draft = on(request.param, model), on(request.param, noisy(model, 0.15))
    return target, draft, AutoTokenizer.from_pretrained(folder)


def ids_of(records: Any) -> list[int]:
    return [t for r in records for t in r.emitted]


def test_its_known_opening_comes_out(stories: Any) -> None:
    """The model card's own greedy text: prompt, positions and cache are those the model was made with."""
    target, draft, tokenizer = stories
    request = Request([tokenizer.bos_token_id], 40)
    assert tokenizer.decode(ids_of(autoregressive(target, request))).startswith(OPENING)
    assert tokenizer.decode(ids_of(speculative(target, ModelDrafter(draft), request, 4))).startswith(OPENING)


def test_200_prompts_decode_alike(stories: Any, shared: Path) -> None:
    """Pitfalls 5, 19: in float32 greedy speculative decoding is autoregressive decoding, token by token."""
    target, draft, tokenizer = stories
    told = json.loads((shared / "data" / "tinystories" / "tinystories_1000.json").read_text(encoding="utf-8"))
    accepted = drafted = 0
    for number, story in enumerate(told[:200]):
        request = Request(tokenizer(story[: 10 + number % 40]).input_ids, NEW_TOKENS)
        records = list(speculative(target, ModelDrafter(draft), request, 1 + number % 4))
        assert ids_of(records) == ids_of(autoregressive(target, request)), story[:60]
        accepted += sum(r.accepted for r in records if isinstance(r, Pass))
        drafted += sum(len(r.drafted) for r in records if isinstance(r, Pass))
    assert 0.02 * drafted < accepted < 0.98 * drafted, "a draft that always or never agrees proves little"


def test_rounding_stays_under_the_margin_rule(stories: Any) -> None:
    """Pitfall 19: what float32 rounds differently between pass lengths is far below any real difference of logits."""
    target, draft, tokenizer = stories
    request = Request(tokenizer("Tom had a red ball").input_ids, 24)
    noise = measure_rounding(target, [request], 4).floor
    assert 0 <= noise < 0.01
    assert check_greedy(target, ModelDrafter(draft), request, 4, noise).passed
    assert not check_greedy(target, ModelDrafter(draft), request, 4, noise, accept_all).passed


def test_its_sampled_law_is_kept(stories: Any) -> None:
    """The law check on a real model and cache: honest blocks fit, accepted ones do not."""
    target, draft, tokenizer = stories
    request = Request(tokenizer("Tom had a red").input_ids, 8, Sampling(0.8, top_k=50), seed=2)
    assert all(c.passed for c in check_law(target, ModelDrafter(draft), request, 2, 300))
    assert not all(c.passed for c in check_law(target, ModelDrafter(draft), request, 2, 300, accept_all))
