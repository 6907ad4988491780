"""This machine in words and rows: when a measurement counts, what was found, and that every row fits."""

from __future__ import annotations

import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdraft_app.client.doctor import read_check
from fastdraft_app.client.meters import Meters
from fastdraft_app.system.check_rows import check_row, check_words, name_width, sign
from fastdraft_app.system.export_report import as_json, as_text
from fastdraft_app.system.machine import Reading, age, counts, disturbance, gravest, idle_words, merged
from fastdraft_app.system.meter_rows import short_rows, tall_rows
from fastdraft_app.theme.palette import marks
from fastdraft_core.events import Check
from tests.app.doctors import ABSENT, BROKEN, CPU, FINE

QUIET = Reading(
    cores=(0.0, 0.1), history=(0.05,) * 9, memory_total=8 << 30, memory_available=4 << 30, disk_total=100 << 30, disk_free=50 << 30
)  # fmt: skip


def test_an_idle_machine_measures_well() -> None:
    """Nothing is made up to warn of."""
    assert disturbance(QUIET, "", checking=False, readings=9) == ""
    assert "95 % idle" in idle_words(QUIET)


@pytest.mark.parametrize(
    ("reading", "timed", "checking", "told"),
    [
        (QUIET, "a sweep is being timed", False, "a sweep is being timed"),
        (replace(QUIET, jobs=("one",)), "", False, "job one is running"),
        (replace(QUIET, jobs=("a", "b", "c", "d")), "", False, "jobs a, b and 2 more are running"),
        (replace(QUIET, history=(0.9,) * 9), "", True, "the checks are under way"),
        (replace(QUIET, history=(0.9,) * 9), "", False, "other programs use 1.8 of 2 cores"),
    ],
)
def test_what_makes_a_measurement_incomparable(reading: Reading, timed: str, checking: bool, told: str) -> None:
    """What is timed comes first, then our jobs, our checks, and whatever else takes the cores."""
    assert disturbance(reading, timed, checking=checking, readings=9) == told


def test_the_engine_is_no_other_program() -> None:
    """A replay that is drawn beside a loading engine blames nobody."""
    assert disturbance(replace(QUIET, history=(0.9,) * 9, engine_cores=1.7), "", checking=False, readings=9) == ""


def test_our_own_checks_are_no_other_program() -> None:
    """Their load is still in the readings when they have ended."""
    busy = replace(QUIET, history=(0.9,) * 9)
    assert disturbance(busy, "", checking=False, readings=1) == ""
    assert disturbance(replace(busy, history=(*busy.history, 0.1, 0.1)), "", checking=False, readings=3) == ""


def test_one_busy_second_is_no_disturbance() -> None:
    """A program that starts takes a core for a moment."""
    assert disturbance(replace(QUIET, history=(*QUIET.history, 0.5)), "", checking=False, readings=9) == ""


def test_a_new_look_takes_the_place_of_the_old_one_row_by_row() -> None:
    """Groups stay together, also where a check comes that was not there before."""
    now_there = Check(name=ABSENT.name, value="1", group=ABSENT.group)
    new = Check(name="nncf", value="3", group=ABSENT.group)
    assert merged([FINE, ABSENT, CPU], [now_there, new]) == [FINE, now_there, new, CPU]
    assert merged([], [FINE, FINE]) == [FINE]


def test_counts_and_the_gravest() -> None:
    """A failure before a warning; where all is well that is said."""
    assert [words for _, words in counts([FINE, ABSENT, ABSENT, BROKEN])] == ["1 failure", "2 warnings", "in 4 checks"]
    assert [words for _, words in counts([FINE, CPU])] == ["all 2 checks are fine"]
    assert gravest([FINE, ABSENT, BROKEN]) is BROKEN
    assert gravest([FINE, ABSENT]) is ABSENT
    assert gravest([FINE]) is None


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "just now"), (59, "just now"), (60, "1 min ago"), (7300, "2 h ago"), (200000, "2 d ago")]
)
def test_age(seconds: float, words: str) -> None:
    """In the largest whole unit."""
    assert age(seconds) == words


@pytest.mark.parametrize("ascii_only", [False, True])
def test_statuses_differ_without_colour(ascii_only: bool) -> None:
    """NO_COLOR and a terminal without Unicode: the sign tells."""
    signs = {sign(status, marks(ascii_only)) for status in ("ok", "warn", "fail")}
    assert len(signs) == 3
    assert not ascii_only or all(one.isascii() for one in signs)


@given(st.text(), st.text(), st.integers(40, 200))
def test_a_row_fits_whatever_a_driver_is_called(name: str, value: str, width: int) -> None:
    """Names of devices come from drivers: wide and control characters neither break a row nor reach the terminal."""
    check = Check(name=name, value=value, status="warn", advice=value, group="devices")
    row = check_row(check, name_width([check], width), width, marks(False))
    assert row.cell_length <= width
    shown = row.plain + check_words(check, marks(False)).plain.replace("\n", "")
    assert {unicodedata.category(character) for character in shown}.isdisjoint({"Cc", "Cf", "Zl", "Zp"})


@given(
    st.lists(st.floats(0, 1), max_size=300),
    st.integers(46, 220),
    st.booleans(),
    st.sampled_from(
        ["", "a live run is being timed", "jobs with-a-long-name, another-long-name and 9 more are running"]
    ),
)
def test_meters_fit(cores: list[float], width: int, ascii_only: bool, disturbed: str) -> None:
    """One core or three hundred, a narrow panel or a wide one."""
    reading = replace(QUIET, cores=tuple(cores), history=tuple(cores[:120]), engine=3 << 30, engine_cores=12.5)
    for rows in (short_rows, tall_rows):
        drawn = rows(reading, disturbed, width, marks(ascii_only))
        assert max(row.cell_length for row in drawn) <= width
        assert not ascii_only or all(row.plain.isascii() for row in drawn)
    assert len(short_rows(reading, disturbed, width, marks(ascii_only))) == 5


def test_nothing_is_known_before_the_first_look() -> None:
    """No zeros that nobody measured."""
    text = "\n".join(row.plain for row in short_rows(Reading(), "", 78, marks(False)))
    assert "0 %" not in text


def test_the_machine_is_read() -> None:
    """Loads are shares since the look before; the first one has none."""
    meters = Meters()
    assert meters.read(None).cores == ()
    sum(range(10_000_000))
    found = meters.read(None)
    assert found.cores
    assert all(0 <= load <= 1 for load in found.cores)
    assert 0 < found.memory_available <= found.memory_total
    assert 0 < found.disk_free <= found.disk_total
    assert found.engine is None
    assert found.jobs == ()


def test_the_json_is_read_line_by_line_as_it_is_written() -> None:
    """What is exported is what the command prints, and each of its lines is understood alone."""
    checks = [FINE, ABSENT, BROKEN]
    lines = as_json(checks).encode().splitlines()
    assert [read_check(line) for line in lines] == [*checks, None]
    assert read_check(b"a library said something") is None
    assert read_check(b'{"type":"progress","what":"no check"}') is None


def test_the_text_has_no_control_characters() -> None:
    """It is pasted into terminals and issues."""
    text = as_text([Check(name="device", value="a\x1b[31m\nb", group="devices")])
    assert "\x1b" not in text
    assert len(text.splitlines()) == 2
