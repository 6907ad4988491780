"""What writes for FT: the target by our own batched generation on PyTorch or OpenVINO, or by vLLM on a server that has it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastdraft_core.data.generation import Batch, Row, Written, continue_batch
from fastdraft_core.errors import FastdraftError
from fastdraft_core.runtimes.openvino.ir_cache import takes_long

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_SEEDS = 1 << 31
NO_VLLM = (
    'synthesis.engine is "vllm", and vLLM is not installed. Install it (`pip install vllm`) on a machine with a GPU that '
    'it supports, or set synthesis.engine = "torch".'
)


#: Continues a batch as ``continue_batch`` does, by a model that is chosen already.
Writer = Callable[[Batch], Written]


def choose_engine(asked: str, device_type: str, folder: Path, name: str) -> str:
    """The engine that "auto" means for the model in ``folder``: OpenVINO on a CPU, unless converting it takes long."""
    if asked != "auto":
        return asked
    return "torch" if device_type != "cpu" or takes_long(folder, name) else "openvino"


def torch_writer(model: PreTrainedModel) -> Writer:
    """Our own generation by ``model``."""
    return partial(continue_batch, model)


def vllm_writer(folder: Path, *, trust_remote_code: bool = False) -> Writer:
    """vLLM on the model in ``folder``; it chooses device, number format and batches itself, and keeps no distributions.

    Raises:
        FastdraftError: vLLM is not installed, or cannot run this model.
    """
    try:
        from vllm import LLM, SamplingParams
        from vllm.inputs import TokensPrompt
    except ImportError as error:
        raise FastdraftError(NO_VLLM) from error
    try:
        engine = LLM(model=str(folder), trust_remote_code=trust_remote_code)
    except (RuntimeError, ValueError, OSError) as error:
        raise FastdraftError(f'vLLM cannot run {folder} ({error}). Set synthesis.engine = "torch".') from error

    def write(batch: Batch) -> Written:
        asked = [[int(token) for token in prompt] for prompt in batch.prompts]
        drawn = [
            SamplingParams(
                temperature=float(temperature),
                max_tokens=batch.new_tokens,
                # Our stops hold every end of a text that the model knows.
                stop_token_ids=sorted(batch.stops),
                ignore_eos=True,
                seed=(batch.seed + number) % _SEEDS,
                detokenize=False,
            )
            for number, temperature in enumerate(batch.temperatures)
        ]
        found = engine.generate([TokensPrompt(prompt_token_ids=ids) for ids in asked], drawn, use_tqdm=False)
        return Written([_row(ids, answer.outputs[0], batch) for ids, answer in zip(asked, found, strict=True)], [])

    return write


def _row(prompt: list[int], completion: Any, batch: Batch) -> Row:
    """The whole row, its stop included; cut where an id only pads the logits."""
    ids = [int(token) for token in completion.token_ids]
    if (
        completion.finish_reason == "stop"
        and completion.stop_reason in batch.stops
        and ids[-1:] != [completion.stop_reason]
    ):
        ids.append(int(completion.stop_reason))
    foreign = [place for place, token in enumerate(ids) if batch.vocab_size is not None and token >= batch.vocab_size]
    ids = ids[: foreign[0]] if foreign else ids
    return [*prompt, *ids] if ids else None
