"""The card of an export says what is known and no more; the command refuses in one sentence."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastdraft_core.cli import main
from fastdraft_core.errors import FastdraftError
from fastdraft_core.export.formats import ExportOptions, export
from tests.exports import exported, section, source_of

# --- the card --------------------------------------------------------------------------------------------


def test_the_card_keeps_what_the_source_says_and_claims_nothing_more(tmp_path: Path) -> None:
    """Data, training, acceptance and recipe are the source's; a speed-up that nobody measured is not there."""
    folder = exported("demo:S", tmp_path / "out", "hf")
    card, source = (folder / "README.md").read_text(), (source_of("demo:S") / "README.md").read_text()
    for title in ("Data", "Training", "Acceptance", "Recipe"):
        assert section(source, title)
        assert section(card, title) == section(source, title)
    assert "Not measured" in section(card, "Speed-up")
    assert not re.search(r"\d\.\d+x", card)
    header = card.split("---")[1]
    assert "license: apache-2.0" in header
    assert "draft-model" in header


def test_a_measured_speed_up_stands_with_its_conditions(tmp_path: Path) -> None:
    """The figures of ``fastdraft bench`` enter the card, and so does the machine; those of another draft do not."""
    measured = _bench("demo", "demo:XS")
    file = tmp_path / "bench.txt"
    file.write_text(f"| a table | that people read |\n{json.dumps(measured)}\n")
    options = ExportOptions("hf", bench=file)
    export("demo:XS", tmp_path / "out", options, lambda step: None)
    card = (tmp_path / "out" / "README.md").read_text()
    for part in ("1.62x [1.50, 1.71]", "0.361", "Some CPU", "2 threads", "temperature 0.6", "fastdraft bench demo"):
        assert part in section(card, "Speed-up")
    assert '"num_speculative_tokens": 3' in card
    with pytest.raises(FastdraftError, match="not demo:S"):
        export("demo:S", tmp_path / "other", options, lambda step: None)


def _bench(target: str, draft: str) -> dict[str, Any]:
    point = dict(tokens_per_second=90.0, speedup=1.0, low=1.0, high=1.0, predicted=1.0, acceptance=0.0, tau=1.0)
    return {
        "schema": "fastdraft.bench/1",
        "machine": {"cpu": "Some CPU", "versions": {"torch": "2.13.0"}},
        "target": {"name": target, "dtype": "bfloat16", "device": "cpu"},
        "draft": {"name": draft, "dtype": "bfloat16", "device": "cpu"},
        "runtime": "torch",
        "threads": 2,
        "command": "fastdraft bench demo --draft demo:XS",
        "length": 128,
        "repeats": 3,
        "prompts": 12,
        "sampling": {"temperature": 0.6, "top_k": 0, "top_p": 1.0},
        "points": [
            point | {"gamma": 0},
            point | dict(gamma=3, speedup=1.62, low=1.5, high=1.71, predicted=1.6, acceptance=0.361, tau=2.08),
            point | dict(gamma=5, speedup=1.41, low=1.3, high=1.5, predicted=1.4, acceptance=0.3, tau=2.5),
        ],
    }


def test_a_model_without_a_card_says_so(tiny_pair: tuple[str, str], tmp_path: Path) -> None:
    """No data, recipe or licence is invented."""
    card = (exported(tiny_pair[1], tmp_path / "out", "hf", target=tiny_pair[0]) / "README.md").read_text()
    assert "no card" in card
    assert "license" not in card
    # Where it lay on this machine is not told to the world.
    assert str(Path(tiny_pair[1]).parent) not in card


def test_another_card_s_header_and_code_are_understood(tiny_pair: tuple[str, str], tmp_path: Path) -> None:
    """The licence of the header stays; a comment in a code block is no heading."""
    source = tmp_path / "source"
    shutil.copytree(tiny_pair[1], source)
    (source / "README.md").write_text(
        "---\nlicense: mit\ntags:\n- x\n---\n# Their model\n\nIt writes.\n\n## Data\n\n```sh\n## Recipe\nls\n```\n"
    )
    card = (exported(str(source), tmp_path / "out", "hf") / "README.md").read_text()
    assert "license: mit" in card
    assert "It writes." in card
    assert "## Data\n\n```sh\n## Recipe\nls\n```" in card
    assert card.count("## Recipe") == 1
    assert card.count("Their model") == 0


# --- the command and what it refuses -----------------------------------------------------------------------


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["fastdraft", "export", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def test_the_command_prints_the_folder_and_talks_on_stderr(
    cli: Callable[..., tuple[int, str, str]], tiny_pair: tuple[str, str], tmp_path: Path
) -> None:
    """Default form and weights; the folder's name alone is on stdout."""
    code, out, err = cli(tiny_pair[0], "--output", str(tmp_path / "out"))
    assert code == 0, err
    assert out.strip() == str(tmp_path / "out")
    assert "int8_asym" in err
    assert "card metadata" not in err
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names >= {"openvino_model.xml", "openvino_tokenizer.xml", "openvino_detokenizer.xml", "README.md"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["demo", "--to", "onnx"], "use openvino, hf, gguf"),
        (["demo", "--to", "gguf", "--weights", "q5_1"], "--to gguf has"),
        (["demo", "--weights", "int3"], "int3"),
        (["demo", "--to", "hf", "--weights", "int8"], "--to hf has"),
        (["demo:L"], "demo:L"),
        (["/no/such/model"], "/no/such/model"),
        (["nobody/nothing"], "nobody/nothing"),
        (["demo", "--bench", "/no/such/file"], "benchmark"),
    ],
)
def test_what_cannot_be_exported_is_one_sentence(
    cli: Callable[..., tuple[int, str, str]], tmp_path: Path, arguments: list[str], said: str
) -> None:
    """Exit code 1, the reason on stderr, nothing written."""
    code, out, err = cli(*arguments, "--output", str(tmp_path / "out"))
    assert (code, out) == (1, "")
    assert said in err
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_an_export_overwrites_nothing_and_an_ir_is_no_source(
    cli: Callable[..., tuple[int, str, str]], tiny_pair: tuple[str, str], tmp_path: Path
) -> None:
    """A folder in use stays as it is; an IR's weights are rounded already and are not exported again."""
    draft_ir = exported(tiny_pair[1], tmp_path / "ir", "openvino")
    before = sorted(draft_ir.iterdir())
    code, _, err = cli("demo:XS", "--output", str(draft_ir))
    assert (code, sorted(draft_ir.iterdir())) == (1, before)
    assert "not empty" in err
    code, _, err = cli(str(draft_ir), "--output", str(tmp_path / "out"))
    assert code == 1
    assert "IR already" in err
