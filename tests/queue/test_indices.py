"""The indices of a job array's tasks."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modabatchd.queue.indices import HIGHEST, MOST, Indices, Stride, gathered, parse_indices


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7", [7]),
        ("0-3", [0, 1, 2, 3]),
        ("1-10:4", [1, 5, 9]),
        ("1,5,7-9", [1, 5, 7, 8, 9]),
        ("7-9, 5 ,1", [1, 5, 7, 8, 9]),
        ("1-3,2-4", [1, 2, 3, 4]),
        ("3-3", [3]),
        ("007", [7]),
    ],
)
def test_read(text: str, expected: list[int]) -> None:
    assert list(parse_indices(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",",
        "1,",
        "a",
        "-1",
        "1-",
        "9-1",
        "1-5:0",
        "1:2",
        "1 - 5",
        "1-5%2",
        "٣",
        str(HIGHEST + 1),
        f"0-{MOST}",
        f"0-{MOST - 1},{MOST}",
        "1-2:99999999999",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"it has|does not go up|is neither"):
        parse_indices(text)


def test_as_many_as_there_may_be() -> None:
    assert parse_indices(f"1-{MOST}") == Indices((Stride(1, MOST),))


@given(st.sets(st.integers(0, HIGHEST) | st.integers(0, 50), min_size=1))
def test_gathered(wanted: set[int]) -> None:
    indices = gathered(wanted)
    assert list(indices) == sorted(wanted)
    assert (indices.count, indices.first, indices.last) == (len(wanted), min(wanted), max(wanted))
    assert [index for index in range(52) if index in indices] == sorted(index for index in wanted if index < 52)
    assert list(indices.places().items()) == [(index, place) for place, index in enumerate(sorted(wanted))]
    assert msgspec.json.decode(msgspec.json.encode(indices), type=Indices) == indices


def test_what_goes_up_evenly_takes_up_little_space() -> None:
    assert msgspec.json.encode(gathered(range(3, 100_000, 7))) == b"[[[3,99998,7]]]"
