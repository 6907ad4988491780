"""What ``fastdraft bench`` concludes from timed runs: fair, pooled, with an interval (pitfalls 21, 24)."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastdraft_core.bench.costs import Costs
from fastdraft_core.bench.measure import Sample, costs_at, measure, points
from fastdraft_core.bench.tasks import Prompt, bundled_prompts, file_prompts
from fastdraft_core.decoding.records import Pass
from fastdraft_core.decoding.sampling import Sampling
from fastdraft_core.engine.pair import Pair
from fastdraft_core.errors import FastdraftError
from tests.bench.letters import letters_pair

COSTS = Costs(step_seconds=1.0, verify=[1.0, 1.1, 1.2, 1.3, 1.4], draft=[0.25] * 4, overhead=0.1)


@pytest.fixture
def pair() -> Pair:
    return letters_pair()


def sample(prompt: int, repeat: int, gamma: int, tokens: int, seconds: float) -> Sample:
    """A run of blocks of two tokens (one when autoregressive) that took ``seconds``."""
    size = 2 if gamma else 1
    count = tokens // size
    drafted = list(range(gamma))
    return Sample(
        prompt,
        repeat,
        gamma,
        [
            Pass(drafted, size, size - 1, 1, (i + 1) * seconds / count, 0.0, 0.0, 0.1 if gamma else 0.0, 9)
            for i in range(count)
        ],
    )


def uneven(speedups: tuple[float, ...]) -> list[Sample]:
    """Prompts of very different length, each 20 tokens a second autoregressively, and ``speedups`` times that."""
    runs = []
    for prompt, speedup in enumerate(speedups):
        tokens = 20 * 10**prompt
        runs += [sample(prompt, 0, 0, tokens, tokens / 20), sample(prompt, 0, 4, tokens, tokens / 20 / speedup)]
    return runs


def test_the_speedup_is_a_ratio_of_totals(pair: Pair) -> None:
    """Pitfall 21: 10x on 20 tokens and 1x on 200 is 220/11 over 220/10.1 s, not the mean 5.5."""
    ar, sd = points(pair, uneven((10.0, 1.0)), COSTS, Sampling())
    assert (ar.gamma, sd.gamma, ar.speedup) == (0, 4, 1)
    assert ar.tokens_per_second == pytest.approx(20)
    assert sd.tokens_per_second == pytest.approx(220 / 10.1)
    assert sd.speedup == pytest.approx(11 / 10.1)


def test_the_speedup_is_the_median_over_repeats(pair: Pair) -> None:
    """A repeat that another program disturbed does not carry the figure away."""
    runs = [
        run
        for repeat, seconds in enumerate((5.0, 5.2, 50.0))
        for run in (sample(0, repeat, 0, 20, 10.0), sample(0, repeat, 4, 20, seconds))
    ]
    assert points(pair, runs, COSTS, Sampling())[1].speedup == pytest.approx(10 / 5.2)


def test_the_prediction_uses_measured_costs(pair: Pair) -> None:
    """Pitfall 24: tau 2 at gamma 4, v(5) 1.4, c .25, overhead .1 of a step: 2 / (1.4 + 1 + .1)."""
    sd = points(pair, uneven((1.0,)), COSTS, Sampling())[1]
    assert (sd.tau, sd.acceptance) == (2.0, 0.25)
    assert sd.predicted == pytest.approx(2 / 2.5)


def test_the_interval_is_over_prompts(pair: Pair) -> None:
    """Pitfall 21: equal prompts give no width; unequal ones an interval about the ratio, within the extremes."""
    runs = [r for p in range(6) for r in (sample(p, 0, 0, 20, 10.0), sample(p, 0, 4, 20, 5.0))]
    assert _bounds(pair, runs) == pytest.approx((2.0, 2.0))
    runs = [r for p in range(6) for r in (sample(p, 0, 0, 20, 10.0), sample(p, 0, 4, 20, 2.5 * (1 + p)))]
    low, high = _bounds(pair, runs)
    total = 60 / (2.5 * 21)
    assert 10 / 15 < low < total < high < 10 / 2.5
    assert _bounds(pair, runs) == (low, high), "the same samples give the same interval"


def _bounds(pair: Pair, runs: list[Sample]) -> tuple[float, float]:
    point = points(pair, runs, COSTS, Sampling())[1]
    return point.low, point.high


def test_runs_are_interleaved_on_the_same_prompts_and_lengths(pair: Pair) -> None:
    """Pitfall 21: every prompt meets every gamma and the baseline in turn, all of the asked length where stops are ignored."""
    prompts = [Prompt("t", "1", "ab"), Prompt("t", "2", "ccc")]
    runs = list(measure(pair, prompts, [1, 3], Sampling(), length=12, repeats=3, seed=1, ignore_stop=True))
    assert len(runs) == 3 * 2 * 3
    assert [(r.repeat, r.prompt) for r in runs[::3]] == [(r, p) for r in range(3) for p in range(2)]
    for turn in range(6):
        assert sorted(r.gamma for r in runs[3 * turn : 3 * turn + 3]) == [0, 1, 3]
    # The first token is the prefill's and in no rate.
    assert {r.tokens for r in runs} == {11}
    assert all(r.seconds == r.passes[-1].at > 0 for r in runs)
    first = [runs[3 * turn].gamma for turn in range(6)]
    assert set(first) == {0, 3}, "no mode is always the first after the other prompt"


def test_a_text_is_measured_to_where_the_model_ends_it(pair: Pair) -> None:
    """What an instruct model writes after its answer's end is in no figure; both modes end at the same stop."""
    prompts = [Prompt("t", "1", "ab"), Prompt("t", "2", "ccc")]
    requests = [pair.request(p.text, max_new_tokens=20, sampling=Sampling(), ignore_stops=True) for p in prompts]
    texts = [[t for record in pair.decode("ar", request, 0) for t in record.emitted] for request in requests]
    pair.stops = frozenset({texts[0][5]})
    lengths = [next((i for i, token in enumerate(text) if token in pair.stops), 19) for text in texts]
    runs = list(measure(pair, prompts, [3], Sampling(), length=20, repeats=1, seed=1))
    assert [(r.prompt, r.tokens) for r in runs] == [(n, lengths[n]) for n in (0, 0, 1, 1)]
    assert lengths[0] <= 5


def test_texts_that_end_with_their_first_token_are_said_so(pair: Pair) -> None:
    """There is nothing to measure, which is one sentence and no division by zero."""
    pair.stops = frozenset(range(pair.target.vocab_size))
    runs = list(measure(pair, [Prompt("t", "1", "ab")], [3], Sampling(), length=20, repeats=1, seed=1))
    with pytest.raises(FastdraftError, match=r"first token.*--ignore-stop"):
        points(pair, runs, COSTS, Sampling())


@pytest.mark.parametrize(("target", "draft"), [(40, 100), (100, 40)])
def test_costs_fit_into_the_shorter_context(pair: Pair, target: int, draft: int) -> None:
    """A pair with a short draft or a short target is measured where both have room."""
    pair.target.context_length, pair.draft.context_length = target, draft  # type: ignore[union-attr]
    assert len(costs_at(pair, [Prompt("t", "1", "ab")], [1, 4], 128).verify) == 5


def test_prompts_of_a_file(tmp_path: Path) -> None:
    """A .jsonl gives a prompt a line, any other file one text; what is missing is named with its row."""
    lines = tmp_path / "set.jsonl"
    lines.write_text('{"q": "one"}\n{"q": "two"}\n')
    assert [p.text for p in file_prompts(lines, "q")] == ["one", "two"]
    with pytest.raises(FastdraftError, match="row 1: there is no JSON object with the field 'prompt'"):
        file_prompts(lines)
    (tmp_path / "story.txt").write_text("Once\nupon")
    assert [p.text for p in file_prompts(tmp_path / "story.txt")] == ["Once\nupon"]
    (tmp_path / "empty.jsonl").write_text("")
    for name in ("empty.jsonl", "absent.txt"):
        with pytest.raises(FastdraftError, match=name):
            file_prompts(tmp_path / name)


def test_bundled_prompts_are_of_both_kinds() -> None:
    """Code and text both have prompts, and no task is invented."""
    assert {p.task for p in bundled_prompts()} == {"code", "text"}
    assert {p.task for p in bundled_prompts("code")} == {"code"}
    with pytest.raises(FastdraftError, match="no task 'poems'; bundled: code, text"):
        bundled_prompts("poems")
