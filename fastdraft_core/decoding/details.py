"""What both models thought of every token of a block, from the very logits that decided.

It is computed between two blocks, while the stopwatch stands still, so no measured time has it in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from msgspec import structs

from fastdraft_core.decoding.sampling import Sampling, Verdict, process
from fastdraft_core.events import Block, Candidate, Detail, Event, FirstToken, Opinion, Token

TOP = 5
#: Blocks of a run that get details; a recording holds some 2 kB for each at gamma 4.
MAX_BLOCKS = 2048

#: From drafted ids, their verdict, the target's logits [n + 1, V] and the draft's, n of [V], or none without a model.
Observer = Callable[[list[int], Verdict, torch.Tensor, list[torch.Tensor]], None]
#: The text of one id on its own.
Piece = Callable[[int], str]


@dataclass(slots=True)
class Witness:
    """An observer: ``details`` are of the last block, one for each drafted token, then one for the token after them.

    They are empty after the first ``MAX_BLOCKS`` blocks.
    """

    sampling: Sampling
    piece: Piece
    details: list[Detail] = field(default_factory=list)
    _blocks: int = 0

    def __call__(self, drafted: list[int], verdict: Verdict, logits: torch.Tensor, draft: list[torch.Tensor]) -> None:
        """Look at one block; nothing is drafted where the token is the prefill's."""
        self._blocks += 1
        seen = self._blocks <= MAX_BLOCKS
        self.details = details(drafted, verdict, logits, draft, self.sampling, self.piece) if seen else []

    def describe(self, event: Event) -> Event:
        """``event``, and if it is of the block last seen, its tokens with their details."""
        if not self.details:
            return event
        if isinstance(event, FirstToken):
            return structs.replace(event, token=self._described(event.token, self.details[0]))
        if isinstance(event, Block):
            *drafted, last = self.details
            extra = event.extra and self._described(event.extra, last)
            tokens = [self._described(*pair) for pair in zip(event.drafted, drafted, strict=True)]
            return structs.replace(event, drafted=tokens, extra=extra)
        return event

    def _described(self, token: Token, detail: Detail) -> Token:
        piece = self.piece(token.id)
        if piece != token.text:
            detail = structs.replace(detail, piece=piece)
        return structs.replace(token, detail=detail)


def law(logits: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """What is shown for logits ``[n, V]``: the distributions that decide, or when greedy the softmax at T 1."""
    return logits.softmax(-1) if sampling.greedy else process(logits, sampling)


@torch.inference_mode()
def details(
    drafted: list[int],
    verdict: Verdict,
    logits: torch.Tensor,
    draft: list[torch.Tensor],
    sampling: Sampling,
    piece: Piece,
) -> list[Detail]:
    """A ``Detail`` for each of ``drafted``, and for ``verdict.token``, which follows the accepted ones.

    ``logits`` are the target's ``[n + 1, V]``, ``draft`` the draft's, n of ``[V]``, or none.
    """
    tokens, rows = [*drafted, verdict.token], [*range(len(drafted)), verdict.accepted]
    p = law(logits[: max(rows) + 1], sampling)
    target = _opinions(p, rows, tokens, piece)
    # A bonus token has no row of the draft: nothing was drafted in its place.
    own = len(tokens) if verdict.accepted < len(draft) else len(draft)
    seconds: list[Opinion | None] = [None] * len(tokens)
    overlap: list[float | None] = [None] * len(tokens)
    if own:
        q = law(torch.stack(draft).to(p.device), sampling)
        seconds[:own] = _opinions(q, rows[:own], tokens[:own], piece)
        shared = torch.minimum(p[: len(draft)], q).sum(-1).tolist()
        overlap[:own] = [shared[row] for row in rows[:own]]
    return [
        Detail(target=first, draft=second, overlap=None if both is None else _short(both))
        for first, second, both in zip(target, seconds, overlap, strict=True)
    ]


def _opinions(laws: torch.Tensor, rows: Sequence[int], tokens: Sequence[int], piece: Piece) -> list[Opinion]:
    """What row ``rows[i]`` of the distributions ``[n, V]`` says of ``tokens[i]``."""
    entropies: list[float] = torch.special.entr(laws).sum(-1).tolist()
    best = laws.topk(min(TOP, laws.shape[-1]))
    tops = [
        [Candidate(i, piece(i), _short(share)) for i, share in zip(ids, shares, strict=True) if share > 0]
        for ids, shares in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
    return [
        Opinion(
            p=_short(float(laws[row, token])),
            rank=int((laws[row] > laws[row, token]).sum()) + 1,
            entropy=_short(entropies[row]),
            top=tops[row],
        )
        for row, token in zip(rows, tokens, strict=True)
    ]


def _short(number: float) -> float:
    """As many digits as a float32 has: a recording needs no more."""
    return float(f"{number:.7g}")
