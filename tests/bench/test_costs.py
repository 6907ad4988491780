"""What passes cost, read from decoding itself (pitfall 24)."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from fastdraft_core.bench.costs import Costs, PacedDrafter, Probe, costs_of, measure_costs, predict
from fastdraft_core.bench.surface import expected_blocks, predicted
from fastdraft_core.decoding.drafters import ModelDrafter
from fastdraft_core.decoding.records import Pass, Request
from fastdraft_core.decoding.sampling import Sampling
from fastdraft_core.decoding.speculative import autoregressive, speculative
from fastdraft_core.engine.pair import Pair
from tests.bench.letters import letters_pair
from tests.decoding.table import pair_of_tables


@pytest.fixture
def pair() -> Pair:
    return letters_pair()


def block(drafted: int, draft: float, verify: float, overhead: float) -> Pass:
    return Pass([1] * drafted, drafted, drafted, 2, 0.0, draft, verify, overhead, 9)


def test_costs_are_means_in_autoregressive_steps() -> None:
    """A step is pass and sampling, 10 ms; v(n), c and overhead are its multiples, and one held-up block moves none of them."""
    baseline = [block(0, 0.0, 0.008, 0.001)] * 2 + [block(0, 0.0, 0.010, 0.001)] * 2
    blocks = [block(1, 0.003, 0.011, 0.0005)] * 3 + [block(2, 0.004, 0.014, 0.0005)] * 3 + [block(2, 1.0, 1.0, 1.0)]
    costs = costs_of(baseline, blocks, 2)
    assert costs.step_seconds == pytest.approx(0.01)
    assert costs.verify == pytest.approx([0.9, 1.1, 1.4])
    assert costs.draft == pytest.approx([0.3, 0.2]), "what a block takes once is spread over its steps"
    assert costs.overhead == pytest.approx(0.05)


def test_a_length_without_room_costs_what_the_next_shorter_one_does() -> None:
    """Texts of four tokens leave no room for blocks of eight, and none will be decoded."""
    costs = costs_of([block(0, 0.0, 1.0, 0.0)], [block(1, 0.1, 1.5, 0.0)], 3)
    assert costs.verify == [1.0, 1.5, 1.5, 1.5]
    assert costs.draft == pytest.approx([0.1, 0.1, 0.1])


def test_what_a_change_of_length_costs_is_not_counted(pair: Pair) -> None:
    """A runtime that prepares new shapes: at one gamma nobody pays for that, so only blocks after their like count."""
    probe = Probe(pair, 3)
    request = pair.request("abc", max_new_tokens=60, sampling=Sampling(), ignore_stops=True)
    probe.baseline = [block(0, 0.0, 0.01, 0.001)]
    probe.run(replace(request, max_new_tokens=14))
    assert len(set(probe.costs().verify)) == 4, "a short probe knows something of every length"
    runs: list[list[int]] = []
    decode = pair.target.forward
    pair.target.forward = lambda ids: (runs[-1].append(len(ids) - 1), decode(ids))[1]  # type: ignore[method-assign]
    probe.blocks.clear()
    while not probe.enough:
        runs.append([])
        probe.run(request)
    # The first pass of a run reads the prompt.
    settled = [width for run in runs for before, width in itertools.pairwise(run[1:]) if before == width]
    assert [len(p.drafted) for p in probe.blocks] == settled


def test_a_probe_sees_every_block_length(pair: Pair) -> None:
    """One run after another until each length has its share, whatever was accepted; the costs are positive."""
    probe = Probe(pair, 3)
    request = pair.request("abc", max_new_tokens=30, sampling=Sampling(), ignore_stops=True)
    while not probe.enough:
        probe.run(request)
    widths = [len(p.drafted) for p in probe.blocks]
    assert all(widths.count(width) >= 8 for width in (1, 2, 3))
    costs = measure_costs(pair, [request], max_gamma=3)
    assert len(costs.verify) == 4
    assert 0 < costs.verify[0] <= 1
    assert min(costs.step_seconds, *costs.draft, *costs.verify) > 0


def test_measuring_ends_where_texts_are_too_short(pair: Pair) -> None:
    """A length that never fits is not waited for."""
    request = pair.request("abc", max_new_tokens=4, sampling=Sampling(), ignore_stops=True)
    assert len(measure_costs(pair, [request], max_gamma=8).verify) == 9


def test_changing_lengths_changes_no_token() -> None:
    """Pitfall 5: a probe decodes the target's own greedy text."""
    target, draft = pair_of_tables()
    request = Request([1, 2], 60)
    expected = [t for record in autoregressive(target, request) for t in record.emitted]
    paced = PacedDrafter(ModelDrafter(draft), iter([4, 1, 0, 3, 2] * 20), target.vocab_size)
    found = list(speculative(target, paced, request, 3))
    assert [t for record in found for t in record.emitted] == expected
    assert max(len(r.drafted) for r in found if isinstance(r, Pass)) == 3, "never more than gamma"


def test_the_prediction_uses_measured_costs() -> None:
    """Pitfall 24: tau 2 at gamma 4, v(5) 1.4, c .25, overhead .1 of a step: 2 / (1.4 + 1 + .1)."""
    passes = [Pass([1, 2, 3, 4], 2, 1, 9, 1.0, 0.0, 0.0, 0.1, 9)]
    costs = Costs(step_seconds=1.0, verify=[1.0, 1.1, 1.2, 1.3, 1.4], draft=[0.25] * 4, overhead=0.0)
    assert predict(passes, costs) == pytest.approx(2 / 2.5)


def test_the_first_block_of_a_text_costs_what_it_takes_more(pair: Pair) -> None:
    """A block after one of another length finds nothing prepared; decoding at one gamma has one such block a text."""
    probe = Probe(pair, 2)
    probe.baseline = [block(0, 0.0, 0.01, 0.0)]
    probe.blocks = [block(1, 0.001, 0.011, 0.0), block(2, 0.002, 0.012, 0.0)]
    probe._others = [block(1, 0.001, 0.015, 0.0), block(2, 0.002, 0.018, 0.0), block(1, 0.001, 0.016, 0.0)]
    costs = probe.costs()
    assert costs.first == pytest.approx(0.5), "5 ms, the median of 4, 6 and 5"
    without = predicted([[0.5] * 20] * 3, replace(costs, first=0.0), draft="S", gamma=2, temperature=0.0, task="code")
    found = predicted([[0.5] * 20] * 3, costs, draft="S", gamma=2, temperature=0.0, task="code")
    blocks = expected_blocks([[0.5] * 20] * 3, 2).count
    assert found.tau / found.speedup - without.tau / without.speedup == pytest.approx(0.5 * 3 / blocks)
