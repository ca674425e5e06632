"""
The files of jobs, on a local file system.

Note [Keeping a draft]
======================
The bytes of a submission arrive in C{incoming/}, where a restart clears them away.  To keep them, everything in the draft
is synced, then the draft's directory is renamed to its place under C{jobs/}, then both parents are synced: after that no
crash can take it, and before that no job is recorded that would miss it.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from modabatchd.errors import NoSpace, UnknownArtifact
from modabatchd.queue.interfaces import IDraft, ISpool
from modabatchd.workers import IWorkers

R = TypeVar("R")

#: The artifacts of a job, and the files of its directory that they are.
ARTIFACTS: Final = {"output": "output.tar.gz", "stdout": "stdout", "stderr": "stderr", "_userlog": "_userlog"}


@implementer(IDraft)
class Draft(msgspec.Struct, frozen=True):
    """See L{IDraft}."""

    directory: Path


@implementer(ISpool)
class FileSpool(Service):
    """
    See L{ISpool}.

    @ivar used: bytes that the jobs' files take up; counted at start, then kept.
    """

    _log = Logger()

    def __init__(self, directory: Path, quota: int, workers: IWorkers) -> None:
        self.setName("spool")
        self._jobs = directory / "jobs"
        self._incoming = directory / "incoming"
        self._quota = quota
        self._workers = workers
        self.used = 0

    def prepare(self) -> None:
        """Make the directories and clear away what an earlier life left half received.  Blocking."""
        self._jobs.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.rmtree(self._incoming, ignore_errors=True)
        self._incoming.mkdir(mode=0o700)

    def startService(self) -> None:
        """Count what is there, off the reactor."""
        super().startService()
        counting: Deferred[int] = self._workers.run(_size, self._jobs)
        counting.addCallbacks(self._add, lambda failure: self._log.failure("counting the spool", failure))

    def draft(self) -> Deferred[IDraft]:
        """See L{ISpool.draft}."""

        def make() -> IDraft:
            if self.used >= self._quota:
                raise NoSpace(
                    f"The spool holds {self.used} bytes, its quota is {self._quota}.",
                    "Wait until finished jobs pass their retention time, or have the operator raise spool.quota.",
                )
            directory = self._incoming / secrets.token_hex(16)
            directory.mkdir(mode=0o700)
            return Draft(directory)

        return self._run(make)

    def keep(self, draft: IDraft, job_id: str, launch: bytes) -> Deferred[Path]:
        """See L{ISpool.keep} and Note [Keeping a draft]."""
        place = self.directory(job_id)

        def move() -> int:
            _write_private(draft.directory / "launch.sh", launch)
            for path in draft.directory.iterdir():
                _sync(path)
            _sync(draft.directory)
            if not place.parent.exists():
                place.parent.mkdir(exist_ok=True, mode=0o700)
                _sync(self._jobs)
            draft.directory.rename(place)
            _sync(place.parent)
            return _size(place)

        return self._run(move).addCallback(self._add).addCallback(lambda _: place)

    def discard(self, draft: IDraft) -> Deferred[None]:
        """See L{ISpool.discard}."""
        return self._run(shutil.rmtree, draft.directory, ignore_errors=True)

    def directory(self, job_id: str) -> Path:
        """See L{ISpool.directory}."""
        return self._jobs / job_id[:2] / job_id

    def artifact(self, job_id: str, artifact: str) -> Path:
        """See L{ISpool.artifact}."""
        if artifact not in ARTIFACTS:
            known = ", ".join(ARTIFACTS)
            raise UnknownArtifact(f"There is no artifact {artifact!r}.", f"Ask for one of {known}.")
        return self.directory(job_id) / ARTIFACTS[artifact]

    def settle(self, job_id: str) -> Deferred[None]:
        """Count the results of a job that has finished."""
        results = [self.directory(job_id) / file for file in ARTIFACTS.values()]
        return self._run(lambda: sum(_size(path) for path in results)).addCallback(self._add)

    def remove(self, job_ids: Collection[str]) -> Deferred[None]:
        """See L{ISpool.remove}."""

        def delete() -> int:
            freed = 0
            for directory in map(self.directory, job_ids):
                freed += _size(directory)
                shutil.rmtree(directory, ignore_errors=True)
            return -freed

        return self._run(delete).addCallback(self._add)

    def _add(self, size: int) -> None:
        self.used = max(0, self.used + size)

    def _run(self, work: Callable[..., R], *args: object, **kwargs: object) -> Deferred[R]:
        def guarded() -> R:
            with _out_of_space():
                return work(*args, **kwargs)

        return self._workers.run(guarded)


@contextmanager
def _out_of_space() -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(
                f"The spool's disk is full ({problem.strerror}).", "Free disk space; nothing was accepted."
            ) from problem
        raise


def _size(path: Path) -> int:
    """Bytes of a file or of the files below a directory; what vanishes meanwhile counts nothing."""
    try:
        if not path.is_dir():
            return path.lstat().st_size
        return sum(_size(Path(entry)) for entry in os.scandir(path))
    except FileNotFoundError:
        return 0


def _write_private(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
