"""
The files in which HTCondor tells what happens to our jobs.

Note [A second log]
===================
Each job has an event log of its own, which is its owner's.  HTCondor lets it have a second one, meant for DAGMan, with a
choice of events; all our jobs share that, and whoever may submit may ask for it.  An event begins with a line like
C{005 (0123.004.000) 2026-11-25 01:09:33 Job terminated.}  It is only taken as a sign that something has changed, so a text that
somebody wrote, and that looks like one, does no harm.  A line that is not complete yet waits.

Note [Our own rotation]
=======================
HTCondor would move a file away while it is read, so it must not rotate.  A job keeps the file that was the newest when it was
submitted.  After a day, or many events, a new one is begun; the others are read on, and deleted once the scheduler has no job
any more that belongs to one.  A submission may still be under way with an older file, so one that was the newest an hour ago
stays in any case.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec

from modabatchd.queue.htcondor.classads import EventLog
from modabatchd.workers import IWorkers

#: How far each file was read: its inode, and how many bytes.
Marks = Mapping[str, tuple[int, int]]

_DAY: Final = 86400.0
_HOUR: Final = 3600.0
_LARGEST: Final = 64 << 20
_CHUNK: Final = 1 << 20
_HEAD: Final = re.compile(rb"^\d{3} \(\d+\.\d+\.\d+\) ", re.MULTILINE)


class Found(msgspec.Struct, frozen=True):
    """
    What was read.

    @ivar count: how many events.
    @ivar marks: how far it was read.
    """

    count: int
    marks: Marks


class Events:
    """
    See Note [A second log] and Note [Our own rotation].

    @param directory: where the files lie; made when it is needed.  Its path can be told to HTCondor.
    @param workers: where files are read.
    @param seconds: the time of day.
    """

    def __init__(self, directory: Path, workers: IWorkers, seconds: Callable[[], float]) -> None:
        self._directory = directory
        self._workers = workers
        self._seconds = seconds

    async def newest(self) -> EventLog:
        """The file for jobs that are submitted now."""
        return await self._workers.run(self._newest)

    async def read(self, marks: Marks) -> Found:
        """Read on in all files."""
        return await self._workers.run(self._read, marks)

    async def clear_away(self, in_use: Callable[[int], Awaitable[bool]]) -> None:
        """
        Delete the files that nobody writes to any more.

        @param in_use: whether the scheduler has jobs that belong to the file of that stamp.
        """
        stamps = await self._workers.run(self._stamps)
        before = _stamp(self._seconds() - _HOUR)
        for stamp, successor in pairwise(stamps):
            if successor < before and not await in_use(stamp):
                await self._workers.run(self._path(stamp).unlink, missing_ok=True)

    def _newest(self) -> EventLog:
        now = self._seconds()
        stamp = max(self._stamps(), default=0)
        if stamp < _stamp(now - _DAY) or self._path(stamp).stat().st_size > _LARGEST:
            stamp = max(_stamp(now), stamp + 1)
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._path(stamp).touch(mode=0o600)
        return EventLog(stamp, str(self._path(stamp)))

    def _read(self, marks: Marks) -> Found:
        count = 0
        after: dict[str, tuple[int, int]] = {}
        for stamp in self._stamps():
            path = self._path(stamp)
            try:
                more, after[path.name] = _read_on(path, *marks.get(path.name, (0, 0)))
            except FileNotFoundError:
                continue
            count += more
        return Found(count, after)

    def _stamps(self) -> list[int]:
        try:
            names = [path.name for path in self._directory.iterdir()]
        except FileNotFoundError:
            return []
        return sorted(int(name.removesuffix(".log")) for name in names if re.fullmatch(r"\d{14}\.log", name))

    def _path(self, stamp: int) -> Path:
        return self._directory / f"{stamp:014}.log"


def events(text: bytes) -> tuple[int, int]:
    """How many events begin in a text, and how many bytes of it are whole lines."""
    end = text.rfind(b"\n") + 1
    return len(_HEAD.findall(text, 0, end)), end


def _read_on(path: Path, inode: int, offset: int) -> tuple[int, tuple[int, int]]:
    """@return: how many events there were, and how far it is read then."""
    status = path.stat()
    if status.st_ino != inode or status.st_size < offset:
        offset = 0
    count = 0
    if status.st_size > offset:
        with path.open("rb") as file:
            file.seek(offset)
            while text := file.read(_CHUNK):
                more, whole = events(text)
                count += more
                if not whole and len(text) < _CHUNK:
                    break
                # No line is that long: whatever it is, it is passed over.
                offset += whole or len(text)
                file.seek(offset)
    return count, (status.st_ino, offset)


def _stamp(seconds: float) -> int:
    return int(time.strftime("%Y%m%d%H%M%S", time.gmtime(seconds)))
