"""The settings file: what it remembers, and that nothing in it can keep the app from starting."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdraft_app.settings.preferences import Preferences, render
from fastdraft_app.settings.schema import fields
from fastdraft_app.settings.settings import Settings


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config" / "settings.toml"


def test_a_change_is_remembered_and_nothing_else(path: Path) -> None:
    """What was changed on screen is there again at the next start; what a flag gave is not."""
    preferences = Preferences(path, {"seed": 9})
    preferences.change({"gamma": 7, "theme": "light"})
    assert preferences.current == replace(Settings(), seed=9, gamma=7, theme="light")
    again = Preferences(path, {})
    assert again.current == replace(Settings(), gamma=7, theme="light")
    assert again.problems == []


def test_changing_what_a_flag_gave_remembers_it(path: Path) -> None:
    """A flag stands until the user changes that very setting."""
    preferences = Preferences(path, {"gamma": 2})
    preferences.change({"gamma": 3})
    assert preferences.flags == {}
    assert Preferences(path, {}).current.gamma == 3


def test_a_default_that_was_chosen_is_remembered_as_chosen(path: Path) -> None:
    """What is found out for a setting holds where nobody chose: a chosen default is no such case, a forgotten choice is."""
    preferences = Preferences(path, {"seed": 9})
    assert [preferences.chosen(name) for name in ("gamma", "seed")] == [False, True]
    preferences.advise({"gamma": 6})
    preferences.change({"length": 64})
    assert (preferences.current.gamma, preferences.chosen("gamma")) == (6, False)
    assert Preferences(path, {}).current.gamma == 4, "what was found out is not remembered"
    preferences.change({"gamma": 4})
    again = Preferences(path, {})
    assert (again.current.gamma, again.chosen("gamma")) == (4, True)
    again.change({"gamma": 4}, chosen=False)
    assert not Preferences(path, {}).chosen("gamma")


@given(
    st.fixed_dictionaries(
        {
            "target": st.text(st.characters(exclude_categories=["Cs"])),
            "prompt": st.text(st.characters(exclude_categories=["Cs"])),
            "gamma": st.integers(1, 12),
            "temperature": st.floats(0, 10),
            "seed": st.integers(0, 2**63 - 1),
            "ascii": st.booleans(),
        }
    )
)
def test_every_value_survives_the_file(values: dict[str, object]) -> None:
    """Whatever prompt or path a user has: written and read back, it is the same."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "settings.toml"
        Preferences(path, {}).change(values)  # type: ignore[arg-type]
        again = Preferences(path, {})
    assert asdict(again.current) == {**asdict(Settings()), **values}
    assert again.problems == []


def test_broken_and_unknown_values_are_explained_and_left_out(path: Path) -> None:
    """One typo costs one setting, and the sentence says which, why and what is used."""
    path.parent.mkdir()
    path.write_text('gamma = 99\nlength = "long"\ntemprature = 0.5\nseed = 4\n')
    preferences = Preferences(path, {})
    assert preferences.current == replace(Settings(), seed=4)
    said = "\n".join(preferences.take_problems())
    assert "gamma = 99 is not a whole number from 1 to 12; 4 is used" in said
    assert "length = 'long' is not" in said
    assert "no setting 'temprature', it is ignored; did you mean temperature?" in said
    assert preferences.take_problems() == [], "a problem is told once"


@pytest.mark.parametrize("content", [b"gamma = = 3", b"\xff\xfe", b"[[[", b"gamma"])
def test_a_file_that_is_no_toml_means_defaults(path: Path, content: bytes) -> None:
    """The app starts, and says which file it could not read."""
    path.parent.mkdir()
    path.write_bytes(content)
    preferences = Preferences(path, {})
    assert preferences.current == Settings()
    assert str(path) in preferences.problems[0]


def test_a_file_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    """A full disk or a read-only home costs the memory, not the session."""
    (tmp_path / "config").write_text("a file where the folder should be")
    preferences = Preferences(tmp_path / "config" / "settings.toml", {})
    preferences.take_problems()
    preferences.change({"gamma": 3})
    assert preferences.current.gamma == 3
    assert "cannot be saved" in preferences.take_problems()[0]


def test_the_file_explains_itself() -> None:
    """Who opens it finds every setting with its description and its default."""
    text = render(replace(Settings(), gamma=6))
    for field in fields():
        assert f"# {field.about}" in text
    assert "\ngamma = 6" in text
    assert "\n# length = 128" in text
