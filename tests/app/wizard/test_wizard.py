"""The wizard: enter all the way gives a job that works; nonsense is told at once; nothing typed is lost."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Select, Static

from fastdraft_app.app import FastdraftApp
from fastdraft_app.client import command
from fastdraft_app.client.train import model_path, recipe_path, save_recipe, train_arguments
from fastdraft_app.dialogs.confirm import ConfirmScreen
from fastdraft_app.dialogs.picker import PickerScreen
from fastdraft_app.jobs.job_list import JobList
from fastdraft_app.jobs.screen import JobsScreen
from fastdraft_app.wizard.answers import Answers, parameters
from fastdraft_app.wizard.facts import Findings, facts, known_problem
from fastdraft_app.wizard.questions import PRESETS, QUESTIONS, STEPS
from fastdraft_app.wizard.screen import REVIEW, WizardScreen
from fastdraft_core import places
from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.local_models import shelf
from fastdraft_core.training.recipe import dump_recipe, load_recipe
from tests.app.conftest import MakeApp
from tests.app.helpers import RECORDING, wait_for
from tests.app.job_folders import job

#: Stands in for ``fastdraft``: notes how it was called, and says what the real one would.
TWIN = """
import os, sys
open(os.environ["CALLS"], "a").write(" ".join(sys.argv[1:]) + chr(10))
print({
    "doctor": '''[{"type": "check", "name": "cpu", "value": "-"}
,{"type": "check", "name": "memory", "value": "20.0 GiB available of 32.0 GiB"}
,{"type": "check", "name": "bf16", "value": "native"}
,{"type": "check", "name": "device cuda:0", "value": "Some GPU, 24.0 GiB, bfloat16"}
,{"type": "check", "name": "device cuda:1", "value": "Some GPU, 24.0 GiB, bfloat16"}
]''',
    "preview": '{"type":"previewed","source":"text","document":"some.rst","num_tokens":9,"tokens":["The"," cat","\\\\n"]}',
}.get(sys.argv[1], "all 1 min"))
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the calls of the command line are noted; nothing is trained."""
    import sys

    path = tmp_path / "calls"
    path.touch()
    monkeypatch.setenv("CALLS", str(path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "no-hub"))
    monkeypatch.setattr(command, "COMMAND", (sys.executable, "-c", TWIN))
    return path


@pytest.fixture
def app(make_app: MakeApp, calls: Path) -> FastdraftApp:
    """An app whose live screen shows a recording."""
    del calls
    return make_app("--replay", str(RECORDING))


async def open_wizard(pilot: Pilot[None]) -> WizardScreen:
    """Press 3 and wait for the first page."""
    await pilot.press("3")
    await wait_for(pilot, lambda: isinstance(pilot.app.screen, WizardScreen) and pilot.app.screen.query(".row"))
    screen = pilot.app.screen
    assert isinstance(screen, WizardScreen)
    return screen


async def go_to(pilot: Pilot[None], step: int) -> WizardScreen:
    """Enter until the page ``step``."""
    screen = await open_wizard(pilot)
    while screen.step < step:
        before = screen.step
        await pilot.press("enter")
        await wait_for(pilot, lambda before=before: screen.step > before and screen.query_one("#next").has_focus)  # type: ignore[misc]
    await pilot.pause()
    return screen


def editor(screen: WizardScreen, path: str) -> Input:
    """The input of a field."""
    return screen.query_one(f"#field-{path.replace('.', '-')}", Input)


def about(screen: WizardScreen, path: str) -> str:
    """What stands beside a field."""
    return str(screen.query_one(f"#about-field-{path.replace('.', '-')}", Static).render())


def seen(screen: WizardScreen) -> str:
    """What F6 found."""
    return str(screen.query_one("#seen", Static).render())


async def test_enter_all_the_way_launches_the_default(app: FastdraftApp, calls: Path) -> None:
    """Nine keys: one opens the wizard, eight enters go through it; what is shown is what is run."""
    async with app.run_test(size=(160, 48)) as pilot:
        screen = await go_to(pilot, REVIEW)
        shown = str(screen.query_one("#toml", Static).render())
        assert f"fastdraft {' '.join(train_arguments(screen.answers.recipe(), ''))}" in shown
        assert "[synthesis]" in shown
        await pilot.press("enter")
        await wait_for(pilot, lambda: isinstance(app.screen, JobsScreen))
    launched = [line for line in calls.read_text().splitlines() if "--detach" in line]
    saved = places.exports() / "recipes" / "my-draft.toml"
    assert launched == [f"train {saved} --output {model_path('my-draft')} --detach"]
    recipe = load_recipe(str(saved))
    assert {**dump_recipe(recipe), "name": ""} == {**dump_recipe(load_recipe("demo-tiny")), "name": ""}
    assert list(recipe.stages) == ["pt", "cp", "ft"]


async def test_quick_keys_are_not_lost(app: FastdraftApp) -> None:
    """Whoever knows the way types ahead; each enter is a page."""
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await open_wizard(pilot)
        await pilot.press(*["enter"] * REVIEW)
        await wait_for(pilot, lambda: screen.step == REVIEW)
        await pilot.press("escape", "escape")
        await wait_for(pilot, lambda: screen.step == REVIEW - 2)


async def test_the_launched_job_is_highlighted(app: FastdraftApp) -> None:
    """After the launch the list points at the new job, also among older ones."""
    job("older", "paused", 10)
    async with app.run_test(size=(120, 36)) as pilot:
        await go_to(pilot, REVIEW)
        await pilot.press("enter")
        await wait_for(pilot, lambda: isinstance(app.screen, JobsScreen))
        # What a real launch makes; the stand-in starts nothing.
        job("my-draft", "paused", 5, changed=0.5)
        listed = app.screen.query_one("#jobs", JobList)
        await wait_for(pilot, lambda: listed.chosen is not None and listed.chosen.name == "my-draft")


async def test_nonsense_is_told_at_once_and_kept(app: FastdraftApp) -> None:
    """The sentence stands beside the field while one types; enter does not go on; back and forth loses nothing."""
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await go_to(pilot, 2)
        heads = editor(screen, "model.num_heads")
        heads.value = "3"
        await wait_for(pilot, lambda: "must be a multiple" in about(screen, "model.num_heads"))
        assert str(screen.query_one("#field-preset", Select).value) == "own"
        await pilot.press("enter")
        assert screen.step == 2
        await pilot.press("escape")
        await wait_for(pilot, lambda: screen.step == 1)
        await pilot.press("enter")
        await wait_for(pilot, lambda: screen.step == 2 and screen.query("#field-model-num_heads"))
        assert editor(screen, "model.num_heads").value == "3"
        screen.query_one("#field-preset", Select).value = "small"
        await wait_for(pilot, lambda: editor(screen, "model.num_heads").value == "4")
        assert "parameters" in str(screen.query_one("#facts", Static).render())


async def test_the_answers_outlive_the_app(make_app: MakeApp, app: FastdraftApp) -> None:
    """Whoever leaves in the middle finds the answers again; F9 begins anew."""
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await go_to(pilot, 3)
        editor(screen, "pt.tokens").value = "2M"
        await wait_for(pilot, lambda: screen.answers.typed.get("pt.tokens") == "2M")
        await pilot.press("1")
        await pilot.pause()
    again = make_app("--replay", str(RECORDING))
    async with again.run_test(size=(80, 24)) as pilot:
        screen = await go_to(pilot, 3)
        assert editor(screen, "pt.tokens").value == "2M"
        await pilot.press("f9")
        await wait_for(pilot, lambda: isinstance(again.screen, ConfirmScreen))
        await pilot.press("y")
        await wait_for(pilot, lambda: screen.step == 0)
        assert screen.answers.text(QUESTIONS["pt.tokens"]) == "120K"


async def test_a_recipe_and_a_job_open_in_it(app: FastdraftApp) -> None:
    """F3 takes a bundled recipe or that of a job, under a new name."""
    job("demo-XS", "finished", 240)
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await open_wizard(pilot)
        await pilot.press("f3")
        await wait_for(pilot, lambda: isinstance(app.screen, PickerScreen) and app.screen._rows)
        await pilot.press(*"mini-50m", "enter")
        await wait_for(pilot, lambda: screen.answers.text(QUESTIONS["model.num_layers"]) == "6")
        assert screen.answers.text(QUESTIONS["preset"]) == "50M"
        await pilot.press("f3")
        await wait_for(pilot, lambda: isinstance(app.screen, PickerScreen) and app.screen._rows)
        await pilot.press(*"demo-XS", "down", "enter")
        await wait_for(pilot, lambda: screen.answers.text(QUESTIONS["name"]) == "demo-XS-2")


BAD = {
    "target": ["", "no/such/folder", "/", "x" * 300, "a\0b"],
    "model.hidden_size": ["", "x", "-8", "7", "130", "1e3", "100000", "9" * 300],
    "model.num_layers": ["0", "1.5", "2000"],
    "model.num_heads": ["3", "0"],
    "model.num_kv_heads": ["4", "none"],
    "model.intermediate_size": ["", "0"],
    "model.context_length": ["2"],
    "model.tie_embeddings": ["maybe"],
    "pt.tokens": ["", "lots", "-4", "0", "5 X"],
    "pt.sources": ["", "text", "text=", "text=x", "text=0", "text=-1"],
    "pt.learning_rate": ["0", "-1", "fast"],
    "pt.sequence_length": ["1", "1024"],
    "pt.batch_tokens": ["0", "100", "many"],
    "synthesis.temperatures": ["", "warm", "0.5,", "-1"],
    "synthesis.instructions": ["code=1"],
    "synthesis.new_tokens": ["0"],
    "cp.tokens": ["", "0"],
    "cp.sources": ["text=nan", "code=1, code=2", "code=1, stack=2"],
    "cp.learning_rate": ["inf"],
    "ft.tokens": ["some"],
    "ft.learning_rate": ["-0.1"],
    "synthesis.tokens": ["", "0"],
    "synthesis.magpie": ["-1", "nan", ""],
    "evaluation.gamma": ["0", "x"],
    "evaluation.temperature": ["-1"],
    "evaluation.prompts": ["0", "x"],
    "name": ["", "a b", "../up", "-x", "taken", "x" * 300],
    "checkpoint_minutes": ["0", "soon"],
    "seed": ["one", "", "-1"],
}


@pytest.mark.parametrize(("path", "text"), [(path, text) for path, texts in BAD.items() for text in texts])
def test_bad_input(path: str, text: str) -> None:
    """Each field refuses what makes no sense, in a sentence, and the recipe cannot be launched."""
    (places.jobs() / "taken").mkdir(parents=True)
    answers = Answers.fresh()
    answers.set(QUESTIONS[path], text)
    told = answers.problem(QUESTIONS[path])
    assert told.endswith(".")
    assert "Traceback" not in told
    with pytest.raises(FastdraftError):
        answers.recipe()


async def test_what_does_not_fit_another_page_is_told_at_the_field(app: FastdraftApp) -> None:
    """Rows longer than the draft's context are wrong on the page of the rows, and enter does not go past it."""
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await go_to(pilot, 3)
        editor(screen, "pt.sequence_length").value = "1024"
        await wait_for(pilot, lambda: "longer than model.context_length" in about(screen, "pt.sequence_length"))
        assert "context_length" not in str(screen.query_one("#facts", Static).render())
        await pilot.press("enter")
        await pilot.pause()
        assert screen.step == 3


async def test_a_device_that_is_not_here_is_told_at_once(app: FastdraftApp) -> None:
    """Nobody learns on the last page that there is no such device."""
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await go_to(pilot, 1)
        await wait_for(pilot, lambda: screen.looks.known.devices)
        screen.query_one("#field-device", Select).value = "xpu"
        await wait_for(pilot, lambda: "no xpu device on this machine; here are: cpu, cuda." in about(screen, "device"))
        screen.query_one("#next").focus()
        await pilot.press("enter")
        await pilot.pause()
        assert screen.step == 1
        screen.query_one("#field-device", Select).value = "cuda"
        await wait_for(pilot, lambda: "no cuda device" not in about(screen, "device"))


async def test_a_kill_costs_no_answers(app: FastdraftApp) -> None:
    """What is typed is on the disk soon, without leaving the page."""
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await go_to(pilot, 3)
        editor(screen, "pt.tokens").value = "2M"
        await wait_for(pilot, lambda: Answers.kept().text(QUESTIONS["pt.tokens"]) == "2M")


def test_a_published_target_that_is_not_here_has_its_documented_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """The size of its draft is known before gigabytes are downloaded."""
    monkeypatch.setattr("fastdraft_app.wizard.facts.free_memory", lambda: 4_000_000_000)
    answers = Answers.of(load_recipe("phi3-mini-50m"))
    target, draft = ("\n".join(facts(step, answers, Findings(models=[]))) for step in (0, 2))
    assert "Phi3ForCausalLM, 3.8B parameters, vocabulary 32064 (documented)" in target
    assert "TOO LITTLE" in target
    assert "52,107,776 parameters" in draft
    assert "c = 0.014" in draft


@pytest.mark.parametrize(
    ("path", "fits", "too_many"), [("synthesis.new_tokens", "448", "449"), ("pt.sequence_length", "512", "513")]
)
def test_what_the_targets_context_cannot_hold_is_told_at_once(path: str, fits: str, too_many: str) -> None:
    """The bundled target reads 512 tokens, prompts of up to 64 included; a job would learn it late."""
    answers, known = Answers.fresh(), Findings(models=shelf())
    answers.set(QUESTIONS["model.context_length"], "1024")
    for text, told in ((fits, ""), (too_many, "The target's context is 512 tokens")):
        answers.set(QUESTIONS[path], text)
        assert answers.problem(QUESTIONS[path]) == ""
        assert known_problem(QUESTIONS[path], answers, known)[: len("The target's context is 512 tokens")] == told
    answers.set(QUESTIONS["ft.skip" if path.startswith("synthesis") else "pt.skip"], "yes")
    assert known_problem(QUESTIONS[path], answers, known) == ""


async def test_f6_shows_documents_devices_and_the_rate(app: FastdraftApp, calls: Path) -> None:
    """A look at the data, at what the target writes, and at the speed, each by the command that says so."""
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await go_to(pilot, 1)
        await wait_for(pilot, lambda: "Some GPU" in str(screen.query_one("#facts", Static).render()))
        assert "--num_processes 2" in str(screen.query_one("#facts", Static).render())
        await pilot.press("f6")
        await wait_for(pilot, lambda: "all 1 min" in str(screen.query_one("#plan", Static).render()))
        for step, source in ((3, "text"), (5, "target")):
            while screen.step < step:
                await pilot.press("enter")
                await pilot.pause()
            await wait_for(pilot, lambda: screen.query_one("#next").has_focus)
            await pilot.press("f6")
            await wait_for(pilot, lambda: "some.rst, 9 tokens" in seen(screen))
            assert f"--source {source} --json" in calls.read_text().splitlines()[-1]


async def test_the_slider_steps_and_follows(app: FastdraftApp) -> None:
    """Up and down go from stop to stop, a click on the bar goes there, typing moves the knob; figures follow."""
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await go_to(pilot, 2)
        layers = editor(screen, "model.num_layers")
        layers.focus()
        await pilot.press("up", "up", "up", "down")
        assert layers.value == "3"
        await wait_for(pilot, lambda: screen.answers.text(QUESTIONS["model.num_layers"]) == "3")
        before = str(screen.query_one("#facts", Static).render())
        bar = layers.parent.query_one("_Bar")  # type: ignore[union-attr]
        await pilot.click(bar, offset=(bar.size.width - 1, 0))
        await wait_for(pilot, lambda: layers.value == "32")
        await wait_for(pilot, lambda: str(screen.query_one("#facts", Static).render()) != before)
        layers.value = "x"
        await pilot.press("up")
        assert layers.value == "x"


def test_a_saved_recipe_is_never_overwritten() -> None:
    """Whoever edited the saved file finds it as it was; another recipe of that name goes beside it."""
    recipe = Answers.fresh().recipe()
    path = save_recipe(recipe)
    assert save_recipe(recipe) == path
    path.write_text(path.read_text() + "# mine\n")
    assert recipe_path(recipe).name == "my-draft-2.toml"
    assert save_recipe(recipe) != path
    assert path.read_text().endswith("# mine\n")


def test_a_recipe_without_stages_can_be_used(tmp_path: Path) -> None:
    """What it lacks is left out, not asked for."""
    text = (places.assets() / "recipes" / "demo-tiny.toml").read_text()
    (tmp_path / "short.toml").write_text(
        text.partition("[synthesis]")[0] + "[pt]\ntokens = '100K'\nsources = { text = 1.0 }\n"
    )
    answers = Answers.of(load_recipe(str(tmp_path / "short.toml")))
    assert list(answers.recipe().stages) == ["pt"]


def test_other_temperatures_need_no_shares(tmp_path: Path) -> None:
    """Shares cannot be typed in the wizard, so they must not stand in the way."""
    text = (places.assets() / "recipes" / "demo-tiny.toml").read_text()
    (tmp_path / "shares.toml").write_text(text.replace("new_tokens = 96", "new_tokens = 96\nshares = [1, 2, 3, 4]"))
    answers = Answers.of(load_recipe(str(tmp_path / "shares.toml")))
    assert answers.recipe().synthesis.shares == [1, 2, 3, 4]  # type: ignore[union-attr]
    answers.set(QUESTIONS["synthesis.temperatures"], "0, 1")
    assert answers.recipe().synthesis.shares == []  # type: ignore[union-attr]


def test_sources_that_are_not_described_are_named() -> None:
    """A source that no section describes is refused for the recipe as a whole."""
    answers = Answers.fresh()
    answers.set(QUESTIONS["cp.sources"], "code=1, stack=2")
    with pytest.raises(FastdraftError, match="stack"):
        answers.recipe()


def test_every_field_has_a_default_that_works_and_a_description() -> None:
    """Nobody has to answer anything."""
    answers = Answers.fresh()
    for step in STEPS:
        assert answers.problems(step) == []
        assert all(field.about.endswith(".") for field in step.questions)
    assert answers.recipe().name == "my-draft"


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b'{"base": {}, "typed": {}}', b'{"base": 1, "typed": 2}', b"\xff"]
)
def test_damaged_answers_are_fresh_ones(damage: bytes) -> None:
    """A file that a crash spoilt costs the answers, not the wizard."""
    places.config().mkdir(parents=True)
    (places.config() / "wizard.json").write_bytes(damage)
    assert Answers.kept().recipe() == Answers.fresh().recipe()


def test_a_converted_target_is_refused_at_once(tmp_path: Path) -> None:
    """The job would fail after it has tokenized: nothing trains on an OpenVINO IR."""
    for name in ("config.json", "openvino_model.xml", "openvino_model.bin"):
        (tmp_path / name).write_text("{}")
    answers = Answers.fresh()
    answers.set(QUESTIONS["target"], str(tmp_path))
    assert "OpenVINO IR" in answers.problem(QUESTIONS["target"])
    (tmp_path / "model.safetensors").touch()
    assert answers.problem(QUESTIONS["target"]) == ""


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_are_shapes_that_the_recipes_have(name: str) -> None:
    """What the page counts is what the bundled models have."""
    answers = Answers.fresh()
    answers.set(QUESTIONS["preset"], name)
    assert answers.shape() == load_recipe(PRESETS[name]).model
    assert answers.text(QUESTIONS["preset"]) == name


def test_parameters_as_the_paper_s_draft_has_them() -> None:
    """52,107,776 parameters for the 50M draft of Phi-3-mini (facts of the paper, section 2)."""
    assert parameters(load_recipe("phi3-mini-50m").model, 32_064) == 52_107_776


async def test_a_refused_launch_says_why(app: FastdraftApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line's own sentence, and the answers are still there."""
    import sys

    monkeypatch.setattr(command, "COMMAND", (sys.executable, "-c", "import sys; sys.exit('fastdraft: No room.')"))
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await go_to(pilot, REVIEW)
        await pilot.press("enter")
        await wait_for(pilot, lambda: any(told.message == "No room." for told in app._notifications))
        assert app.screen is screen


def test_the_saved_recipe_is_toml(tmp_path: Path) -> None:
    """What is saved is read again as the same recipe, also with sources of its own."""
    from fastdraft_app.client.train import recipe_text

    recipe = load_recipe("phi3-mini-50m")
    assert tomllib.loads(recipe_text(recipe))["sources"]["fineweb"]["hub"] == "HuggingFaceFW/fineweb"
    path = tmp_path / "saved.toml"
    path.write_text(recipe_text(Answers.of(recipe).recipe()))
    assert load_recipe(str(path)) == Answers.of(recipe).recipe()


@pytest.mark.parametrize("size", [(80, 24), (160, 48)], ids=["80x24", "160x48"])
@pytest.mark.parametrize("step", range(len(STEPS)), ids=[step.title for step in STEPS])
def test_pictures(
    snap_compare: Any,
    app: FastdraftApp,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    size: tuple[int, int],
    step: int,
) -> None:
    """Every page as it looks."""
    monkeypatch.setattr(places, "jobs", lambda: Path("jobs"))
    monkeypatch.setattr(places, "exports", lambda: Path("exports"))
    # Free memory and disk are another machine's tomorrow.
    monkeypatch.setattr("fastdraft_app.wizard.facts.free_memory", lambda: 20_000_000_000)
    monkeypatch.setattr("fastdraft_app.wizard.facts.free_disk", lambda: 90_000_000_000)

    async def before(pilot: Pilot[None]) -> None:
        screen = await go_to(pilot, step)
        if step == REVIEW:
            await wait_for(pilot, lambda: "all 1 min" in str(screen.query_one("#plan", Static).render()))
        await wait_for(pilot, lambda: screen.looks.known.models is not None)
        if STEPS[step].title == "Device":
            await wait_for(pilot, lambda: screen.looks.known.devices is not None)
        if STEPS[step].title == "PT data":
            await pilot.press("f6")
            await wait_for(pilot, lambda: "some.rst" in seen(screen))
        for one in screen.query(Input):
            one.cursor_blink = False
        await pilot.pause(0.3)

    monkeypatch.chdir(tmp_path)
    assert snap_compare(app, terminal_size=size, run_before=before)
