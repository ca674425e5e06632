"""
The small files of many jobs, written and synced together.  Blocking; knows nothing of Twisted.

See Note [Keeping drafts together] in L{modabatchd.queue.spool}.

Note [Whose error it is]
========================
C{syncfs} tells of an error, but not of whose, and before Linux 5.8 it tells of none.  So after an error, and on an older
kernel, every file is synced by itself.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from modabatchd.errors import NoSpace
from modabatchd.queue import files

_LIBRARY: Final[Any] = ctypes.CDLL(None, use_errno=True)
_RELEASE: Final = tuple(map(int, re.findall(r"[0-9]+", platform.release())[:2]))
#: Whether one call syncs a whole file system.  See Note [Whose error it is].
_TELLS: Final = platform.system() == "Linux" and _RELEASE >= (5, 8) and hasattr(_LIBRARY, "syncfs")


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
    # Errors are told of what happens after this has been opened.
    descriptor = os.open(parcels[0].place.parents[1], os.O_RDONLY)
    try:
        _attempt(_write, parcels, outcomes)
        if not sync_file_system(descriptor):
            _attempt(_sync, parcels, outcomes)
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return outcomes


def sync_file_system(descriptor: int) -> bool:
    """Have all of a file system on the disk.  @return: whether it is for sure.  See Note [Whose error it is]."""
    return _TELLS and _LIBRARY.syncfs(descriptor) == 0


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
        files.sync(parcel.place.parent)


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
