"""Stored target probabilities: the target's own, at the right tokens, whatever batch or crash made them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache

from fastdraft_core.data import target_logits
from fastdraft_core.data.mixtures import Mixture
from fastdraft_core.data.shards import Shard, open_shard, write_shard
from fastdraft_core.data.target_logits import (
    TargetLogits,
    bytes_per_token,
    open_target_logits,
    score,
    sequence_spans,
    target_key,
)
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Scored
from fastdraft_core.training.evaluation import make_reference
from tests.runtimes.models import CONTEXT, VOCABULARY, small_model, uncached_logits

K = 5


def written(folder: Path, lengths: list[int], *, masked: bool = True) -> Shard:
    """A shard of random sequences; the first three ids of each are a prefix."""
    rng = np.random.default_rng(1)
    rows = [(rng.integers(3, VOCABULARY, n).tolist(), [0] * 3 + [1] * (n - 3) if masked else None) for n in lengths]
    write_shard(folder / "shard", rows, source="target", tokenizer_hash="tiny", vocab_size=VOCABULARY)
    return open_shard(folder / "shard", tokenizer_hash="tiny")


def scored(folder: Path, shard: Shard, model: Any, top_k: int = K, vocab_size: int = VOCABULARY) -> TargetLogits:
    list(score(folder / "logits", shard, model, top_k=top_k, vocab_size=vocab_size))
    return open_target_logits(folder / "logits", shard)


@pytest.mark.parametrize("architecture", ["llama", "phi3", "gpt2"])
def test_every_row_is_what_the_target_says_alone(tmp_path: Path, architecture: str) -> None:
    """Padding and neighbours change nothing: each token's row is that of its own sequence in a pass of its own."""
    model, lengths = small_model(architecture), [9, 30, 4, 17, 9]
    shard = written(tmp_path, lengths)
    stored = scored(tmp_path, shard, model)
    start = 0
    for length in lengths:
        log_probs = uncached_logits(model, shard.tokens[start : start + length].tolist()).log_softmax(-1)
        top = log_probs.topk(K, -1)
        assert np.isneginf(stored.log_probs[start]).all()
        rows = slice(start + 1, start + length)
        assert (np.asarray(stored.ids[rows]) == top.indices[:-1].numpy()).all()
        np.testing.assert_allclose(stored.log_probs[rows, :-1], top.values[:-1].numpy(), atol=5e-3)
        tail = 1 - top.values[:-1].exp().sum(-1).numpy()
        np.testing.assert_allclose(np.exp(stored.log_probs[rows, -1].astype(np.float32)), tail, atol=2e-3)
        start += length


def test_logits_beyond_the_vocabulary_have_no_probability(tmp_path: Path) -> None:
    """Pitfall 14: a table wider than the vocabulary would steal probability from real ids."""
    shard = written(tmp_path, [20])
    stored = scored(tmp_path, shard, small_model("llama", vocab_size=2 * VOCABULARY), top_k=10**6)
    assert stored.index.top_k == VOCABULARY
    sums = np.exp(stored.log_probs[1:].astype(np.float32)).sum(-1)
    np.testing.assert_allclose(sums, 1, atol=2e-2)


def test_text_without_a_mask_is_read_in_stretches_of_the_context(tmp_path: Path) -> None:
    """Corpus text can be scored too: one stream, cut where the target's context ends."""
    shard = written(tmp_path, [200, 100], masked=False)
    assert sequence_spans(shard, CONTEXT).tolist() == [[0, CONTEXT], [CONTEXT, 2 * CONTEXT], [2 * CONTEXT, 300]]
    stored = scored(tmp_path, shard, small_model("llama"))
    assert np.flatnonzero(np.isneginf(stored.log_probs[:, 0])).tolist() == [0, CONTEXT, 2 * CONTEXT]


def test_a_pass_that_was_stopped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between and inside the writes: the files end the same, and nothing readable is there before the end."""
    monkeypatch.setattr(target_logits, "_WINDOW", 2)
    shard, model = written(tmp_path, [9, 30, 4, 17, 9, 12]), small_model("llama")
    list(score(tmp_path / "whole", shard, model, top_k=K, vocab_size=VOCABULARY))
    passing = score(tmp_path / "cut", shard, model, top_k=K, vocab_size=VOCABULARY)
    assert isinstance(next(passing), Scored)
    passing.close()
    with (tmp_path / "cut.building" / "ids.bin").open("ab") as half:
        half.write(b"half a row")
    with pytest.raises(FastdraftError, match="cannot be read"):
        open_target_logits(tmp_path / "cut", shard)
    events = list(score(tmp_path / "cut", shard, model, top_k=K, vocab_size=VOCABULARY))
    assert [e.tokens for e in events if isinstance(e, Scored)] == [60, 81]
    for name in ("ids.bin", "log_probs.bin", "index.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("name", ["ids.bin", "log_probs.bin"])
def test_damaged_files_are_refused_by_name(tmp_path: Path, name: str) -> None:
    """A flipped bit would teach the draft noise."""
    shard = written(tmp_path, [20])
    scored(tmp_path, shard, small_model("llama"))
    data = bytearray((tmp_path / "logits" / name).read_bytes())
    data[30] ^= 1
    (tmp_path / "logits" / name).write_bytes(bytes(data))
    with pytest.raises(FastdraftError, match="logits are damaged"):
        open_target_logits(tmp_path / "logits", shard)


def test_probabilities_of_other_tokens_are_refused(tmp_path: Path) -> None:
    """A shard that was rebuilt with other tokens must not be paired with the old one's probabilities."""
    scored(tmp_path, written(tmp_path, [20]), small_model("llama"))
    with pytest.raises(FastdraftError, match="belong to other tokens"):
        open_target_logits(tmp_path / "logits", written(tmp_path, [21]))


def test_the_size_on_disk_is_the_one_announced(tmp_path: Path) -> None:
    """`--plan` and the events promise bytes for each token."""
    shard = written(tmp_path, [20, 30])
    scored(tmp_path, shard, small_model("llama"))
    size = sum((tmp_path / "logits" / name).stat().st_size for name in ("ids.bin", "log_probs.bin"))
    assert size == 50 * bytes_per_token(K, VOCABULARY) == 50 * (2 * K + 2 * (K + 1))
    assert bytes_per_token(32, 128_000) == 32 * 4 + 33 * 2


def test_rows_of_a_mixture_bring_the_probabilities_of_their_own_tokens(tmp_path: Path) -> None:
    """Rows are cut anywhere, in any order and epoch; each token keeps the row that was stored for it."""
    shard, model = written(tmp_path, [40, 40, 40]), small_model("llama")
    stored = scored(tmp_path, shard, model)
    mixture = Mixture([shard], [1.0], 7, 40, 3, [stored])
    ids, _ = mixture.rows(0, 40)
    top_ids, log_probs = mixture.probabilities(0, 40)
    stream = torch.from_numpy(np.asarray(shard.tokens, dtype=np.int64))
    for row, top, values in zip(ids, top_ids, log_probs, strict=True):
        (start,) = (n for n in range(len(stream) - 7) if stream[n : n + 8].tolist() == row.tolist())
        assert (top == stored.ids[start : start + 8]).all()
        assert (values == stored.log_probs[start : start + 8]).all()


def test_a_targets_weights_are_read_once_while_they_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stage asks several times whose probabilities are stored; a target of a hundred gigabytes takes minutes to read."""
    read: list[str] = []
    sha256 = target_logits.file_sha256
    monkeypatch.setattr(target_logits, "file_sha256", lambda path: read.append(path.name) or sha256(path))
    for name in ("a", "b"):
        (tmp_path / f"{name}.safetensors").write_bytes(name.encode())
    key = target_key(tmp_path)
    assert target_key(tmp_path) == key
    assert read == ["a.safetensors", "b.safetensors"]
    (tmp_path / "b.safetensors").write_bytes(b"other weights")
    assert target_key(tmp_path) != key


def gemma3n() -> Any:
    """A Gemma 3n in small, whose last layers take their keys and values from others; transformers shares them only in a cache."""
    torch.manual_seed(1)
    config = AutoConfig.for_model(
        "gemma3n_text", vocab_size=VOCABULARY, hidden_size=32, intermediate_size=[64] * 4, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=CONTEXT, head_dim=8, num_hidden_layers=4, sliding_window=16,
        layer_types=["sliding_attention", "full_attention"] * 2, num_kv_shared_layers=2, vocab_size_per_layer_input=VOCABULARY,
        hidden_size_per_layer_input=8, laurel_rank=4, altup_num_inputs=2, activation_sparsity_pattern=[0.0] * 4,
        bos_token_id=0, eos_token_id=1, pad_token_id=None,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    for weight in model.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.15)
    return model


@torch.inference_mode()
def decoded(model: Any, ids: list[int]) -> torch.Tensor:
    """Log-probabilities after each of ``ids``, one token a pass, as in decoding: ``[tokens, V]``."""
    cache, rows = DynamicCache(config=model.config), []
    for token in ids:
        rows.append(model(input_ids=torch.tensor([[token]]), past_key_values=cache, use_cache=True).logits[0, -1])
    return torch.stack(rows).float().log_softmax(-1)


def test_a_target_is_read_as_it_decodes(tmp_path: Path) -> None:
    """Gemma 3n without a cache is another model: what is stored of it, and what drafts are judged by, is the one that decodes."""
    model = gemma3n()
    shard = written(tmp_path, [60])
    ids = shard.tokens[:60].tolist()
    truth = decoded(model, ids)
    assert (uncached_logits(model, ids).log_softmax(-1) - truth).abs().max() > 0.1, "this model would show nothing"
    stored = scored(tmp_path, shard, model)
    top = truth[:-1].topk(K, -1)
    assert (np.asarray(stored.ids[1:60]) == top.indices.numpy()).all()
    np.testing.assert_allclose(stored.log_probs[1:60, :-1], top.values.numpy(), atol=5e-3)
    mixture = Mixture([shard], [1.0], 24, 1, seed=1)
    rows, mask = mixture.rows(0, 1)
    wanted = decoded(model, rows[0, :-1].tolist())[torch.from_numpy(mask[0, 1:])]
    found = make_reference(model, mixture, VOCABULARY).log_probs.float()
    np.testing.assert_allclose(found.numpy(), wanted.numpy(), atol=2e-2)
