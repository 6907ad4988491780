"""The pair that every installation carries: it must work at once, be lossless, and be worth showing."""

from __future__ import annotations

from functools import cache

import pytest

from fastdraft_core import places
from fastdraft_core.bench.tasks import bundled_prompts
from fastdraft_core.decoding.records import Pass
from fastdraft_core.decoding.sampling import Sampling
from fastdraft_core.decoding.totals import acceptance_rate
from fastdraft_core.engine.load_options import LoadOptions
from fastdraft_core.engine.pair import Pair, load_pair
from fastdraft_core.models.catalog import bundled_drafts

DRAFTS = ["demo:XS", "demo:S", "demo:M"]
_ASSET_BYTES = 110 * 10**6


@cache
def _pair(draft: str) -> Pair:
    # In float32 a pass over many tokens rounds as one over single tokens does, so equality is exact.
    return load_pair("demo", draft, LoadOptions(device="cpu", dtype="float32", threads=1))


def _ids(pair: Pair, mode: str, prompt: str, length: int = 48) -> list[int]:
    request = pair.request(prompt, max_new_tokens=length, sampling=Sampling(), ignore_stops=True)
    return [token for record in pair.decode(mode, request, 4) for token in record.emitted]


def test_three_drafts_are_bundled_and_the_assets_stay_small() -> None:
    """demo:XS, demo:S and demo:M exist; a clone does not grow past what the project promises."""
    assert bundled_drafts("demo") == DRAFTS
    assert sum(p.stat().st_size for p in places.assets().rglob("*") if p.is_file()) < _ASSET_BYTES


@pytest.mark.parametrize("draft", DRAFTS)
def test_greedy_text_is_the_targets_own(draft: str) -> None:
    """Speculation with a bundled draft changes no token of any bundled prompt."""
    pair = _pair(draft)
    for prompt in bundled_prompts():
        assert _ids(pair, "sd", prompt.text) == _ids(pair, "ar", prompt.text)


@pytest.mark.parametrize("task", ["code", "text"])
def test_draft_s_is_accepted_often_enough_to_show(task: str) -> None:
    """At the paper's setting (gamma 3, T 0.6) some two in five of the tokens draft S proposes are kept."""
    pair, passes = _pair("demo:S"), []
    for number, prompt in enumerate(bundled_prompts(task)):
        request = pair.request(prompt.text, max_new_tokens=64, sampling=Sampling(0.6), seed=number, ignore_stops=True)
        passes += [r for r in pair.decode("sd", request, 3) if isinstance(r, Pass)]
    assert acceptance_rate(passes) > 0.3


@pytest.mark.parametrize("folder", ["target", "drafts/XS", "drafts/S", "drafts/M"])
def test_every_model_says_how_it_was_made(folder: str) -> None:
    """A model card names recipe, data, tokens and held-out loss; a draft's also its acceptance."""
    card = (places.assets() / "demo" / folder / "README.md").read_text(encoding="utf-8")
    assert "fastdraft train demo-" in card
    assert "standard library" in card
    assert "held-out loss" in card
    assert ("## Acceptance" in card) == folder.startswith("drafts")
