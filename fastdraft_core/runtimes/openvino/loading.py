"""Compile an IR folder for a device; every failure is one sentence."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fastdraft_core import places
from fastdraft_core.errors import FastdraftError, short_cause
from fastdraft_core.events import ModelCard
from fastdraft_core.files import remember, remembered
from fastdraft_core.machine import limits
from fastdraft_core.machine.cpu import has_amx, logical_cores, native_bf16
from fastdraft_core.machine.devices import choose_dtype
from fastdraft_core.models.folders import load_config
from fastdraft_core.models.identity import source_key
from fastdraft_core.models.weights import MODEL_FILE
from fastdraft_core.runtimes.base import Runtime
from fastdraft_core.runtimes.openvino import npu
from fastdraft_core.runtimes.openvino.batch import PagedBatch
from fastdraft_core.runtimes.openvino.blocks import BlockGraph, PagedRuntime
from fastdraft_core.runtimes.openvino.graph import (
    count_parameters,
    keep_head_rows,
    keep_rows,
    page_attention,
    weights_read,
)
from fastdraft_core.runtimes.openvino.paged import PagedCache, PagedPasses
from fastdraft_core.runtimes.openvino.runtime import OpenVinoRuntime, Passes
from fastdraft_core.runtimes.openvino.stateful import StatefulPasses
from fastdraft_core.runtimes.openvino.unrolled import unroll
from fastdraft_core.runtimes.rotary import with_rotary_switch
from fastdraft_core.runtimes.torch.runtime import context_length, has_windows, refuse_unrewindable

if TYPE_CHECKING:
    from transformers import PretrainedConfig

_log = logging.getLogger("fastdraft.openvino")
_WORKING_BYTES = 256 << 20
#: Columns of a matrix that one thread multiplies at least.
_AMX_BLOCK = 32
_HINTS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
_DTYPES = {hint: dtype for dtype, hint in _HINTS.items()} | {"u8": "int8", "i8": "int8", "u4": "int4"}
_BITS = {"float32": 32, "bfloat16": 16, "float16": 16, "int8": 8, "int4": 4}
#: Why keys and values stay inside a model that was asked to have them in pages.
CANNOT_PAGE = "keys and values stay inside the model, since OpenVINO cannot page its attention"
OTHER_LOGITS = "keys and values stay inside the model, since paged passes give other logits"
#: Tokens that passes over pages are tried on, beside a window up to the given size; the last of them come as a block and a single one.
_PROBE, _PROBE_BLOCK, _LARGEST_WINDOW = 40, 8, 1024
#: Differences of logits that are none, as a share of the largest one, in float32 and in the format that was asked for.
_SAME, _SAME_ROUNDED = 1e-3, 3e-2
#: Another number forgets what was remembered: 2 compares without the rounding of activations that integer weights bring with AMX.
_COMPARISON = 2
_seen_here: dict[str, bool] = {}
#: What a key or value may be kept as.
KV_PRECISIONS = ("f32", "bf16", "f16", "u8", "u4")


@dataclass(frozen=True, slots=True)
class OpenVinoOptions:
    """Where and how a model runs: ``dtype`` computes, ``kv_precision`` keeps keys and values; empty is the device's own."""

    device: str = "cpu"
    dtype: str = ""
    kv_precision: str = ""
    threads: int = 1


def openvino_devices() -> dict[str, str]:
    """OpenVINO's devices here, by the names that ``--device`` takes (``cpu``, ``gpu``, ``gpu.1``, ``npu``)."""
    core = _core()
    return {name.lower(): str(core.get_property(name, "FULL_DEVICE_NAME")) for name in core.available_devices}


def choose_openvino_device(name: str = "") -> str:
    """``name`` if OpenVINO has such a device here; the CPU when nobody chooses.

    Raises:
        FastdraftError: there is no such device; the message names those that are there.
    """
    wanted, present = name.lower() or "cpu", openvino_devices()
    # One of several is called gpu.0; whoever says gpu means it.
    if wanted in present or f"{wanted}.0" in present:
        return wanted
    raise FastdraftError(f"OpenVINO has no device {name!r} here. Use one of: {', '.join(present)}.")


def load_ir(
    folder: Path,
    name: str,
    known_ids: int,
    options: OpenVinoOptions,
    *,
    paged: bool = True,
    trust_remote_code: bool = False,
    head_ids: Sequence[int] | None = None,
) -> Runtime:
    """The IR in ``folder`` as a runtime whose logits are cut to the first ``known_ids``, or to ``head_ids`` alone.

    On a CPU keys and values lie in pages of our own, unless ``paged`` forbids it, the library cannot do it, or it gives other logits
    than the model (``paging_problem``). The card then says why.

    Raises:
        FastdraftError: files are damaged, the past cannot be rewound, memory is too small, or the device refuses.
    """
    config = load_config(folder, name, trust_remote_code=trust_remote_code).get_text_config()
    refuse_unrewindable(config, name)
    options = _with_safe_threads(options, config)
    _check_memory(folder, name, options.device)
    model = _read_model(folder, name)
    parameters = count_parameters(model)
    width = list(model.output("logits").partial_shape)[-1]
    if head_ids is not None:
        keep_head_rows(model, head_ids)
    context = context_length(config)
    loaded, fallback = None, ""
    if paged and options.device == "cpu":
        fallback = paging_problem(folder, config, options, name)
        loaded = None if fallback else _paged(model, options, context, name)
        fallback = fallback or ("" if loaded else CANNOT_PAGE)
    if loaded is None:
        # A model that could not be paged is spoilt by the attempt.
        model = _read_model(folder, name)
        if head_ids is not None:
            keep_head_rows(model, head_ids)
        loaded = _stateful(model, options, config, name)
    compiled, passes = loaded
    if options.device.startswith("npu"):
        context = min(context, npu.PROMPT + npu.RESPONSE)
    weight_bytes, dtype = weights_read(compiled)
    card = ModelCard(
        name=name,
        architecture=str(config.model_type),
        parameters=parameters,
        weight_bytes=weight_bytes or _weights_file(folder).stat().st_size,
        dtype=dtype or "unknown",
        device=options.device,
        layers=int(config.num_hidden_layers),
        hidden_size=int(config.hidden_size),
        vocab_size=int(config.vocab_size),
        context_length=context,
        compute=_precision(compiled, "INFERENCE_PRECISION_HINT"),
        kv_dtype=_precision(compiled, "KV_CACHE_PRECISION"),
        draft_vocab=len(head_ids or ()),
        fallback=fallback,
    )
    vocab_size = min(known_ids, width.get_length() if width.is_static else card.vocab_size)
    runtime = OpenVinoRuntime(passes, card, vocab_size, head_ids)
    if isinstance(passes, PagedPasses):
        graphs = _block_graphs(model, compiled, passes, options, vocab_size, head_ids)
        runtime = PagedRuntime(passes, card, vocab_size, graphs, head_ids)
    return with_rotary_switch(runtime, config)


def load_batch(folder: Path, name: str, options: OpenVinoOptions, *, trust_remote_code: bool = False) -> PagedBatch:
    """The IR in ``folder`` as a model that continues many sequences at once on the CPU.

    Raises:
        FastdraftError: files are damaged, memory is too small, or OpenVINO cannot keep its keys and values in pages, or gives
            other logits there.
    """
    config = load_config(folder, name, trust_remote_code=trust_remote_code).get_text_config()
    options = _with_safe_threads(options, config)
    _check_memory(folder, name, "cpu")
    if problem := paging_problem(folder, config, options, name):
        raise FastdraftError(f"OpenVINO cannot write many sequences at once with {name}: {problem}.")
    try:
        batch = PagedBatch(_compile_paged(_read_model(folder, name), options))
        batch.begin([1])
        batch.read([0], [[0]])
    except RuntimeError as error:
        raise FastdraftError(
            f"OpenVINO cannot write many sequences at once with {name}: {short_cause(error)}."
        ) from error
    return batch


def paging_problem(folder: Path, config: PretrainedConfig, options: OpenVinoOptions, name: str) -> str:
    """Why keys and values of the model cannot lie in pages; empty where they can, or where that is not known yet.

    A few random tokens go through passes over pages and through stateful ones, in float32 where the memory allows it, once a model and
    release of OpenVINO. Seen with 2026.4: ALiBi with several key-value heads, MPT, and GPT-Neo's local windows are off by 0.4 to
    1.9, and all others by less than 1e-5.
    """
    key = f"{source_key(folder)}-{version('openvino')}-{_COMPARISON}"
    if (known := _agreements().get(key)) is None:
        known = _differ(folder, config, options, name)
        if known is None:
            return CANNOT_PAGE
        _seen_here[key] = known
        remember(_agreements_file(), _agreements())
    return OTHER_LOGITS if known else ""


def _differ(folder: Path, config: PretrainedConfig, options: OpenVinoOptions, name: str) -> bool | None:
    """Whether passes over pages give other logits than stateful ones; None where there are no pages."""
    # Weights of 16 bits take twice their file in float32.
    room = limits.memory()[1] - _WORKING_BYTES > 2 * _weights_file(folder).stat().st_size
    exact = replace(options, dtype="float32", kv_precision="f32") if room else options
    context = context_length(config)
    ids = np.random.default_rng(0).integers(int(config.vocab_size), size=min(_probe_length(config), context)).tolist()
    paged = _paged(_read_model(folder, name), exact, context, name)
    if paged is None:
        return None
    found = [_probed(paged[1], ids)]
    # One after the other: both keep their own copy of the weights.
    del paged
    found.append(_probed(_stateful(_read_model(folder, name), exact, config, name)[1], ids))
    error, size = (float(np.abs(part).max()) for part in (found[0] - found[1], found[1]))
    _log.info("%s: logits of passes over pages are off by %.2g", name, error)
    return not error <= (_SAME if room else _SAME_ROUNDED) * size


def _probed(passes: Passes, ids: list[int]) -> npt.NDArray[np.float64]:
    """Logits of the last tokens of ``ids``, read as a prompt, a block and a single token."""
    block, last = len(ids) - _PROBE_BLOCK - 1, len(ids) - 1
    reads = ((0, block, 1), (block, last, _PROBE_BLOCK), (last, len(ids), 1))
    # Copies: the next pass overwrites the view.
    parts = [np.array(passes.read(ids[begin:end], begin, keep)) for begin, end, keep in reads]
    return np.concatenate(parts).astype(np.float64)


def _probe_length(config: PretrainedConfig) -> int:
    """Enough tokens for a window to end, where it is not a large one."""
    sizes = [getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size", "window_size")]
    window = min((size for size in sizes if isinstance(size, int) and 0 < size <= _LARGEST_WINDOW), default=0)
    return _PROBE + window


def _agreements() -> dict[str, bool]:
    """Whether the pages of a model differ, by its key: what this process saw, and what others did."""
    return (remembered(_agreements_file(), dict[str, bool]) or {}) | _seen_here


def _agreements_file() -> Path:
    return places.cache() / "openvino" / "pages.json"


def _compile_paged(model: Any, options: OpenVinoOptions) -> Any:
    page_attention(model)
    keep_rows(model, axis=0)
    return _core().compile_model(model, "CPU", _properties(options))


def _paged(model: Any, options: OpenVinoOptions, context: int, name: str) -> tuple[Any, Passes] | None:
    try:
        compiled = _compile_paged(model, options)
        passes = PagedPasses(compiled, PagedCache(compiled, context))
        passes.read([0], past=0, keep=1)
    except RuntimeError as error:
        _log.info("%s keeps its keys and values inside the model: %s", name, short_cause(error))
        return None
    return compiled, passes


def _block_graphs(
    model: Any,
    compiled: Any,
    passes: PagedPasses,
    options: OpenVinoOptions,
    vocab_size: int,
    head_ids: Sequence[int] | None,
) -> Callable[[int, bool], BlockGraph]:
    """What compiles a graph that writes so many tokens, greedy or drawn, on the cache of ``passes``."""
    # The unrolled model has lost what its IR says of the cache.
    properties = _properties(options) | {"KV_CACHE_PRECISION": compiled.get_property("KV_CACHE_PRECISION")}

    def build(steps: int, greedy: bool) -> BlockGraph:
        unrolled = unroll(model, steps, vocab_size, greedy=greedy, head_ids=head_ids)
        graph = _core().compile_model(unrolled, "CPU", properties)
        return BlockGraph(graph, passes.cache)

    return build


def _stateful(model: Any, options: OpenVinoOptions, config: PretrainedConfig, name: str) -> tuple[Any, Passes]:
    states = [list(sink.get_input_partial_shape(0)) for sink in model.get_sinks()]
    if not states or any(len(shape) < 3 for shape in states):
        raise FastdraftError(
            f"{name} keeps no key-value cache inside its IR. Export it with `fastdraft export --to openvino`, or with "
            "optimum-cli as a stateful model."
        )
    axis = max(i for i, size in enumerate(states[0]) if size.is_dynamic)
    on_npu = options.device.startswith("npu")
    properties = _properties(options) | (npu.npu_properties(axis) if on_npu else {})
    if not on_npu:
        keep_rows(model, axis=1)
    try:
        compiled = _core().compile_model(model, options.device.upper(), properties)
    except RuntimeError as error:
        raise FastdraftError(f"OpenVINO cannot run {name} on {options.device}: {short_cause(error)}") from error
    entries = sum(math.prod(s.get_length() for s in shape if s.is_static) for shape in states)
    kv_bytes = entries * _BITS.get(_precision(compiled, "KV_CACHE_PRECISION"), 16) // 8
    if on_npu:
        return compiled, npu.NpuPasses(compiled, kv_bytes_per_token=kv_bytes)
    window = _window(config)
    return compiled, StatefulPasses(compiled, window=window, sequence_axis=axis, kv_bytes_per_token=kv_bytes)


def _window(config: PretrainedConfig) -> int:
    """The cache length up to which every layer sees everything; 0 where a window has no known size."""
    if not has_windows(config):
        return 1 << 60
    sizes = [getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size")]
    return min((int(size) for size in sizes if size), default=0)


def _properties(options: OpenVinoOptions) -> dict[str, object]:
    """What the device is told; what nobody asked for is left to it."""
    properties: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY"}
    kv_precision = options.kv_precision
    if options.device == "cpu":
        dtype = _compute_dtype(options)
        properties |= {
            "INFERENCE_NUM_THREADS": options.threads,
            "INFERENCE_PRECISION_HINT": _HINTS[dtype],
            # Scales of a whole block of tokens would let a rejected token change the accepted ones beside it.
            "KEY_CACHE_QUANT_MODE": "BY_TOKEN",
        }
        if options.dtype == "float32":
            # Seen with 2026.4 and AMX: what is multiplied by integer weights is rounded to integers too, in pages and not elsewhere.
            properties["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = 0
        # Whoever asks for float32 wants it exact. Where bfloat16 is not native, the plugin keeps keys as f32 alone.
        if options.dtype == "float32" or (dtype == "bfloat16" and not native_bf16()):
            kv_precision = kv_precision or "f32"
    else:
        properties["CACHE_DIR"] = str(places.cache() / "openvino" / "compiled")
        if options.dtype:
            properties["INFERENCE_PRECISION_HINT"] = _HINTS[choose_dtype("cpu", options.dtype)]
    if kv_precision:
        properties["KV_CACHE_PRECISION"] = kv_precision
    return properties


def _with_safe_threads(options: OpenVinoOptions, config: PretrainedConfig) -> OpenVinoOptions:
    """``options`` with no more threads than OpenVINO's feed-forward kernel for AMX has blocks for.

    Seen with 2026.4: in bfloat16 a width of 32 between two threads ended the process.
    """
    width = getattr(config, "intermediate_size", None)
    if options.device != "cpu" or not width or not has_amx() or choose_dtype("cpu", options.dtype) != "bfloat16":
        return options
    return replace(options, threads=min(options.threads, -(-width // _AMX_BLOCK)))


def _compute_dtype(options: OpenVinoOptions) -> str:
    """What the CPU computes in: its own best, or as asked.

    Raises:
        FastdraftError: OpenVINO would end this process.
    """
    dtype = choose_dtype("cpu", options.dtype)
    # Seen with 2026.4: compiling bfloat16 weights for one thread divides by zero where there is AMX.
    if dtype != "bfloat16" or not has_amx() or min(options.threads, logical_cores()) > 1:
        return dtype
    if options.dtype:
        raise FastdraftError(
            "OpenVINO cannot compute bfloat16 with one thread on this processor: it would end the process. Give it two threads, "
            "or --dtype float32."
        )
    return "float32"


def _read_model(folder: Path, name: str) -> Any:
    try:
        return _core().read_model(folder / MODEL_FILE)
    except RuntimeError as error:
        raise FastdraftError(
            f"{folder / MODEL_FILE} of {name} is truncated or damaged ({short_cause(error)}). Convert or download it again."
        ) from error


def _check_memory(folder: Path, name: str, device: str) -> None:
    needed = _weights_file(folder).stat().st_size + _WORKING_BYTES
    free = limits.memory()[1]
    if device == "cpu" and needed > free:
        raise FastdraftError(
            f"{name} needs {needed / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB are free on cpu. Close other "
            "programs, or use --weights int8 or int4, or a smaller model."
        )


def _precision(compiled: Any, key: str) -> str:
    """A precision that the device really uses, by torch's name where there is one; empty if it does not tell."""
    try:
        name = str(compiled.get_property(key).get_type_name())
    except (RuntimeError, AttributeError):
        return ""
    return _DTYPES.get(name, name)


def _weights_file(folder: Path) -> Path:
    return (folder / MODEL_FILE).with_suffix(".bin")


@cache
def _core() -> Any:
    import openvino as ov

    return ov.Core()
