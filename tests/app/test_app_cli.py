"""The command line of the app."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastdraft_app.cli import parse
from fastdraft_app.settings.schema import fields
from fastdraft_core import __version__, places
from tests.smollm2 import write_smollm2


def test_defaults_are_the_bundled_pair() -> None:
    """Without arguments the app shows the bundled pair, greedy, at gamma 4."""
    settings = parse([]).settings
    assert (settings.target, settings.draft, settings.gamma, settings.temperature) == ("demo", "demo:S", 4, 0)
    assert (settings.seed, settings.length) == (1, 128)


def test_what_is_given_reaches_the_engine() -> None:
    """What can be chosen on screen can be given at the start."""
    given = "--target T --draft off --gamma 7 --temperature 0.6 --top-k 50 --top-p 0.9 --seed 5 --length 64 --prompt P"
    machine = "--dtype float32 --threads 3 --runtime openvino --device GPU --weights int4 --kv-precision u8"
    settings = parse([*given.split(), *machine.split(), "--fps", "12", "--ascii", "--no-mouse", "--no-intro"]).settings
    load, run = settings.load(), settings.run()
    assert (load.target, load.draft, load.dtype, load.threads) == ("T", "", "float32", 3)
    assert (load.runtime, load.device, load.weights, load.kv_precision) == ("openvino", "GPU", "int4", "u8")
    assert (run.prompt, run.gamma, run.temperature, run.top_k, run.top_p) == ("P", 7, 0.6, 50, 0.9)
    assert (run.seed, run.max_new_tokens) == (5, 64)
    assert (settings.fps, settings.ascii, settings.mouse, settings.intro) == (12, True, False, False)


def test_every_setting_has_a_flag_with_its_description(capsys: pytest.CaptureFixture[str]) -> None:
    """``--help`` comes from the schema: nothing that can be set is missing in it."""
    with pytest.raises(SystemExit):
        parse(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for field in fields():
        assert f"--{field.label}" in shown
        assert " ".join(field.about.split()[:4]) in shown


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (["--gamma", "0"], "'0' is not a whole number from 1 to 12"),
        (["--gamma", "13"], "'13' is not"),
        (["--gamma", "2.5"], "'2.5' is not"),
        (["--fps", "x"], "'x' is not a number from 1 to 60"),
        (["--temperature", "nan"], "'nan' is not"),
        (["--dtype", "int3"], "is not one of auto, bfloat16"),
    ],
)
def test_nonsense_is_refused_in_one_sentence(
    wrong: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong value names its option and what would do, without a traceback."""
    with pytest.raises(SystemExit) as ended:
        parse(wrong)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert wrong[0] in said
    assert expected in said
    assert "Traceback" not in said


def test_a_prompt_file_is_the_prompt(tmp_path: Path) -> None:
    """A long prompt comes from a file, whatever it contains."""
    file = tmp_path / "prompt.txt"
    file.write_text("def f():\n    'ünï'\n", encoding="utf-8")
    assert parse(["--prompt-file", str(file)]).settings.prompt == "def f():\n    'ünï'\n"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.txt", None, "no file at"),
        ("empty.txt", b" \n", "is empty"),
        ("binary.txt", b"\xff\xfe\x00", "cannot be read as text"),
        ("long.txt", b"x" * (1 << 20 | 1), "larger than 1 MiB"),
    ],
)
def test_a_bad_prompt_file_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes | None, words: str
) -> None:
    """The file is named with what is wrong with it."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SystemExit) as ended:
        parse(["--prompt-file", str(tmp_path / name)])
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert name in said
    assert words in said


def test_a_replay_that_is_none_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``--replay`` of a wrong file says so before a screen opens."""
    with pytest.raises(SystemExit) as ended:
        parse(["--replay", str(tmp_path / "nothing.jsonl")])
    assert ended.value.code == 2
    assert "There is no recording at" in capsys.readouterr().err


def test_flags_win_over_the_settings_file_for_their_session_only() -> None:
    """The file remembers; a flag does not change it."""
    places.config().mkdir(parents=True)
    file = places.config() / "settings.toml"
    file.write_text("gamma = 6\ntemperature = 1\n")
    assert (parse([]).settings.gamma, parse([]).settings.temperature) == (6, 1.0)
    settings = parse(["--gamma", "2"]).settings
    assert (settings.gamma, settings.temperature) == (2, 1.0)
    assert file.read_text() == "gamma = 6\ntemperature = 1\n"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """A bug report can name the version."""
    with pytest.raises(SystemExit) as ended:
        parse(["--version"])
    assert ended.value.code == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "pair"),
    [
        ("", ("smollm2", "smollm2:S")),
        ("--target demo", ("demo", "demo:S")),
        ("--draft demo:XS", ("demo", "demo:XS")),
        ("--draft off", ("smollm2", "off")),
        ("--target smollm2 --draft off", ("smollm2", "off")),
        ("--target some/model --draft some/draft", ("some/model", "some/draft")),
    ],
)
def test_the_pair_is_completed_by_what_was_chosen_of_it(
    given: str, pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With SmolLM2 and a draft of it here the app opens on them; half a pair never meets the other one's half."""
    write_smollm2(tmp_path, monkeypatch)
    settings = parse(given.split()).settings
    assert (settings.target, settings.draft) == pair
