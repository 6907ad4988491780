"""llama.cpp itself, in a wheel: its ids, its probabilities and its text are what an imported model is held to."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import torch


class LlamaCpp:
    """One model in llama.cpp's server, on ``threads`` of this machine's processor; ``draft`` drafts ``gamma`` tokens for it."""

    def __init__(
        self, file: Path, *, context: int = 512, draft: Path | None = None, gamma: int = 4, threads: int = 1
    ) -> None:
        xllamacpp = pytest.importorskip("xllamacpp")
        options = xllamacpp.CommonParams()
        options.model.path = str(file)
        options.n_ctx = context
        options.n_parallel = 1
        options.n_gpu_layers = 0
        options.cpuparams.n_threads = options.cpuparams_batch.n_threads = threads
        options.warmup = options.fit_params = options.cache_prompt = False
        options.verbosity = -1
        if draft is not None:
            speculative = options.speculative
            speculative.types = [xllamacpp.common_speculative_type.COMMON_SPECULATIVE_TYPE_DRAFT_SIMPLE]
            speculative.draft.mparams.path = str(draft)
            speculative.draft.n_max, speculative.draft.n_gpu_layers = gamma, 0
            speculative.draft.cpuparams.n_threads = speculative.draft.cpuparams_batch.n_threads = threads
        self._server = xllamacpp.Server(options)
        self._address = self._server.listening_address

    def ids(self, text: str, *, special: bool = True) -> list[int]:
        """The ids of ``text``, special tokens in it recognised, with what begins and ends every text if ``special``."""
        return list(self._ask("/tokenize", content=text, add_special=special, parse_special=True)["tokens"])

    def greedy(self, ids: list[int], length: int) -> list[int]:
        """The ids that follow, always the most probable one."""
        return list(self._greedy(ids, length)["tokens"])

    def drafted(self, ids: list[int], length: int) -> tuple[list[int], int, int]:
        """The ids that follow, and how many tokens were drafted and accepted on the way."""
        told = self._greedy(ids, length)
        return list(told["tokens"]), told["timings"].get("draft_n", 0), told["timings"].get("draft_n_accepted", 0)

    def timed(self, ids: list[int], length: int) -> tuple[list[int], float]:
        """The ids that follow, and the seconds of all but the first, as the server itself took them."""
        told = self._greedy(ids, length)
        return list(told["tokens"]), told["timings"]["predicted_ms"] / 1000

    def _greedy(self, ids: list[int], length: int) -> dict[str, Any]:
        return self._ask(
            "/completion", prompt=ids, n_predict=length, temperature=0, ignore_eos=True, return_tokens=True
        )

    def log_probabilities(self, ids: list[int], width: int) -> torch.Tensor:
        """Log probabilities (``width``) of what follows ``ids``."""
        # The probabilities are told before any bias; a token that is no whole character would get none.
        letter = [self.ids("a", special=False)[-1], 1000.0]
        told = self._ask("/completion", prompt=ids, n_predict=1, temperature=0, n_probs=width, logit_bias=[letter])
        found = torch.full((width,), -torch.inf)
        for one in told["completion_probabilities"][0]["top_logprobs"]:
            found[one["id"]] = one["logprob"] if one["logprob"] is not None else -torch.inf
        return found

    def _ask(self, where: str, **body: Any) -> dict[str, Any]:
        request = urllib.request.Request(
            self._address + where, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        # Never through a proxy that this machine may be told to use.
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
            found: dict[str, Any] = json.load(answer)
        return found
