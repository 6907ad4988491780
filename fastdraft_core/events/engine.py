"""What the engine process says of itself."""

from __future__ import annotations

import msgspec

from fastdraft_core.events.base import Event


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine loaded. ``weight_bytes`` are the bytes that one token reads, ``dtype`` is what they are stored as.

    ``compute`` and ``kv_dtype`` are how it computes and keeps keys and values, where that may differ from ``dtype``.
    ``draft_vocab`` is how many ids the head of a draft scores, 0 where it scores all. ``fallback`` says why it does not run the
    fast way of its runtime; empty where it does. What drafts without a model has a card as well, without ``parameters``.
    """

    name: str
    architecture: str
    parameters: int
    weight_bytes: int
    dtype: str
    device: str
    layers: int
    hidden_size: int
    vocab_size: int
    context_length: int
    compute: str = ""
    kv_dtype: str = ""
    draft_vocab: int = 0
    fallback: str = ""

    @property
    def is_model(self) -> bool:
        """Whether there are weights at all."""
        return self.parameters > 0

    @property
    def precision(self) -> str:
        """``dtype``, and how it computes where that is another one, for people."""
        return self.dtype if self.compute in ("", self.dtype) else f"{self.dtype} weights, {self.compute}"


def cache_bound(target: ModelCard, draft: ModelCard | None, last_level_cache: int | None) -> bool:
    """Whether the weights that decoding reads all fit in the processor's last-level cache (bytes; None is unknown).

    They then come from there, and the peak of main memory does not bound the speed.
    """
    cards = [target, *([draft] if draft is not None else [])]
    on_cpu = all(card.device == "cpu" for card in cards)
    return on_cpu and last_level_cache is not None and sum(c.weight_bytes for c in cards) <= last_level_cache


class PairLoaded(Event, frozen=True):
    """Target and draft are in memory and their vocabularies agree, id by id.

    ``draft`` is absent when speculation is off; ``draft_problem`` then says why, if it was asked for.
    ``runtime`` is ``torch`` or ``openvino``; ``runtime_reason`` says why, where nobody chose it. ``chat`` is whether the target
    has a chat template, and so is asked rather than continued.
    """

    target: ModelCard
    draft: ModelCard | None
    draft_problem: str | None
    runtime: str
    threads: int
    seconds: float
    runtime_reason: str = ""
    chat: bool = False


class NearTie(msgspec.Struct, frozen=True, kw_only=True):
    """Where two greedy texts part: new token ``position`` (from 1), the target's logit ``margin`` there.

    It is a tie that rounding decides (``tie``) when the margin is at most ``noise``: how far the margin
    of the two best logits was measured to move between one-token and many-token passes.
    """

    position: int
    margin: float
    noise: float

    @property
    def tie(self) -> bool:
        """Whether rounding alone explains the difference."""
        return self.margin <= self.noise


class PeakBandwidth(Event, frozen=True):
    """The machine's measured peak of reading main memory, in GB/s (10^9 bytes a second), with ``threads`` threads.

    Sent at most twice by an engine: as kept on disk when a pair is loaded, and as measured after the first
    comparison. ``lower_bound``: other work kept the processor busy meanwhile. ``last_level_cache`` is in bytes:
    weights that fit into it are not read from main memory, and the peak says nothing about them. Of a device besides the CPU it is
    the peak of that device's memory, with ``threads`` 0.
    """

    gigabytes_per_second: float
    threads: int
    lower_bound: bool
    measured_on: str
    last_level_cache: int | None


class BlockCost(msgspec.Struct, frozen=True, kw_only=True):
    """What a mean block of one comparison cost, in autoregressive steps: the baseline's decode seconds a token.

    ``drafted`` is tokens drafted a block; ``draft`` (c) is one draft step, ``verify`` (v) the target pass over the
    block and one token more, ``overhead`` everything else in the block. ``break_even`` is the acceptance, accepted over
    drafted, at which the speed-up would be 1; above 1, no acceptance is enough.
    """

    drafted: float
    draft: float
    verify: float
    overhead: float
    break_even: float

    @property
    def total(self) -> float:
        """Autoregressive steps a block: speculation pays when a block gives more tokens than this."""
        return self.verify + self.drafted * self.draft + self.overhead


class Compared(Event, frozen=True):
    """Both runs of one prompt are done: the measured speed-up, decode tokens/s sd over ar.

    ``identical`` is whether both greedy texts have the same tokens; it is absent when sampling, where
    only the distributions agree. ``parted`` explains a difference. ``cost`` is where the time went; ``slower`` says in
    words why the speed-up is below 1 and what would have to change, and is empty otherwise.
    """

    speedup: float
    identical: bool | None
    parted: NearTie | None = None
    cost: BlockCost | None = None
    slower: str = ""


class Failed(Event, frozen=True):
    """A command failed; ``message`` is for the user, ``log`` the file with the traceback."""

    message: str
    log: str
