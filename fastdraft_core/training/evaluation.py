"""Judge a draft by what counts: accepted/drafted in real decoding with its target, stage by stage."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fastdraft_core.bench.acceptance import chances
from fastdraft_core.bench.surface import expected_blocks
from fastdraft_core.data.corpus import Corpus, held_out_prompts, kept_shard
from fastdraft_core.data.generation import Batch, continue_batch
from fastdraft_core.data.mixtures import Mixture
from fastdraft_core.data.tokenizer import tokenizer_hash
from fastdraft_core.decoding.drafters import ModelDrafter
from fastdraft_core.decoding.records import Pass, Request
from fastdraft_core.decoding.sampling import Sampling, process
from fastdraft_core.decoding.speculative import speculative
from fastdraft_core.decoding.totals import acceptance_rate
from fastdraft_core.engine.pair import load_runtime, stop_ids
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import Event, StageAcceptance
from fastdraft_core.machine.devices import choose_device, choose_dtype, choose_threads
from fastdraft_core.models.draft_vocab import read_draft_vocab
from fastdraft_core.models.folders import load_tokenizer
from fastdraft_core.runtimes.base import Runtime
from fastdraft_core.training.recipe import Evaluation

_PROMPT_TOKENS = 48
_NEW_TOKENS = 64
#: Texts of the target that every evaluation reads.
_TEXTS = 16
#: Held-out positions whose whole distributions are kept, fewer where the vocabulary makes them large (256 MB).
_REFERENCE_TOKENS, _REFERENCE_ENTRIES = 4096, 1 << 27


@dataclass(frozen=True, slots=True)
class Reference:
    """What a target says on held-out rows: ``ids`` and ``mask``, both ``[rows, length + 1]``.

    ``log_probs`` [N, V] are its log-probabilities at each of the N masked-in next tokens: float16, on
    the CPU, at temperature 1.
    """

    ids: torch.Tensor
    mask: torch.Tensor
    log_probs: torch.Tensor
    texts: TargetTexts | None = None


@dataclass(frozen=True, slots=True)
class TargetTexts:
    """Texts that a target wrote, each to its own end: ``ids``, prompt and text, and p, what the target gave each token but the first."""

    ids: list[list[int]]
    prompt: int
    p: list[list[float]]
    vocab_size: int
    sampling: Sampling
    gamma: int


@torch.inference_mode()
def make_reference(target: Any, mixture: Mixture, vocab_size: int) -> Reference:
    """The distributions of ``target``, cut to ``vocab_size`` ids, on the first rows of ``mixture``."""
    tokens = min(_REFERENCE_TOKENS, _REFERENCE_ENTRIES // vocab_size)
    rows = min(mixture.num_rows, max(1, tokens // mixture.sequence_length))
    ids, mask = (torch.from_numpy(part) for part in mixture.rows(0, rows))
    found = [_log_probs(target, ids[n : n + 1], mask[n : n + 1], vocab_size).half().cpu() for n in range(rows)]
    return Reference(ids, mask, torch.cat(found))


@torch.inference_mode()
def expected_acceptance(draft: Any, reference: Reference, *, temperature: float = 1.0) -> float:
    """Mean of Σ min(p, q) over the positions of ``reference``: the chance that one drafted token is accepted.

    This is exact for the first token of a block (Leviathan et al., 2023, theorem 3.5); that a longer
    block is accepted is not independent of it.
    """
    total, vocab_size, done = 0.0, reference.log_probs.shape[1], 0
    for ids, mask in zip(reference.ids.split(1), reference.mask.split(1), strict=True):
        log_q = _log_probs(draft, ids, mask, vocab_size)
        log_p = reference.log_probs[done : done + len(log_q)].to(log_q.device).float()
        p, q = (log_p / temperature).softmax(-1), (log_q / temperature).softmax(-1)
        total += float(torch.minimum(p, q).sum())
        done += len(log_q)
    return total / max(1, done)


def make_texts(
    target: Any, mixture: Mixture, vocab_size: int, evaluation: Evaluation, stops: Collection[int] = ()
) -> TargetTexts:
    """What ``target`` writes after the beginnings of the first rows of ``mixture``, up to the first of ``stops``."""
    rows = mixture.rows(0, min(mixture.num_rows, _TEXTS))[0]
    prompt = min(_PROMPT_TOKENS, mixture.sequence_length // 2)
    new_tokens = min(_NEW_TOKENS, mixture.sequence_length - prompt)
    heat = np.full(len(rows), evaluation.temperature)
    found = continue_batch(target, Batch(rows[:, :prompt], heat, new_tokens, stops, mixture.seed, vocab_size)).rows
    whole = [row for row in found if row is not None]
    if not whole:
        raise FastdraftError("The target's logits are no numbers on held-out text, so no draft can be judged by it.")
    sampling = Sampling(evaluation.temperature)
    p = _given(target, whole, prompt, vocab_size, sampling)
    return TargetTexts(whole, prompt, p, vocab_size, sampling, evaluation.gamma)


def accepted_share(draft: Any, texts: TargetTexts) -> float:
    """Accepted/drafted that speculative decoding would have reached on ``texts``, in expectation over its draws."""
    q = _given(draft, texts.ids, texts.prompt, texts.vocab_size, texts.sampling)
    return expected_blocks(map(chances, texts.p, q), texts.gamma).acceptance


@torch.inference_mode()
def _given(model: Any, ids: list[list[int]], prompt: int, vocab_size: int, sampling: Sampling) -> list[list[float]]:
    """The probability of each token of the texts but the first; greedy, 1 for the best token and 0 for any other."""
    found = []
    for row in (torch.tensor(given, device=model.device) for given in ids):
        logits = model(input_ids=row[None, :-1], use_cache=True).logits[0, prompt:, :vocab_size].float()
        following = row[prompt + 1 :]
        if sampling.greedy:
            found.append((logits.argmax(-1) == following).double().tolist())
        else:
            found.append(process(logits, sampling).gather(1, following[:, None])[:, 0].double().tolist())
    return found


def _log_probs(model: Any, ids: torch.Tensor, mask: torch.Tensor, vocab_size: int) -> torch.Tensor:
    """float32 log-probabilities ``[N, vocab_size]`` at the masked-in next tokens of ``ids`` [rows, length + 1]."""
    # With a cache, as decoding reads: Gemma 3n shares keys and values between layers only there.
    logits = model(input_ids=ids[:, :-1].to(model.device), use_cache=True).logits
    return logits[mask[:, 1:].to(model.device)][:, :vocab_size].float().log_softmax(-1)


def stage_acceptance(
    target: Path,
    stages: dict[str, Path],
    corpus: Corpus,
    sources: Mapping[str, str],
    seed: int,
    evaluation: Evaluation,
    *,
    trust_remote_code: bool = False,
) -> Iterator[Event]:
    """One ``StageAcceptance`` for each checkpoint folder in ``stages``, on prompts of held-out documents.

    ``sources`` maps each one to the checksum of its held-out tokens, as training had them. A source whose documents are all
    too short to be prompts has no figure.
    """
    torch.set_num_threads(choose_threads())
    tokenizer = load_tokenizer(target, "target", trust_remote_code=trust_remote_code)
    prompts: dict[str, list[list[int]]] = {}
    for source, digest in sources.items():
        if found := (yield from _prompts(corpus, source, digest, tokenizer, evaluation.prompts)):
            prompts[source] = found
    if not prompts:
        return
    device = choose_device()
    dtype = choose_dtype(device)
    stops = stop_ids(target, tokenizer, trust_remote_code)
    runtime = load_runtime(target, "target", tokenizer, device=device, dtype=dtype, trust_remote_code=trust_remote_code)
    for stage, folder in stages.items():
        vocab = read_draft_vocab(folder)
        ids = None if vocab is None else sorted(vocab.ids)
        drafter = ModelDrafter(load_runtime(folder, stage, tokenizer, device=device, dtype=dtype, head_ids=ids))
        rates = {source: _acceptance(runtime, drafter, ids, stops, seed, evaluation) for source, ids in prompts.items()}
        yield StageAcceptance(stage=stage, gamma=evaluation.gamma, temperature=evaluation.temperature, acceptance=rates)


def _prompts(
    corpus: Corpus, source: str, digest: str, tokenizer: Any, count: int
) -> Generator[Event, None, list[list[int]]]:
    # The files themselves may be gone, or edited since.
    shard = kept_shard(source, digest, tokenizer_hash(tokenizer), held_out=True)
    if shard is None:
        shard = yield from corpus.shard(source, tokenizer, held_out=True)
    return held_out_prompts(shard, count, _PROMPT_TOKENS)


def _acceptance(
    target: Runtime,
    drafter: ModelDrafter,
    prompts: list[list[int]],
    stops: frozenset[int],
    seed: int,
    evaluation: Evaluation,
) -> float:
    """Pooled over all prompts; a text ends where the target ends it."""
    passes = []
    for number, prompt in enumerate(prompts):
        request = Request(prompt, _NEW_TOKENS, Sampling(evaluation.temperature), stops, seed + number)
        passes += [r for r in speculative(target, drafter, request, evaluation.gamma) if isinstance(r, Pass)]
    return acceptance_rate(passes)
