"""What the services of the queue know of the world: a queue that runs jobs, a spool that holds their files."""

from __future__ import annotations

import enum
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec
from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from modabatchd.queue.job import Action, Artifact, BackendId, JobRequest, Sighting


class Ticket(msgspec.Struct, frozen=True):
    """
    A job on its way into a queue.

    @ivar directory: holds C{bundle.tar.gz}, C{launch.sh} and, if the request says so, C{input} and C{parameters}; the queue
        puts C{stdout}, C{stderr}, C{output.tar.gz} and C{_userlog} beside them.  The tasks of a job array share it, and the
        queue puts C{stdout.7} and so on there for the task with the index 7.
    """

    request: JobRequest
    directory: Path


class Refusal(msgspec.Struct, frozen=True):
    """The queue will never take this job, and says why."""

    reason: str


class News(msgspec.Struct, frozen=True):
    """
    What a queue tells of changes.

    @ivar sightings: what it shows of jobs that changed, or may have, in no order.
    @ivar until: how far its news were read; an opaque text.
    """

    sightings: Sequence[Sighting]
    until: str


class ActionResult(enum.Enum):
    """What became of an action on one job."""

    DONE = "done"
    NOT_FOUND = "not found"
    BAD_STATUS = "bad status"
    ALREADY_DONE = "already done"
    DENIED = "denied"
    ERROR = "error"


class IQueue(Interface):
    """
    A queue that runs bundles.

    Every method fails with L{modabatchd.errors.QueueAway} when the queue does not answer in time.  A finished job stays
    visible until it is acknowledged, so that no completion is missed while the daemon is down.  Services are started
    before the first call and stopped after the last (the object also provides L{twisted.application.service.IService}).
    """

    name: str = Attribute("The backend's name in the configuration, for instance C{'embedded'}.")
    settling: float = Attribute(
        "Seconds over which L{find} must not have found a job whose submission failed, until it is certain that it never comes."
    )

    def submit(tickets: Sequence[Ticket]) -> Deferred[Sequence[BackendId | Refusal]]:
        """
        Put jobs into the queue.

        A job array gets the number of its first task; the others follow it in their order, and the queue has all of them or
        none.

        Durable once it fires.  Not idempotent: after L{QueueAway} the jobs may or may not be there, so ask L{find}
        before a second try.

        @return: one result per ticket, in their order.
        """

    def sightings() -> Deferred[Sequence[Sighting]]:
        """All jobs of this installation that are not acknowledged yet, finished ones included, in no order."""

    def news(since: str) -> Deferred[News]:
        """
        What may have changed since an earlier call, among the jobs that L{sightings} shows; cheap, however many there are.

        A change is told within a second or two, or whenever the queue can be asked again.  One may be missed, so whoever must
        know all asks for L{sightings} now and then.

        @param since: the C{until} of the call whose news were processed last, in this life or an earlier one; empty at first,
            and then the past may be left out.
        """

    def find(job_ids: Collection[str]) -> Deferred[Mapping[str, Sighting]]:
        """
        Look jobs up by our own id, in the queue and in its history; those it never heard of are absent.  Of a job array one of
        its tasks is shown.

        @raise modabatchd.queue.absence.Unreadable: the queue has some of them, but what it says of them cannot be read.
        """

    def tasks(job_id: str, history: bool = False) -> Deferred[Sequence[Sighting]]:
        """
        Look up the tasks of a job array that are in the queue; in no order, and acknowledged ones may be among them.

        @param history: whether to look for them in the queue's history as well.
        @raise modabatchd.queue.absence.Unreadable: what the queue says of one of them cannot be read.
        """

    def act(action: Action, backend_ids: Sequence[BackendId], reason: str) -> Deferred[Sequence[ActionResult]]:
        """
        Do one thing to several jobs; one result per job, in their order.  Idempotent.

        @param reason: our own text, never a user's.
        """

    def follow(sighting: Sighting, directory: Path, artifact: Artifact) -> AsyncGenerator[bytes, None]:
        """
        What a job that runs prints, from the beginning of this run on, as it comes.

        Ends with the run, or when nothing more can be had; the end of what was printed may be missing then, and is in the
        artifact once the job is over.  An empty piece says that nothing has come for a while.

        @param sighting: of the job, or of a task of a job array.
        @param directory: the job's own.
        @param artifact: C{stdout} or C{stderr}.
        @raise QueueRefused: it cannot be had from this queue.
        """

    def fetch(sighting: Sighting, directory: Path) -> Deferred[None]:
        """Bring the results of a finished job into its directory, where they are not there already.  Idempotent."""

    def acknowledge(backend_ids: Sequence[BackendId]) -> Deferred[None]:
        """The outcome of these finished jobs is stored: the queue may forget them.  Idempotent; unknown ids are no error."""


class IDraft(Interface):
    """
    A submission whose bytes are still arriving: the files C{bundle.tar.gz}, C{input} and C{parameters}.

    Whoever receives them puts them into the draft whole, if they are small, or else writes all of them into its directory.
    """

    directory: Path = Attribute("Where to write the files, once L{open} has fired.")

    def open() -> Deferred[Path]:
        """Make the directory; to be called once.  Fails with L{modabatchd.errors.NoSpace} when the disk is full."""

    def put(name: str, content: bytes) -> None:
        """This is the whole file, and it is so small that it can wait in memory.  No I/O."""

    def holds(name: str) -> bool:
        """Whether the file has arrived.  Blocking."""

    def read(name: str) -> BinaryIO:
        """A file that has arrived, at its beginning.  Blocking."""

    def grow(size: int) -> None:
        """
        So many more bytes are about to be written: count them against the quota until the draft is kept or discarded.

        No I/O.

        @raise NoSpace: the quota does not allow it; they are not counted.
        """


class ISpool(Interface):
    """
    Where the files of jobs lie.

    Fails with L{modabatchd.errors.NoSpace} when the quota or the disk is full.
    """

    def draft(expected: int = 0) -> IDraft:
        """
        Make room for a submission that arrives.  No I/O.

        @param expected: how many bytes it will bring, as far as that is known.  Only to refuse early what cannot fit: they
            count once L{IDraft.grow} tells of them.
        @raise NoSpace: there is no room.
        """

    def keep(draft: IDraft, job_id: str, launch: bytes, parameters: bytes | None = None) -> Deferred[Path]:
        """
        Make a draft the directory of a job, with C{launch} as its C{launch.sh}.

        @param parameters: the file C{parameters}, in place of the one that arrived.

        Durable (files and directory entries are synced) once it fires with the directory.  Small drafts that come while
        others are synced are synced together.
        """

    def discard(draft: IDraft) -> Deferred[None]:
        """Forget a draft and its bytes.  Idempotent; a draft that was kept, or is just being kept, is left alone."""

    def directory(job_id: str) -> Path:
        """The directory of a job that was kept; no I/O."""

    def artifact(job_id: str, artifact: str, task: int | None = None) -> Path:
        """
        The file of an artifact: C{output}, C{stdout}, C{stderr} or C{_userlog}; no I/O, so it may not exist (yet).

        @param task: the index of the task that it is of, in a job array.

        @raise UnknownArtifact: there is no artifact of that name.
        """

    def settle(job_id: str) -> Deferred[None]:
        """The results of a job are in its directory: count them against the quota.  Idempotent."""

    def remove(job_ids: Collection[str]) -> Deferred[None]:
        """Delete the files of jobs.  Idempotent.  What cannot be deleted is logged, and does not keep the rest from it."""

    def unchanged(since: float) -> Deferred[Collection[str]]:
        """
        Ids of the jobs that have a directory, and no file was added to it since that time.

        @param since: seconds since the epoch.
        """
