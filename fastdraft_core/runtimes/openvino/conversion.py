"""Turn a Hugging Face folder into an OpenVINO IR: a stateful model, its weights in a chosen format."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastdraft_core.errors import FastdraftError, short_error
from fastdraft_core.files import building
from fastdraft_core.models.convertible import conversion_problem
from fastdraft_core.models.folders import check_weights, load_tokenizer, stored_dtype
from fastdraft_core.models.weights import MODEL_FILE, count_parameters
from fastdraft_core.runtimes.torch.loading import load_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# OpenVINO's and NNCF's converters send usage figures home unless this package is absent. Nothing leaves from here.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

_TOKENIZER_FILES = ("openvino_tokenizer.xml", "openvino_detokenizer.xml")
_FLOATS = {"bf16": "bfloat16", "f16": "float16"}
_SHORT = {"int8": "int8_asym", "int4": "int4_asym"}
_INT4 = ("int4_asym", "int4_sym")
_KINDS = ("original", *_FLOATS, "int8_asym", "int8_sym", *_INT4)
_GROUP = 128


@dataclass(frozen=True, slots=True)
class WeightFormat:
    """How the weights of an IR are stored.

    ``kind`` is ``original`` (as the source stores them), ``bf16``, ``f16``, ``int8_asym``, ``int8_sym``, ``int4_asym``
    or ``int4_sym``. For int4, ``group_size`` weights share a scale (-1: a whole row) and ``ratio`` of the layers are
    int4; the others, the embeddings and the head are int8_asym. Both are -1 and 1 otherwise.
    """

    kind: str
    group_size: int = -1
    ratio: float = 1.0

    @classmethod
    def parse(cls, text: str) -> WeightFormat:
        """``original``, ``bf16``, ``f16``, ``int8`` (int8_asym), ``int8_sym``, ``int4``, ``int4:128:0.8``, ``int4_sym:-1``.

        Raises:
            FastdraftError: it is none of these, or a number is out of range.
        """
        kind, *numbers = text.strip().lower().split(":")
        kind = _SHORT.get(kind, kind)
        if kind not in _KINDS:
            raise FastdraftError(
                f"There is no weight format {text!r}; use {', '.join(_KINDS[:3])}, int8, int8_sym, int4 or int4_sym "
                "(with group size and ratio: int4:128:0.8)."
            )
        if kind not in _INT4:
            if numbers:
                raise FastdraftError(f"Group size and ratio belong to int4 only; write {kind} without them.")
            return cls(kind)
        try:
            group = int(numbers[0]) if numbers else _GROUP
            ratio = float(numbers[1]) if numbers[1:] else 1.0
        except ValueError:
            group = 0
        if len(numbers) > 2 or not (group == -1 or group >= 2) or not 0 <= ratio <= 1:
            raise FastdraftError(
                f"{text!r} is not understood: write int4, int4:GROUP or int4:GROUP:RATIO, with a group size of 2 or more "
                "(or -1 for whole rows) and a ratio from 0 to 1, for example int4:128:0.8."
            )
        return cls(kind, group, ratio)

    def __str__(self) -> str:
        """The canonical name, which ``parse`` reads back: the same weights have the same name."""
        return f"{self.kind}:{self.group_size}:{self.ratio:g}" if self.kind in _INT4 else self.kind

    @property
    def slug(self) -> str:
        """The canonical name as a part of a file name."""
        return str(self).replace(":", "-")

    @property
    def bits(self) -> int:
        """Bits of most weights; 0 for floats."""
        return {"int8": 8, "int4": 4}.get(self.kind.partition("_")[0], 0)


def convert(
    source: Path,
    output: Path,
    weights: WeightFormat,
    report: Callable[[str], None],
    *,
    name: str = "",
    trust_remote_code: bool = False,
) -> None:
    """Write the model in ``source`` to ``output``: IR, configuration and tokenizer. ``name`` is the one people know.

    Written beside and renamed, so ``output`` is whole or absent. ``report`` hears of each step.

    Raises:
        FastdraftError: the source is damaged or of an unknown kind, ``output`` is in use, or the disk is too small.
    """
    name = name or source.name
    with building(output, needed=needed_bytes(source, weights)) as folder:
        tokenizer = load_tokenizer(source, name, trust_remote_code=trust_remote_code)
        model = load_for(weights, source, name, report, trust_remote_code=trust_remote_code)
        write_ir(model, folder, weights, report, name=name)
        tokenizer.save_pretrained(folder)


def load_for(
    weights: WeightFormat, source: Path, name: str, report: Callable[[str], None], *, trust_remote_code: bool = False
) -> PreTrainedModel:
    """The model in ``source``, in the dtype that ``weights`` are made from."""
    dtype = _FLOATS.get(weights.kind) or stored_dtype(source)
    report(f"loading {name} as {dtype}")
    return load_model(source, name, device="cpu", dtype=dtype, trust_remote_code=trust_remote_code)


def needed_bytes(source: Path, weights: WeightFormat) -> int:
    """Room that writing takes at most: float weights are written first, and compressed ones beside them."""
    stored = check_weights(source).total()
    size = (count_parameters(source) or stored) * (4 if stored_dtype(source) == "float32" else 2)
    return 2 * size if weights.bits else size


def write_ir(
    model: PreTrainedModel, folder: Path, weights: WeightFormat, report: Callable[[str], None], *, name: str
) -> None:
    """Write the IR of a loaded model with its configurations; the model must not be used afterwards.

    Raises:
        FastdraftError: optimum-intel does not know the architecture, or nncf cannot compress it.
    """
    report(f"converting {name} to OpenVINO")
    config = _openvino_config(weights)
    with _quiet():
        _trace(model, folder, name, config)
    if weights.bits:
        report(f"compressing the weights of {name} to {weights}")
        with _quiet():
            _compress(folder, name, config)


def convert_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write ``openvino_tokenizer.xml`` and ``openvino_detokenizer.xml``, which OpenVINO GenAI needs beside the model.

    Raises:
        FastdraftError: openvino-tokenizers does not know this kind of tokenizer.
    """
    from optimum.exporters.openvino.convert import export_tokenizer

    with _quiet():
        # For generation it pads on the left, and rewrites chat templates that GenAI's own engine cannot read.
        export_tokenizer(tokenizer, folder, task="text-generation-with-past")
    # It says nothing where it fails.
    if not all((folder / file).is_file() for file in _TOKENIZER_FILES):
        raise FastdraftError(
            f"openvino-tokenizers cannot convert this tokenizer ({type(tokenizer).__name__}), and OpenVINO GenAI "
            "does not work without it. Use --to hf."
        )


def _trace(model: Any, folder: Path, name: str, config: Any) -> None:
    from optimum.exporters.openvino import export_from_model

    half = model.dtype.itemsize == 2
    try:
        export_from_model(model, folder, "text-generation-with-past", config, preprocessors=[], patch_16bit_model=half)
    except OSError:
        raise
    except Exception as error:
        why = conversion_problem(model.config.model_type) or short_error(error)
        raise FastdraftError(
            f"{name} ({model.config.model_type}) cannot be converted to OpenVINO: {why}. "
            "It runs with --runtime torch, and --to hf exports it."
        ) from error


def _compress(folder: Path, name: str, config: Any) -> None:
    """Replace the IR in ``folder`` by one with integer weights."""
    import nncf
    import openvino

    nncf.set_log_level(logging.ERROR)
    file = folder / MODEL_FILE
    model = openvino.Core().read_model(file)
    try:
        model = nncf.compress_weights(model, **config.quantization_config.to_nncf_dict())
    except Exception as error:
        raise FastdraftError(f"The weights of {name} cannot be compressed: {short_error(error)}.") from error
    small = folder / "compressed.xml"
    openvino.save_model(model, small, compress_to_fp16=False)
    # The old weights are mapped into memory as long as a model uses them, and Windows replaces no such file.
    del model
    for suffix in (".xml", ".bin"):
        small.with_suffix(suffix).replace(file.with_suffix(suffix))
    config.save_pretrained(folder)


def _openvino_config(weights: WeightFormat) -> Any:
    """optimum-intel's name for a weight format."""
    from optimum.intel.openvino import OVConfig, OVWeightQuantizationConfig

    if not weights.bits:
        # "auto" keeps the weights as they are; without it large models would become int8 unasked.
        return OVConfig(dtype="auto")
    numbers = {}
    if weights.bits == 4:
        # A layer whose width the group size does not divide gets the largest power of two that does.
        numbers = dict(group_size=weights.group_size, ratio=weights.ratio, group_size_fallback="adjust")
    return OVConfig(
        quantization_config=OVWeightQuantizationConfig(bits=weights.bits, sym=weights.kind.endswith("_sym"), **numbers)
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the libraries' bars and warnings off the terminal, and off a pipe that carries events."""
    from transformers.utils import logging as transformers_logging

    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers_logging.set_verbosity(before)
