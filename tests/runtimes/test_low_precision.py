"""int8 weights and bf16 computing on OpenVINO: greedy decoding is the target's own, up to near-ties (pitfall 19)."""

from __future__ import annotations

import pytest
import torch

from fastdraft_core.decoding.drafters import ModelDrafter
from fastdraft_core.decoding.losslessness import accept_all, check_greedy
from fastdraft_core.decoding.records import Request
from fastdraft_core.decoding.rounding import measure_rounding
from fastdraft_core.runtimes.base import Runtime
from fastdraft_core.runtimes.openvino.loading import OpenVinoOptions, load_ir
from tests.runtimes.every import ir_folder
from tests.runtimes.models import VOCABULARY, noisy, small_model

PROMPTS = 12
NEW_TOKENS = 24


@pytest.mark.parametrize("paged", [True, False])
@pytest.mark.parametrize(
    ("weights", "dtype", "kv_precision"),
    [
        ("int8_asym", "float32", "f32"),
        ("int8_asym", "float32", "u8"),
        ("original", "bfloat16", "bf16"),
        ("int8_asym", "bfloat16", "u8"),
    ],
)
def test_greedy_is_the_targets_own_up_to_near_ties(weights: str, dtype: str, kv_precision: str, paged: bool) -> None:
    """Where tokens differ, the target's own margin is below the noise measured there; keeping every drafted token is found out."""
    model = small_model("llama")

    def load(of: object, name: str) -> Runtime:
        options = OpenVinoOptions(dtype=dtype, kv_precision=kv_precision, threads=2)
        return load_ir(ir_folder(of, weights), name, VOCABULARY, options, paged=paged)

    target, drafter = load(model, "target"), ModelDrafter(load(noisy(model, 0.2), "draft"))
    caught = equal = 0
    for seed in range(PROMPTS):
        generator = torch.Generator().manual_seed(seed)
        prompt = torch.randint(3, VOCABULARY, (1 + 3 * seed,), generator=generator).tolist()
        request, gamma = Request(prompt, NEW_TOKENS), 1 + seed % 6
        rounding = measure_rounding(target, [request], gamma)
        assert rounding.credible, rounding
        noise = rounding.floor
        check = check_greedy(target, drafter, request, gamma, noise)
        assert check.passed, check.parted
        equal += check.parted is None
        caught += not check_greedy(target, drafter, request, gamma, noise, accept_all).passed
    assert equal >= PROMPTS // 4, (
        "untrained logits lie close together, yet a rule that calls everything a tie proves nothing"
    )
    assert caught > PROMPTS // 2
