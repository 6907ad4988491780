"""What a survey predicts is what decoding then does, rounding of the target included."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fastdraft_core.bench.survey import Group, Survey
from fastdraft_core.bench.tasks import file_task
from fastdraft_core.decoding.records import Pass
from fastdraft_core.decoding.sampling import Sampling
from fastdraft_core.decoding.totals import block_efficiency
from fastdraft_core.engine.pair import Pair
from fastdraft_core.events import PointPredicted
from tests.bench.letters import letters_pair

GAMMAS = [1, 2, 3, 4]


@pytest.fixture
def pair() -> Pair:
    """As in bfloat16: a pass over one token rounds a near-tie otherwise than a pass over several."""
    pair = letters_pair()
    forward: Callable[[list[int]], torch.Tensor] = pair.target.forward

    def rounded(ids: list[int]) -> torch.Tensor:
        logits = forward(ids).clone()
        if len(ids) == 1 and pair.target.length % 7 == 0:
            best, second = logits[-1].topk(2).indices.tolist()
            logits[-1, [best, second]] = logits[-1, [second, best]]
        return logits

    pair.target.forward = rounded  # type: ignore[method-assign]
    return pair


def test_greedy_acceptance_is_that_of_the_text_that_speculation_writes(pair: Pair, tmp_path: Path) -> None:
    """Read from the autoregressive text, blocks of a draft that never meets that text would be foretold."""
    path = tmp_path / "task.txt"
    path.write_text("ab")
    task = file_task(path, "", 4, 120).fitted([pair])
    request = pair.request(task.texts[0], max_new_tokens=120, sampling=Sampling(), ignore_stops=True)
    texts = [
        [token for record in pair.decode(mode, request, gamma) for token in record.emitted]
        for mode, gamma in (("ar", 0), ("sd", 2), ("sd", 4))
    ]
    assert texts[0] != texts[1] == texts[2]
    survey = Survey(Group(task, Sampling(), [request]), {"S": pair}, GAMMAS)
    survey.step(0, 0, lambda: None, float("inf"))
    foretold = {e.gamma: e.tau for e in survey.told() if isinstance(e, PointPredicted)}
    for gamma in GAMMAS:
        blocks = [record for record in pair.decode("sd", request, gamma) if isinstance(record, Pass)]
        assert foretold[gamma] == pytest.approx(block_efficiency(blocks))
