"""What disturbs a measurement is seen, and what does not is not; energy and memory are read as the machine tells them."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest

from fastdraft_core.machine.contention import Load, disturbance, load
from fastdraft_core.machine.meters import Energy, peak_memory

QUIET = Load(clock=0.0, busy=0.0, own=0.0, steal=0.0, faults=0, cores=2)


def after(*, busy: float, own: float, steal: float = 0.0, faults: int = 0, cores: int = 2) -> Load:
    """Two seconds later."""
    return Load(clock=2.0, busy=busy, own=own, steal=steal, faults=faults, cores=cores)


@pytest.mark.parametrize(
    ("then", "threads", "words"),
    [
        (after(busy=4.0, own=4.0), 2, ""),
        # A scheduler's ticks do not match a process's clock to the hundredth.
        (after(busy=4.05, own=3.95), 2, ""),
        (after(busy=4.0, own=3.0), 2, "other programs"),
        # One busy program has a core of its own beside one thread.
        (after(busy=4.0, own=2.0), 1, ""),
        (after(busy=16.0, own=4.0, cores=8), 2, ""),
        (after(busy=16.0, own=3.0, cores=8), 2, "other programs"),
        # A container that may use 2 of 64 cores: its neighbours have enough of their own, and steal is of all of them.
        (after(busy=64.0, own=4.0, steal=0.5, cores=64), 2, ""),
        (after(busy=128.0, own=3.0, cores=64), 2, "other programs"),
        (after(busy=2.0, own=2.0, steal=0.2), 2, "hypervisor"),
        (after(busy=4.0, own=4.0, faults=3), 2, "disk"),
    ],
)
def test_what_counts_as_disturbed(then: Load, threads: int, words: str) -> None:
    """Another program on our cores, a hypervisor and pages from disk disturb; a program on a free core does not."""
    why = disturbance(QUIET, then, threads)
    assert (words in why) if words else why == ""


def test_the_counters_of_this_machine_go_on() -> None:
    """Real counters: our own work shows up as ours."""
    before = load()
    sum(i * i for i in range(2_000_000))
    now = load()
    assert now.own > before.own
    assert now.clock > before.clock
    assert now.busy >= before.busy
    assert disturbance(before, before, 1) == ""


def zone(root: Path, name: str, microjoules: int, what: str = "package") -> Path:
    folder = root / name
    folder.mkdir(exist_ok=True)
    (folder / "name").write_text(f"{what}\n")
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    (folder / "max_energy_range_uj").write_text("1000000000\n")
    return folder


def test_energy_of_all_packages_and_no_part_twice(tmp_path: Path) -> None:
    """Two packages add up; the cores of one are inside it; a counter that ran over went through its range once."""
    zone(tmp_path, "intel-rapl:0", 999_000_000)
    zone(tmp_path, "intel-rapl:0:0", 1)
    zone(tmp_path, "intel-rapl:1", 5_000_000)
    energy = Energy(tmp_path)
    before = energy.read()
    zone(tmp_path, "intel-rapl:0", 1_000_000)
    zone(tmp_path, "intel-rapl:0:0", 900_000_000)
    zone(tmp_path, "intel-rapl:1", 8_000_000)
    assert energy.joules(before, energy.read()) == pytest.approx(2 + 3)


def test_the_whole_platform_is_no_package(tmp_path: Path) -> None:
    """Laptops have a zone of the whole platform beside the package inside it: both together would count twice."""
    zone(tmp_path, "intel-rapl:0", 0, "package-0")
    zone(tmp_path, "intel-rapl:1", 0, "psys")
    energy = Energy(tmp_path)
    before = energy.read()
    zone(tmp_path, "intel-rapl:0", 2_000_000, "package-0")
    zone(tmp_path, "intel-rapl:1", 5_000_000, "psys")
    assert energy.joules(before, energy.read()) == pytest.approx(2)


def test_no_energy_where_the_machine_tells_none(tmp_path: Path) -> None:
    """Absent is not zero."""
    energy = Energy(tmp_path)
    assert energy.read() is None
    assert energy.joules(None, None) is None


def test_peak_memory_sees_what_was_freed_again() -> None:
    """A peak inside the block counts though it is gone at its end; one before the block does not (on Linux)."""
    size = 100 << 20
    with peak_memory() as before:
        pass
    # Not from the allocator, which may keep what was freed.
    with peak_memory() as peak, mmap.mmap(-1, size) as block:
        block.write(b"x" * size)
    assert peak[0] > 0
    if Path("/proc/self/clear_refs").exists():
        assert peak[0] - before[0] > 0.8 * size
        with peak_memory() as later:
            pass
        assert peak[0] - later[0] > 0.5 * size
