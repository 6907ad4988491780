"""Models loaded with transformers; every failure is one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from fastdraft_core.errors import FastdraftError, short_error
from fastdraft_core.machine import limits
from fastdraft_core.models.folders import check_weights, load_config, load_generation_config, refuse_code
from fastdraft_core.models.packing import packing_of, refuse_packed
from fastdraft_core.models.weights import count_parameters, weight_files
from fastdraft_core.runtimes.torch.packed import WEIGHTS, check_weights_format, pack
from fastdraft_core.runtimes.torch.runtime import refuse_unrewindable

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: Room for activations, cache and the library itself, beside the weights.
_WORKING_BYTES = 256 << 20
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_model(
    folder: Path, name: str, *, device: str, dtype: str, trust_remote_code: bool = False, weights: str = ""
) -> PreTrainedModel:
    """The model in ``folder`` on ``device``, in ``dtype`` (float32, bfloat16 or float16).

    ``weights`` are ``int8`` or ``int4`` for packed ones on the CPU, which computes in ``dtype``.

    Raises:
        FastdraftError: files are damaged, memory is too small, or transformers cannot load it.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    # Our own events tell of progress; a bar on stderr would not.
    logging.disable_progress_bar()
    if dtype not in _DTYPES:
        raise FastdraftError(f"There is no dtype {dtype!r}; use one of {', '.join(_DTYPES)}.")
    config = load_config(folder, name, trust_remote_code=trust_remote_code)
    refuse_unrewindable(config, name)
    check_weights_format(weights, device)
    refuse_packed(folder, name)
    _check_memory(name, _needed(folder, _DTYPES[dtype].itemsize, device, weights), device)
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=_DTYPES[dtype],
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
        )
        model.to(device)
    except torch.OutOfMemoryError as error:
        raise FastdraftError(
            f"{name} does not fit into the memory of {device}. Use a smaller dtype or the CPU."
        ) from error
    except Exception as error:
        refuse_code(error, name)
        load_generation_config(folder, name, trust_remote_code=trust_remote_code)
        raise FastdraftError(f"transformers cannot load {name} from {folder}: {short_error(error)}") from error
    # transformers would fill the gaps with random numbers.
    if missing := sorted(info["missing_keys"]):
        raise FastdraftError(
            f"{folder} lacks {len(missing)} of the weights of {name}, such as {missing[0]}. Copy or download the model again."
        )
    if weights in WEIGHTS:
        pack(model, weights)
    return model


def _needed(folder: Path, itemsize: int, device: str, weights: str) -> int:
    """Bytes of the weights in memory: packed ones as they lie on the disk, unless they are unpacked there."""
    stored, packing = check_weights(folder).total(), packing_of(folder)
    if packing is None:
        return int(stored * WEIGHTS.get(weights, itemsize))
    if packing.unpacked_on_cpu and device == "cpu":
        return (count_parameters(folder) or stored) * 2
    return sum(file.stat().st_size for file in weight_files(folder))


def _check_memory(name: str, needed: int, device: str) -> None:
    free = torch.cuda.mem_get_info(device)[0] if device.startswith("cuda") else limits.memory()[1]
    if needed + _WORKING_BYTES > free:
        raise FastdraftError(
            f"{name} needs {(needed + _WORKING_BYTES) / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB are free on "
            f"{device}. Close other programs, or use --dtype bfloat16 or a smaller model."
        )
