"""Find a model's files, check them, and load them with transformers; every failure is one sentence."""

from __future__ import annotations

import codecs
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import torch

from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.catalog import resolve
from fastdraft_core.runtimes.torch.runtime import refuse_unrewindable

if TYPE_CHECKING:
    from transformers import GenerationConfig, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

#: Room for activations, cache and the library itself, beside the weights.
_WORKING_BYTES = 256 << 20
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_WEIGHT_FILES = ["*.safetensors", "openvino_model.xml", "openvino_model.bin"]
#: Code is fetched like any other file; it is run only where that was asked for.
_HUB_FILES = ["*.json", "*.model", "*.txt", "*.jinja", "*.py", "README.md"]


def local_folder(name: str, *, weights: bool = True) -> Path:
    """The folder of a model's files; a hub id is downloaded first, or found in the hub's cache.

    Without ``weights`` only the small files are downloaded.

    Raises:
        FastdraftError: there is no such model, it is gated, or it cannot be reached.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    where = resolve(name)
    if Path(where).is_dir():
        return Path(where)
    try:
        files = _HUB_FILES + (_WEIGHT_FILES if weights else [])
        return Path(snapshot_download(where, allow_patterns=files))
    except GatedRepoError as error:
        raise FastdraftError(
            f"{name} is gated: accept its terms on its model page, run `hf auth login`, and try again."
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise FastdraftError(f"The model hub has no model {name!r}, and there is no such folder here.") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise FastdraftError(
            f"{name} is not in the local cache and the model hub cannot be reached. Check the network, "
            "or give a folder that holds the model."
        ) from error


def check_weights(folder: Path) -> Counter[str]:
    """The number of parameters in the folder's safetensors files by dtype (``BF16``); all files are whole.

    Raises:
        FastdraftError: a file is missing, truncated, or only pickled weights are there.
    """
    from safetensors import SafetensorError, safe_open

    files = _weight_files(folder)
    parameters: Counter[str] = Counter()
    for file in files:
        try:
            with safe_open(file, framework="pt") as weights:
                for key in weights.keys():  # noqa: SIM118 - safe_open is not a mapping
                    part = weights.get_slice(key)
                    parameters[part.get_dtype()] += torch.Size(part.get_shape()).numel()
        except (SafetensorError, OSError) as error:
            raise FastdraftError(
                f"{file} is truncated or damaged ({error}). Copy or download the file again."
            ) from error
    return parameters


def stored_dtype(folder: Path) -> str:
    """The dtype most of the folder's weights are stored in: bfloat16 or float16, else float32.

    Raises:
        FastdraftError: a file is missing or truncated.
    """
    common = check_weights(folder).most_common(1)
    return {"BF16": "bfloat16", "F16": "float16"}.get(common[0][0] if common else "", "float32")


def load_tokenizer(folder: Path, name: str, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """The tokenizer in ``folder``.

    Raises:
        FastdraftError: there is none, or it cannot be read.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
        # Without its files, transformers makes an empty tokenizer of the right class.
        names = {"tokenizer.json", "tokenizer.model", "tekken.json", *tokenizer.vocab_files_names.values()}
        if not any((folder / name).is_file() for name in names):
            raise FileNotFoundError("there is no tokenizer.json or vocabulary")
        return tokenizer
    except Exception as error:
        refuse_code(error, name)
        # transformers reads config.json for a tokenizer as well: a fault of that file is no fault of the tokenizer's.
        load_config(folder, name, trust_remote_code=trust_remote_code)
        raise FastdraftError(
            f"{name} has no readable tokenizer in {folder} ({_short(error)}). Put the tokenizer files beside the weights."
        ) from error


def load_config(folder: Path, name: str, *, trust_remote_code: bool = False) -> PretrainedConfig:
    """The configuration in ``folder``.

    Raises:
        FastdraftError: config.json is missing, damaged, contradicts itself, or is of no known architecture.
    """
    from transformers import AutoConfig

    file = folder / "config.json"
    _check_config_file(file)
    try:
        # Never left open: transformers would ask on the terminal.
        return AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
    except Exception as error:
        refuse_code(error, name)
        raise FastdraftError(f"transformers cannot read {file}: {_short(error)}") from error


def load_generation_config(folder: Path, name: str, *, trust_remote_code: bool = False) -> GenerationConfig:
    """What generation_config.json says, or the configuration where there is no such file that is JSON.

    Raises:
        FastdraftError: it holds something that transformers refuses.
    """
    from transformers import GenerationConfig

    try:
        return GenerationConfig.from_pretrained(folder)
    except OSError:
        return GenerationConfig.from_model_config(load_config(folder, name, trust_remote_code=trust_remote_code))
    except Exception as error:
        raise FastdraftError(
            f"transformers cannot read {folder / 'generation_config.json'} ({_short(error)}). Mend the file, or delete it: "
            "fastdraft takes its end-of-text ids from config.json then."
        ) from error


def load_model(folder: Path, name: str, *, device: str, dtype: str, trust_remote_code: bool = False) -> PreTrainedModel:
    """The model in ``folder`` on ``device``, in ``dtype`` (float32, bfloat16 or float16).

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
    needed = check_weights(folder).total() * _DTYPES[dtype].itemsize
    _check_memory(name, needed, device)
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
        raise FastdraftError(f"transformers cannot load {name} from {folder}: {_short(error)}") from error
    # transformers would fill the gaps with random numbers.
    if missing := sorted(info["missing_keys"]):
        raise FastdraftError(
            f"{folder} lacks {len(missing)} of the weights of {name}, such as {missing[0]}. Copy or download the model again."
        )
    return model


def refuse_code(error: Exception, name: str) -> None:
    """Nothing, unless ``error`` is transformers' own refusal to run code that comes with the model ``name``.

    Raises:
        FastdraftError: it is; the message names the option.
    """
    if isinstance(error, ValueError) and "trust_remote_code" in str(error):
        raise FastdraftError(
            f"{name} comes with Python code of its own, which is not run unasked. Read it, and if you trust it, add "
            "--trust-remote-code."
        ) from error


def _check_config_file(file: Path) -> None:
    """What transformers would say in other words than the file's, or not at all.

    Raises:
        FastdraftError: the file is missing, is no JSON object, or names a dtype that there is not.
    """
    try:
        data = file.read_bytes()
        found = json.loads(data)
    except OSError as error:
        raise FastdraftError(f"{file} cannot be read ({error.strerror or error}).") from error
    except (ValueError, RecursionError) as error:
        raise FastdraftError(f"{file} is damaged ({_short(error)}). Copy or download the file again.") from error
    if data.startswith(codecs.BOM_UTF8):
        raise FastdraftError(
            f"{file} begins with a byte order mark, which transformers does not read. Save the file as UTF-8 without one."
        )
    if not isinstance(found, dict):
        raise FastdraftError(f"{file} holds no JSON object. Copy or download the file again.")
    for key in ("dtype", "torch_dtype"):
        dtype = found.get(key)
        if isinstance(dtype, str) and not isinstance(getattr(torch, dtype.removeprefix("torch."), None), torch.dtype):
            raise FastdraftError(
                f"{file} has {key} {dtype!r}, which is no dtype. Write {', '.join(_DTYPES)} there, or leave it out."
            )


def _weight_files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            files = sorted({folder / f for f in json.loads(index.read_text())["weight_map"].values()})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FastdraftError(f"{index} is damaged. Copy or download the file again.") from error
        missing = [file.name for file in files if not file.is_file()]
        if missing:
            raise FastdraftError(f"{folder} lacks {', '.join(missing)}. Copy or download the missing files.")
        return files
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        if (folder / "openvino_model.xml").is_file():
            raise FastdraftError(f"{folder} holds an OpenVINO model, which PyTorch cannot run. Use --runtime openvino.")
        pickled = next((p.name for pattern in ("*.bin", "*.pt", "*.pth") for p in folder.glob(pattern)), None)
        if pickled:
            raise FastdraftError(
                f"{folder} holds its weights only in {pickled}, a format that can run code when it is opened. "
                "Save the model as safetensors (save_pretrained) and use that."
            )
        raise FastdraftError(f"{folder} holds no weights: there is no .safetensors file.")
    return files


def _check_memory(name: str, needed: int, device: str) -> None:
    free = torch.cuda.mem_get_info(device)[0] if device.startswith("cuda") else psutil.virtual_memory().available
    if needed + _WORKING_BYTES > free:
        raise FastdraftError(
            f"{name} needs {(needed + _WORKING_BYTES) / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB are free on "
            f"{device}. Close other programs, or use --dtype bfloat16 or a smaller model."
        )


def _short(error: Exception) -> str:
    """The first line of an error, for a sentence, and the next one where the first only announces it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return " ".join(lines[:2] if lines[0].endswith(":") else lines[:1])[:250]
