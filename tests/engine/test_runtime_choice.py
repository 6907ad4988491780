"""`--runtime auto`: the faster one by measurement, with its reason, remembered for what was measured and nothing else."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fastdraft_core import places
from fastdraft_core.engine import loading
from fastdraft_core.engine.load_options import LoadOptions
from fastdraft_core.engine.pair import load_pair
from fastdraft_core.engine.runtime_choice import Choice, Speed, faster, measure, only, pair_key, remember, remembered
from fastdraft_core.errors import FastdraftError
from fastdraft_core.runtimes.openvino import ir_cache
from tests.decoding.table import pair_of_tables

AUTO = LoadOptions(dtype="float32", threads=1, runtime="auto")


def test_the_faster_one_is_the_one_that_speculates_faster() -> None:
    """A pair is loaded to speculate; the reason shows every rate that was measured."""
    choice = faster({"torch": Speed(300, 400), "openvino": Speed(290, 500)})
    assert choice.runtime == "openvino"
    assert choice.reason.startswith("OpenVINO is faster here than PyTorch: 500 against 400 tokens/s speculative")
    assert "290 against 300 tokens/s autoregressive" in choice.reason
    alone = faster({"torch": Speed(300), "openvino": Speed(290)})
    assert (alone.runtime, "speculative" in alone.reason) == ("torch", False)


def test_both_modes_are_measured_on_real_passes() -> None:
    """Rates are of tokens that were decoded; without a draft there is one rate."""
    target, draft = pair_of_tables()
    speed = measure(target, draft, [1, 2])
    assert speed.autoregressive > 0
    assert speed.speculative is not None
    assert speed.speculative > 0
    assert measure(target, None, [1, 2]).speculative is None


def test_a_choice_is_remembered_for_its_key() -> None:
    """The next start need not measure; a damaged file or another pair measures again."""
    choice = faster({"torch": Speed(3, 4), "openvino": Speed(2, 5)})
    remember("one", choice)
    found = remembered("one")
    assert found is not None
    assert (found.runtime, found.speeds) == (choice.runtime, choice.speeds)
    assert found.reason.startswith(f"{choice.reason}; remembered")
    assert f"measured {datetime.date.today().isoformat()} on a quiet machine" in found.reason
    assert remembered("two") is None
    (places.cache() / "runtimes.json").write_text("{", encoding="utf-8")
    assert remembered("one") is None


def test_a_busy_machine_decides_for_this_time_only() -> None:
    """What was measured beside a training says little of a quiet machine; the reason names it and nothing is pinned."""
    choice = faster({"torch": Speed(3, 4), "openvino": Speed(2, 5)}, "other programs used the cores")
    assert "while other programs used the cores, so it is measured again next time" in choice.reason
    remember("one", choice)
    assert remembered("one") is None


def test_a_failure_is_tried_again_another_day() -> None:
    """A full disk today must not decide for ever."""
    failed = only("torch", "the disk is full")
    remember("one", failed)
    assert (found := remembered("one")) is not None
    assert found.runtime == failed.runtime
    yesterday = (datetime.date.today() - datetime.timedelta(days=1)).isoformat()
    remember("one", Choice(failed.runtime, failed.reason, {}, yesterday))
    assert remembered("one") is None


def test_another_model_or_setting_is_another_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was measured for one pair, thread count or version says nothing of another."""
    key = pair_key(("a", "b"), {"threads": 2})
    assert key == pair_key(("a", "b"), {"threads": 2})
    assert key != pair_key(("a", "c"), {"threads": 2})
    assert key != pair_key(("a", "b"), {"threads": 1})
    monkeypatch.setattr("fastdraft_core.engine.runtime_choice.library_versions", lambda: {"openvino": "0"})
    assert key != pair_key(("a", "b"), {"threads": 2})


# --- loading ------------------------------------------------------------------------------------------


def test_auto_measures_once_and_says_why(tiny_pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The first load converts and measures with each step told; the second one goes straight to the winner."""
    monkeypatch.setattr("fastdraft_core.engine.loading.crowded", lambda *args: "")
    steps: list[str] = []
    first = load_pair(*tiny_pair, AUTO, steps.append)
    assert sum("converting" in step and "once" in step for step in steps) == 2
    assert {step for step in steps if "measuring" in step} == {"measuring openvino", "measuring torch"}
    assert "tokens/s" in first.runtime_reason
    steps.clear()
    again = load_pair(*tiny_pair, AUTO, steps.append)
    assert (again.runtime, again.runtime_reason) == (first.runtime, f"{first.runtime_reason}; remembered")
    assert not [step for step in steps if "measuring" in step or "converting" in step]


def test_a_model_that_takes_long_to_convert_waits_until_somebody_asks(
    tiny_pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits minutes unasked: PyTorch runs it, and the reason says how to try the other."""
    monkeypatch.setattr(ir_cache, "_QUICK_BYTES", 1000)
    pair = load_pair(*tiny_pair, AUTO)
    assert pair.runtime == "torch"
    assert "--runtime openvino" in pair.runtime_reason
    load_pair(*tiny_pair, replace(AUTO, runtime="openvino"))
    assert "tokens/s" in load_pair(*tiny_pair, AUTO).runtime_reason


def test_a_conversion_is_proposed_with_its_devices_disk_and_memory(
    tiny_pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A laptop with an integrated GPU (mocked): the reason names every device, and both formats with what they take."""
    monkeypatch.setattr(ir_cache, "_QUICK_BYTES", 1000)
    monkeypatch.setattr(loading, "openvino_devices", lambda: {"cpu": "Some CPU", "gpu": "Some iGPU"})
    reason = load_pair(*tiny_pair, AUTO).runtime_reason
    assert "cpu (Some CPU), gpu (Some iGPU)" in reason
    for weights in ("int4", "int8"):
        assert f"--runtime openvino --device gpu --weights {weights} takes" in reason
    assert "of disk while it converts" in reason
    assert "of memory are free" in reason


def test_an_integrated_gpu_is_measured_too(tiny_pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where OpenVINO reports one (mocked: it runs on the CPU) it may win, and is remembered with its device."""
    monkeypatch.setattr("fastdraft_core.engine.loading.crowded", lambda *args: "")
    monkeypatch.setattr(loading, "openvino_devices", lambda: {"cpu": "Some CPU", "gpu": "Some iGPU", "npu": "Some NPU"})
    asked: list[str] = []

    def choose(name: str) -> str:
        asked.append(name)
        return "cpu"

    monkeypatch.setattr(loading, "choose_openvino_device", choose)
    rates = iter([Speed(1, 2), Speed(3, 9), Speed(2, 4)])
    monkeypatch.setattr(loading, "measure", lambda *_: next(rates))
    steps: list[str] = []
    reason = load_pair(*tiny_pair, AUTO, steps.append).runtime_reason
    assert [step for step in steps if "measuring" in step] == [
        "measuring openvino",
        "measuring openvino:gpu",
        "measuring torch",
    ]
    assert reason.startswith("OpenVINO on gpu is faster here than PyTorch: 9 against 4 tokens/s speculative")
    asked.clear()
    assert load_pair(*tiny_pair, AUTO).runtime_reason.endswith("; remembered")
    assert asked == ["gpu", "gpu"]


@pytest.mark.parametrize(
    ("changes", "runtime"),
    [
        (dict(weights="int8"), "openvino"),
        (dict(kv_precision="u8"), "openvino"),
        (dict(device="npu"), "openvino"),
        (dict(draft_device="gpu.1"), "openvino"),
        (dict(device="hpu:0"), "torch"),
    ],
)
def test_what_only_one_runtime_has_decides(
    tiny_pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], runtime: str
) -> None:
    """A device or a precision that one runtime alone has needs no measurement."""
    loaded: list[str] = []

    def load(self: object, runtime: str, reason: str = "") -> None:
        assert reason
        loaded.append(runtime)
        raise FastdraftError("enough")

    monkeypatch.setattr(loading.Loader, "_load", load)
    with pytest.raises(FastdraftError, match="enough"):
        load_pair(*tiny_pair, replace(AUTO, **changes))
    assert loaded == [runtime]


def test_a_runtime_that_fails_leaves_the_other(tiny_pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that cannot be converted runs on PyTorch, and the reason says what was wrong."""

    def refuse(*arguments: object, **settings: object) -> Path:
        raise FastdraftError("my-model cannot be converted")

    monkeypatch.setattr(loading, "ir_of", refuse)
    pair = load_pair(*tiny_pair, AUTO)
    assert (pair.runtime, "my-model cannot be converted" in pair.runtime_reason) == ("torch", True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (LoadOptions(runtime="fast"), "no runtime 'fast'"),
        (LoadOptions(kv_precision="u7", runtime="openvino"), "precision 'u7'"),
        (LoadOptions(weights="int8_sym"), "--runtime openvino"),
        (LoadOptions(kv_precision="u8"), "--runtime openvino"),
        (LoadOptions(weights="int9", runtime="openvino"), "weight format 'int9'"),
        (LoadOptions(draft_device="npu.9", runtime="openvino"), "no device 'npu.9'"),
    ],
)
def test_contradictions_are_answered_in_words(tiny_pair: tuple[str, str], options: LoadOptions, words: str) -> None:
    """Before anything is converted or loaded."""
    with pytest.raises(FastdraftError, match=words):
        load_pair(*tiny_pair, options)
    assert not (places.cache() / "openvino").exists() or options.weights == "int9"


def test_openvino_leaves_pytorch_one_thread(tiny_pair: tuple[str, str]) -> None:
    """PyTorch only samples beside OpenVINO; its waiting threads would take the cores away."""
    load_pair(*tiny_pair, replace(AUTO, runtime="openvino", threads=2))
    assert torch.get_num_threads() == 1
