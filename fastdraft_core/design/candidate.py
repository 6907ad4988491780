"""A candidate on this machine: random weights of its shape, loaded as any draft, and what its blocks cost.

Latency needs no training: what a pass takes does not depend on the weights. A random draft is hardly ever accepted, so every block
of a probe has the whole length that was asked for.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from fastdraft_core import places
from fastdraft_core.bench.costs import probed, steady
from fastdraft_core.bench.interval import student_t
from fastdraft_core.decoding.records import Pass, Request
from fastdraft_core.engine import pair as pairs
from fastdraft_core.engine.load_options import LoadOptions
from fastdraft_core.engine.pair import Pair
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import DesignShape, DesignStarted, Estimate, ShapeMeasured
from fastdraft_core.runtimes.openvino.ir_cache import forget
from fastdraft_core.training.architecture import model_config, new_model
from fastdraft_core.training.recipe import ModelShape

Report = Callable[[str], None]

#: Ids of a head that costs next to nothing: what a step takes more than with it is the head's.
FEW_IDS = 64
#: Seconds that a candidate's costs may take to become precise, and blocks that tell the head's share.
_SECONDS, _HEAD_BLOCKS = 4.0, 24


def model_shape(shape: DesignShape, plan: DesignStarted) -> ModelShape:
    """The candidate as a recipe's ``[model]``."""
    return ModelShape(
        hidden_size=shape.width,
        num_layers=shape.layers,
        num_heads=shape.heads,
        num_kv_heads=shape.kv_heads,
        intermediate_size=shape.intermediate,
        context_length=plan.context,
        tie_embeddings=plan.tie,
        draft_vocab=shape.draft_vocab or None,
        architecture=plan.architecture,
    )


@contextmanager
def random_draft(shape: DesignShape, plan: DesignStarted, pair: Pair) -> Iterator[Path]:
    """The folder of an untrained model of that shape with the target's tokenizer; deleted afterwards, its IR with it.

    Raises:
        FastdraftError: the architecture cannot make it, or there is no room for it.
    """
    import torch

    root = places.cache() / "design"
    root.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{shape.layers}x{shape.width}-", dir=root))
    config = model_config(
        model_shape(shape, plan),
        architecture=plan.architecture,
        vocab_size=plan.target.vocab_size,
        special={"pad_token_id": None, "eos_token_id": pair.tokenizer.eos_token_id},
    )
    try:
        model = new_model(config, seed=plan.seed, attention="sdpa")
        model.to(torch.bfloat16).save_pretrained(folder)
        pair.tokenizer.save_pretrained(folder)
        yield folder
    except OSError as error:
        raise FastdraftError(f"{folder} cannot be written ({error.strerror or error}). Free some space.") from error
    finally:
        if plan.runtime == "openvino":
            forget(folder, str(folder), shape.weights)
        shutil.rmtree(folder, ignore_errors=True)


def measure_shape(
    shape: DesignShape, plan: DesignStarted, pair: Pair, requests: Sequence[Request], report: Report
) -> ShapeMeasured:
    """What the candidate costs beside the target, on ``requests``; both are measured in turn.

    Raises:
        FastdraftError: it cannot be made or loaded.
    """
    longest = plan.gammas[-1]
    with random_draft(shape, plan, pair) as folder:
        beside = with_draft(pair, plan, folder, shape.draft_vocab, shape.weights, report)
        assert beside.draft is not None
        report("timing blocks and the target's passes")
        probe = probed(beside, requests, longest, _SECONDS)
        costs = probe.costs()
        found = [
            estimate(steady([block.draft_seconds for block in probe.blocks if len(block.drafted) == gamma]))
            for gamma in range(1, longest + 1)
        ]
        # Of unknown ids a head has the lowest ones, so a candidate's own list must be longer than the few.
        share = None
        if (shape.draft_vocab or plan.target.vocab_size) > FEW_IDS:
            report("timing the head")
            few = with_draft(pair, plan, folder, FEW_IDS, shape.weights, report)
            share = head_share(_block(beside, requests[0], longest), _block(few, requests[0], longest))
        card = beside.draft.card
        return ShapeMeasured(
            shape=shape,
            block_seconds=found,
            step_seconds=costs.step_seconds,
            verify=costs.verify,
            draft=costs.draft,
            overhead=costs.overhead,
            head_share=share,
            weight_bytes=card.weight_bytes,
            fallback=beside.drafter().why_steps(longest, requests[0].sampling),
        )


def with_draft(pair: Pair, plan: DesignStarted, folder: Path, draft_vocab: int, weights: str, report: Report) -> Pair:
    """The target beside the draft in ``folder``, loaded on the same runtime and device."""
    options = LoadOptions(**plan.load)
    alone = replace(
        options,
        runtime=plan.runtime,
        device=options.draft_device or options.device,
        draft_device="",
        weights=weights,
        draft_weights="",
    )
    name = f"{folder}@vocab={draft_vocab}" if draft_vocab else str(folder)
    return pairs.with_draft(pair, plan.target.name, name, alone, report)


def estimate(seconds: Sequence[float]) -> Estimate:
    """Their mean with its 95 % interval; of one value alone the interval is that value."""
    mean, n = statistics.fmean(seconds), len(seconds)
    half = student_t(n - 1) * statistics.stdev(seconds) / n**0.5 if n > 1 else 0.0
    return Estimate(mean, mean - half, mean + half, n)


def head_share(whole: float, few: float) -> float:
    """Of a block's seconds with the head over all scored ids, those that it takes more than with a head over few; never below 0."""
    return max(0.0, 1 - few / whole)


def _block(pair: Pair, request: Request, gamma: int) -> float:
    """The median seconds of drafting a block of ``gamma``."""
    pair.warm_up("sd", request, gamma)
    blocks = (r for r in pair.decode("sd", request, gamma) if isinstance(r, Pass) and len(r.drafted) == gamma)
    return statistics.median([block.draft_seconds for block, _ in zip(blocks, range(_HEAD_BLOCKS), strict=False)])
