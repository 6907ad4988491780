"""Training: stages, steps and what they reached."""

from __future__ import annotations

import math

import msgspec

from fastdraft_core.events.base import Event


class Progress(Event, frozen=True):
    """A named step of longer work, such as building a shard or loading a model."""

    what: str
    done: float = 0.0
    total: float = 0.0


class Tokenized(Event, frozen=True):
    """A source is being tokenized: so far ``tokens`` for training, of ``total_tokens`` where so many are needed.

    ``documents`` are those in the shards, ``dropped`` counts those left out by reason: too short,
    duplicate, contaminated (they overlap with an evaluation prompt). ``tokens_per_second`` is of both sides.
    """

    source: str
    tokens: int
    held_out_tokens: int
    total_tokens: int | None
    documents: int
    dropped: dict[str, int]
    tokens_per_second: float


class Mixed(Event, frozen=True):
    """What a stage will read, by source: tokens, and how many times it passes over the source's shard.

    A source that is tokenized in part only, since the stage needs no more of it, has no ``epochs``.
    """

    stage: str
    tokens: dict[str, int]
    epochs: dict[str, float]


class StageStarted(Event, frozen=True):
    """A training stage begins, or goes on from ``step``.

    ``matrix_peak`` is the FLOP/s of matrix products measured on this device, times the processes.
    """

    stage: str
    step: int
    num_steps: int
    tokens_per_step: int
    parameters: int
    matrix_peak: float | None = None


class Step(Event, frozen=True):
    """Optimizer step ``step`` (counted from 1) is done; figures are of the steps since the last event.

    ``loss`` is the mean in nats over the step's tokens on all processes. ``utilisation`` is the share of the
    measured matrix peak that the model's FLOPs come to. ``memory`` is of one process, in bytes.
    """

    stage: str
    step: int
    num_steps: int
    tokens: int
    loss: float
    learning_rate: float
    gradient_norm: float
    tokens_per_second: float
    data_wait_share: float
    utilisation: float | None = None
    memory: int = 0
    seconds_left: float | None = None


class Evaluated(Event, frozen=True):
    """Held-out loss in nats a token, by source; for a draft also its expected acceptance.

    ``acceptance`` is the mean of Σ min(p, q) over held-out positions, p the target's probabilities and
    q the draft's, both at temperature 1: the chance that one drafted token is accepted. ``accepted`` is
    accepted/drafted at ``gamma`` and ``temperature``, expected along texts that the target wrote after held-out prompts.
    ``coverage`` is, of a draft with a draft vocabulary, the share of held-out tokens that are in it; ``loss`` is of these.
    """

    stage: str
    step: int
    loss: dict[str, float]
    acceptance: dict[str, float] = msgspec.field(default_factory=dict)
    accepted: dict[str, float] = msgspec.field(default_factory=dict)
    gamma: int = 0
    temperature: float = 0.0
    coverage: dict[str, float] = msgspec.field(default_factory=dict)

    @property
    def perplexity(self) -> dict[str, float]:
        """The exponential of the loss, by source; a loss beyond what a float holds is infinite."""
        return {source: math.exp(loss) if loss < 700 else math.inf for source, loss in self.loss.items()}


class Sampled(Event, frozen=True):
    """What the model writes greedily after a held-out ``prompt``, and its target after the same one, where it has one."""

    stage: str
    step: int
    source: str
    prompt: str
    text: str
    target_text: str = ""


class Checkpointed(Event, frozen=True):
    """A checkpoint is complete and readable at ``path``."""

    stage: str
    step: int
    path: str


class StageFinished(Event, frozen=True):
    """All steps of a stage are done."""

    stage: str
    tokens: int
    seconds: float


class Synthesized(Event, frozen=True):
    """The target has written ``tokens`` of ``total_tokens`` for FT, in ``sequences`` so far.

    Of further prompts ``errors`` failed and ``skipped`` were not put to it; the sum of all three were asked.
    """

    sequences: int
    tokens: int
    total_tokens: int
    tokens_per_second: float
    errors: int = 0
    skipped: int = 0


class Scored(Event, frozen=True):
    """The target's probabilities of ``tokens`` of ``total_tokens`` are stored, ``bytes_per_token`` each."""

    tokens: int
    total_tokens: int
    tokens_per_second: float
    bytes_per_token: int


class StageAcceptance(Event, frozen=True):
    """Accepted/drafted of a stage's checkpoint, by source of held-out prompts; real decoding with the target."""

    stage: str
    gamma: int
    temperature: float
    acceptance: dict[str, float]


class Previewed(Event, frozen=True):
    """The first tokens of a document of ``source``, each as text; ``num_tokens`` counts all of them.

    Of what the target wrote at ``temperature`` the first ``given`` tokens are the prompt, and ``num_tokens`` are its own.
    """

    source: str
    document: str
    num_tokens: int
    tokens: list[str]
    given: int = 0
    temperature: float | None = None

    @property
    def title(self) -> str:
        """Where it comes from, in a line."""
        if self.temperature is None:
            return f"{self.source}: {self.document}, {self.num_tokens:,} tokens"
        return f"{self.source} at T {self.temperature:g}: {self.num_tokens} tokens after a {self.document}"


class Glanced(Event, frozen=True):
    """What a short look into a source found: it can be read, and both sides of its split have documents.

    ``held_out`` is the source's own, or a smaller one where it has few documents; ``files`` is None for a data set of the
    hub, and ``first`` the beginning of the first document.
    """

    source: str
    files: int | None
    first: str
    held_out: int


class PlannedStage(msgspec.Struct, frozen=True):
    """What one stage will take, on the planned device alone.

    ``tokens_per_second`` is measured on ``measured_tokens`` tokens a micro-batch, and where that is less than the stage's
    own micro-batch scaled by FLOPs. ``memory`` and all disk bytes are modelled: see ``fastdraft_core/training/plan.py``.
    """

    stage: str
    tokens: int
    steps: int
    tokens_per_step: int
    flops: float
    logits_bytes: int
    checkpoint_bytes: int
    memory: int
    tokens_per_second: float
    measured_tokens: int
    seconds: float


class Planned(Event, frozen=True):
    """What a recipe will take, before anything is spent.

    ``parameters`` of the trained model. ``shard_bytes`` is by source. ``synthesis_tokens`` are what the target writes; its
    speed was measured with ``synthesis_sequences`` at once on ``synthesis_engine``, and is absent where its weights are not
    here. ``matrix_peak`` in FLOP/s is measured. ``server_seconds`` is the time on ``server``, scaled by hand from FLOPs and not measured; absent for a
    small recipe. ``catalogued`` says that the target's architecture, vocabulary and context are what the catalogue of known
    targets says, since its config.json is not here.
    """

    name: str
    architecture: str
    parameters: int
    device: str
    dtype: str
    matrix_peak: float
    shard_bytes: dict[str, int]
    synthesis_tokens: int
    synthesis_bytes: int
    stages: list[PlannedStage]
    free_disk: int
    free_memory: int | None
    synthesis_tokens_per_second: float | None = None
    synthesis_sequences: int = 0
    synthesis_engine: str = ""
    server: str = ""
    server_seconds: float | None = None
    catalogued: bool = False
