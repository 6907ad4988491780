"""Which runtime is the faster one here for a pair: measured once, said why, remembered."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import msgspec

import fastdraft_core
from fastdraft_core import files, places
from fastdraft_core.decoding.drafters import ModelDrafter
from fastdraft_core.decoding.records import Pass, Record, Request
from fastdraft_core.decoding.speculative import autoregressive, speculative
from fastdraft_core.machine.cpu import cpu_name, physical_cores
from fastdraft_core.machine.devices import library_versions
from fastdraft_core.runtimes.base import Runtime

TITLES = {"torch": "PyTorch", "openvino": "OpenVINO"}
#: Enough blocks for a stable rate on a small model; a large one is stopped by the clock.
_TOKENS = 64
_SECONDS = 2.0
_ROUNDS = 2
_GAMMA = 4
#: How the reason of a choice ends that was not made now.
REMEMBERED = "; remembered"
_VERSIONED = ("torch", "transformers", "openvino")


class Speed(msgspec.Struct, frozen=True):
    """Decode tokens/s of a pair on one runtime; ``speculative`` is absent without a draft."""

    autoregressive: float
    speculative: float | None = None

    @property
    def deciding(self) -> float:
        """The rate that a choice compares."""
        return self.autoregressive if self.speculative is None else self.speculative


class Choice(msgspec.Struct, frozen=True):
    """A runtime and the sentence that says why; ``speeds`` are what was measured on ``day``, by runtime, and whether ``quiet``ly.

    ``device`` is one of OpenVINO's besides the CPU, where that was the fastest; its rate stands under ``openvino:gpu``.
    """

    runtime: str
    reason: str
    speeds: dict[str, Speed] = {}
    day: str = ""
    quiet: bool = True
    device: str = ""


def measure(target: Runtime, draft: Runtime | None, prompt: list[int]) -> Speed:
    """Decode a short text after ``prompt`` in both modes, in turn, after a warm-up; the better rate of each counts.

    What disturbs a measurement only ever slows it down.
    """
    room = min(r.context_length for r in (target, draft) if r is not None) - len(prompt) - 1
    request = Request(prompt, min(_TOKENS, room))
    drafter = ModelDrafter(draft) if draft else None

    def rate(asked: Request, speculate: bool) -> float:
        if speculate and drafter:
            return _rate(speculative(target, drafter, asked, _GAMMA))
        return _rate(autoregressive(target, asked))

    modes = (False, True) if drafter else (False,)
    for mode in modes:
        rate(replace(request, max_new_tokens=min(2 * _GAMMA, room)), mode)
    rounds = [{mode: rate(request, mode) for mode in modes} for _ in range(_ROUNDS)]
    best = {mode: max(found[mode] for found in rounds) for mode in modes}
    return Speed(best[False], best.get(True))


def faster(speeds: Mapping[str, Speed], crowd: str = "") -> Choice:
    """The runtime with the highest rate, speculative where there is a draft; the reason shows it beside the second one's.

    ``crowd`` says who else used the machine meanwhile: then the choice holds for this time only.
    """
    best, other, *_ = sorted(speeds, key=lambda name: speeds[name].deciding, reverse=True)
    ours, theirs = speeds[best], speeds[other]
    rates = f"{ours.autoregressive:.0f} against {theirs.autoregressive:.0f} tokens/s autoregressive"
    if ours.speculative is not None and theirs.speculative is not None:
        rates = f"{ours.speculative:.0f} against {theirs.speculative:.0f} tokens/s speculative, {rates}"
    state = f"while {crowd}, so it is measured again next time" if crowd else "on a quiet machine"
    reason = f"{title(best)} is faster here than {title(other)}: {rates}, measured {_today()} {state}"
    runtime, _, device = best.partition(":")
    return Choice(runtime, reason, dict(speeds), _today(), quiet=not crowd, device=device)


def title(name: str) -> str:
    """What people call the runtime ``openvino``, or ``openvino:gpu``."""
    runtime, _, device = name.partition(":")
    return f"{TITLES[runtime]} on {device}" if device else TITLES[runtime]


def only(name: str, problem: str) -> Choice:
    """The runtime that is left where the others failed, the last of them with ``problem``."""
    runtime, _, device = name.partition(":")
    return Choice(runtime, f"the other runtime failed: {problem}", {}, _today(), device=device)


def pair_key(models: tuple[str, str], settings: Mapping[str, str | int]) -> str:
    """What a measurement holds for: these models (by hash) and settings, this processor, these versions."""
    versions = {name: version for name, version in library_versions().items() if name in _VERSIONED}
    facts = [models, dict(settings), cpu_name(), physical_cores(), versions, fastdraft_core.__version__]
    return hashlib.sha256(msgspec.json.encode(facts)).hexdigest()[:16]


def remembered(key: str) -> Choice | None:
    """The choice made before under this key. One without measurements, a failure, counts for its day only."""
    choice = _choices().get(key)
    if choice is None or (not choice.speeds and choice.day != _today()):
        return None
    return msgspec.structs.replace(choice, reason=f"{choice.reason}{REMEMBERED}")


def remember(key: str, choice: Choice) -> None:
    """Keep a choice, unless others used the machine; a cache that cannot be written costs a measurement next time, nothing else."""
    if choice.quiet:
        files.remember(choices_file(), _choices() | {key: choice})


def _rate(records: Iterator[Record]) -> float:
    """Tokens/s after the first token, of a text that the clock may end."""
    tokens, seconds = 0, 0.0
    for record in records:
        if isinstance(record, Pass):
            tokens, seconds = tokens + len(record.emitted), record.at
        if seconds > _SECONDS:
            break
    return tokens / seconds if seconds else 0.0


def _today() -> str:
    return datetime.date.today().isoformat()


def _choices() -> dict[str, Choice]:
    return files.remembered(choices_file(), dict[str, Choice]) or {}


def choices_file() -> Path:
    """What is remembered; without it everything is measured again."""
    return places.cache() / "runtimes.json"
