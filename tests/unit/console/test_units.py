from __future__ import annotations

import pytest

from packrunner.console import units


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "<1ms"),
        (0.0004, "<1ms"),
        (0.001, "1ms"),
        (0.038, "38ms"),
        (0.9994, "999ms"),
        (0.9996, "1.0s"),
        (6.1, "6.1s"),
        (59.94, "59.9s"),
        (59.96, "1m 00s"),
        (125, "2m 05s"),
        (3599.6, "1h 00m"),
        (3720, "1h 02m"),
        (90_000, "25h 00m"),
    ],
)
def test_durations(seconds: float, shown: str) -> None:
    assert units.duration(seconds) == shown


@pytest.mark.parametrize(("seconds", "shown"), [(10.2, "10s"), (30, "30s"), (60, "1m 00s"), (0, "0s")])
def test_a_growing_duration_has_whole_seconds(seconds: float, shown: str) -> None:
    assert units.coarse(seconds) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (48_123, "48 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (74_600_000, "74.6 MB"),
        (999_940_000, "999.9 MB"),
        (999_960_000, "1.0 GB"),
        (1_200_000_000, "1.2 GB"),
        (3_400_000_000_000, "3.4 TB"),
        (5 * 10**15, "5.0 PB"),
    ],
)
def test_sizes_are_decimal(count: int, shown: str) -> None:
    assert units.size(count) == shown


@pytest.mark.parametrize(
    ("items", "total", "shown"),
    [
        ([], None, ""),
        (["a"], None, "a"),
        (["a", "b", "c"], None, "a, b, c"),
        (["libssl3", "libc6", "x", "y", "z", "w"], None, "libssl3, libc6 and 4 more"),
        (["a", "b"], 9, "a, b and 7 more"),
        (["a", "b"], 3, "a, b and 1 more"),
        ([], 4, "4"),
    ],
)
def test_lists_name_up_to_three(items: list[str], total: int | None, shown: str) -> None:
    assert units.names(items, total) == shown


def test_counts_have_the_right_plural_and_no_zero() -> None:
    assert [units.number(n, "layer") for n in (0, 1, 5)] == ["no layers", "1 layer", "5 layers"]
    assert units.number(2, "entry", "entries") == "2 entries"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-5, "just now"), (59, "just now"), (250, "4 min ago"), (3600, "1 hour ago"), (3 * 86_400, "3 days ago")],
)
def test_ages_have_one_unit_rounded_down(seconds: float, shown: str) -> None:
    assert units.age(seconds) == shown


def test_digests_are_twelve_digits() -> None:
    assert units.short("sha256:" + "3f9a1c07b2de" + "0" * 52) == "3f9a1c07b2de"


def test_names_are_cut_in_the_middle_and_texts_at_the_end() -> None:
    assert units.shorten_middle("registry.example.com/team/api", 16) == "registr...am/api"
    assert units.shorten("installing dependencies", 14) == "installing..."
    assert units.shorten("short", 14) == "short"
    assert units.shorten("anything", 2) == ""
