"""Drafting without a model: what followed the longest suffix that was seen before (prompt lookup).

The suffix is looked for in the prompt and the text so far, then among the phrases that rejected blocks left behind (Ouroboros,
arXiv 2402.13720): the target has read a whole block and said what follows each of its tokens. After the first refused one that
is not the text any more, but often it is what the text says next.

Every token is looked up by itself, after those drafted before it. So what is proposed after a text does not depend on where the
block began, and acceptance along a text can be read without decoding (``bench/acceptance.py``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from fastdraft_core.decoding.sampling import Sampling, Verdict
from fastdraft_core.events import ModelCard
from fastdraft_core.models.draft_spec import NgramDraft
from fastdraft_core.runtimes.base import Kept, Runtime

_Ngram = tuple[int, ...]


def point_masses(tokens: Sequence[int], vocab_size: int) -> torch.Tensor:
    """The distributions ``[n, V]`` of tokens that are certain to be proposed."""
    rows = torch.zeros(len(tokens), vocab_size)
    rows[torch.arange(len(tokens)), torch.tensor(tokens, dtype=torch.long)] = 1.0
    return rows


class Ngrams:
    """The way to draft that ``spec`` names, for the texts of ``target``."""

    kv_bytes_per_token = 0

    def __init__(self, spec: NgramDraft, target: Runtime) -> None:
        self.spec = spec
        self.context_length = target.context_length
        self.vocab_size = target.vocab_size
        self.card = ModelCard(
            name=str(spec),
            architecture="n-gram lookup",
            parameters=0,
            weight_bytes=0,
            dtype="",
            device="cpu",
            layers=0,
            hidden_size=0,
            vocab_size=target.card.vocab_size,
            context_length=target.context_length,
        )

    def drafter(self) -> NgramDrafter:
        """A new drafter, which has read nothing."""
        return NgramDrafter(self.spec, self.vocab_size)


class NgramDrafter:
    """Proposes tokens one by one, as long as the suffix before each was seen before; the newest place counts.

    Its distribution is a point mass, whether the target samples or not.
    """

    skipped = 0

    def __init__(self, spec: NgramDraft, vocab_size: int) -> None:
        self._lengths = range(spec.longest, spec.shortest - 1, -1)
        self._vocab_size = vocab_size
        self._text: list[int] = []
        self._places: dict[_Ngram, list[int]] = {}
        """Where in the text an n-gram was followed by something: the places of what followed, the newest last."""
        self._pool: dict[_Ngram, int] = {}
        """What the target said after an n-gram that did not become text."""

    @property
    def logits(self) -> list[torch.Tensor]:
        """Empty: there is no model."""
        return []

    @property
    def kept(self) -> Kept:
        """Nothing: there is no cache."""
        return Kept()

    def reading(self, ids: list[int]) -> Iterator[int]:
        """Nothing takes time here."""
        return iter(())

    def prepare(self, gamma: int, sampling: Sampling) -> None:
        """Nothing takes time here."""

    def start(self, ids: list[int]) -> None:
        """Read a new prompt, and forget all phrases."""
        self._text, self._places, self._pool = [], {}, {}
        self._read(ids)

    def propose(
        self, ids: list[int], gamma: int, sampling: Sampling, stream: torch.Generator
    ) -> tuple[list[int], torch.Tensor | None]:
        """At most ``gamma`` tokens, none where no suffix of ``ids`` was seen before, and their point masses ``[n, V]``."""
        self._forget(len(ids))
        self._read(ids[len(self._text) :])
        drafted: list[int] = []
        while len(drafted) < gamma and (token := self._next()) is not None:
            self._read([token])
            drafted.append(token)
        self._forget(len(ids))
        return drafted, point_masses(drafted, self._vocab_size) if drafted and not sampling.greedy else None

    def learn(self, ids: list[int], drafted: list[int], verdict: Verdict, logits: torch.Tensor) -> None:
        """Keep what the target said after the refused token, as a phrase that goes on from the corrected one."""
        kept = verdict.accepted
        if kept >= len(drafted):
            return
        said: list[int] = logits[kept + 1 :].argmax(-1).tolist()
        phrase = [*ids[-self._lengths[0] :], *drafted[:kept], verdict.token, *said]
        for at in range(len(phrase) - len(said), len(phrase)):
            for key in self._suffixes(phrase[:at]):
                self._pool[key] = phrase[at]

    def keep(self, length: int) -> None:
        """Forget the text after the first ``length`` tokens."""
        self._forget(length)

    def why_steps(self, gamma: int, sampling: Sampling) -> str:
        """Empty: there is one way only."""
        return ""

    def _next(self) -> int | None:
        """What followed the longest suffix of the text: in the text itself, else in a phrase."""
        suffixes = self._suffixes(self._text)
        for key in suffixes:
            if places := self._places.get(key):
                return self._text[places[-1]]
        return next((self._pool[key] for key in suffixes if key in self._pool), None)

    def _suffixes(self, text: Sequence[int]) -> list[_Ngram]:
        """The last tokens of ``text``, the longest suffix first."""
        return [tuple(text[len(text) - n :]) for n in self._lengths if n <= len(text)]

    def _read(self, ids: Sequence[int]) -> None:
        for token in ids:
            for key in self._suffixes(self._text):
                self._places.setdefault(key, []).append(len(self._text))
            self._text.append(token)

    def _forget(self, length: int) -> None:
        while len(self._text) > length:
            self._text.pop()
            for key in self._suffixes(self._text):
                self._places[key].pop()
