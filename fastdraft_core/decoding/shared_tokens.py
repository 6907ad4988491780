"""A draft model with another vocabulary than the target's: it drafts what both have (arXiv 2502.05202, token-level intersection).

Its head scores the tokens alone that stand in both vocabularies, so what it draws can be said in the target's ids, with a q of 0 for
all others, as of any draft vocabulary. It reads the text in its own tokens, which are made anew before every block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile

import torch
from msgspec import structs

from fastdraft_core.decoding.sampling import Sampling, Verdict, best, draw, process
from fastdraft_core.runtimes.base import Kept, Runtime

#: From ids of the target to the draft's ids of the same text.
Translate = Callable[[Sequence[int]], list[int]]


class SharedTokens:
    """The way to draft called ``name``: ``model``, whose head scores the draft's side of the shared tokens alone.

    ``target_ids`` are the same tokens' ids in the target's vocabulary of ``vocab_size``, in the order of ``model.head_ids``.
    """

    def __init__(
        self, name: str, model: Runtime, target_ids: Sequence[int], vocab_size: int, translate: Translate
    ) -> None:
        assert model.head_ids is not None
        assert len(model.head_ids) == len(target_ids)
        self.model = model
        self.target_ids = list(target_ids)
        self.translate = translate
        self.card = structs.replace(model.card, name=name)
        self.kv_bytes_per_token = model.kv_bytes_per_token
        self.context_length = model.context_length
        self.vocab_size = vocab_size

    def drafter(self) -> SharedTokensDrafter:
        """A new drafter."""
        return SharedTokensDrafter(self)


class SharedTokensDrafter:
    """Drafts token by token. Where the model's context is shorter than the text, from the last part of it."""

    def __init__(self, draft: SharedTokens) -> None:
        self._draft = draft
        self._model = draft.model
        self._scored = draft.model.head_ids or []
        self._ids = torch.tensor(draft.target_ids)
        self._cached: list[int] = []
        """The model's own ids in its cache."""
        self._logits: list[torch.Tensor] = []
        self.skipped = 0

    @property
    def logits(self) -> list[torch.Tensor]:
        """Of the last proposal, ``[V]`` a token in the target's ids; -inf outside of the shared ones."""
        return [self._whole(row, -torch.inf) for row in self._logits]

    def prepare(self, gamma: int, sampling: Sampling) -> None:
        """Nothing takes time here."""

    @property
    def kept(self) -> Kept:
        """Nothing: a text is tokenized anew for every prompt."""
        return Kept()

    def reading(self, ids: list[int]) -> Iterator[int]:
        """Nothing: the model reads the prompt, in tokens of its own, when it is started with."""
        return iter(())

    def start(self, ids: list[int]) -> None:
        """Read a new prompt."""
        self._model.rewind(0)
        self._cached, self.skipped = [], 0
        if unread := self._unread(ids, 1)[:-1]:
            self._read(unread)
        self._model.synchronize()

    def propose(
        self, ids: list[int], gamma: int, sampling: Sampling, stream: torch.Generator
    ) -> tuple[list[int], torch.Tensor | None]:
        """``gamma`` tokens after ``ids``, fewer where the model's context is short, and their q ``[n, V]``."""
        gamma = min(gamma, self._model.context_length // 2)
        unread = self._unread(ids, gamma) if gamma else []
        drafted: list[int] = []
        laws: list[torch.Tensor] = []
        self._logits = []
        while len(drafted) < gamma and unread:
            logits = self._read(unread)
            self._logits.append(logits[0])
            if sampling.greedy:
                column = best(logits)[0]
            else:
                laws.append(process(logits, sampling))
                column = draw(laws[-1][0], stream)
            drafted.append(self._draft.target_ids[column])
            unread = [self._scored[column]]
        return drafted, self._whole(torch.cat(laws), 0.0) if laws else None

    def learn(self, ids: list[int], drafted: list[int], verdict: Verdict, logits: torch.Tensor) -> None:
        """Nothing: a model drafts from the text alone."""

    def keep(self, length: int) -> None:
        """Nothing: the next block compares its text with what was read."""

    def why_steps(self, gamma: int, sampling: Sampling) -> str:
        """Only what keeps the model itself from its fast way."""
        return self._model.card.fallback

    def _unread(self, ids: Sequence[int], gamma: int) -> list[int]:
        """What the model must read before it drafts after ``ids``, at least one token; its cache is rewound to what comes before."""
        text = self._draft.translate(ids)
        room = self._model.context_length - gamma
        if len(text) - self.skipped > room or self.skipped >= len(text):
            # Half a context, so that the other half is read before the next time.
            self.skipped = max(0, len(text) - max(1, self._model.context_length // 2))
            self._cached = []
        text = text[self.skipped :]
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(text[:-1], self._cached, strict=False)))
        self._model.rewind(same)
        del self._cached[same:]
        return text[same:]

    def _read(self, ids: list[int]) -> torch.Tensor:
        """The logits ``[1, K]`` after the last of ``ids``."""
        self._cached += ids
        return self._model.forward(ids)[-1:]

    def _whole(self, scored: torch.Tensor, outside: float) -> torch.Tensor:
        """``[..., V]`` in the target's ids of the ``[..., K]`` that were scored."""
        self._ids = self._ids.to(scored.device)
        whole = scored.new_full((*scored.shape[:-1], self._draft.vocab_size), outside)
        return whole.index_copy_(-1, self._ids, scored)
