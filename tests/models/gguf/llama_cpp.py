"""llama.cpp itself, in a wheel: its ids, its probabilities and its text are what an imported model is held to."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import torch


class LlamaCpp:
    """One model in llama.cpp's server, on one thread of this machine's processor."""

    def __init__(self, file: Path, *, context: int = 512) -> None:
        xllamacpp = pytest.importorskip("xllamacpp")
        options = xllamacpp.CommonParams()
        options.model.path = str(file)
        options.n_ctx = context
        options.n_parallel = 1
        options.n_gpu_layers = 0
        options.cpuparams.n_threads = options.cpuparams_batch.n_threads = 1
        options.warmup = options.fit_params = options.cache_prompt = False
        options.verbosity = -1
        self._server = xllamacpp.Server(options)
        self._address = self._server.listening_address

    def ids(self, text: str, *, special: bool = True) -> list[int]:
        """The ids of ``text``, special tokens in it recognised, with what begins and ends every text if ``special``."""
        return list(self._ask("/tokenize", content=text, add_special=special, parse_special=True)["tokens"])

    def greedy(self, ids: list[int], length: int) -> list[int]:
        """The ids that follow, always the most probable one."""
        told = self._ask(
            "/completion", prompt=ids, n_predict=length, temperature=0, ignore_eos=True, return_tokens=True
        )
        return list(told["tokens"])

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
