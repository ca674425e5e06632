"""Which part of a file a request gets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.web.http_headers import Headers

from modabatchd.rest.conditions import Part, Version, choose
from modabatchd.rest.problems import HTTPRefusal

VERSION = Version('"tag"', 1_700_000_000)
DATE = "Tue, 14 Nov 2023 22:13:20 GMT"
WHOLE = Part(200, 0, 100)
NOTHING = Part(304, 0, 0)


def chosen(version: Version | None = VERSION, size: int = 100, **headers: str) -> Part:
    """Header names are written with underscores."""
    return choose(Headers({name.replace("_", "-"): [value] for name, value in headers.items()}), size, version)


@pytest.mark.parametrize(
    ("wanted", "start", "length"),
    [
        ("bytes=0-0", 0, 1), ("bytes=0-99", 0, 100), ("bytes=0-", 0, 100), ("bytes=10-19", 10, 10), ("bytes=99-", 99, 1),
        ("bytes=50-1000", 50, 50), ("bytes=-1", 99, 1), ("bytes=-100", 0, 100), ("bytes=-1000", 0, 100), ("Bytes= 1-2 ", 1, 2),
    ],
)  # fmt: skip
def test_ranges(wanted: str, start: int, length: int) -> None:
    assert chosen(Range=wanted) == Part(206, start, length)


@pytest.mark.parametrize("wanted", ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=999999999999999999-"])
def test_ranges_outside_of_the_file(wanted: str) -> None:
    with pytest.raises(HTTPRefusal) as raised:
        chosen(Range=wanted)
    assert raised.value.status == 416
    assert raised.value.headers == {"Content-Range": "bytes */100"}


def test_no_range_lies_in_an_empty_file() -> None:
    with pytest.raises(HTTPRefusal):
        chosen(size=0, Range="bytes=0-")
    assert chosen(size=0) == Part(200, 0, 0)


@pytest.mark.parametrize(
    "wanted",
    ["", "bytes", "bytes=", "bytes=-", "bytes=5-3", "bytes=a-b", "lines=1-2", "bytes=1-2,4-5", "bytes=+1-2", "bytes=0x1-2"],
)
def test_ranges_that_are_ignored(wanted: str) -> None:
    assert chosen(Range=wanted) == WHOLE


@given(st.text("bytes=0123456789-, ", max_size=20), st.integers(0, 200))
def test_any_range_at_all(wanted: str, size: int) -> None:
    try:
        part = chosen(size=size, Range="bytes=" + wanted)
    except HTTPRefusal:
        return
    assert 0 <= part.start <= part.start + part.length <= size
    assert part.length or part.status == 200


@pytest.mark.parametrize("tags", ['"tag"', 'W/"tag"', '"other", "tag"', '"a,b",W/"tag"', "*"])
def test_a_client_that_has_it_already(tags: str) -> None:
    assert chosen(If_None_Match=tags) == NOTHING
    assert chosen(If_None_Match=tags, Range="bytes=0-1") == NOTHING


def test_a_client_that_has_another_one() -> None:
    assert chosen(If_None_Match='"other"') == WHOLE
    assert chosen(If_None_Match='"other"', If_Modified_Since=DATE) == WHOLE
    assert chosen(If_None_Match="tag") == WHOLE


def test_dates() -> None:
    assert VERSION.date == DATE
    assert chosen(If_Modified_Since=DATE) == NOTHING
    assert chosen(If_Modified_Since="Tue, 14 Nov 2023 22:13:21 GMT") == NOTHING
    assert chosen(If_Modified_Since="Tue, 14 Nov 2023 22:13:19 GMT") == WHOLE


@pytest.mark.parametrize("date", ["", "yesterday", "Tue, 99 Nov 2023 22:13:19 GMT", "Tue, 14 Nov 99999 22:13:19 GMT"])
def test_dates_that_are_none(date: str) -> None:
    assert chosen(If_Modified_Since=date) == WHOLE


@given(st.text(max_size=40))
def test_any_date_at_all(date: str) -> None:
    assert chosen(If_Modified_Since=date) in (WHOLE, NOTHING)


@pytest.mark.parametrize("condition", ['"tag"', DATE])
def test_a_part_goes_on_with_the_same_file(condition: str) -> None:
    assert chosen(Range="bytes=10-", If_Range=condition) == Part(206, 10, 90)


@pytest.mark.parametrize("condition", ['"other"', 'W/"tag"', "Tue, 14 Nov 2023 22:13:21 GMT", ""])
def test_a_part_of_another_file_is_the_whole_one(condition: str) -> None:
    assert chosen(Range="bytes=10-", If_Range=condition) == WHOLE
    assert chosen(Range="bytes=1000-", If_Range=condition) == WHOLE


def test_of_a_file_that_still_grows_nothing_can_be_relied_on() -> None:
    assert chosen(None, If_None_Match="*", If_Modified_Since=DATE) == WHOLE
    assert chosen(None, Range="bytes=10-", If_Range='"tag"') == WHOLE
    assert chosen(None, Range="bytes=10-") == Part(206, 10, 90)


@pytest.mark.parametrize("condition", [{"If_Match": '"x", "tag"'}, {"If_Match": "*"}, {"If_Unmodified_Since": DATE}])
def test_the_file_that_a_client_wants_a_part_of(condition: dict[str, str]) -> None:
    assert chosen(Range="bytes=10-", **condition) == Part(206, 10, 90)


@pytest.mark.parametrize(
    "condition", [{"If_Match": '"other"'}, {"If_Match": 'W/"tag"'}, {"If_Unmodified_Since": "Tue, 14 Nov 2023 22:13:19 GMT"}]
)
def test_a_part_of_a_file_that_is_another_one_now(condition: dict[str, str]) -> None:
    with pytest.raises(HTTPRefusal) as caught:
        chosen(Range="bytes=10-", **condition)
    assert caught.value.status == 412
