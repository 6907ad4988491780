"""Batched continuation of prompts without padding: every row is what it would be alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from fastdraft_core.decoding.sampling import draw_rows
from fastdraft_core.runtimes.cache import RewindableCache

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@torch.inference_mode()
def continue_batch(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]] | npt.NDArray[np.int64],
    temperatures: npt.NDArray[np.float64],
    new_tokens: int,
    stops: Collection[int],
    seed: int,
    *,
    vocab_size: int | None = None,
) -> list[list[int] | None]:
    """Continue each prompt by at most ``new_tokens``; a row ends at its own first stop. A temperature of 0 is greedy.

    All rows stand at the same position: while a short prompt is continued already, a longer one is still read, token by
    token. So prompts of about one length belong together. Ids from ``vocab_size`` on, which pad a model's logits, are
    never drawn. A row whose logits are no numbers comes back as None.
    """
    device = model.device
    stream = torch.Generator(device).manual_seed(seed)
    rows: list[list[int]] = [list(map(int, prompt)) for prompt in prompts]
    lengths = [len(row) for row in rows]
    shortest, longest = min(lengths), max(lengths)
    given = torch.tensor([row + [-1] * (longest - len(row)) for row in rows], device=device)
    cache: Any = RewindableCache()
    ids = given[:, :shortest]
    heat = torch.from_numpy(temperatures).to(device, torch.float32)[:, None]
    # The rows still being computed, by their number; a row that ended is dropped with half the others.
    numbers, ended, failed = list(range(len(rows))), set[int](), set[int]()
    for position in range(shortest, longest + new_tokens):
        logits = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
        logits = logits[:, -1, :vocab_size].float()
        finite = logits.amax(-1, keepdim=True).isfinite()
        logits = torch.where(finite, logits, 0.0)
        sampled = draw_rows((logits / heat.clamp(min=1e-6)).softmax(-1), stream)
        ids = torch.where(heat == 0, logits.argmax(-1, keepdim=True), sampled)
        if position < longest:
            read = given[:, position : position + 1]
            ids = torch.where(read >= 0, read, ids)
        for number, token, sound in zip(numbers, ids[:, 0].tolist(), finite[:, 0].tolist(), strict=True):
            if number in ended:
                continue
            if not sound:
                failed.add(number)
            if position >= lengths[number]:
                rows[number].append(token)
            if (
                not sound
                or (len(rows[number]) == lengths[number] + new_tokens)
                or (position >= lengths[number] and token in stops)
            ):
                ended.add(number)
        if len(ended) == len(rows):
            break
        going = [i for i, number in enumerate(numbers) if number not in ended]
        if 2 * len(going) <= len(numbers):
            kept = torch.tensor(going, device=device)
            cache.select_rows(kept)
            ids, heat, given, numbers = ids[kept], heat[kept], given[kept], [numbers[i] for i in going]
    return [None if number in failed else row for number, row in enumerate(rows)]
