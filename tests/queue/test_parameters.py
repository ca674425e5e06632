"""The CSV with the parameters of a job array.  That nodes read it as it is meant is proved by test_wrapper.py."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modabatchd.errors import FieldError
from modabatchd.queue.parameters import rows_of_parameters

TEXT = st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("A\n1\n2\n", ["export A='1'", "export A='2'"]),
        ("A,B\r\n1,2", ["export A='1' B='2'"]),
        ("\ufeffA\n1", ["export A='1'"]),
        ("A\n\n1\n\n\n2\n", ["export A='1'", "export A='2'"]),
        ('A\n""\n', ["export A=''"]),
        ('A\n"a""b, c"', ["export A='a\"b, c'"]),
        ('A\n"a\nb"', ["export A='a'\"$MODACLOUDS_BATCH_BREAK\"'b'"]),
        ("A\nit's", ["export A='it'\\''s'"]),
        ("LANG\nde", ["set -- env -- 'LANG=de' \"$@\""]),
        ("A,PATH\n1,/bin", ["export A='1'; set -- env -- 'PATH=/bin' \"$@\""]),
    ],
)
def test_read(text: str, lines: list[str]) -> None:
    assert rows_of_parameters(text.encode()) == (len(lines), "".join(f"{line}\n" for line in lines).encode())


@pytest.mark.parametrize(
    ("packed", "cause"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"A\n", "no row"),
        (b"A,A\n1,2\n", "twice"),
        (b"A B\n1\n", "cannot be the name"),
        (b"A,\n1,2\n", "cannot be the name"),
        (b"MODACLOUDS_BATCH_X\n1\n", "sets itself"),
        (b"A,B\n1,2\n3\n", "has 1 values in line 3"),
        (b"A\n1,2\n", "has 2 values in line 2"),
        (b'A\n"open\n', "near line"),
        (b'A\n"x"y\n', "near line"),
        (b"A\n\0\n", "NUL"),
        (b"A\n\xff\n", "UTF-8"),
        (b"A\n" + b"x" * 131073, "near line"),
        (b"A\n" + b"x" * 131071, "more than a program can be given"),
    ],
)
def test_refused(packed: bytes, cause: str) -> None:
    with pytest.raises(FieldError, match=cause) as raised:
        rows_of_parameters(packed)
    assert raised.value.field == "job-parameters"


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1))
def test_every_row_is_one_line_whatever_it_holds(rows: list[tuple[str, str]]) -> None:
    written = io.StringIO()
    csv.writer(written).writerows([("A", "LC_ALL"), *rows])
    count, lines = rows_of_parameters(written.getvalue().encode())
    assert (count, lines.count(b"\n")) == (len(rows), len(rows))
