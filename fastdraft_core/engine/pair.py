"""Load a target and a draft, and prove that their vocabularies agree."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fastdraft_core.decoding.cascade import Cascade
from fastdraft_core.decoding.details import Observer, Witness
from fastdraft_core.decoding.drafters import Draft, Drafter, drafter_of
from fastdraft_core.decoding.ngrams import Ngrams
from fastdraft_core.decoding.records import TOKEN, Pass, Record, Request
from fastdraft_core.decoding.sampling import Sampling
from fastdraft_core.decoding.shared_tokens import SharedTokens
from fastdraft_core.decoding.speculative import autoregressive, speculative
from fastdraft_core.decoding.to_events import Description, events
from fastdraft_core.decoding.token_text import Pieces
from fastdraft_core.engine.load_options import LoadOptions
from fastdraft_core.engine.loading import Loader, Source, check_options, load_runtime
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Event, Progress
from fastdraft_core.machine.devices import choose_threads
from fastdraft_core.metrics import Cost
from fastdraft_core.models.catalog import ModelName
from fastdraft_core.models.conversation import Conversation, conversation_ids, end_of_turn
from fastdraft_core.models.draft_spec import (
    CascadeDraft,
    DraftSpec,
    NgramDraft,
    OtherDraft,
    SelfDraft,
    model_of,
    parse_draft,
    refuse_as_target,
)
from fastdraft_core.models.draft_vocab import head_ids
from fastdraft_core.models.first_layers import first_layers
from fastdraft_core.models.folders import load_generation_config, load_tokenizer, local_folder
from fastdraft_core.models.prompt_ids import text_ids
from fastdraft_core.models.shared_tokens import shared_tokens, translator
from fastdraft_core.models.tokens import known_ids, refuse_ids
from fastdraft_core.runtimes.base import Runtime
from fastdraft_core.runtimes.prompt import PREFILL_CHUNK

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Pair", "check_vocabularies", "load_pair", "load_runtime"]

#: What is said while a long prompt is read.
READING = "reading the prompt"
_SHOWN_DIFFERENCES = 3
_WARM_UP_TOKENS = 16
#: After a pause of seconds the bundled pair decodes at 680 tokens/s on OpenVINO, and a fifth of a second later at 880.
_WARM_UP_SECONDS, _MOST_WARM_UPS = 0.3, 20


@dataclass(slots=True)
class Pair:
    """A target, what drafts for it where something does, and their common tokenizer."""

    target: Runtime
    draft: Draft | None
    tokenizer: PreTrainedTokenizerBase
    stops: frozenset[int]
    threads: int
    seconds: float
    runtime: str = "torch"
    runtime_reason: str = ""

    def drafter(self) -> Drafter:
        """A new drafter of the draft.

        Raises:
            FastdraftError: there is no draft.
        """
        if self.draft is None:
            raise FastdraftError("Speculative decoding needs a draft: add --draft, for example --draft demo:S.")
        return drafter_of(self.draft)

    def cost(self) -> Cost:
        """What the passes of this pair read."""
        draft = self.draft
        return Cost(
            self.target.card,
            draft.card if draft else None,
            self.target.kv_bytes_per_token,
            draft.kv_bytes_per_token if draft else 0,
        )

    @property
    def chats(self) -> bool:
        """Whether the target has a chat template, and so is asked rather than continued."""
        return bool(getattr(self.tokenizer, "chat_template", None))

    def given(self, prompt: str, *, chat: bool | None = None) -> str | Conversation:
        """``prompt`` as the question of a conversation if ``chat``, or if it is None and there is a template; else as it is."""
        return Conversation(prompt) if chat or (chat is None and self.chats) else prompt

    def request(
        self,
        prompt: str | Conversation,
        *,
        max_new_tokens: int,
        sampling: Sampling,
        seed: int = 0,
        chat: bool | None = None,
        ignore_stops: bool = False,
        verification: str = TOKEN,
    ) -> Request:
        """A request for a text or a conversation; see ``encode`` for ``chat``."""
        stops = frozenset[int]() if ignore_stops else self.stops
        return Request(self.encode(prompt, chat=chat), max_new_tokens, sampling, stops, seed, verification)

    def decode(self, mode: str, request: Request, gamma: int, observe: Observer | None = None) -> Iterator[Record]:
        """Decode autoregressively (``ar``) or speculatively (``sd``), where ``observe`` sees every block."""
        if mode == "ar":
            return autoregressive(self.target, request)
        return speculative(self.target, self.drafter(), request, gamma, observe=observe)

    def read_prompt(self, mode: str, request: Request) -> Iterator[Progress]:
        """Read the prompt of ``request``, pass by pass, with all models of ``mode``; decoding then finds it in their caches.

        Says how far it is after every pass, and nothing of a prompt that one pass reads. Whoever stops asking calls it off; what was
        read by then is not read again.
        """
        ids, models = request.prompt, [self.target.reading]
        if mode == "sd":
            models.append(self.drafter().reading)
        for number, reading in enumerate(models):
            for tokens in reading(ids):
                if len(ids) > PREFILL_CHUNK:
                    done = number * len(ids) + tokens
                    yield Progress(what=READING, done=float(done), total=float(len(models) * len(ids)))

    def warm_up(self, mode: str, request: Request, gamma: int, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Run a few tokens that no measurement sees, and again where they took a moment only: first passes are slower."""
        short, seconds = replace(request, max_new_tokens=_WARM_UP_TOKENS, stops=frozenset()), 0.0
        for _ in range(_MOST_WARM_UPS):
            taken = 0.0
            for record in self.decode(mode, short, gamma):
                if cancelled():
                    return
                taken = record.at if isinstance(record, Pass) else 0.0
            seconds += taken
            if seconds >= _WARM_UP_SECONDS:
                return

    def events(
        self,
        mode: str,
        prompt: str | Conversation,
        request: Request,
        gamma: int,
        cancelled: Callable[[], bool] = lambda: False,
        *,
        inspect: bool = False,
    ) -> Iterator[Event]:
        """Decode and describe: ``RunStarted`` … ``RunFinished``. ``cancelled`` is asked at every block.

        With ``inspect`` the tokens of a speculative run have details.
        """
        description = Description(mode, prompt, request, gamma, self.tokenizer, self.cost())
        if not inspect or mode == "ar":
            return events(self.decode(mode, request, gamma), description, cancelled)
        witness = Witness(request.sampling, Pieces(self.tokenizer))
        return map(witness.describe, events(self.decode(mode, request, gamma, witness), description, cancelled))

    def encode(self, prompt: str | Conversation, *, chat: bool | None = None) -> list[int]:
        """Ids of a prompt that leaves room in the target's context; see ``ids``.

        Raises:
            FastdraftError: as ``ids``, the prompt fills the context, or the model lacks one of its tokens.
        """
        ids = self.ids(prompt, chat=chat)
        refuse_ids(ids, self.tokenizer, self.target.card.vocab_size, self.target.card.name)
        if len(ids) >= self.target.context_length:
            talk = isinstance(prompt, Conversation) and prompt.earlier
            raise FastdraftError(
                f"The {'conversation' if talk else 'prompt'} has {len(ids)} tokens and {self.target.card.name} a context of "
                f"{self.target.context_length}. {'Begin a new one' if talk else 'Shorten the prompt'}."
            )
        return ids

    def ids(self, prompt: str | Conversation, *, chat: bool | None = None) -> list[int]:
        """Ids of a prompt of any length; a text stands inside the chat template if ``chat``, or if it is None and there is one.

        Raises:
            FastdraftError: nothing is left to continue, or the chat template cannot be applied.
        """
        if isinstance(prompt, str):
            prompt = self.given(prompt, chat=chat)
        if isinstance(prompt, Conversation):
            if not self.chats:
                raise FastdraftError(
                    f"{self.target.card.name} has no chat template, so its text can only be continued."
                )
            return conversation_ids(self.tokenizer, prompt, self.target.card.name)
        ids = text_ids(self.tokenizer, prompt)
        if not ids:
            raise FastdraftError("The prompt is empty; give some text to continue.")
        return ids


def load_pair(
    target: str, draft: str | None, options: LoadOptions, report: Callable[[str], None] = lambda step: None
) -> Pair:
    """Load both models on one runtime; ``report`` hears of each step.

    Raises:
        FastdraftError: a model cannot be loaded, the two vocabularies differ, or the target is given a draft vocabulary.
    """
    started = time.perf_counter()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    check_options(options)
    trust = options.trust_remote_code
    refuse_as_target(target)
    spec = parse_draft(draft) if draft else None
    report(f"finding {target}")
    source = Source(target, local_folder(target, report=report))
    tokenizer = load_tokenizer(source.folder, target, trust_remote_code=trust)
    model = _model_of(spec, source, tokenizer, trust, report) if spec else None
    loaded = Loader(source, model, tokenizer, options, report).load()
    found = _assembled(spec, source, tokenizer, loaded.target, (model, loaded.draft)) if spec else None
    stops = stop_ids(source.folder, tokenizer, trust) | end_of_turn(tokenizer)
    threads, seconds = choose_threads(options.threads), time.perf_counter() - started
    return Pair(loaded.target, found, tokenizer, stops, threads, seconds, loaded.runtime, loaded.reason)


def with_draft(
    pair: Pair, target: str, draft: str, options: LoadOptions, report: Callable[[str], None] = lambda step: None
) -> Pair:
    """``pair`` with another draft of its ``target`` by name; ``options`` are those of the draft's own model.

    Raises:
        FastdraftError: as ``load_pair``.
    """
    spec = parse_draft(draft)
    of_target = Source(target, local_folder(target, report=report))
    source = _model_of(spec, of_target, pair.tokenizer, options.trust_remote_code, report)
    model = Loader(source, None, pair.tokenizer, options, report).load().target if source else None
    return replace(pair, draft=_assembled(spec, of_target, pair.tokenizer, pair.target, (source, model)))


def _model_of(
    spec: DraftSpec, target: Source, tokenizer: PreTrainedTokenizerBase, trust: bool, report: Callable[[str], None]
) -> Source | None:
    """The model that a way to draft needs, with the tokenizer of the target; None where it needs none."""
    model = model_of(spec)
    if model is None:
        return None
    name = str(model)
    if isinstance(model, OtherDraft):
        folder = local_folder(str(model.name), report=report)
        own = load_tokenizer(folder, name, trust_remote_code=trust)
        return Source(name, folder, list(shared_tokens(tokenizer, own, (target.name, name))), tokenizer=own)
    if isinstance(model, SelfDraft):
        folder = first_layers(target.folder, model.layers, target.name) if model.layers else target.folder
        scored, weights = ModelName(name, model.draft_vocab), model.weights
    else:
        report(f"comparing the tokenizers of {target.name} and {name}")
        folder, scored, weights = local_folder(name, report=report), model.name, ""
        theirs = load_tokenizer(folder, name, trust_remote_code=trust)
        check_vocabularies(tokenizer.get_vocab(), theirs.get_vocab(), target.name, name)
    ids = head_ids(folder, scored, known_ids(tokenizer), stop_ids(folder, tokenizer, trust))
    return Source(name, folder, ids, weights)


def _assembled(
    spec: DraftSpec,
    target: Source,
    tokenizer: PreTrainedTokenizerBase,
    runtime: Runtime,
    needed: tuple[Source | None, Runtime | None],
) -> Draft:
    """The way to draft for a target on its runtime, from the model that it ``needed``, as found and as loaded."""
    if isinstance(spec, NgramDraft):
        return Ngrams(spec, runtime)
    source, model = needed
    assert source is not None
    assert model is not None, "every other way has a model"
    if source.tokenizer is not None:
        shared = shared_tokens(tokenizer, source.tokenizer, (target.name, source.name))
        translate = translator(tokenizer, source.tokenizer)
        return SharedTokens(str(spec), model, list(shared.values()), runtime.vocab_size, translate)
    if model.vocab_size != runtime.vocab_size:
        raise FastdraftError(
            f"{target.name} scores {runtime.vocab_size} ids and {spec} {model.vocab_size}; a draft must score every id of its target."
        )
    return Cascade(spec, Ngrams(spec.lookup, runtime), model) if isinstance(spec, CascadeDraft) else model


def check_vocabularies(target: dict[str, int], draft: dict[str, int], target_name: str, draft_name: str) -> None:
    """Compare two vocabularies (token → id), id by id (pitfall 15).

    Raises:
        FastdraftError: they differ; the message shows the first three differences.
    """
    if target == draft:
        return
    ours, theirs = ({i: t for t, i in v.items()} for v in (target, draft))
    differing = [i for i in sorted(ours.keys() | theirs.keys()) if ours.get(i) != theirs.get(i)]
    shown = "; ".join(f"id {i}: {ours.get(i)!r} against {theirs.get(i)!r}" for i in differing[:_SHOWN_DIFFERENCES])
    raise FastdraftError(
        f"{draft_name} is no draft for {target_name}: their vocabularies differ in {len(differing)} ids ({shown}). "
        f"Use a draft that was made for this target, or let it draft the tokens that both have: other:{draft_name}"
    )


def stop_ids(folder: Path, tokenizer: PreTrainedTokenizerBase, trust_remote_code: bool = False) -> frozenset[int]:
    """The ids that end a text: the tokenizer's, and what the model's files say.

    Raises:
        FastdraftError: the files name something else than ids.
    """
    generation = load_generation_config(folder, str(folder), trust_remote_code=trust_remote_code)
    told = getattr(generation, "eos_token_id", None)
    ids = [*(told if isinstance(told, list) else [told]), tokenizer.eos_token_id]
    if not all(i is None or (isinstance(i, int) and not isinstance(i, bool)) for i in ids):
        raise FastdraftError(
            f"The configuration in {folder} has eos_token_id = {told!r}, which is neither an id nor a list of ids. Mend it in "
            "generation_config.json or config.json."
        )
    return frozenset(i for i in ids if i is not None)
