"""Candidates that learn: the recipe that is the same for all, and what a trained one is judged by."""

from __future__ import annotations

import msgspec

from fastdraft_core.bench.acceptance import probabilities
from fastdraft_core.decoding.sampling import Sampling
from fastdraft_core.design.candidate import model_shape
from fastdraft_core.design.study import judged
from fastdraft_core.design.training import study_recipe
from fastdraft_core.engine.load_options import LoadOptions
from fastdraft_core.engine.pair import load_pair
from fastdraft_core.results.designs import Design
from fastdraft_core.training.recipe import dump_recipe, parse_count, parse_recipe
from tests.design.studies import measured, plan


def test_every_candidate_is_trained_by_the_same_recipe_but_for_its_shape() -> None:
    """The same tokens, sources, rows and seed; and a recipe that `fastdraft train` takes."""
    begun = plan(train=50_000)
    recipes = [study_recipe("x", model_shape(shape, begun), begun) for shape in begun.shapes if shape.budgeted]
    rest = [msgspec.structs.replace(recipe, model=recipes[0].model) for recipe in recipes]
    assert len({recipe.model for recipe in recipes}) == len(recipes)
    assert all(recipe == rest[0] for recipe in rest)
    assert parse_recipe(dump_recipe(recipes[0]), "x") == recipes[0]
    assert recipes[0].cp is not None
    assert parse_count(recipes[0].cp.tokens) == 50_000


def test_a_trained_candidate_is_judged_on_the_targets_own_text(tiny_pair: tuple[str, str]) -> None:
    """A draft that agrees always has an acceptance of 1; one that seldom does, less, and a smaller speed-up."""
    options = LoadOptions(runtime="torch", device="cpu", dtype="float32", threads=1)
    target, draft = tiny_pair
    begun = plan(train=1000)
    found, shape = Design(begun), begun.shapes[0]
    found.add(measured(shape))
    told = []
    for name in (target, draft):
        pair = load_pair(target, name, options)
        request = pair.request("def add", max_new_tokens=24, sampling=Sampling(), chat=False, ignore_stops=True)
        text = [token for record in pair.decode("ar", request, 0) for token in record.emitted]
        likely = probabilities(pair.target, request.prompt, text, request.sampling)
        told.append(judged(shape, found, pair, [request], [text], [likely], 1.0))
    itself, noisy = told
    assert itself.acceptance == [1.0] * 4
    assert itself.tau[-1] > noisy.tau[-1]
    assert max(itself.speedup) > max(noisy.speedup)
