"""How likely each token of a text is to be accepted, had the draft proposed it: acceptance without decoding.

Given the text, the fate of a drafted token at position t does not depend on gamma. Greedy: it is accepted exactly when
the draft's best token there is the text's. Sampled: of the tokens that the rule of Leviathan et al. (2211.17192, algorithm 1)
emits as x, the share min(p(x), q(x)) / p(x) is accepted ones, whatever happened before. So one autoregressive text, read by the
draft in a few passes, holds the acceptance of every gamma (``surface.py``), with the draws averaged out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from fastdraft_core.decoding.cascade import Cascade
from fastdraft_core.decoding.drafters import Draft, Method
from fastdraft_core.decoding.ngrams import Ngrams
from fastdraft_core.decoding.sampling import Sampling, process
from fastdraft_core.decoding.shared_tokens import SharedTokens
from fastdraft_core.runtimes.base import Runtime

#: Tokens a pass: logits of a large vocabulary would otherwise fill the memory.
_CHUNK = 32


@dataclass(frozen=True, slots=True)
class Fate:
    """What would become of tokens drafted along one text, at each place after its first token.

    ``chances`` are of the token drafted there, after the text so far, being accepted. ``reach`` is how many tokens a block that
    begins there drafts at most, absent where it is any number.
    """

    chances: list[float]
    reach: list[int] | None = None


def fate(
    draft: Draft,
    likely: Sequence[float] | None,
    prompt: Sequence[int],
    text: Sequence[int],
    sampling: Sampling,
    most: int,
) -> Fate:
    """The fate of ``draft`` along ``text``, in blocks of at most ``most`` tokens.

    ``likely`` are the target's own probabilities of the text's tokens; None when greedy, where all are 1.
    """
    if isinstance(draft, Ngrams):
        return _looked_up(draft, prompt, text, sampling, most)
    if isinstance(draft, SharedTokens):
        found = _retokenized(draft, prompt, text, sampling)
        return Fate(chances(likely or [1.0] * len(found), found))
    # A cascade drafts with the law of its model.
    model = draft.model if isinstance(draft, Cascade) else draft
    assert not isinstance(model, Method)
    found = probabilities(model, prompt, text, sampling)
    return Fate(chances(likely or [1.0] * len(found), found))


def _retokenized(draft: SharedTokens, prompt: Sequence[int], text: Sequence[int], sampling: Sampling) -> list[float]:
    """What the draft gives each token, after the text before it in tokens of its own.

    Inside a block it reads the tokens that it drafted, which may be cut otherwise; that is not in these figures.
    """
    drafter, stream = draft.drafter(), torch.Generator()
    drafter.start(list(prompt))
    found = []
    for place in range(1, len(text)):
        drafter.propose([*prompt, *text[:place]], 1, Sampling(), stream)
        logits = torch.stack(drafter.logits)
        given = logits.argmax(-1) == text[place] if sampling.greedy else process(logits, sampling)[:, text[place]]
        found.append(float(given))
    return found


def _looked_up(draft: Ngrams, prompt: Sequence[int], text: Sequence[int], sampling: Sampling, most: int) -> Fate:
    """What is certain to be proposed is accepted where it is the text. Phrases of rejected blocks, which no text tells of, are left out."""
    drafter, stream = draft.drafter(), torch.Generator()
    drafter.start(list(prompt))
    found, reach = [], []
    for place in range(1, len(text)):
        proposed, _ = drafter.propose([*prompt, *text[:place]], most, sampling, stream)
        found.append(float(proposed[:1] == [text[place]]))
        reach.append(len(proposed))
    return Fate(found, reach)


def probabilities(runtime: Runtime, prompt: Sequence[int], text: Sequence[int], sampling: Sampling) -> list[float]:
    """What ``runtime`` gives each token of ``text`` but the first, after ``prompt`` and the tokens before it.

    Greedy, that is 1 for its best token and 0 for any other. The first token is the prefill's and is never drafted. A token
    outside of a draft vocabulary gets 0.
    """
    columns = None if runtime.head_ids is None else {token: at for at, token in enumerate(runtime.head_ids)}
    runtime.prefill(list(prompt))
    found: list[float] = []
    for start in range(0, len(text) - 1, _CHUNK):
        read = list(text[start : min(start + _CHUNK, len(text) - 1)])
        logits = runtime.forward(read)
        tokens = text[start + 1 : start + 1 + len(read)]
        at = tokens if columns is None else [columns.get(token, -1) for token in tokens]
        following = torch.tensor(at, device=logits.device)
        if sampling.greedy:
            found += (logits.argmax(-1) == following).double().tolist()
        else:
            given = process(logits, sampling).gather(1, following.clamp(min=0)[:, None])[:, 0]
            found += (given * (following >= 0)).double().tolist()
    return found


def chances(p: Sequence[float], q: Sequence[float]) -> list[float]:
    """The chance min(1, q/p) that a token of the text was an accepted one, at each position.

    Rounding may give a token that the target drew a probability of 0; nothing is promised for it.
    """
    return [min(1.0, after / before) if before > 0 else 0.0 for before, after in zip(p, q, strict=True)]
