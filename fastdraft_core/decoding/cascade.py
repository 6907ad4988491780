"""A cascade: a lookup drafts for the model that drafts for the target (vertical; arXiv 2312.11462).

The draft model decodes its block speculatively, with looked up tokens that one of its passes checks. What it writes has its own
distribution exactly, as the target's text has the target's; so the q that travels with each token is the model's, and the
target's verdict knows nothing of the cascade. Where text repeats itself the model needs fewer passes for a block.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from msgspec import structs

from fastdraft_core.decoding.drafters import ModelDrafter
from fastdraft_core.decoding.ngrams import Ngrams
from fastdraft_core.decoding.sampling import Sampling, Verdict, judge, judge_greedy, process
from fastdraft_core.models.draft_spec import CascadeDraft
from fastdraft_core.runtimes.base import Kept, Runtime


class Cascade:
    """The way to draft that ``spec`` names: ``lookup`` for ``model``."""

    def __init__(self, spec: CascadeDraft, lookup: Ngrams, model: Runtime) -> None:
        self.lookup = lookup
        self.model = model
        self.card = structs.replace(model.card, name=str(spec))
        self.kv_bytes_per_token = model.kv_bytes_per_token
        self.context_length = model.context_length
        self.vocab_size = model.vocab_size

    def drafter(self) -> CascadeDrafter:
        """A new drafter."""
        return CascadeDrafter(self)


class CascadeDrafter:
    """Blocks that the model writes with the lookup's help; past the model's context, as the model alone writes them."""

    def __init__(self, cascade: Cascade) -> None:
        self._lookup = cascade.lookup.drafter()
        self._model = ModelDrafter(cascade.model)
        self._accept = torch.Generator()
        self._logits: list[torch.Tensor] = []
        self._alone = False

    @property
    def logits(self) -> list[torch.Tensor]:
        """The model's, of the last proposal."""
        return self._model.logits if self._alone else self._logits

    @property
    def skipped(self) -> int:
        """As the model."""
        return self._model.skipped

    def prepare(self, gamma: int, sampling: Sampling) -> None:
        """Get the model ready."""
        self._model.prepare(gamma, sampling)

    @property
    def kept(self) -> Kept:
        """What the model's cache still had of the prompt."""
        return self._model.kept

    def reading(self, ids: list[int]) -> Iterator[int]:
        """Have the model read a new prompt pass by pass."""
        return self._model.reading(ids)

    def start(self, ids: list[int]) -> None:
        """Read a new prompt."""
        self._lookup.start(ids)
        self._model.start(ids)

    def propose(
        self, ids: list[int], gamma: int, sampling: Sampling, stream: torch.Generator
    ) -> tuple[list[int], torch.Tensor | None]:
        """``gamma`` tokens, fewer where the model's context ends, with the model's q ``[n, V]``."""
        self._alone = bool(self.skipped) or len(ids) + gamma > self._model.runtime.context_length
        if self._alone:
            return self._model.propose(ids, gamma, sampling, stream)
        self._accept.manual_seed(int(torch.randint(1 << 62, (1,), generator=stream, device=stream.device)))
        drafted: list[int] = []
        laws: list[torch.Tensor] = []
        self._logits = []
        while len(drafted) < gamma:
            text = [*ids, *drafted]
            # The model's pass over what was looked up gives one token more.
            guessed, certain = self._lookup.propose(text, gamma - len(drafted) - 1, sampling, stream)
            logits = self._model.read([*text[self._model.runtime.length :], *guessed])[-len(guessed) - 1 :]
            verdict, law = self._judged(guessed, certain, logits, sampling, stream)
            self._lookup.learn(text, guessed, verdict, logits)
            kept = verdict.accepted + 1
            self._logits += list(logits[:kept])
            laws += [] if law is None else [law[:kept]]
            drafted += [*guessed[: verdict.accepted], verdict.token]
            self.keep(len(ids) + len(drafted) - 1)
        return drafted, torch.cat(laws) if laws else None

    def _judged(
        self,
        guessed: list[int],
        certain: torch.Tensor | None,
        logits: torch.Tensor,
        sampling: Sampling,
        stream: torch.Generator,
    ) -> tuple[Verdict, torch.Tensor | None]:
        """The model's verdict on what was looked up, and its law ``[n + 1, V]``; None when greedy."""
        if sampling.greedy:
            return judge_greedy(guessed, logits), None
        law = process(logits, sampling)
        certain = law[:0] if certain is None else certain.to(law.device)
        return judge(guessed, certain, law, self._accept, stream), law

    def learn(self, ids: list[int], drafted: list[int], verdict: Verdict, logits: torch.Tensor) -> None:
        """What the target said is worth more than what the draft said."""
        self._lookup.learn(ids, drafted, verdict, logits)

    def keep(self, length: int) -> None:
        """Forget what was read past the first ``length`` tokens."""
        self._lookup.keep(length)
        self._model.keep(length)

    def why_steps(self, gamma: int, sampling: Sampling) -> str:
        """Only what keeps the model itself from its fast way; passes over looked up tokens are what a cascade is."""
        return self._model.runtime.card.fallback
