"""What there is to know of one token of a run, and how it was decided, in words. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from fastdraft_app.live.replay import Place, Track
from fastdraft_core.events import Block, Detail, Token


@dataclass(frozen=True)
class TokenFacts:
    """One token in its run; ``pending`` while its block has been drafted and not judged."""

    track: Track
    place: Place
    pending: bool = False

    @property
    def block(self) -> Block | None:
        """The block of the token; the prefill's token has none."""
        return self.track.blocks[self.place.step - 1] if self.place.step else None

    @property
    def token(self) -> Token:
        """The token itself."""
        return self.track.tokens(self.place.step)[self.place.position]

    @property
    def state(self) -> str:
        """The state as it is shown."""
        return "pending" if self.pending else self.token.state

    @property
    def detail(self) -> Detail | None:
        """What both models thought, where that was recorded."""
        return self.token.detail

    @property
    def text(self) -> str:
        """What the token adds to the text, or what it is where it adds nothing: a byte, or a special token."""
        return self.token.text or (self.detail.piece if self.detail is not None else "")

    @property
    def greedy(self) -> bool:
        """Whether argmaxes decided."""
        return self.track.started.temperature == 0

    @property
    def new(self) -> int:
        """Its number among the new tokens, counted from 1 with the prefill's."""
        if self.block is None:
            return 1
        drafted = len(self.block.drafted)
        kept = sum(token.state == "accepted" for token in self.block.drafted)
        offset = self.place.position if self.place.position < drafted else kept
        return self.block.context - self.track.started.prompt_tokens + 2 + offset

    @property
    def accept(self) -> float | None:
        """min(1, p/q) of a drafted token: the probability of keeping it, where sampling decides."""
        second = self.detail.draft if self.detail is not None else None
        if self.detail is None or second is None or self.token.state not in ("accepted", "rejected", "discarded"):
            return None
        return min(1.0, self.detail.target.p / second.p) if second.p else 1.0

    @property
    def residual(self) -> float | None:
        """max(p - q, 0) / (1 - overlap) of a corrected token: what it was drawn with."""
        detail = self.detail
        if detail is None or detail.draft is None or detail.overlap is None or detail.overlap >= 1:
            return None
        return min(max(detail.target.p - detail.draft.p, 0.0) / (1 - detail.overlap), 1.0)

    @property
    def best(self) -> str:
        """The token that the target found most probable."""
        return self.detail.target.top[0].text if self.detail is not None and self.detail.target.top else ""


def whereabouts(facts: TokenFacts) -> str:
    """Block, position in it, and number in the text."""
    block = facts.block
    if block is None:
        return "from the prompt's pass, new token 1"
    drafted, position = len(block.drafted), facts.place.position
    inside = f"draft {position + 1}/{drafted}" if position < drafted else "target's own"
    return f"block {facts.place.step}/{len(facts.track.blocks)}, {inside}, new token {facts.new}"


def verdict(facts: TokenFacts, quoted: str) -> str:
    """Why the token has its state; ``quoted`` is the target's most probable token as it is shown."""
    match facts.state:
        case "pending":
            return "drafted; the target has not seen it yet"
        case "discarded":
            return _never_judged(facts)
        case "plain":
            return "what the target said" + (", where nothing was drafted" if facts.block else " after the prompt")
    words = _greedy if facts.greedy else _sampled
    return words(facts, quoted)


def _never_judged(facts: TokenFacts) -> str:
    assert facts.block is not None
    refused = next((n for n, token in enumerate(facts.block.drafted, 1) if token.state == "rejected"), None)
    if refused is None:
        return "never judged: the text ended before it"
    return f"never judged: draft {refused} of its block was refused"


def _greedy(facts: TokenFacts, quoted: str) -> str:
    return {
        "accepted": "kept: it is the target's argmax",
        "rejected": f"refused: the target's argmax is {quoted}" if facts.best else "refused: not the target's argmax",
        "corrected": "the target's argmax in its place",
        "bonus": "the target's argmax after all that was drafted",
    }[facts.state]


_BLOCK_WORDS = {
    "accepted": "kept: the block was judged as a whole, and kept up to here or further",
    "rejected": "refused: the block was judged as a whole, and kept up to the token before",
}


def _sampled(facts: TokenFacts, quoted: str) -> str:
    del quoted
    if facts.state == "bonus":
        return "drawn from p after all that was drafted"
    if facts.state == "corrected":
        if facts.track.started.verification == "block":
            return "drawn from max(w p - q, 0), w by how far the target supports the tokens before it"
        share = facts.residual
        return "drawn from max(p - q, 0)" + ("" if share is None else f", which gave it {probability(share)}")
    token = facts.token
    if token.p is None or token.q is None or token.u is None:
        return {"accepted": "kept", "rejected": "refused"}[facts.state]
    if facts.track.started.verification == "block":
        return _BLOCK_WORDS[facts.state]
    if token.p >= token.q:
        return "kept: p is not below q, so always"
    # The ratio itself stands in the line of numbers.
    return "kept: u is below p/q" if facts.state == "accepted" else "refused: u is not below p/q"


def processing(facts: TokenFacts) -> str:
    """Which distributions the numbers are of."""
    started = facts.track.started
    if facts.greedy:
        return "p, q: at T 1; greedy takes argmaxes"
    parts = [f"T {started.temperature:g}"]
    parts += [f"top-k {started.top_k}"] if started.top_k else []
    parts += [f"top-p {started.top_p:g}"] if started.top_p < 1 else []
    return f"p, q: after {', '.join(parts)}, as they decided"


def probability(share: float) -> str:
    """Four decimals, or one figure and its power of ten."""
    return f"{share:.0e}" if 0 < share < 0.00005 else f"{share:.4f}"
