"""A model's folder: find it, check its files, and read its tokenizer; every failure is one sentence."""

from __future__ import annotations

import codecs
import json
import sys
from collections import Counter
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from fastdraft_core.errors import FastdraftError, short_error
from fastdraft_core.models.catalog import resolve
from fastdraft_core.models.hub_files import LEFT_OUT, SMALL_FILES, WEIGHT_FILES
from fastdraft_core.models.packing import packing_of
from fastdraft_core.models.weights import INDEX_FILE, SOURCE_FILE, weight_files

if TYPE_CHECKING:
    from transformers import GenerationConfig, PretrainedConfig, PreTrainedTokenizerBase


def announce(step: str) -> None:
    """Say on stderr what takes its time, where no screen and no job hears of it."""
    sys.stderr.write(f"{step}\n")


def local_folder(name: str, *, weights: bool = True, report: Callable[[str], None] = announce) -> Path:
    """The folder of a model's files; a hub id is downloaded first, a GGUF file imported, or found in their caches.

    Without ``weights`` only the small files are downloaded or imported. ``report`` hears of the steps of an import.

    Raises:
        FastdraftError: there is no such model, it is gated, cannot be reached or cannot be imported.
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
    if Path(where).is_file():
        from fastdraft_core.models.gguf.importing import import_model

        return import_model(Path(where), name, report, weights=weights)
    try:
        files = SMALL_FILES + (WEIGHT_FILES if weights else [])
        return Path(snapshot_download(where, allow_patterns=files, ignore_patterns=LEFT_OUT))
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
                    parameters[part.get_dtype()] += prod(part.get_shape())
        except (SafetensorError, OSError) as error:
            raise FastdraftError(
                f"{file} is truncated or damaged ({error}). Copy or download the file again."
            ) from error
    return parameters


def stored_dtype(folder: Path) -> str:
    """The dtype most of the folder's weights are stored in: bfloat16 or float16, else float32; of packed ones bfloat16.

    Raises:
        FastdraftError: a file is missing or truncated.
    """
    common = check_weights(folder).most_common(1)
    if packing_of(folder) is not None:
        return "bfloat16"
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
            f"{name} has no readable tokenizer in {folder} ({short_error(error)}). Put the tokenizer files beside the weights."
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
        raise FastdraftError(f"transformers cannot read {file}: {short_error(error)}") from error


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
            f"transformers cannot read {folder / 'generation_config.json'} ({short_error(error)}). Mend the file, or delete it: "
            "fastdraft takes its end-of-text ids from config.json then."
        ) from error


def _check_config_file(file: Path) -> None:
    """What transformers would say in other words than the file's, or not at all.

    Raises:
        FastdraftError: the file is missing, is no JSON object, or names a dtype that there is not.
    """
    import torch

    try:
        data = file.read_bytes()
        found = json.loads(data)
    except OSError as error:
        raise FastdraftError(f"{file} cannot be read ({error.strerror or error}).") from error
    except (ValueError, RecursionError) as error:
        raise FastdraftError(f"{file} is damaged ({short_error(error)}). Copy or download the file again.") from error
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
                f"{file} has {key} {dtype!r}, which is no dtype. Write float32, bfloat16 or float16 there, or leave it out."
            )


def refuse_code(error: Exception, name: str) -> None:
    """Nothing, unless ``error`` is transformers' own refusal to run code that comes with the model ``name``.

    Raises:
        FastdraftError: it is; the message names the option.
    """
    if isinstance(error, ValueError) and "trust_remote_code" in str(error):
        raise FastdraftError(
            f"{name} comes with Python code of its own, which is not run unasked. Read it, and if you trust it, add "
            "--trust-remote-code (in the app: F2, trust-remote-code; for a training: the wizard's first page)."
        ) from error


def _weight_files(folder: Path) -> list[Path]:
    index = folder / INDEX_FILE
    if index.is_file() and not (folder / SOURCE_FILE).is_file():
        try:
            files = sorted({folder / f for f in json.loads(index.read_text())["weight_map"].values()})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FastdraftError(f"{index} is damaged. Copy or download the file again.") from error
        missing = [file.name for file in files if not file.is_file()]
        if missing:
            raise FastdraftError(f"{folder} lacks {', '.join(missing)}. Copy or download the missing files.")
        return files
    files = sorted(weight_files(folder))
    if not files:
        if (folder / "openvino_model.xml").is_file():
            raise FastdraftError(f"{folder} holds an OpenVINO model, which PyTorch cannot run. Use --runtime openvino.")
        pickled = next((p.name for pattern in ("*.bin", "*.pt", "*.pth") for p in folder.glob(pattern)), None)
        if pickled:
            raise FastdraftError(
                f"{folder} holds its weights only in {pickled}, a format that can run code when it is opened. "
                "Save the model as safetensors (save_pretrained) and use that."
            )
        if other := next((path.name for path in folder.glob("*.safetensors")), None):
            raise FastdraftError(
                f"{folder} holds no weights that transformers loads, only {other}: an adapter, or weights in another form. Merge "
                "the adapter into its model, or save the model with save_pretrained, and use that."
            )
        raise FastdraftError(f"{folder} holds no weights: there is no .safetensors file.")
    return files
