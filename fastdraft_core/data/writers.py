"""What writes for FT: the target by our own batched generation on PyTorch or OpenVINO, or by vLLM on a server that has it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from fastdraft_core.converted import takes_long
from fastdraft_core.data.generation import continue_batch
from fastdraft_core.errors import FastdraftError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_SEEDS = 1 << 31
NO_VLLM = (
    'synthesis.engine is "vllm", and vLLM is not installed. Install it (`pip install vllm`) on a machine with a GPU that '
    'it supports, or set synthesis.engine = "torch".'
)


class Writer(Protocol):
    """Continues prompts as ``continue_batch`` does, by a model that is chosen already."""

    def __call__(
        self,
        prompts: Sequence[Sequence[int]] | npt.NDArray[np.int64],
        temperatures: npt.NDArray[np.float64],
        new_tokens: int,
        stops: Collection[int],
        seed: int,
        *,
        vocab_size: int | None = None,
    ) -> list[list[int] | None]:
        """Each prompt with what follows it, up to its first stop; None for a row that came to nothing."""
        ...


def choose_engine(asked: str, device_type: str, folder: Path, name: str) -> str:
    """The engine that "auto" means for the model in ``folder``: OpenVINO on a CPU, unless converting it takes long."""
    if asked != "auto":
        return asked
    return "torch" if device_type != "cpu" or takes_long(folder, name) else "openvino"


def torch_writer(model: PreTrainedModel) -> Writer:
    """Our own generation by ``model``."""
    return partial(continue_batch, model)


def vllm_writer(folder: Path, *, trust_remote_code: bool = False) -> Writer:
    """vLLM on the model in ``folder``; it chooses device, number format and batches itself.

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

    def write(
        prompts: Sequence[Sequence[int]] | npt.NDArray[np.int64],
        temperatures: npt.NDArray[np.float64],
        new_tokens: int,
        stops: Collection[int],
        seed: int,
        *,
        vocab_size: int | None = None,
    ) -> list[list[int] | None]:
        asked = [[int(token) for token in prompt] for prompt in prompts]
        drawn = [
            SamplingParams(
                temperature=float(temperature),
                max_tokens=new_tokens,
                # Our stops hold every end of a text that the model knows.
                stop_token_ids=sorted(stops),
                ignore_eos=True,
                seed=(seed + number) % _SEEDS,
                detokenize=False,
            )
            for number, temperature in enumerate(temperatures)
        ]
        found = engine.generate([TokensPrompt(prompt_token_ids=ids) for ids in asked], drawn, use_tqdm=False)
        return [_row(ids, answer.outputs[0], stops, vocab_size) for ids, answer in zip(asked, found, strict=True)]

    return write


def _row(prompt: list[int], completion: Any, stops: Collection[int], vocab_size: int | None) -> list[int] | None:
    """The whole row, its stop included; cut where an id only pads the logits."""
    ids = [int(token) for token in completion.token_ids]
    if completion.finish_reason == "stop" and completion.stop_reason in stops and ids[-1:] != [completion.stop_reason]:
        ids.append(int(completion.stop_reason))
    foreign = [place for place, token in enumerate(ids) if vocab_size is not None and token >= vocab_size]
    ids = ids[: foreign[0]] if foreign else ids
    return [*prompt, *ids] if ids else None
