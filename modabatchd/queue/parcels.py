"""
The small files of many jobs, written and synced together.  Blocking; knows nothing of Twisted.

See Note [Keeping drafts together] in L{modabatchd.queue.spool}.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from modabatchd.errors import NoSpace
from modabatchd.queue import files


class Parcel(msgspec.Struct, frozen=True):
    """Files that are to lie in a directory of their own, by their names."""

    place: Path
    contents: Mapping[str, bytes]


def lay_down(parcels: Sequence[Parcel]) -> list[int | Exception]:
    """
    Make parcels the directories of jobs, durable once this returns.

    @return: for each the bytes in it, or what was in its way; of that one nothing is left then.
    """
    outcomes: list[int | Exception] = [sum(map(len, parcel.contents.values())) for parcel in parcels]
    for step in (_write, _sync):
        _attempt(step, parcels, outcomes)
    shelves = {parcel.place.parent for parcel, outcome in zip(parcels, outcomes, strict=True) if isinstance(outcome, int)}
    for directory in (*shelves, *{shelf.parent for shelf in shelves}):
        files.sync(directory)
    return outcomes


def _attempt(step: Callable[[Parcel], None], parcels: Sequence[Parcel], outcomes: list[int | Exception]) -> None:
    """Do a step for those that nothing was in the way of so far."""
    for index, parcel in enumerate(parcels):
        if isinstance(outcomes[index], int):
            try:
                with files.out_of_space():
                    step(parcel)
            except (OSError, NoSpace) as problem:
                outcomes[index] = problem


def _write(parcel: Parcel) -> None:
    _make(parcel.place)
    with _whole(parcel.place):
        for name, content in parcel.contents.items():
            _write_file(parcel.place / name, content)


def _write_file(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    finally:
        os.close(descriptor)


def _sync(parcel: Parcel) -> None:
    with _whole(parcel.place):
        for name in parcel.contents:
            files.sync(parcel.place / name)
        files.sync(parcel.place)


def _make(place: Path) -> None:
    """A directory that is not there yet: another job's is left alone."""
    try:
        place.mkdir(mode=0o700)
    except FileNotFoundError:
        place.parent.mkdir(exist_ok=True, mode=0o700)
        place.mkdir(mode=0o700)


@contextmanager
def _whole(place: Path) -> Iterator[None]:
    """All of it, or nothing."""
    try:
        yield
    except BaseException:
        files.delete(place)
        raise
