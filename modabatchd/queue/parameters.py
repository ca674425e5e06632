"""
The parameters of a job array: from the CSV that a user sent to a file that each task takes its row from.  Pure.

Note [Rows as lines of shell]
=============================
A node has no reader of CSV, and quotes within quotes with line breaks in them are nothing for awk.  So the CSV is read here,
and what goes to the node has one line for each row: commands that set its variables, quoted as in C{launch.sh}.  A line break
in a value is the variable C{MODACLOUDS_BATCH_BREAK}, hence every row is one line, and its number is the task's index.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Final

from modabatchd.errors import FieldError
from modabatchd.queue.form import check_variable
from modabatchd.queue.launch import variables_of_row

FIELD: Final = "job-parameters"
#: Bytes of a CSV.
LARGEST: Final = 16 << 20


def rows_of_parameters(packed: bytes) -> tuple[int, bytes]:
    """
    Read a CSV (RFC 4180, UTF-8) whose first line names the variables; lines that are empty are passed over.

    @return: how many rows it has, and the file for the node.
    @raise FieldError: it breaks a rule, in which line.
    """
    rows = _rows(packed)
    names = next(rows, (0, []))[1]
    _check_names(names)
    lines = [_line(names, number, row) for number, row in rows]
    if not lines:
        raise _refusal("has no row after the line of names", "Send one line for each task.")
    return len(lines), b"".join(lines)


def _rows(packed: bytes) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not empty, each with the number of the line that it ends in."""
    if len(packed) > LARGEST:
        raise _refusal(f"has more than {LARGEST} bytes", "Put long values into files of job-input, and their names here.")
    if b"\0" in packed:
        raise _refusal("holds a NUL character", "Send text without NUL.")
    try:
        # Spreadsheets begin with a byte order mark.
        reader = csv.reader(io.StringIO(packed.decode("utf-8-sig"), newline=""), strict=True)
        for row in reader:
            if row:
                yield reader.line_num, row
    except UnicodeDecodeError:
        raise _refusal("is not UTF-8", "Save it as CSV in UTF-8.") from None
    except csv.Error as problem:
        cause = f"cannot be read as CSV near line {reader.line_num}: {problem}"
        raise _refusal(
            cause, "Put values with commas, quotes or line breaks in double quotes, and double each quote."
        ) from None


def _check_names(names: Sequence[str]) -> None:
    if not names:
        raise _refusal("is empty", "Send a first line with the names of the variables, and one line for each task.")
    for name in names:
        check_variable(FIELD, name, "")
    if len(set(names)) < len(names):
        raise _refusal("has a name twice in its first line", "Give every column a name of its own.")


def _line(names: Sequence[str], number: int, row: Sequence[str]) -> bytes:
    if len(row) != len(names):
        cause = f"has {len(row)} values in line {number}, and {len(names)} names in its first line"
        raise _refusal(cause, "Give every row a value for each name; it may be empty.")
    values = dict(zip(names, row, strict=True))
    for name, value in values.items():
        check_variable(FIELD, name, value)
    return variables_of_row(values)


def _refusal(cause: str, cure: str) -> FieldError:
    return FieldError(FIELD, f"The CSV {cause}.", cure)
