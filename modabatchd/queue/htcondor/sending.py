"""
The files of jobs, before they are sent to a scheduler.  It looks at the disk, so it is for the child process.

Note [How long sending may take]
================================
A submission is given so many seconds for what the scheduler is asked, and so many for files, whenever files are sent.  The
latter are meant for one job of any size, and a scheduler that freezes meanwhile is noticed only when they are over.  So they
are not multiplied: jobs are sent one by one, except for small ones, which go together, and the tasks of an array, which must.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

#: Bytes that may be sent together.
_TOGETHER: Final = 16 << 20


def lack(description: dict[str, str], row: dict[str, str]) -> str | None:
    """What is missing of a job's files."""
    directory = _directory(description, row)
    for path in _files(description, row):
        if not os.access(path, os.R_OK):
            return f"The job's file {path.name} is missing or cannot be read."
    return None if os.access(directory, os.W_OK | os.X_OK) else "The job's directory cannot be written."


def pieces(description: dict[str, str], rows: Sequence[dict[str, str]]) -> Iterator[list[dict[str, str]]]:
    """Rows that are sent together, in their order.  See Note [How long sending may take]."""
    piece: list[dict[str, str]] = []
    weight = 0
    for row in rows:
        size = sum(_size(path) for path in _files(description, row))
        if piece and weight + size > _TOGETHER:
            yield piece
            piece, weight = [], 0
        piece.append(row)
        weight += size
    if piece:
        yield piece


def _files(description: dict[str, str], row: dict[str, str]) -> list[Path]:
    directory = _directory(description, row)
    return [directory / name for name in description["transfer_input_files"].split(", ")]


def _directory(description: dict[str, str], row: dict[str, str]) -> Path:
    """A row tells it, or the description for all rows."""
    return Path({**description, **row}["modabatch_directory"])


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # It has just gone, which the scheduler will say.
