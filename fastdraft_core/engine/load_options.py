"""How a pair is loaded, as commands and the engine pass it on; importing it loads no model library."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How to load a pair; empty strings and 0 mean automatic.

    ``runtime`` is ``torch``, ``openvino`` or ``auto``. ``weights`` (of the target) and ``draft_weights`` are OpenVINO's formats, or
    ``int8`` and ``int4`` on PyTorch; ``kv_precision`` is OpenVINO's; ``draft_device`` is the target's where it is empty.
    """

    device: str = ""
    dtype: str = ""
    threads: int = 0
    trust_remote_code: bool = False
    runtime: str = "torch"
    draft_device: str = ""
    weights: str = ""
    draft_weights: str = ""
    kv_precision: str = ""
