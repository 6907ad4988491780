"""Devices, number formats, threads and the measured bandwidth."""

from __future__ import annotations

import importlib.machinery
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import torch

from fastdraft_app.wizard import facts
from fastdraft_core.errors import FastdraftError
from fastdraft_core.machine import bandwidth, cpu, devices, limits
from fastdraft_core.training import plan

XEON = "processor : 0\nmodel name : Intel(R) Xeon(R) 6\nflags : fpu avx2 avx512f {extra}\n"


class StandInHpu(types.ModuleType):
    """``torch.hpu`` as Habana documents it, with ``count`` devices of 96 GiB."""

    def __init__(self, count: int) -> None:
        super().__init__("torch.hpu")
        self.count = count

    def is_available(self) -> bool:
        return self.count > 0

    def device_count(self) -> int:
        return self.count

    def get_device_name(self, device: int | None = None) -> str:
        return "GAUDI2"

    def mem_get_info(self, device: int | None = None) -> tuple[int, int]:
        return 90 << 30, 96 << 30


@pytest.fixture(autouse=True)
def forgotten_facts() -> Iterator[None]:
    """Facts about the processor are kept per process; each test asks anew."""
    kept = (cpu.cpu_name, cpu.native_bf16, cpu.last_level_cache, cpu._cpuinfo)
    for function in kept:
        function.cache_clear()
    yield
    for function in kept:
        function.cache_clear()


def install_gaudi(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Habana's bridge as Python sees it: a package, its torch module, and ``torch.hpu``."""
    for name in ("habana_frameworks", "habana_frameworks.torch"):
        module = types.ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
        module.__path__ = []
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(torch, "hpu", StandInHpu(count), raising=False)


def pretend_cpuinfo(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Another machine's /proc/cpuinfo."""
    monkeypatch.setattr(cpu, "_cpuinfo", lambda: text)
    monkeypatch.setattr(cpu._cpuinfo, "cache_clear", lambda: None, raising=False)


def figure(rate: float, *, busy_share: float) -> devices.Bandwidth:
    """A bandwidth of this machine, as if it had been measured."""
    return devices.Bandwidth(
        single_thread=rate,
        all_threads=rate,
        threads=2,
        buffer_bytes=1 << 30,
        busy_share=busy_share,
        method="stand-in",
        machine=bandwidth.machine_id(),
        measured_on="2026-01-01",
    )


def test_gaudi_is_found_and_preferred(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a Gaudi machine a run uses Gaudi without being told; every card is listed with its memory."""
    install_gaudi(monkeypatch, count=2)
    found = [d for d in devices.detect_devices() if d.kind == "hpu"]
    assert [(d.torch_name, d.name, d.memory) for d in found] == [
        ("hpu:0", "GAUDI2", 96 << 30),
        ("hpu:1", "GAUDI2", 96 << 30),
    ]
    assert devices.choose_device() == "hpu:0"
    assert devices.choose_device("hpu:1") == "hpu:1"
    assert devices.choose_dtype("hpu:0") == "bfloat16"


def test_gaudi_software_without_a_device_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gaudi's software with no free card: the run goes on elsewhere, and asking for hpu says why not."""
    install_gaudi(monkeypatch, count=0)
    assert all(d.kind != "hpu" for d in devices.detect_devices())
    with pytest.raises(FastdraftError, match="finds no device"):
        devices.choose_device("hpu")


def test_broken_gaudi_software_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Gaudi driver that does not match its bridge fails at import; the CPU must still work."""
    install_gaudi(monkeypatch, count=1)

    def fail(name: str) -> None:
        raise OSError("libhl_logger.so: cannot open shared object file")

    monkeypatch.setattr(devices.importlib, "import_module", fail)
    assert devices.detect_devices()[-1].kind == "cpu"
    assert "libhl_logger.so" in str(devices.gaudi_problem())


def test_no_gaudi_software_is_no_problem() -> None:
    """A missing habana_frameworks package made find_spec raise in other projects."""
    if "habana_frameworks" not in sys.modules:
        assert devices.gaudi_problem() is None


def test_an_absent_device_is_refused_by_name() -> None:
    """`--device` with a device that is not there names the ones that are."""
    with pytest.raises(FastdraftError, match=r"'warp9'.*cpu"):
        devices.choose_device("warp9")


def test_the_cpu_is_always_there() -> None:
    """Whatever else is missing, there is one CPU, listed last, and `cpu` chooses it."""
    assert [d.kind for d in devices.detect_devices()].count("cpu") == 1
    assert devices.detect_devices()[-1].torch_name == devices.choose_device("cpu") == "cpu"


@pytest.mark.parametrize(
    ("extra", "dtype"), [("avx512_bf16", "bfloat16"), ("amx_bf16 amx_tile", "bfloat16"), ("", "float32")]
)
def test_bf16_is_chosen_only_where_native(monkeypatch: pytest.MonkeyPatch, extra: str, dtype: str) -> None:
    """bf16 emulated on an older processor is slower than float32: it is chosen where native, never elsewhere."""
    pretend_cpuinfo(monkeypatch, XEON.format(extra=extra))
    assert devices.choose_dtype("cpu") == dtype
    assert cpu.cpu_name() == "Intel(R) Xeon(R) 6"


def test_bf16_on_arm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arm writes `Features`, not `flags`: Graviton 3 has bf16 and must get it."""
    pretend_cpuinfo(monkeypatch, "processor : 0\nFeatures : fp asimd i8mm bf16\n")
    assert devices.choose_dtype("cpu") == "bfloat16"


def test_the_asked_dtype_wins_and_a_wrong_one_is_refused() -> None:
    """`--dtype` overrides the choice; a misspelt one names the three that there are."""
    assert devices.choose_dtype("cpu", "float32") == "float32"
    with pytest.raises(FastdraftError, match="bfloat16, float16, float32"):
        devices.choose_dtype("cpu", "bf17")


@pytest.mark.parametrize(
    ("asked", "environment", "threads"), [(0, None, 6), (0, "3", 3), (0, "4,2", 4), (0, "many", 6), (5, "3", 5)]
)
def test_threads(monkeypatch: pytest.MonkeyPatch, asked: int, environment: str | None, threads: int) -> None:
    """`--threads` first, then OMP_NUM_THREADS, then one a physical core; a broken variable is passed over."""
    monkeypatch.setattr(devices, "physical_cores", lambda: 6)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if environment is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", environment)
    assert devices.choose_threads(asked) == threads


def test_hyperthreads_count_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two threads a core: decoding with one thread a hardware thread is slower, so cores are counted."""
    for thread in range(4):
        topology = tmp_path / f"cpu{thread}" / "topology"
        topology.mkdir(parents=True)
        (topology / "core_id").write_text(str(thread // 2))
        (topology / "physical_package_id").write_text("0")
    monkeypatch.setattr(cpu, "_SYSFS", tmp_path)
    monkeypatch.setattr(cpu, "_affinity", lambda: [0, 1, 2, 3])
    monkeypatch.setattr(cpu, "cpu_quota", lambda: None)
    assert (cpu.physical_cores(), cpu.logical_cores()) == (2, 4)


@pytest.mark.parametrize(("quota", "cores"), [("200000 100000", 2), ("50000 100000", 1), ("max 100000", 8)])
def test_a_containers_quota_limits_cores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quota: str, cores: int
) -> None:
    """In a container with 2 of 8 cores, 8 threads would fight over 2: the quota counts, halves round up to 1."""
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(limits, "_CGROUP", tmp_path)
    monkeypatch.setattr(limits, "_cgroup_folder", lambda controller: tmp_path)
    monkeypatch.setattr(cpu, "_affinity", lambda: list(range(8)))
    assert cpu.logical_cores() == cores


def test_a_containers_memory_limit_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Free memory is the container's: the machine's would let a model load that the kernel then kills."""
    (tmp_path / "memory.max").write_text(str(3 << 20))
    (tmp_path / "memory.current").write_text(str(1 << 20))
    monkeypatch.setattr(limits, "_CGROUP", tmp_path)
    monkeypatch.setattr(limits, "_cgroup_folder", lambda controller: tmp_path)
    assert limits.memory() == (3 << 20, 2 << 20)
    # A model that was just downloaded is no reason to refuse it.
    (tmp_path / "memory.stat").write_text(f"anon 4096\ninactive_file {1 << 19}\nslab 100\n")
    assert limits.memory() == (3 << 20, 5 << 19)


def test_the_limit_counts_for_plans_and_for_the_wizard(monkeypatch: pytest.MonkeyPatch) -> None:
    """They promised what the machine has, and the training was killed."""
    monkeypatch.setattr(limits, "memory", lambda: (1 << 40, 100 << 20))
    assert plan._free_memory(torch.device("cpu")) == 100 << 20
    assert facts.free_memory() == 100 << 20


def test_bandwidth_is_measured_once_and_kept(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """`doctor` answers at once the second time; the kept figure names machine, date and method."""
    monkeypatch.setattr(bandwidth, "buffer_bytes", lambda: 1 << 20)
    monkeypatch.setattr(bandwidth.psutil, "cpu_percent", lambda interval: 0.0)
    before = torch.get_num_threads()
    first = devices.measured_peak_bandwidth()
    assert first.all_threads >= first.single_thread > 0
    assert first.machine == bandwidth.machine_id()
    assert "best of" in first.method
    assert torch.get_num_threads() == before
    monkeypatch.setattr(bandwidth, "_measure", lambda: pytest.fail("measured again"))
    assert devices.measured_peak_bandwidth() == first


def test_a_figure_of_a_busy_machine_is_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training in the background halves the figure; it must not stay the machine's peak for ever."""
    busy, busier, idle = figure(6, busy_share=0.9), figure(3, busy_share=1.0), figure(12, busy_share=0.0)
    for measured, kept in ((busy, busy), (busier, busy), (idle, idle)):
        monkeypatch.setattr(bandwidth, "_measure", lambda measured=measured: measured)
        assert devices.measured_peak_bandwidth() == kept


def test_another_machines_figure_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A home folder shared by several machines: each measures for itself."""
    there = msgspec.structs.replace(figure(1, busy_share=0), machine="another")
    monkeypatch.setattr(bandwidth, "_measure", lambda: there)
    devices.measured_peak_bandwidth()
    assert bandwidth.kept_peak_bandwidth() is None


def test_machine_card_is_json_with_every_version() -> None:
    """Every benchmark's JSON says on what it was measured, so that two results can be compared."""
    card = msgspec.json.decode(msgspec.json.encode(devices.machine_card()))
    assert card["versions"]["torch"] == torch.__version__
    assert card["devices"][-1]["kind"] == "cpu"
    assert card["threads"] >= 1
    assert card["memory_total"] > 1 << 28


def test_waiting_names_the_device_where_there_may_be_several(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another device than the current one may hold the model; Gaudi has one a process, and a CPU is always done."""
    waited: list[tuple[object, ...]] = []
    for kind in ("cuda", "hpu"):
        backend = types.SimpleNamespace(synchronize=lambda *device: waited.append(device))
        monkeypatch.setattr(torch, kind, backend, raising=False)
    for name in ("cpu", "cuda:1", "hpu:0"):
        devices.synchronize(torch.device(name))
    assert waited == [(torch.device("cuda:1"),), ()]
