"""What a model writes while it is trained, beside what its target writes: for a person to read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fastdraft_core.data.generation import Batch, continue_batch
from fastdraft_core.events import Sampled
from fastdraft_core.runtimes.torch.runtime import context_length

if TYPE_CHECKING:
    from fastdraft_core.data.mixtures import Mixture

_PROMPT_TOKENS = 24
_NEW_TOKENS = 40


@dataclass(slots=True)
class Samples:
    """The beginning of one held-out row a source, ``prompts`` [sources, length], and how the target goes on, if asked."""

    sources: list[str]
    prompts: npt.NDArray[np.int64]
    tokenizer: Any
    target_texts: list[str] | None = None

    def ask_target(self, target: Any) -> None:
        """Have the target go on from every prompt, once."""
        self.target_texts = self._texts(target)

    def of(self, model: Any, stage: str, step: int) -> Iterator[Sampled]:
        """One event a source: what ``model`` writes now, greedily."""
        model.eval()
        for number, text in enumerate(self._texts(model)):
            yield Sampled(
                stage=stage,
                step=step,
                source=self.sources[number],
                prompt=self._decode(self.prompts[number].tolist()),
                text=text,
                target_text=self.target_texts[number] if self.target_texts else "",
            )

    def _texts(self, model: Any) -> list[str]:
        length = self.prompts.shape[1]
        room = context_length(model.config) - length
        greedy = np.zeros(len(self.prompts))
        stops = {self.tokenizer.eos_token_id}
        batch = Batch(self.prompts, greedy, min(_NEW_TOKENS, room), stops, seed=0, vocab_size=len(self.tokenizer))
        rows = continue_batch(model, batch).rows
        return [self._decode(row[length:]) if row else "" for row in rows]

    def _decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True)


def make_samples(held_out: Mapping[str, Mixture], tokenizer: Any) -> Samples:
    """Prompts from the first held-out row of every source."""
    rows = [mixture.rows(0, 1)[0][0] for mixture in held_out.values()]
    length = min(_PROMPT_TOKENS, min(len(row) for row in rows) // 2)
    return Samples(list(held_out), np.stack([row[:length] for row in rows]).astype(np.int64), tokenizer)
