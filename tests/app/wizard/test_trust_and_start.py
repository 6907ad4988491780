"""A target's own code and a model to start from, within the wizard's and the settings' reach: off unless somebody says so."""

from __future__ import annotations

from fastdraft_app.settings.settings import Settings
from fastdraft_app.sweep.setup import new_sweep
from fastdraft_app.wizard.answers import Answers
from fastdraft_app.wizard.facts import Findings, facts
from fastdraft_app.wizard.questions import NOTHING, QUESTIONS, STEPS
from fastdraft_core.events import Load, Run
from fastdraft_core.training.recipe import Init, load_recipe

TRUST, METHOD, MODEL = (QUESTIONS[path] for path in ("trust_remote_code", "init.method", "init.model"))


def test_a_draft_starts_from_nothing_or_from_what_is_named() -> None:
    """The recipe has [init] where it is asked for and nowhere else; what is asked for without a model says so beside the field."""
    answers = Answers.fresh()
    assert answers.text(METHOD) == NOTHING
    assert answers.recipe().init is None
    answers.set(METHOD, "pruned")
    assert "name its folder or hub id" in answers.problem(MODEL)
    answers.set(MODEL, "owner/small")
    assert answers.problem(MODEL) == ""
    assert answers.recipe().init == Init(method="pruned", model="owner/small")
    for method in ("projected", NOTHING):
        answers.set(METHOD, method)
        assert "leave this empty" in answers.problem(MODEL)
    answers.set(MODEL, "")
    assert answers.recipe().init is None
    answers.set(METHOD, "projected")
    assert answers.recipe().init == Init(method="projected")


def test_a_recipe_that_starts_from_a_model_keeps_all_of_it() -> None:
    """Opened and saved again, it still names its layers, which have no field."""
    given = ["init.method=pruned", "init.model=owner/small", "init.layers=[0, 3]"]
    recipe = load_recipe("demo-tiny", given)
    answers = Answers.of(recipe)
    assert (answers.text(METHOD), answers.text(MODEL)) == ("pruned", "owner/small")
    assert answers.recipe().init == recipe.init
    answers.set(METHOD, NOTHING)
    answers.set(MODEL, "")
    assert answers.recipe().init is None


def test_trust_is_of_one_target() -> None:
    """Off; told what it means where it is on; and gone with the target that it was given to."""
    answers, page = Answers.fresh(), next(n for n, step in enumerate(STEPS) if step.title == "Target")
    assert answers.text(TRUST) == "no"
    answers.set(TRUST, "yes")
    assert answers.recipe().trust_remote_code
    assert any("WILL RUN on this machine" in line for line in facts(page, answers, Findings()))
    answers.set(QUESTIONS["target"], "owner/other")
    assert answers.text(TRUST) == "no"
    assert not any("WILL RUN" in line for line in facts(page, answers, Findings()))


def test_the_settings_trust_nobody_unasked() -> None:
    """What is set reaches the engine and a sweep; a recording that was made so switches nothing on."""
    assert not Settings().load().trust_remote_code
    assert "--trust-remote-code" not in new_sweep(Settings())
    trusting = Settings(trust_remote_code=True)
    assert trusting.load().trust_remote_code
    assert "--trust-remote-code" in new_sweep(trusting)
    made = Load(target="owner/odd", draft="", trust_remote_code=True)
    run = Run(prompt="x", gamma=4, temperature=0.0, seed=1, max_new_tokens=8)
    assert not Settings().as_recorded(made, run).trust_remote_code
