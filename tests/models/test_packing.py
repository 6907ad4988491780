"""Packed checkpoints: refused in one sentence with the way that works, loaded where the library is there, counted at their real size."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.packing import packing_of, refuse_packed
from fastdraft_core.models.weights import count_parameters
from fastdraft_core.runtimes.torch.loading import load_model
from tests.folders import WIDTH, tiny_target, write_model
from tests.runtimes.models import small_model

WEIGHTS = sum(p.numel() for p in tiny_target().parameters())


def packed(folder: Path, config: dict[str, Any], pack: Any) -> Path:
    """A tiny model whose square matrices are packed by ``pack``, from a name and a tensor to the tensors in its place."""
    write_model(folder, tiny_target())
    read = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(read | {"quantization_config": config}))
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        stem = name.removesuffix(".weight")
        tensors |= pack(stem, tensor) if ".self_attn." in name or ".mlp." in name else {name: tensor}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


def gptq(stem: str, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    rows, columns = tensor.shape
    return {
        f"{stem}.qweight": torch.zeros(columns // 8, rows, dtype=torch.int32),
        f"{stem}.qzeros": torch.zeros(1, rows // 8, dtype=torch.int32),
        f"{stem}.scales": torch.zeros(1, rows, dtype=torch.float16),
        f"{stem}.g_idx": torch.zeros(columns, dtype=torch.int32),
    }


def nf4(stem: str, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    return {
        f"{stem}.weight": torch.zeros(tensor.numel() // 2, 1, dtype=torch.uint8),
        f"{stem}.weight.absmax": torch.zeros(tensor.numel() // 64 + 1),
        f"{stem}.weight.quant_map": torch.zeros(16),
        f"{stem}.weight.quant_state.bitsandbytes__nf4": torch.zeros(90, dtype=torch.uint8),
    }


def w4a16(stem: str, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    rows, columns = tensor.shape
    return {
        f"{stem}.weight_packed": torch.zeros(rows, columns // 8, dtype=torch.int32),
        f"{stem}.weight_scale": torch.zeros(rows, 1),
        f"{stem}.weight_shape": torch.zeros(2, dtype=torch.int64),
    }


GROUPS = {"group_0": {"targets": ["Linear"], "weights": {"num_bits": 4, "type": "int"}}}


@pytest.mark.parametrize(
    ("config", "pack", "library"),
    [
        ({"quant_method": "gptq", "bits": 4}, gptq, "GPTQ, which transformers reads with gptqmodel"),
        ({"quant_method": "awq", "bits": 4}, gptq, "AWQ, which transformers reads with gptqmodel"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, nf4, "bitsandbytes"),
        ({"quant_method": "compressed-tensors", "config_groups": GROUPS}, w4a16, "compressed-tensors"),
        ({"quant_method": "sparkling"}, nf4, "sparkling, which nothing here reads"),
    ],
)
def test_what_no_library_reads_is_refused_with_the_way_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any], pack: Any, library: str
) -> None:
    """Before anything is loaded; the parameters are the model's all the same."""
    monkeypatch.setattr("fastdraft_core.models.packing.find_spec", lambda name: None)
    folder = packed(tmp_path / "model", config, pack)
    with pytest.raises(FastdraftError, match=library) as refusal:
        load_model(folder, "my model", device="cpu", dtype="float32")
    assert "--weights int4" in refusal.value.message
    assert count_parameters(folder) == WEIGHTS


def test_with_its_library_it_is_not_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers is asked to load it."""
    monkeypatch.setattr("fastdraft_core.models.packing.find_spec", lambda name: name == "gptqmodel")
    refuse_packed(packed(tmp_path / "model", {"quant_method": "gptq", "bits": 4}, gptq), "my model")


def test_fp8_weights_are_unpacked_by_transformers(tmp_path: Path) -> None:
    """A block of 128 x 128 has a scale; without an accelerator the model runs in bfloat16, and gives what its numbers say.

    transformers 5.5 imports triton for that; without it the model is refused.
    """
    sizes = dict(vocab_size=WIDTH, hidden_size=128, intermediate_size=256, num_attention_heads=4, num_key_value_heads=4)
    model = small_model("llama", seed=2, **sizes).to(torch.bfloat16)
    write_model(tmp_path, model)
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in load_file(tmp_path / "model.safetensors").items():
        if ".self_attn." in name or ".mlp." in name:
            blocks = tensor.float().unflatten(0, (-1, 128)).unflatten(2, (-1, 128))
            scale = blocks.abs().amax((1, 3)) / 448
            stored = (blocks / scale[:, None, :, None]).to(torch.float8_e4m3fn)
            tensors[name] = stored.flatten(2).flatten(0, 1).contiguous()
            tensors[f"{name}_scale_inv"] = scale
        else:
            tensors[name] = tensor
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    config = json.loads((tmp_path / "config.json").read_text())
    told = {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"}
    (tmp_path / "config.json").write_text(json.dumps(config | {"quantization_config": told}))
    assert packing_of(tmp_path) is not None
    assert count_parameters(tmp_path) == sum(p.numel() for p in model.parameters())
    if find_spec("triton") is None:
        with pytest.raises(FastdraftError, match="packed by FP8, which transformers reads with triton"):
            load_model(tmp_path, "my model", device="cpu", dtype="bfloat16")
        return
    loaded = load_model(tmp_path, "my model", device="cpu", dtype="bfloat16")
    ids = torch.tensor([[5, 9, 40, 7]])
    with torch.inference_mode():
        expected, found = model(ids).logits.float(), loaded(ids).logits.float()
    assert (expected - found).std() < 0.1 * expected.std()
