"""Commands to the engine process."""

from __future__ import annotations

import msgspec

from fastdraft_core.events.base import Event


class Exchange(msgspec.Struct, frozen=True, omit_defaults=True):
    """An earlier turn: what was asked, and what the model answered; ``ids`` are the answer's tokens, where they are known."""

    question: str
    answer: str
    ids: list[int] = []


class Load(Event, frozen=True):
    """Load a pair; ``draft`` empty means speculation off. What is empty or 0 besides is automatic.

    ``runtime`` is ``torch``, ``openvino`` or ``auto``, which takes what was measured faster here and measures at the
    first time. ``weights`` (of the target) and ``draft_weights`` are OpenVINO's, or int8 and int4 of PyTorch, ``kv_precision`` is OpenVINO's;
    ``draft_device`` is the target's ``device`` where it is empty. With ``trust_remote_code``, Python code that comes
    with a model is run.
    """

    target: str
    draft: str
    dtype: str = ""
    threads: int = 0
    runtime: str = "auto"
    device: str = ""
    draft_device: str = ""
    weights: str = ""
    draft_weights: str = ""
    kv_precision: str = ""
    trust_remote_code: bool = False


class Run(Event, frozen=True):
    """Decode ``prompt`` autoregressively and speculatively, one after the other, each after a warm-up.

    ``chat`` is whether it stands in the target's chat template, by default where there is one: it is then the question after the
    turns ``earlier``, under a ``system`` prompt, empty for the template's own. Else it is continued as it is.
    ``verification`` is how sampled blocks are judged: ``token`` by token, or the whole ``block`` at once.
    """

    prompt: str
    gamma: int
    temperature: float
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    max_new_tokens: int = 128
    chat: bool | None = None
    system: str = ""
    earlier: tuple[Exchange, ...] = ()
    verification: str = "token"


class Cancel(Event, frozen=True):
    """End the run in progress at once; what was decoded is kept."""


class Quit(Event, frozen=True):
    """End the engine process."""
