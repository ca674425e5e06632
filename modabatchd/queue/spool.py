"""
The files of jobs, on a local file system.

Note [Keeping a draft]
======================
The bytes of a large submission arrive in C{incoming/}, where a restart clears them away.  To keep them, everything in the draft
is synced, then the draft's directory is renamed to its place under C{jobs/}, then both parents are synced: after that no
crash can take it, and before that no job is recorded that would miss it.  Whoever received the draft may discard it in the
meantime, because the client has gone; a draft that is just being kept is therefore left alone.

Note [Keeping drafts together]
==============================
A small submission waits in memory, and is written to its place under C{jobs/} at once: a crash before its job is recorded
leaves a stray there, as it does with a large one.  Those that come while others are written are the next to be written, all
of them; then the whole file system is synced, once.  While other programs sync as well, files and directories that are synced
one by one wait for each of these again and again; so the one call is some ten times faster then, even where it has to write
what others have left unwritten.

Note [Counting]
===============
What each job takes up is remembered, not only the sum, so that to count a job twice is to count it once: after a crash its
finishing is repeated, and the count at the start comes across jobs that were kept or settled a moment ago.  It goes one
directory after the other, and takes turns with the deletion of jobs, so that it cannot bring back what is gone.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, Final, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from modabatchd.errors import NoSpace, StartupError, UnknownArtifact
from modabatchd.gathering import Gathering
from modabatchd.queue import files
from modabatchd.queue.interfaces import IDraft, ISpool
from modabatchd.queue.job import Artifact
from modabatchd.queue.parcels import Parcel, lay_down
from modabatchd.workers import IWorkers

R = TypeVar("R")

#: How many drafts are written together at the most.
_TOGETHER: Final = 100

#: The artifacts of a job, and the files of its directory that they are.
ARTIFACTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        Artifact.OUTPUT: "output.tar.gz",
        Artifact.STDOUT: "stdout",
        Artifact.STDERR: "stderr",
        Artifact.USERLOG: "_userlog",
    }
)


@implementer(IDraft)
class Draft:
    """
    See L{IDraft}.

    @ivar contents: the files that wait in memory.
    @ivar on_disk: whether they are written into the directory instead.
    """

    def __init__(self, directory: Path, make: Callable[[Path], Deferred[None]], count: Callable[[Path, int], None]) -> None:
        self.directory = directory
        self.contents: dict[str, bytes] = {}
        self.on_disk = False
        self._make = make
        self._count = count

    def open(self) -> Deferred[Path]:
        """See L{IDraft.open}."""
        self.on_disk = True
        return self._make(self.directory).addCallback(lambda _: self.directory)

    def put(self, name: str, content: bytes) -> None:
        """See L{IDraft.put}."""
        self.contents[name] = content

    def holds(self, name: str) -> bool:
        """See L{IDraft.holds}."""
        return name in self.contents or (self.on_disk and (self.directory / name).exists())

    def read(self, name: str) -> BinaryIO:
        """See L{IDraft.read}."""
        return BytesIO(self.contents[name]) if name in self.contents else (self.directory / name).open("rb")

    def grow(self, size: int) -> None:
        """See L{IDraft.grow}."""
        self._count(self.directory, size)


@implementer(ISpool)
class FileSpool(Service):
    """
    See L{ISpool}.

    @ivar used: bytes that the files of jobs and drafts take up; what was there before is counted after the start.
    """

    _log = Logger()

    def __init__(self, directory: Path, quota: int, workers: IWorkers) -> None:
        self.setName("spool")
        self._jobs = directory / "jobs"
        self._incoming = directory / "incoming"
        self._quota = quota
        self._workers = workers
        self._sizes: dict[str, int] = {}
        self._receiving: dict[Path, int] = {}
        self._keeping: set[Path] = set()
        self._turn = DeferredLock()
        self._laying = Gathering(self._lay_down, _TOGETHER)
        self.used = 0

    def prepare(self) -> None:
        """
        Make the directories and clear away what an earlier life left half received.  Blocking.

        @raise StartupError: that is not possible.
        """
        try:
            self._jobs.mkdir(parents=True, exist_ok=True, mode=0o700)
            files.delete(self._incoming)
            self._incoming.mkdir(mode=0o700)
            files.sync(self._jobs.parent)
        except OSError as problem:
            cause = f"The spool cannot use {problem.filename}: {problem.strerror}."
            raise StartupError(cause, "Let the daemon's user write there, or change spool.directory.") from None

    def startService(self) -> None:
        """Count what is there, off the reactor.  See Note [Counting]."""
        super().startService()
        counting = Deferred.fromCoroutine(self._count_all())
        counting.addErrback(lambda failure: self._log.failure("counting the spool", failure))

    def draft(self, expected: int = 0) -> IDraft:
        """See L{ISpool.draft}."""
        self._see_room_for(max(expected, 1))
        directory = self._incoming / secrets.token_hex(16)
        self._receiving[directory] = 0
        draft: IDraft = Draft(directory, lambda place: self._run(place.mkdir, mode=0o700), self._grow)
        return draft

    def keep(self, draft: IDraft, job_id: str, launch: bytes, parameters: bytes | None = None) -> Deferred[Path]:
        """See L{ISpool.keep}, Note [Keeping a draft] and Note [Keeping drafts together]."""
        own = {files.LAUNCH: launch} if parameters is None else {files.LAUNCH: launch, files.PARAMETERS: parameters}
        return Deferred.fromCoroutine(self._keep(_own(draft), job_id, own))

    def discard(self, draft: IDraft) -> Deferred[None]:
        """See L{ISpool.discard} and Note [Keeping a draft]."""
        return self._discard(_own(draft))

    def _discard(self, draft: Draft) -> Deferred[None]:
        if draft.directory in self._keeping or draft.directory not in self._receiving:
            return succeed(None)
        self.used -= self._receiving.pop(draft.directory)
        draft.contents.clear()
        return self._run(files.delete, draft.directory) if draft.on_disk else succeed(None)

    def directory(self, job_id: str) -> Path:
        """See L{ISpool.directory}."""
        return self._jobs / job_id[:2] / job_id

    def artifact(self, job_id: str, artifact: str, task: int | None = None) -> Path:
        """See L{ISpool.artifact}."""
        if artifact not in ARTIFACTS:
            known = ", ".join(ARTIFACTS)
            raise UnknownArtifact(f"There is no artifact {artifact!r}.", f"Ask for one of {known}.")
        suffix = "" if task is None else f".{task}"
        return self.directory(job_id) / f"{ARTIFACTS[artifact]}{suffix}"

    def settle(self, job_id: str) -> Deferred[None]:
        """See L{ISpool.settle} and Note [Counting]."""
        return self._run(files.size, self.directory(job_id)).addCallback(lambda size: self._count(job_id, size))

    def remove(self, job_ids: Collection[str]) -> Deferred[None]:
        """See L{ISpool.remove}."""
        return self._turn.run(self._remove, list(job_ids))

    def unchanged(self, since: float) -> Deferred[Collection[str]]:
        """See L{ISpool.unchanged}."""

        def search() -> Collection[str]:
            places = (place for shelf in files.directories(self._jobs) for place in files.directories(shelf))
            return [place.name for place in places if place == self.directory(place.name) and files.changed(place) < since]

        return self._run(search)

    def _grow(self, directory: Path, size: int) -> None:
        if directory in self._receiving:
            self._see_room_for(size)
            self._receiving[directory] += size
            self.used += size

    def _see_room_for(self, size: int) -> None:
        if self.used + size > self._quota:
            raise NoSpace(
                f"The spool holds {self.used} bytes, its quota is {self._quota}.",
                "Wait until finished jobs pass their retention time, or have the operator raise spool.quota.",
            )

    async def _keep(self, draft: Draft, job_id: str, own: Mapping[str, bytes]) -> Path:
        place, incoming = self.directory(job_id), draft.directory
        if incoming not in self._receiving:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(incoming))
        self._keeping.add(incoming)
        try:
            if draft.on_disk:
                size = await self._run(files.keep, incoming, place, own)
            else:
                size = await self._laying.add([Parcel(place, {**draft.contents, **own})])[0]
        finally:
            self._keeping.discard(incoming)
        self.used -= self._receiving.pop(incoming, 0)
        self._count(job_id, size)
        return place

    def _lay_down(self, parcels: Sequence[Parcel]) -> Deferred[Sequence[Any]]:
        def tell(outcomes: Sequence[int | Exception]) -> Sequence[int | Failure]:
            return [Failure(outcome) if isinstance(outcome, Exception) else outcome for outcome in outcomes]

        return self._run(lay_down, parcels).addCallback(tell)

    def _remove(self, job_ids: Collection[str]) -> Deferred[None]:
        return self._run(files.delete_all, {job_id: self.directory(job_id) for job_id in job_ids}).addCallback(self._removed)

    def _removed(self, outcomes: Mapping[str, OSError | None]) -> None:
        for job_id, problem in outcomes.items():
            if problem is None:
                self.used -= self._sizes.pop(job_id, 0)
            else:
                self._log.error("the files of job {job_id} cannot be deleted: {problem}", job_id=job_id, problem=problem)

    async def _count_all(self) -> None:
        for shelf in await self._run(files.directories, self._jobs):
            if self.running:
                await self._turn.run(self._count_shelf, shelf)

    def _count_shelf(self, shelf: Path) -> Deferred[None]:
        def measure() -> Mapping[str, int]:
            return {place.name: files.size(place) for place in files.directories(shelf)}

        return self._run(measure).addCallback(self._count_new)

    def _count_new(self, sizes: Mapping[str, int]) -> None:
        for job_id in sizes.keys() - self._sizes.keys():
            self._count(job_id, sizes[job_id])

    def _count(self, job_id: str, size: int) -> None:
        self.used += size - self._sizes.get(job_id, 0)
        self._sizes[job_id] = size

    def _run(self, work: Callable[..., R], *args: object, **kwargs: object) -> Deferred[R]:
        def guarded() -> R:
            with files.out_of_space():
                return work(*args, **kwargs)

        return self._workers.run(guarded)


def _own(draft: IDraft) -> Draft:
    """What L{FileSpool.draft} made."""
    if not isinstance(draft, Draft):
        raise TypeError(f"{draft!r} is of another spool")
    return draft
