"""Durations and sizes as people write them."""

import pytest

from modabatchd.quantities import parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90.0),
        ("90s", 90.0),
        ("0", 0.0),
        ("500ms", 0.5),
        ("2.5", 2.5),
        ("15m", 900.0),
        ("2h", 7200.0),
        ("1d", 86400.0),
        ("1.5 D", 129600.0),
        ("4w", 2419200.0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "m", "-1", "1e3", "15 minutes", "1h30m", "٣", "0x10", "1_000", "nan", "inf", "9" * 5000, "5\n"]
)
def test_what_is_no_duration_is_refused_readably(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration: expected a number of seconds, or a number with"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512", 512),
        ("512b", 512),
        ("1K", 1024),
        ("1kB", 1024),
        ("1KiB", 1024),
        ("1.5M", 1572864),
        ("2G", 2 * 2**30),
        ("2 GiB", 2 * 2**30),
        ("1T", 2**40),
        ("0", 0),
        ("9007199254740993", 9007199254740993),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


def test_a_bare_number_counts_in_the_unit_a_suffix_does_not() -> None:
    assert parse_size("128", unit=2**20) == 128 * 2**20
    assert parse_size("128K", unit=2**20) == 128 * 2**10


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("2X", "is not a size: expected a number, or a number with K, M, G or T"),
        ("-2G", "is not a size"),
        ("iB", "is not a size"),
        ("1ib", "is not a size"),
        ("0.5", "is not a whole number of bytes"),
        ("9999999999T", "is too large a size"),
    ],
)
def test_what_is_no_size_is_refused_readably(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_size(text)
