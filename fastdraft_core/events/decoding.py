"""Decoding: tokens, blocks and the figures of a run."""

from __future__ import annotations

import msgspec

from fastdraft_core.events.base import Event
from fastdraft_core.events.commands import Exchange


class Candidate(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A token that a model could have given; ``text`` is that of the id on its own."""

    id: int
    text: str
    probability: float


class Opinion(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What one model's distribution says of a token: its probability ``p`` and its ``rank`` (1 is the most probable).

    ``entropy`` is of the whole distribution, in nats; ``top`` are its most probable tokens, at most five.
    """

    p: float
    rank: int
    entropy: float
    top: list[Candidate]


class Detail(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What both models thought at a token's place.

    Sampling: of the processed distributions, those that decide. Greedy: of the plain softmax at temperature 1,
    which decides nothing there. ``draft`` is absent where nothing was drafted in this place (the first and
    every bonus token). ``overlap`` is the sum of min(p, q) over all tokens: the chance that a token drafted here is accepted.
    ``piece`` is the text of the token on its own where that is not its ``text``: part of a character, or special.
    """

    target: Opinion
    draft: Opinion | None = None
    overlap: float | None = None
    piece: str = ""


class Token(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One token and what became of it.

    ``state`` is ``accepted``, ``rejected`` or ``discarded`` for a drafted token, ``corrected`` or
    ``bonus`` for the one that the target adds, and ``plain`` where nothing was drafted. ``text``
    is what this token adds to the text before it: empty while a character is incomplete. It is
    the model's own text, control characters included; whoever shows it makes it safe.
    ``p`` and ``q`` are the processed target and draft probabilities of the token, ``u`` the random
    number that decided; absent where greedy decoding compared argmaxes instead. ``detail`` is there in the
    speculative runs of the engine.
    """

    id: int
    text: str = ""
    state: str = "plain"
    p: float | None = None
    q: float | None = None
    u: float | None = None
    detail: Detail | None = None


class Block(Event, frozen=True):
    """One target pass: what was drafted, what was kept.

    ``drafted`` holds every drafted token in order. ``extra`` is the corrected or bonus token; it is
    absent only when a stop inside the accepted tokens, or the asked length, ended the run first.
    A drafted token after such a stop is ``discarded``. Autoregressive decoding drafts nothing
    and its ``extra`` is ``plain``. ``at`` is decode time since the first token (the prefill's) in
    seconds at the end of this block; the time others take to look at an event is not in it.
    ``bytes_read`` is what its passes read of weights and cache: computed, not measured; 0 is unknown.
    """

    mode: str
    index: int
    drafted: list[Token]
    extra: Token | None
    at: float
    draft_seconds: float
    verify_seconds: float
    overhead_seconds: float
    context: int
    bytes_read: int = 0


class RunStarted(Event, frozen=True):
    """A run begins: ``mode`` is ``ar`` or ``sd``; ``prompt_tokens`` counts the prompt's ids.

    With ``chat`` they are those of a conversation, in the target's chat template: ``prompt`` is the last question, asked after
    the turns ``earlier``, and what follows is its answer. Else ``prompt`` is the beginning of the text itself.
    ``verification`` is how sampled blocks are judged: ``token`` by token, or the whole ``block`` at once.
    """

    mode: str
    prompt: str
    prompt_tokens: int
    gamma: int
    temperature: float
    top_k: int
    top_p: float
    seed: int
    max_new_tokens: int
    chat: bool = False
    earlier: tuple[Exchange, ...] = ()
    verification: str = "token"


class FirstToken(Event, frozen=True):
    """The token that the prefill gives; decode time starts here.

    Of the prompt the first ``kept`` tokens were in the cache from before; the seconds that reading them took then are in
    ``prefill_seconds``, so that it is the time to the first token of a prompt that nobody read before.
    """

    mode: str
    token: Token
    prefill_seconds: float
    kept: int = 0


class RunMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one run, all measured. ``tokens`` leaves out the first one, as ``seconds`` does.

    ``acceptance`` is accepted/drafted, pooled; ``tau`` is tokens a target pass (bonus included);
    ``mbsu`` is tau / (c·gamma + 1) with c the ratio of parameters (paper, section on metrics).
    ``joint[i]`` is the share of blocks whose first i + 1 drafted tokens were all accepted;
    ``conditional[i]`` the share accepted at position i of those judged there. ``beyond_context`` counts the blocks that the draft wrote
    from the last part of the text alone, since its context is shorter.
    """

    tokens: int
    seconds: float
    tokens_per_second: float
    blocks: int
    drafted: int
    accepted: int
    acceptance: float
    tau: float
    mbsu: float
    mbsu_bytes: float
    joint: list[float]
    conditional: list[float]
    draft_share: float
    verify_share: float
    overhead_share: float
    gigabytes_per_second: float
    beyond_context: int = 0


class RunFinished(Event, frozen=True):
    """A run ended: ``reason`` is ``length``, ``stop``, ``context`` or ``cancelled``; ``ids`` are all new tokens."""

    mode: str
    reason: str
    text: str
    ids: list[int]
    metrics: RunMetrics
