"""Load a target and a draft on the runtime that was asked for, or on the one that is faster here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from fastdraft_core.engine.load_options import LoadOptions
from fastdraft_core.engine.proposal import proposal
from fastdraft_core.engine.runtime_choice import (
    TITLES,
    Choice,
    Speed,
    faster,
    measure,
    only,
    pair_key,
    remember,
    remembered,
)
from fastdraft_core.errors import FastdraftError
from fastdraft_core.machine.contention import crowded, load
from fastdraft_core.machine.devices import choose_device, choose_dtype, choose_threads
from fastdraft_core.models.convertible import conversion_problem
from fastdraft_core.models.folders import load_config
from fastdraft_core.models.identity import source_key
from fastdraft_core.models.tokens import SAMPLE, check_ids, known_ids
from fastdraft_core.models.weights import is_ir_alone
from fastdraft_core.runtimes.base import Runtime
from fastdraft_core.runtimes.openvino.ir_cache import ir_of, is_converted, takes_long
from fastdraft_core.runtimes.openvino.loading import (
    KV_PRECISIONS,
    OpenVinoOptions,
    choose_openvino_device,
    load_ir,
    openvino_devices,
)
from fastdraft_core.runtimes.rotary import with_rotary_switch
from fastdraft_core.runtimes.torch.loading import load_model
from fastdraft_core.runtimes.torch.packed import check_weights_format
from fastdraft_core.runtimes.torch.runtime import TorchRuntime

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

RUNTIMES = ("torch", "openvino", "auto")
#: Devices that one runtime alone can use.
_KINDS = {"gpu": "openvino", "npu": "openvino", "cuda": "torch", "xpu": "torch", "hpu": "torch"}


@dataclass(frozen=True, slots=True)
class Source:
    """A model by the name people know, and the folder of its files; ``head_ids`` are those that a draft's head scores.

    ``weights`` is the format that belongs to its name, as in ``self:int4``; else the options say it. ``tokenizer`` is its own
    where that is not the target's.
    """

    name: str
    folder: Path
    head_ids: list[int] | None = None
    weights: str = ""
    tokenizer: PreTrainedTokenizerBase | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """Both models on one runtime; ``reason`` says why that one, where nobody chose it."""

    target: Runtime
    draft: Runtime | None
    runtime: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Loader:
    """Loads one pair on either runtime."""

    target: Source
    draft: Source | None
    tokenizer: PreTrainedTokenizerBase
    options: LoadOptions
    report: Callable[[str], None]

    def load(self) -> Loaded:
        """Load as the options say.

        Raises:
            FastdraftError: options contradict each other, or a model cannot be loaded.
        """
        check_options(self.options)
        if self.options.runtime != "auto":
            return self._load(self.options.runtime)
        choice = self._obvious()
        if choice is not None:
            return self._load(choice.runtime, choice.reason)
        hashes = source_key(self.target.folder), source_key(self.draft.folder) if self.draft else ""
        more: dict[str, object] = {"threads": choose_threads(self.options.threads)}
        if self.draft is not None and self.draft.head_ids is not None:
            more["head_ids"] = self.draft.head_ids
        key = pair_key(hashes, asdict(self.options) | more)
        if (choice := remembered(key)) is not None and choice.device in ("", *openvino_devices()):
            return self._on(choice.device)._load(choice.runtime, choice.reason)
        loaded, choice = self._measure()
        remember(key, choice)
        return loaded

    def _obvious(self) -> Choice | None:
        """The runtime that follows from what was asked and what is there, without measuring; None if neither does."""
        options = self.options
        for device in (options.device, options.draft_device):
            if runtime := _KINDS.get(device.rstrip(".:0123456789")):
                return Choice(runtime, f"only {TITLES[runtime]} uses the device {device}")
        for source in self._sources():
            if is_ir_alone(source.folder):
                return Choice("openvino", f"{source.name} is an OpenVINO model")
        formats = [options.weights, options.draft_weights, *(source.weights for source in self._sources())]
        if any(formats) or options.kv_precision:
            return Choice(
                "openvino", "weight formats and key-value precisions are OpenVINO's where nobody says otherwise"
            )
        if not options.device and (best := choose_device()) != "cpu":
            return Choice("torch", f"OpenVINO does not run on {best}")
        if find_spec("openvino") is None:
            return Choice("torch", "OpenVINO is not installed")
        return self._unconverted()

    def _unconverted(self) -> Choice | None:
        """PyTorch, where a model cannot be converted, or nobody waits for it unasked."""
        for source in self._sources():
            if (problem := self._conversion_problem(source)) and not is_converted(source.folder, source.name, ""):
                return Choice("torch", f"{source.name} cannot be converted: {problem}")
        if large := next((s for s in self._sources() if takes_long(s.folder, s.name)), None):
            return Choice(
                "torch",
                proposal(large.name, large.folder, openvino_devices()),
            )
        return None

    def _conversion_problem(self, source: Source) -> str:
        return conversion_problem(
            str(load_config(source.folder, source.name, trust_remote_code=self.options.trust_remote_code).model_type)
        )

    def _on(self, device: str) -> Loader:
        """This loader for a device that nobody named."""
        return replace(self, options=replace(self.options, device=device)) if device else self

    def _candidates(self) -> list[str]:
        """Runtimes and devices to measure: GPUs beside the CPU, unless a device was named. An NPU holds short texts alone, so not that."""
        devices = [] if self.options.device else [name for name in openvino_devices() if name.startswith("gpu")]
        # OpenVINO first: PyTorch's threads stay awake for a while after their work.
        return ["openvino", *(f"openvino:{device}" for device in devices), "torch"]

    def _measure(self) -> tuple[Loaded, Choice]:
        """Load the pair on every runtime and device, one after the other, and keep the fastest one."""
        prompt = list(self.tokenizer(SAMPLE).input_ids) or [0]
        found: dict[str, Loaded] = {}
        speeds: dict[str, Speed] = {}
        failed = crowd = ""
        threads = choose_threads(self.options.threads)
        for name in self._candidates():
            runtime, _, device = name.partition(":")
            try:
                found[name] = self._on(device)._load(runtime)
                self.report(f"measuring {name}")
                before = load()
                # What has another vocabulary does not draft by itself.
                alone = self.draft is not None and self.draft.tokenizer is not None
                speeds[name] = measure(found[name].target, None if alone else found[name].draft, prompt)
                crowd = crowd or crowded(before, load(), threads)
            except FastdraftError as error:
                failed = error.message
                if runtime == "torch" and not speeds:
                    raise
        choice = faster(speeds, crowd) if len(speeds) > 1 else only(next(iter(speeds)), failed)
        self._share_cores(choice.runtime)
        chosen = found[":".join(filter(None, (choice.runtime, choice.device)))]
        return Loaded(chosen.target, chosen.draft, choice.runtime, choice.reason), choice

    def _load(self, runtime: str, reason: str = "") -> Loaded:
        self._share_cores(runtime)
        options = self.options
        load, choose = (
            (self._on_openvino, choose_openvino_device) if runtime == "openvino" else (self._on_torch, choose_device)
        )
        # Both devices first: nothing is loaded or converted for a pair that cannot run.
        devices = [choose(options.device), choose(options.draft_device or options.device)]
        target = load(self.target, devices[0], options.weights)
        draft = load(self.draft, devices[1], options.draft_weights) if self.draft else None
        return Loaded(target, draft, runtime, reason)

    def _on_torch(self, source: Source, device: str, weights: str) -> Runtime:
        weights = source.weights or weights
        dtype = choose_dtype(device, self.options.dtype)
        self.report(f"loading {source.name} as {weights or dtype} on {device}")
        trust = self.options.trust_remote_code
        return load_runtime(
            source.folder,
            source.name,
            self._tokenizer(source),
            device=device,
            dtype=dtype,
            trust_remote_code=trust,
            head_ids=source.head_ids,
            weights=weights,
        )

    def _on_openvino(self, source: Source, device: str, weights: str) -> Runtime:
        options, weights = self.options, source.weights or weights
        folder = ir_of(source.folder, source.name, weights, self.report, trust_remote_code=options.trust_remote_code)
        self.report(f"loading {source.name} into OpenVINO on {device}")
        wanted = OpenVinoOptions(device, options.dtype, options.kv_precision, choose_threads(options.threads))
        trust = options.trust_remote_code
        tokenizer = self._tokenizer(source)
        runtime = load_ir(
            folder, source.name, known_ids(tokenizer), wanted, trust_remote_code=trust, head_ids=source.head_ids
        )
        check_ids(tokenizer, runtime.card.vocab_size, source.name)
        return runtime

    def _tokenizer(self, source: Source) -> PreTrainedTokenizerBase:
        return self.tokenizer if source.tokenizer is None else source.tokenizer

    def _share_cores(self, runtime: str) -> None:
        """Beside OpenVINO, PyTorch only samples; its threads, which wait by spinning, would take the cores away."""
        torch.set_num_threads(1 if runtime == "openvino" else choose_threads(self.options.threads))

    def _sources(self) -> list[Source]:
        return [self.target, *([self.draft] if self.draft else [])]


def load_reference(source: Source, tokenizer: PreTrainedTokenizerBase, options: LoadOptions) -> tuple[Runtime, str]:
    """What the runtimes are held against: the model in float32 on the CPU, by PyTorch, and its name for people.

    Weights that OpenVINO converts, and those of a ready IR, are not PyTorch's: OpenVINO computes with them in float32, and keeps
    their keys and values inside the model, unlike what decodes on a CPU.

    Raises:
        FastdraftError: it does not fit into memory, or cannot be loaded.
    """
    trust = options.trust_remote_code
    packed = options.weights if options.runtime == "torch" else ""
    if not is_ir_alone(source.folder) and (packed or options.weights in ("", "original")):
        reference = load_runtime(
            source.folder,
            source.name,
            tokenizer,
            device="cpu",
            dtype="float32",
            trust_remote_code=trust,
            weights=packed,
        )
        return reference, "PyTorch in float32" + (" with the same weights" if packed else "")
    folder = ir_of(source.folder, source.name, options.weights, lambda _: None, trust_remote_code=trust)
    exact = OpenVinoOptions("cpu", "float32", "f32", choose_threads(options.threads))
    runtime = load_ir(folder, source.name, known_ids(tokenizer), exact, paged=False, trust_remote_code=trust)
    return runtime, "OpenVINO in float32 with the same weights"


def check_options(options: LoadOptions) -> None:
    """Refuse what no runtime can do.

    Raises:
        FastdraftError: there is no such runtime, dtype or precision, or the setting is not of this runtime.
    """
    if options.runtime not in RUNTIMES:
        raise FastdraftError(f"There is no runtime {options.runtime!r}; use {', '.join(RUNTIMES)}.")
    choose_dtype("cpu", options.dtype)
    if options.kv_precision and options.kv_precision not in KV_PRECISIONS:
        raise FastdraftError(
            f"There is no key-value precision {options.kv_precision!r}; use {', '.join(KV_PRECISIONS)}."
        )
    if options.runtime == "torch":
        for weights in (options.weights, options.draft_weights):
            check_weights_format(weights, "cpu")
    if options.runtime == "torch" and options.kv_precision:
        raise FastdraftError("Key-value precision is OpenVINO's; add --runtime openvino, or choose a --dtype instead.")


def load_runtime(
    folder: Path,
    name: str,
    tokenizer: PreTrainedTokenizerBase,
    *,
    device: str,
    dtype: str,
    trust_remote_code: bool = False,
    head_ids: list[int] | None = None,
    weights: str = "",
) -> Runtime:
    """The model in ``folder`` on PyTorch, its logits cut to the ids that ``tokenizer`` knows, or to ``head_ids``.

    ``weights`` are ``int8`` or ``int4`` for packed ones.

    Raises:
        FastdraftError: it cannot be loaded, or its table lacks tokens that prompts have.
    """
    model = load_model(folder, name, device=device, dtype=dtype, trust_remote_code=trust_remote_code, weights=weights)
    check_ids(tokenizer, model.get_input_embeddings().weight.shape[0], name)
    vocab_size = min(known_ids(tokenizer), model.config.get_text_config().vocab_size)
    return with_rotary_switch(TorchRuntime(model, name, vocab_size, head_ids), model.config)
