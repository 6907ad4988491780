"""Passes over pages are held against stateful ones before a model decodes with them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from fastdraft_core.errors import FastdraftError
from fastdraft_core.runtimes.base import BlockRuntime
from fastdraft_core.runtimes.openvino import loading
from fastdraft_core.runtimes.openvino.loading import OTHER_LOGITS, load_batch, load_ir
from tests.runtimes.every import EXACT, ir_folder
from tests.runtimes.models import VOCABULARY, build_model, small_model, uncached_logits

IDS = torch.randint(3, VOCABULARY, (40,), generator=torch.Generator().manual_seed(3)).tolist()


def gpt_neo() -> Any:
    """Local windows of eight tokens in every other layer."""
    types = [[["global", "local"], 1]]
    return build_model("gpt_neo", num_layers=2, num_heads=4, window_size=8, attention_types=types)


@pytest.mark.parametrize("architecture", ["falcon", "mpt", "gpt_neo", "llama"])
def test_whatever_pages_do_to_a_model_its_logits_are_its_own(architecture: str) -> None:
    """ALiBi with several key-value heads, MPT and local windows: where pages give other logits, the cache stays inside."""
    changes = {"falcon": dict(multi_query=False), "mpt": dict(d_model=32, n_heads=4, n_layers=2, expansion_ratio=2)}
    model = gpt_neo() if architecture == "gpt_neo" else small_model(architecture, **changes.get(architecture, {}))
    runtime = load_ir(ir_folder(model), architecture, VOCABULARY, EXACT)
    runtime.prefill(IDS[:5])
    found = torch.cat([runtime.forward(IDS[5:30]), runtime.forward(IDS[30:])])
    assert torch.allclose(found, uncached_logits(model, IDS)[5:], atol=2e-4)
    assert isinstance(runtime, BlockRuntime) == (runtime.card.fallback == "")


def test_a_model_whose_pages_differ_runs_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found once and remembered; the card says so, and many sequences at once are refused."""
    folder, asked = ir_folder(small_model("llama", seed=5)), list[str]()
    monkeypatch.setattr(loading, "_seen_here", {})
    monkeypatch.setattr(loading, "_differ", lambda *_: asked.append("once") or True)
    for _ in range(2):
        runtime = load_ir(folder, "llama", VOCABULARY, EXACT)
        assert not isinstance(runtime, BlockRuntime)
        assert runtime.card.fallback == OTHER_LOGITS
        # What another process would find.
        monkeypatch.setattr(loading, "_seen_here", {})
    assert asked == ["once"]
    with pytest.raises(FastdraftError, match=r"many sequences at once with llama: .*other logits"):
        load_batch(folder, "llama", EXACT)
