"""Rotary positions: the scaling that a GGUF file tells by keys or by factors, as transformers' ``rope_parameters``."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass

from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.gguf.model_file import GgufModel

#: Factors that are recomputed from a configuration may differ by this much from the file's floats.
_TOLERANCE = 1e-3
#: The published scaling of Llama 3.1 and 3.2: low and high frequency factor, and the context it was trained with.
_LLAMA3 = (1.0, 4.0, 8192)


@dataclass(frozen=True, slots=True)
class Factors:
    """What the rotary wavelengths are multiplied by, one a pair of dimensions; empty where the file has none."""

    frequencies: tuple[float, ...] = ()
    short: tuple[float, ...] = ()
    long: tuple[float, ...] = ()


def read_factors(model: GgufModel) -> Factors:
    """The factors that ``model`` holds as tensors.

    Raises:
        FastdraftError: they are not stored as numbers of 32 bits.
    """
    return Factors(
        _floats(model, "rope_freqs.weight"),
        _floats(model, "rope_factors_short.weight"),
        _floats(model, "rope_factors_long.weight"),
    )


def rope_parameters(
    model: GgufModel, head: int, context: int, factors: Factors, *, usual_base: float = 10_000.0
) -> dict[str, object]:
    """The rotary positions of ``model``, whose heads are ``head`` wide and whose context is ``context`` tokens.

    Raises:
        FastdraftError: they are scaled in a way that transformers has no name for.
    """
    name = model.architecture
    base = model.number(f"{name}.rope.freq_base", usual_base)
    found: dict[str, object] = {"rope_type": "default", "rope_theta": base}
    rotated = model.integer(f"{name}.rope.dimension_count", head)
    if rotated != head:
        if name != "phi3" or not 0 < rotated < head:
            raise FastdraftError(
                f"{model.file} rotates {rotated} of {head} dimensions a head, which cannot be imported."
            )
        found["partial_rotary_factor"] = rotated / head
    if factors.frequencies:
        return found | _llama3(model, base, rotated, factors.frequencies)
    if factors.long or factors.short:
        return found | _longrope(model, context, rotated, factors)
    kind = model.text(f"{name}.rope.scaling.type", "none")
    factor = model.number(f"{name}.rope.scaling.factor", model.number(f"{name}.rope.scale_linear", 1.0))
    if kind == "none" and factor == 1.0:
        return found
    if kind in ("none", "linear"):
        return found | {"rope_type": "linear", "factor": factor}
    if kind == "yarn":
        return found | _yarn(model, context, factor)
    raise FastdraftError(f"{model.file} scales its positions by {kind!r}, which cannot be imported.")


def llama3_factors(rope: Mapping[str, object], rotated: int) -> tuple[float, ...]:
    """What a file holds of Llama 3's scaling: a factor for each pair of the ``rotated`` dimensions of a head."""
    base, factor, low, high = (
        float(str(rope[key])) for key in ("rope_theta", "factor", "low_freq_factor", "high_freq_factor")
    )
    original = int(str(rope["original_max_position_embeddings"]))
    return tuple(
        _llama3_factor(2 * math.pi * base ** (2 * pair / rotated), factor, low, high, original)
        for pair in range(rotated // 2)
    )


def _yarn(model: GgufModel, context: int, factor: float) -> dict[str, object]:
    scaling = f"{model.architecture}.rope.scaling"
    for key in ("yarn_log_multiplier", "attn_factor", "yarn_attn_factor", "yarn_ext_factor"):
        if model.number(f"{scaling}.{key}", 1.0) not in (0.0, 1.0):
            raise FastdraftError(f"{model.file} scales its positions with {key}, which cannot be imported.")
    return {
        "rope_type": "yarn",
        "factor": factor,
        "original_max_position_embeddings": model.integer(f"{scaling}.original_context_length", context),
        "beta_fast": model.number(f"{scaling}.yarn_beta_fast", 32.0),
        "beta_slow": model.number(f"{scaling}.yarn_beta_slow", 1.0),
    }


def _longrope(model: GgufModel, context: int, rotated: int, factors: Factors) -> dict[str, object]:
    scaling = f"{model.architecture}.rope.scaling"
    original = model.integer(f"{scaling}.original_context_length")
    if len(factors.long) != rotated // 2 or len(factors.short) != rotated // 2:
        raise FastdraftError(f"{model.file} has rotary factors of another length than its heads. Download it again.")
    usual = math.sqrt(1 + math.log(context / original) / math.log(original)) if context > original > 1 else 1.0
    return {
        "rope_type": "longrope",
        "short_factor": list(factors.short),
        "long_factor": list(factors.long),
        "original_max_position_embeddings": original,
        "factor": context / original,
        "attention_factor": model.number(f"{scaling}.attn_factor", usual),
    }


def _llama3(model: GgufModel, base: float, rotated: int, factors: tuple[float, ...]) -> dict[str, object]:
    """The numbers that give ``factors``: they are tried, and compared with the file's."""
    if len(factors) != rotated // 2:
        raise FastdraftError(f"{model.file} has rotary factors of another length than its heads. Download it again.")
    factor = max(factors)
    if factor == 1.0:
        return {}
    waves = [2 * math.pi * base ** (2 * pair / rotated) for pair in range(len(factors))]
    for low, high, original in (_LLAMA3, _fitted(waves, factors, factor)):
        told = [_llama3_factor(wave, factor, low, high, original) for wave in waves]
        if all(math.isclose(one, other, rel_tol=_TOLERANCE) for one, other in zip(told, factors, strict=True)):
            return {
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low,
                "high_freq_factor": high,
                "original_max_position_embeddings": original,
            }
    raise FastdraftError(
        f"{model.file} scales its rotary frequencies in a way that is not Llama 3's, which cannot be imported. Use the "
        "model's Hugging Face folder instead."
    )


def _llama3_factor(wave: float, factor: float, low: float, high: float, original: int) -> float:
    """Of short waves nothing is changed, long ones are stretched by ``factor``, and those between by something between."""
    if wave < original / high:
        return 1.0
    if wave > original / low:
        return factor
    smooth = (original / wave - low) / (high - low)
    return 1 / ((1 - smooth) / factor + smooth)


def _fitted(waves: list[float], factors: tuple[float, ...], factor: float) -> tuple[float, float, int]:
    """High frequency factor and context from two stretched waves, where the low frequency factor is 1."""
    between = [
        (1 / wave, (1 / one - 1 / factor) / (1 - 1 / factor))
        for wave, one in zip(waves, factors, strict=True)
        if 1 + _TOLERANCE < one < factor * (1 - _TOLERANCE)
    ]
    if len(between) < 2:
        return _LLAMA3
    (x, smooth), (other_x, other_smooth) = between[0], between[-1]
    slope = (smooth - other_smooth) / (x - other_x)
    start = smooth - slope * x
    if start >= 0:
        return _LLAMA3
    high = 1 - 1 / start
    return 1.0, float(round(high, 3)), round(slope * (high - 1))


def _floats(model: GgufModel, name: str) -> tuple[float, ...]:
    tensor = model.tensors.get(name)
    if tensor is None:
        return ()
    if tensor.type.name != "F32":
        raise FastdraftError(
            f"{model.file} stores {name!r} as {tensor.type.name}, where F32 belongs. Download it again."
        )
    with tensor.file.open("rb") as opened:
        opened.seek(tensor.start)
        return tuple(array("f", opened.read(tensor.num_bytes)))
