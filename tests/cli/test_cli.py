"""The command line: data on stdout, one sentence on stderr when something is wrong, exit codes that mean something."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from fastdraft_core.cli import generate, main, options, print_json
from fastdraft_core.errors import FastdraftError
from fastdraft_core.events import (
    Block,
    FirstToken,
    GreedyChecked,
    LawChecked,
    Progress,
    RunFinished,
    RunStarted,
    RuntimeChecked,
    Verified,
    decode_message,
)
from fastdraft_core.formatting import safe
from fastdraft_core.machine.cpu import cpu_name
from fastdraft_core.results import store
from tests.bench.points import measured, model, plan
from tests.commands import Cli

FIXED = ["--runtime", "torch", "--dtype", "float32", "--device", "cpu", "--threads", "1"]
PATIENCE = 300


@pytest.fixture
def prompts(tmp_path: Path) -> str:
    """Four prompts in a file."""
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": p}) + "\n" for p in ("def add", "The fox", "return", "lazy dog a")))
    return str(path)


# --- steps of loading -----------------------------------------------------------------------------------


def test_a_log_hears_of_a_long_import_now_and_then() -> None:
    """Not of every step of a quick one: a line every few seconds, by the clock that is given."""
    now, said = [0.0], []
    report = options.Occasionally(said.append, clock=lambda: now[0])
    for second in range(10):
        now[0] = float(second)
        report(f"importing x: {10 * second} %")
    assert said == ["importing x: 30 %", "importing x: 60 %", "importing x: 90 %"]


# --- generate ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", ["1", "5"])
def test_both_modes_print_the_same_text(cli: Cli, tiny_pair: tuple[str, str], gamma: str) -> None:
    """Pitfall 5: greedy speculative output is the target's own, on stdout alone, whatever the draft proposes."""
    target, draft = tiny_pair
    common = [target, "--draft", draft, "--prompt", "def add", "--length", "30", *FIXED]
    ar = cli("generate", *common, "--mode", "ar")
    sd = cli("generate", *common, "--mode", "sd", "--gamma", gamma)
    assert (ar[0], sd[0]) == (0, 0)
    assert ar[1] == sd[1]
    assert ar[1].startswith("def add")
    assert "acceptance" in sd[2]
    assert "tau" in sd[2]


def test_json_lines_are_the_events(cli: Cli, tiny_pair: tuple[str, str]) -> None:
    """A program reads the same events as the app, and nothing else on stdout; their text is the printed one."""
    target, draft = tiny_pair
    common = [target, "--prompt", "def add", "--length", "20", *FIXED]
    code, out, _ = cli("generate", *common, "--draft", draft, "--json")
    found = [decode_message(line.encode()) for line in out.splitlines()]
    assert code == 0
    assert [type(e) for e in found[:2]] == [RunStarted, FirstToken]
    assert all(isinstance(e, Block) for e in found[2:-1])
    assert isinstance(found[-1], RunFinished)
    assert cli("generate", *common, "--mode", "ar")[1] == f"def add{found[-1].text}\n"


def test_a_prompt_from_a_file(cli: Cli, tiny_pair: tuple[str, str], tmp_path: Path) -> None:
    """A file's text is continued, umlauts and all; a file that is no text is one sentence."""
    (tmp_path / "prompt.txt").write_bytes("schöne Füchse 🎉".encode())
    code, out, _ = cli("generate", tiny_pair[0], "--prompt-file", str(tmp_path / "prompt.txt"), "--length", "2", *FIXED)
    assert (code, out[:15]) == (0, "schöne Füchse 🎉")
    (tmp_path / "prompt.txt").write_bytes(b"\xff\xfe\x00")
    code, _, err = cli("generate", tiny_pair[0], "--prompt-file", str(tmp_path / "prompt.txt"))
    assert (code, err.count("\n")) == (1, 1)


def test_a_byte_order_mark_is_no_part_of_a_prompt(cli: Cli, tiny_pair: tuple[str, str], tmp_path: Path) -> None:
    """It is the file's, not the text's; decoded it would be the first token."""
    path = tmp_path / "prompt.txt"
    path.write_text("def add", encoding="utf-8-sig")
    code, out, _ = cli("generate", tiny_pair[0], "--prompt-file", str(path), "--length", "2", *FIXED)
    assert (code, out[:7]) == (0, "def add")


@pytest.mark.parametrize(
    ("closed", "arguments", "words"),
    [
        ("stdout", ["generate", "demo"], "Standard output is closed"),
        ("stdin", ["generate", "demo", "--prompt-file", "-"], "Standard input is closed"),
    ],
)
def test_a_closed_stream_is_one_sentence(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, closed: str, arguments: list[str], words: str
) -> None:
    """Python has no object for a stream that was closed by whoever started it."""
    monkeypatch.setattr(sys, closed, None)
    code, out, err = cli(*arguments)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert words in err


def keep_sweep(pair: tuple[str, str]) -> None:
    """A kept sweep of this machine in which gamma 2 was the fastest."""
    target, draft = pair
    write = store.writer("20260101-000000-pair")
    load = {"runtime": "torch", "dtype": "float32", "device": "cpu"}
    write(plan((draft,), (2,), target=model(target), machine={"cpu": cpu_name()}, load=load))
    write(measured(draft, 2, "code", 1.5))


def test_a_kept_sweeps_gamma_is_told_before_the_text(
    cli: Cli, tiny_pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal, where both streams are one, a sentence must not stand inside the text."""
    told: list[str] = []
    monkeypatch.setattr(generate, "_write", told.append)
    monkeypatch.setattr(generate.talk, "print", lambda text, **_: told.append(text))
    keep_sweep(tiny_pair)
    target, draft = tiny_pair
    assert cli("generate", target, "--draft", draft, "--prompt", "def add", "--length", "8", *FIXED)[0] == 0
    sentence = next(i for i, text in enumerate(told) if text.startswith("gamma 2, the fastest of the kept sweep"))
    assert sentence < told.index("def add")


def test_a_kept_sweep_is_found_for_models_named_from_here(
    cli: Cli, tiny_pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep keeps the whole paths of folders; a relative one means the same models."""
    keep_sweep(tiny_pair)
    monkeypatch.chdir(Path(tiny_pair[0]).parent)
    pair = [Path(tiny_pair[0]).name, "--draft", f"./{Path(tiny_pair[1]).name}"]
    code, _, err = cli("generate", *pair, "--prompt", "def add", "--length", "4", *FIXED)
    assert (code, "gamma 2, the fastest of the kept sweep" in err) == (0, True)


def test_autoregressive_decoding_asks_no_sweep(
    cli: Cli, tiny_pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It drafts nothing, so there is no gamma to look for in results, which may be many and large."""

    def read(name: str) -> None:
        raise AssertionError(f"{name} was read")

    keep_sweep(tiny_pair)
    monkeypatch.setattr("fastdraft_core.results.advice.read", read)
    target, draft = tiny_pair
    code, _, err = cli("generate", target, "--draft", draft, "--mode", "ar", "--length", "8", *FIXED)
    assert (code, "gamma" in err) == (0, False)


# --- what stdout can show ----------------------------------------------------------------------------


def ascii_stdout(monkeypatch: pytest.MonkeyPatch) -> io.BytesIO:
    """What is written from here on, to a stdout that knows ASCII alone."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    return written


def test_json_lines_are_utf_8_on_every_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe on Windows has the code page's encoding; whoever reads JSON expects UTF-8."""
    written = ascii_stdout(monkeypatch)
    event = Progress(what="schöne Füchse 🎉", done=0, total=1)
    print_json(event)
    assert decode_message(written.getvalue()) == event


def test_a_character_that_stdout_lacks_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals have a dash, models write anything: the rest of the text must come all the same."""
    written = ascii_stdout(monkeypatch)
    store.writer("r")(plan(name="r"))
    monkeypatch.setattr(sys, "argv", ["fastdraft", "results", "show"])
    with pytest.raises(SystemExit) as ended:
        main()
    sys.stdout.flush()
    assert not ended.value.code
    assert b"- task code: 2 prompts" in written.getvalue()
    assert rb"\u2013" in written.getvalue()


@pytest.mark.parametrize("code", [0x00, 0x07, 0x1B, 0x7F, 0x9B])
def test_control_characters_become_pictures(code: int) -> None:
    """A model's text cannot move the cursor or ring the bell of a terminal."""
    assert safe(chr(code)).isprintable()


# --- refusals ----------------------------------------------------------------------------------------


def _truncate(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:2000])


def _unweighted(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


@pytest.mark.parametrize(
    ("damage", "words"), [(_truncate, "truncated"), (_unweighted, "no weights"), (shutil.rmtree, "no model folder")]
)
def test_a_damaged_model_is_one_line_and_exit_code_1(
    cli: Cli, tiny_pair: tuple[str, str], tmp_path: Path, damage: Callable[[Path], None], words: str
) -> None:
    """No traceback, nothing on stdout: one line says what is wrong with which model."""
    folder = Path(shutil.copytree(tiny_pair[0], tmp_path / "model"))
    damage(folder)
    code, out, err = cli("generate", str(folder), *FIXED)
    assert (code, out) == (1, "")
    assert err.startswith("fastdraft: ")
    assert err.count("\n") == 1
    assert words in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["generate", "demo", "--mode", "fast"], "no mode 'fast'"),
        (["generate", "smollm3", "--mode", "sd"], "No draft of smollm3 is bundled"),
        (["verify", "demo", "--inject", "luck"], "accept-all"),
        (["bench", "demo", "--gamma", "0-3"], "starts at 1"),
        (["bench", "demo", "--gamma", "many"], "not understood"),
        (["bench", "demo", "--prompt-file", "/nowhere.jsonl"], "/nowhere.jsonl"),
        (["bench", "demo", "--prompt-file", "p.txt", "--task", "code"], "give one of them"),
        (["sweep", "demo", "--prompt-file", "p.txt", "--task", "code"], "give one of them"),
    ],
)
def test_wrong_values_are_answered_in_words(cli: Cli, arguments: list[str], words: str) -> None:
    """What can be known before loading is said before loading."""
    code, out, err = cli(*arguments)
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert words in err


@pytest.mark.parametrize("command", ["bench", "sweep", "verify"])
@pytest.mark.parametrize(("name", "text"), [("p.txt", " \n"), ("p.jsonl", '{"prompt": "x"}\n{"prompt": ""}\n')])
def test_an_empty_prompt_is_refused_before_loading(
    cli: Cli, tmp_path: Path, command: str, name: str, text: str
) -> None:
    """Rather than figures of a text that continues nothing."""
    (tmp_path / name).write_text(text)
    code, out, err = cli(command, "demo", "--prompt-file", str(tmp_path / name))
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert str(tmp_path / name) in err
    assert "is empty; give some text to continue" in err


def test_wrong_usage_is_exit_code_2(cli: Cli) -> None:
    """An unknown option is usage, not failure."""
    assert cli("generate", "demo", "--no-such-option")[0] == 2


@pytest.mark.parametrize(
    ("text", "expected"), [("4", [4]), ("1-4", [1, 2, 3, 4]), ("5,1,3", [1, 3, 5]), ("1-2,7", [1, 2, 7])]
)
def test_block_lengths_are_read_as_written(text: str, expected: list[int]) -> None:
    """One number, a range or a list."""
    assert options.gammas(text) == expected


@pytest.mark.parametrize("text", ["", "0", "3-1", "1-", "a", "1;2", "-2"])
def test_unclear_block_lengths_are_refused(text: str) -> None:
    """Rather than measuring something else."""
    with pytest.raises(FastdraftError, match="gamma"):
        options.gammas(text)


# --- verify, bench, doctor ---------------------------------------------------------------------------


#: Every way to draft for the tiny target; the first is its own draft model.
WAYS = ["", "ngram:1-3", "self:layers=1", "cascade:ngram:1-3+self:layers=1"]


@pytest.mark.parametrize("way", WAYS)
def test_verify_passes_a_lossless_pair_and_fails_the_control(
    cli: Cli, tiny_pair: tuple[str, str], prompts: str, way: str
) -> None:
    """PASS is exit code 0; with everything accepted on purpose both checks fail and the exit code is 1."""
    target, draft = tiny_pair
    common = ["verify", target, "--draft", way or draft, "--prompt-file", prompts, "--samples", "300", "--length", "16"]
    common += ["--top-k", "20", *FIXED]
    code, out, _ = cli(*common)
    assert (code, out.splitlines()[-1]) == (0, "PASS")
    assert "4/4 prompts equal" in out
    assert "noise level" in out
    code, out, _ = cli(*common, "--inject", "accept-all")
    assert (code, out.splitlines()[-1]) == (1, "FAIL")
    assert [line.endswith("FAIL") for line in out.splitlines() if line.startswith("greedy")] == [True]
    assert any(line.startswith("sampled") and line.endswith("FAIL") for line in out.splitlines())


def test_verify_tells_programs_each_check(cli: Cli, tiny_pair: tuple[str, str], prompts: str) -> None:
    """A line a check and the verdict last: the figures that people read, and what must not be lost of a failure."""
    target, draft = tiny_pair
    common = ["verify", target, "--draft", draft, "--prompt-file", prompts, "--samples", "100", "--length", "12"]
    code, out, _ = cli(*common, "--top-k", "20", "--inject", "accept-all", "--exact", "--json", *FIXED)
    found = [decode_message(line.encode()) for line in out.splitlines()]
    assert code == 1
    assert isinstance(found[0], RuntimeChecked)
    assert isinstance(found[1], GreedyChecked)
    assert found[1].prompts == 4
    assert found[1].equal == 4 - len(found[1].parted)
    assert not any(parting.tie for parting in found[1].parted)
    assert [check.position for check in found[2:-1] if isinstance(check, LawChecked)] == [2, 3, 2, 3]
    assert found[-1] == Verified(passed=False)


@pytest.mark.parametrize("way", WAYS[:2])
def test_bench_ends_with_one_json_object(cli: Cli, tiny_pair: tuple[str, str], prompts: str, way: str) -> None:
    """A table for people, then a versioned object with the machine, the costs and a point for each gamma."""
    target, draft = tiny_pair
    code, out, _ = cli(
        "bench", target, "--draft", way or draft, "--gamma", "1,3", "--length", "10", "--repeats", "1",
        "--prompt-file", prompts, *FIXED,
    )  # fmt: skip
    assert code == 0
    result = json.loads(out.splitlines()[-1])
    assert result["schema"].startswith("fastdraft.bench/")
    assert {"cpu", "memory_total", "versions", "bf16"} <= result["machine"].keys()
    assert [p["gamma"] for p in result["points"]] == [0, 1, 3]
    assert result["points"][0]["speedup"] == 1
    for point in result["points"][1:]:
        assert point["low"] <= point["high"]
        assert 1 <= point["tau"] <= point["gamma"] + 1
        assert point["predicted"] > 0
    assert len(result["costs"]["verify"]) == 4
    assert len(result["costs"]["draft"]) == 3
    assert (result["length"], result["prompts"], result["repeats"]) == (10, 4, 1)
    table = [line for line in out.splitlines() if line.startswith("| ")]
    assert [row.split()[1] for row in table[2:]] == ["ar", "sd", "sd"]


def test_doctor_as_json(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program can read what the machine has; only a failed check is exit code 1."""
    from fastdraft_core import doctor
    from fastdraft_core.machine.bandwidth import Bandwidth

    peak = Bandwidth(
        single_thread=10.0, all_threads=15.0, threads=2, buffer_bytes=1 << 20, busy_share=0.0,
        method="none", machine="this", measured_on="2025-01-01",
    )  # fmt: skip
    monkeypatch.setattr(doctor, "measured_peak_bandwidth", lambda: peak)
    code, out, _ = cli("doctor", "--json")
    checks = json.loads(out)
    assert {"name", "status", "value", "advice", "group"} <= checks[0].keys()
    assert code == int(any(check["status"] == "fail" for check in checks))
    assert len(out.splitlines()) == len(checks) + 1, "a check a line, then the end of the array"


def test_doctor_tells_each_check_at_once(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A screen shows the versions while the memory is measured; what broke off is no whole array."""
    from fastdraft_core import doctor

    def broken() -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(doctor, "measured_peak_bandwidth", broken)
    code, out, err = cli("doctor", "--json")
    assert code == 1
    assert "the disk is gone" in err
    assert out.startswith('[{"type":"check","name":"fastdraft"')
    assert "]" not in out.splitlines()


# --- interrupted -------------------------------------------------------------------------------------


def test_ctrl_c_ends_with_130_and_leaves_nothing(tiny_pair: tuple[str, str], prompts: str, home: Path) -> None:
    """A terminal's Ctrl-C goes to the whole group: exit code 130, no traceback, no process left."""
    target, draft = tiny_pair
    arguments = ["verify", target, "--draft", draft, "--prompt-file", prompts, "--samples", "100000000", *FIXED]
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", "from fastdraft_core.cli import main; main()", *arguments, "--length", "8"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "FASTDRAFT_HOME": str(home)},
    )
    assert process.stdout
    assert any(line.startswith("greedy") for line in process.stdout)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "Traceback" not in err
    left = [p for p in psutil.process_iter() if _session(p.pid) == process.pid]
    assert left == []


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return -1
