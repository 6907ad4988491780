"""Drafts that others published for known targets, as the paper's authors list them on the Hugging Face hub."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Published:
    """A draft on the hub and its target. ``target_ir`` is the target converted for OpenVINO, where one is published."""

    draft: str
    target: str
    target_ir: str = ""
    gated: bool = False
    note: str = ""

    @property
    def commands(self) -> list[str]:
        """What to type to have both in the Hugging Face cache."""
        login = ["hf auth login"] if self.gated else []
        return [*login, f"fastdraft download {self.draft}", f"fastdraft download {self.target_ir or self.target}"]


PUBLISHED = (
    Published(
        "OpenVINO/Phi-3-mini-FastDraft-50M-int8-ov",
        "microsoft/Phi-3-mini-4k-instruct",
        "OpenVINO/Phi-3-mini-4k-instruct-int4-ov",
        note="asymmetric int8; OpenVINO 2024.5 or later",
    ),
    Published(
        "OpenVINO/Phi-3-mini-FastDraft-50M-int8-sym-ov",
        "microsoft/Phi-3-mini-4k-instruct",
        "OpenVINO/Phi-3-mini-4k-instruct-int4-ov",
        note="symmetric int8",
    ),
    Published(
        "OpenVINO/Llama-3.1-8B-Instruct-FastDraft-150M-int8-ov",
        "meta-llama/Llama-3.1-8B-Instruct",
        gated=True,
        note="asymmetric int8; export the target to int4 yourself",
    ),
    Published("OpenVINO/Phi-4-mini-FastDraft-120M-int8-ov", "microsoft/Phi-4-mini-instruct"),
    Published(
        "OpenVINO/Qwen3-pruned-6L-from-0.6B-int8-ov",
        "Qwen/Qwen3-8B",
        "OpenVINO/Qwen3-8B-int4-ov",
        note="Qwen3-0.6B with 6 of 28 layers pruned, then fine-tuned on target outputs; not from scratch",
    ),
)
"""Every published draft of the paper's authors."""


@dataclass(frozen=True, slots=True)
class KnownTarget:
    """A target that drafts are published for, with what their authors document; None is what they do not.

    ``parameters`` is a round number, ``vocabulary`` the width of the logits. ``model_type`` is transformers' word for its
    architecture, and ``context`` its longest sequence in tokens, as its config.json has them: enough to plan a draft by.
    """

    name: str
    model_type: str
    context: int
    architecture: str | None = None
    parameters: float | None = None
    vocabulary: int | None = None
    gated: bool = False
    note: str = ""


TARGETS = (
    KnownTarget(
        "microsoft/Phi-3-mini-4k-instruct",
        "phi3",
        4096,
        "Phi3",
        3.8e9,
        32064,
        note="its tokenizer has 32011 tokens; the rest is padding",
    ),
    KnownTarget("meta-llama/Llama-3.1-8B-Instruct", "llama", 131_072, "Llama", 8e9, 128_256, gated=True),
    KnownTarget("microsoft/Phi-4-mini-instruct", "phi3", 131_072, "Phi3", None, 200_064),
    KnownTarget("Qwen/Qwen3-8B", "qwen3", 40_960, "Qwen3", 8e9, 151_936),
)
"""The targets of ``PUBLISHED``."""


def known_target(name: str) -> KnownTarget | None:
    """The target of ``TARGETS`` with this id of the hub, in whatever case it was typed."""
    return next((target for target in TARGETS if target.name.lower() == name.lower()), None)
