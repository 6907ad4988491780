"""A lookup that drafts for the draft: its block has the model's own law, and the text has the target's."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fastdraft_core.bench.acceptance import chances, fate, probabilities
from fastdraft_core.decoding.cascade import Cascade, CascadeDrafter
from fastdraft_core.decoding.drafters import ModelDrafter
from fastdraft_core.decoding.losslessness import accept_all, check_law
from fastdraft_core.decoding.ngrams import Ngrams
from fastdraft_core.decoding.records import BLOCK, Request
from fastdraft_core.decoding.sampling import Sampling, Verdict, process
from fastdraft_core.decoding.speculative import JUDGES, autoregressive, speculative
from fastdraft_core.models.catalog import ModelName
from fastdraft_core.models.draft_spec import CascadeDraft, ModelDraft, NgramDraft
from fastdraft_core.runtimes.base import Runtime
from tests.decoding.conftest import OfTable, Sized
from tests.decoding.laws import long_text, transition_distance
from tests.decoding.table import TableRuntime, pair_of_tables, random_table, transition_law

PROMPT = [1, 2]
SPEC = CascadeDraft(NgramDraft(1, 2), ModelDraft(ModelName("S")))

CASES = [
    (2, Sampling(1.0)),
    (4, Sampling(0.6)),
    (5, Sampling(1.0, top_k=3)),
    (8, Sampling(0.8, top_k=4, top_p=0.9)),
]


def cascade(target: Runtime, draft: Runtime) -> Cascade:
    return Cascade(SPEC, Ngrams(SPEC.lookup, target), draft)


@pytest.mark.parametrize(("gamma", "sampling"), CASES)
def test_every_token_has_the_targets_law(of_table: OfTable, sized: Sized, gamma: int, sampling: Sampling) -> None:
    """At any gamma, temperature, top-k and top-p, on every runtime; and blocks are as long as the model's own."""
    table = random_table(5, gamma)
    target, draft = of_table(table), of_table(table + random_table(5, gamma + 1, 1.2))
    drafter = cascade(target, draft).drafter()
    ids, passes = long_text(target, drafter, Request(PROMPT, sized(2000), sampling, seed=1), gamma)
    distance = transition_distance(ids, transition_law(table, sampling))
    assert distance.fits, distance
    assert {len(p.drafted) for p in passes[:-gamma]} == {gamma}
    assert 0.1 < sum(p.accepted for p in passes) / sum(len(p.drafted) for p in passes) < 0.97, "nothing was proved"


@pytest.mark.parametrize("sampling", [Sampling(0.9), Sampling(1.0, top_k=3)])
def test_a_block_has_the_models_own_law(sampling: Sampling) -> None:
    """q is what the model says after each token, and what the tokens were drawn from; the inspector sees its logits."""
    target, draft = pair_of_tables(seed=4)
    drafter, stream = cascade(target, draft).drafter(), torch.Generator().manual_seed(0)
    ids, drawn = [1, 2, 3, 1, 2], [0] * 5
    drafter.start(ids[:-1])
    for _ in range(1500):
        drafted, q = drafter.propose(ids, 3, sampling, stream)
        assert q is not None
        text = [*ids, *drafted]
        rows = torch.stack([draft.table[a, b] for a, b in zip(text[-5:-2], text[-4:-1], strict=True)])
        torch.testing.assert_close(q, process(rows, sampling))
        torch.testing.assert_close(torch.stack(drafter.logits), rows)
        drafter.keep(len(ids) - 1)
        if drafted[0] == 3:
            drawn[drafted[1]] += 1
    exact = process(draft.table[2, 3][None], sampling)[0]
    found = torch.tensor(drawn) / sum(drawn)
    assert float((found - exact).abs().sum() / 2) < 2.5 / sum(drawn) ** 0.5


class _KeepsWhatWasLookedUp(CascadeDrafter):
    """The planted bug: the model's verdict on looked up tokens is passed over, and its q stands beside them all the same."""

    def _judged(  # type: ignore[override]
        self,
        guessed: list[int],
        certain: torch.Tensor | None,
        logits: torch.Tensor,
        sampling: Sampling,
        stream: torch.Generator,
    ) -> tuple[Verdict, torch.Tensor | None]:
        verdict, law = super()._judged(guessed, certain, logits, sampling, stream)
        return replace(verdict, accepted=len(guessed)), law


def test_a_planted_bug_breaks_the_law() -> None:
    """The negative control."""
    target, draft = pair_of_tables(seed=2)
    sampling = Sampling(0.8)
    law = transition_law(target.table.numpy(), sampling)
    request = Request(PROMPT, 2500, sampling, seed=1)
    broken = _KeepsWhatWasLookedUp(cascade(target, draft))
    assert not transition_distance(long_text(target, broken, request, 5)[0], law).fits
    honest = cascade(target, draft).drafter()
    assert transition_distance(long_text(target, honest, request, 5)[0], law).fits
    assert transition_distance(long_text(target, honest, request, 5, JUDGES[BLOCK])[0], law).fits


@pytest.mark.parametrize("gamma", [1, 4])
def test_greedy_text_is_the_targets_and_blocks_are_the_models(of_table: OfTable, gamma: int) -> None:
    """The same tokens are drafted as by the model alone, in fewer of its passes."""
    table = random_table(4, 5)
    target, draft = of_table(table), of_table(table + random_table(4, 6))
    request = Request(PROMPT, 40)
    alone = [token for record in autoregressive(target, request) for token in record.emitted]
    passes = []
    for drafter in (ModelDrafter(draft), cascade(target, draft).drafter()):
        records = list(speculative(target, drafter, request, gamma))
        assert [token for record in records for token in record.emitted] == alone
        passes.append([(record.emitted, getattr(record, "drafted", [])) for record in records])
    assert passes[0] == passes[1]


def test_repetition_takes_fewer_passes_of_the_model() -> None:
    """A target that says 1 2 3 over and over, and a draft that agrees: a block of 8 takes two passes of the draft, not eight."""
    table = random_table(5, 1) * 0.01
    for before, token in ((1, 2), (2, 3), (3, 1)):
        table[:, before, token] += 20

    class Counting(TableRuntime):
        passes = 0

        def forward(self, ids: list[int]) -> torch.Tensor:
            self.passes += 1
            return super().forward(ids)

    target, draft = TableRuntime(table), Counting(table)
    records = list(speculative(target, cascade(target, draft).drafter(), Request([1, 2, 3, 1], 90), 8))
    assert len(records) == 1 + 10
    assert draft.passes < 25


def test_past_the_models_context_it_writes_alone() -> None:
    """Nothing is lost, and the block ends where the context does."""
    target, _ = pair_of_tables(seed=6)
    draft = TableRuntime(target.table.numpy() + random_table(5, 7), context_length=24)
    request = Request(PROMPT, 80)
    alone = [token for record in autoregressive(target, request) for token in record.emitted]
    records = speculative(target, cascade(target, draft).drafter(), request, 4)
    assert [token for record in records for token in record.emitted] == alone


def test_a_draft_vocabulary_and_the_law_check() -> None:
    """A short head inside a cascade; what ``fastdraft verify`` checks, with its negative control."""
    table = random_table(7, 3)
    target = TableRuntime(table)
    draft = TableRuntime(table + random_table(7, 4, 1.2), head_ids=(0, 2, 5))
    drafter = cascade(target, draft).drafter()
    request = Request([1, 2, 1, 2], 4, Sampling(0.8), seed=3)
    assert all(check.passed for check in check_law(target, drafter, request, 4, 1500))
    assert not all(check.passed for check in check_law(target, drafter, request, 4, 1500, accept_all))


def test_acceptance_read_from_a_text_is_the_models() -> None:
    """The law is the model's, so the fate of its tokens is as well."""
    target, draft = pair_of_tables(seed=8)
    text = [t for record in autoregressive(target, Request(PROMPT, 60, Sampling(0.9))) for t in record.emitted]
    likely = probabilities(target, PROMPT, text, Sampling(0.9))
    found = fate(cascade(target, draft), likely, PROMPT, text, Sampling(0.9), 4)
    assert found.chances == chances(likely, probabilities(draft, PROMPT, text, Sampling(0.9)))
    assert found.reach is None
