"""vLLM as the engine of synthesis, against a stand-in of its documented interface: it was never run for real here."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fastdraft_core.data.generation import Batch, continue_batch
from fastdraft_core.data.writers import torch_writer, vllm_writer
from fastdraft_core.errors import FastdraftError
from tests.folders import tiny_target

STOP = 7


class _Params:
    def __init__(self, **values: Any) -> None:
        self.__dict__ |= values
        assert values["ignore_eos"]
        assert values["detokenize"] is False


class _Engine:
    """Answers in the order asked; of a text that ended at a stop id, that id is the last token or left to the reason."""

    names_stop_in_tokens = True

    def __init__(self, model: str, trust_remote_code: bool) -> None:
        assert not trust_remote_code
        assert Path(model).is_absolute()
        self._model = tiny_target()

    def generate(self, prompts: list[dict[str, Any]], params: list[_Params], use_tqdm: bool) -> list[Any]:
        assert not use_tqdm
        answers = []
        for prompt, param in zip(prompts, params, strict=True):
            ids = prompt["prompt_token_ids"]
            stops = set(param.stop_token_ids)
            batch = Batch([ids], np.array([param.temperature]), param.max_tokens, stops, param.seed)
            (row,) = continue_batch(self._model, batch).rows
            assert row is not None
            new = row[len(ids) :]
            stopped = new[-1] in stops
            if stopped and not self.names_stop_in_tokens:
                new = new[:-1]
            done = SimpleNamespace(
                token_ids=tuple(new),
                finish_reason="stop" if stopped else "length",
                stop_reason=row[-1] if stopped else None,
            )
            answers.append(SimpleNamespace(outputs=[done]))
        return answers


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library, as far as it is used."""
    library, inputs = ModuleType("vllm"), ModuleType("vllm.inputs")
    library.LLM, library.SamplingParams = _Engine, _Params  # type: ignore[attr-defined]
    inputs.TokensPrompt = dict  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", library)
    monkeypatch.setitem(sys.modules, "vllm.inputs", inputs)


@pytest.mark.usefixtures("vllm")
@pytest.mark.parametrize("named", [True, False])
def test_it_writes_what_our_own_generation_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool) -> None:
    """Greedy, prompts of several lengths: the same rows, ends of texts included, whether or not vLLM names the stop."""
    monkeypatch.setattr(_Engine, "names_stop_in_tokens", named)
    prompts = [[1, 2, 3], [4, 5, 6, 8, 9], [20, 21]]
    greedy = np.zeros(len(prompts))
    ours = torch_writer(tiny_target())(Batch(prompts, greedy, 40, {STOP}, 1)).rows
    assert vllm_writer(tmp_path)(Batch(prompts, greedy, 40, {STOP}, 1)).rows == ours
    stop = next(row[-5] for row in ours if row is not None)
    ours = torch_writer(tiny_target())(Batch(prompts, greedy, 40, {stop}, 1)).rows
    assert any(row is not None and row[-1] == stop for row in ours)
    assert vllm_writer(tmp_path)(Batch(prompts, greedy, 40, {stop}, 1)).rows == ours


@pytest.mark.usefixtures("vllm")
def test_ids_that_only_pad_the_logits_end_a_row(tmp_path: Path) -> None:
    """vLLM draws from all logits; what is no token of the tokenizer must not be trained on."""
    (whole,) = vllm_writer(tmp_path)(Batch([[1, 2, 3]], np.ones(1), 30, {STOP}, 1)).rows
    assert whole is not None
    width = max(whole[3:])
    (cut,) = vllm_writer(tmp_path)(Batch([[1, 2, 3]], np.ones(1), 30, {STOP}, 1, vocab_size=width)).rows
    assert cut is None or (cut == whole[: len(cut)] and max(cut[3:]) < width)


def test_without_vllm_it_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for it is told where it runs and what to do instead."""
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(FastdraftError, match=r'vLLM is not installed.*synthesis\.engine = "torch"'):
        vllm_writer(tmp_path)
