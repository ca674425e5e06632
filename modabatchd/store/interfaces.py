"""What the services know of the store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Generic, TypeVar

import msgspec
from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from modabatchd.idempotency import Key
from modabatchd.notifications.message import Attempt, Delivery, Message
from modabatchd.queue.job import Action, BackendId, Job, JobRequest, JobState, Sighting, Tally, Task

T = TypeVar("T")


class Span(msgspec.Struct, frozen=True):
    """A time from C{since} on and before C{until}, in seconds since the epoch; L{None} has no limit."""

    since: float | None = None
    until: float | None = None

    def __bool__(self) -> bool:
        return self != Span()


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """
    Which jobs a list shows, and in which order; the conditions that are given must all hold.

    @ivar prefix: what the name begins with.
    @ivar labels: C{(key, value)} each; a value of L{None} means "has the label".
    @ivar submitted: when it was submitted.  The times follow the order of submission: while the clock is behind what it
        showed before, that counts.
    @ivar ended: when it reached its final state.  If that is given, the order is that of the ends; otherwise it is that of
        submission.
    @ivar newest: whether the order is turned round.
    """

    states: tuple[JobState, ...] = ()
    name: str | None = None
    prefix: str | None = None
    labels: tuple[tuple[str, str | None], ...] = ()
    submitted: Span = Span()
    ended: Span = Span()
    newest: bool = False


class Place(msgspec.Struct, frozen=True):
    """A place in a list, after this job.  @ivar ended: when that was over, if the list is in the order of the ends."""

    seq: int
    ended: float = 0.0


class Listed(msgspec.Struct, frozen=True):
    """One row of a list.  @ivar tally: of the tasks of a job array."""

    seq: int
    id: str
    job_status: JobState
    job_name: str
    tally: Tally | None = None
    settled: float | None = None


class Page(msgspec.Struct, Generic[T], frozen=True):
    """
    A part of a list.

    @ivar next: where the next one begins; L{None} after the last.
    """

    jobs: Sequence[T]
    next: Place | None = None


class Event(msgspec.Struct, frozen=True):
    """
    A job has entered a state.

    @ivar number: ascending in the order in which events were stored; one may come again after it and all
        later ones were forgotten.
    @ivar at: when it did, in seconds since the epoch.
    @ivar reason: why, when that is known.
    """

    number: int
    at: float
    job_id: str
    job_name: str
    job_status: JobState
    reason: str | None
    labels: dict[str, str]


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """
    One step of a job, or of one task of a job array, written in one transaction.

    @ivar state: the state the job is in now.  When it differs from the stored one, the stored one becomes
        C{previous_state} and a line is added to the history; when it is final, C{settled} becomes C{at}.
    @ivar sighting: what the queue said; L{None} keeps the stored one.  Its backend id is recorded too.
    @ivar messages: go to the outbox in the same transaction, if the state differs from the stored one.
    @ivar task: the index of the task; L{None} for the job as a whole.  A final state of an array as a whole becomes that of all
        tasks that are not over.
    """

    job_id: str
    state: JobState
    at: float
    reason: str | None = None
    sighting: Sighting | None = None
    messages: tuple[Message, ...] = ()
    task: int | None = None


class Bulk(msgspec.Struct, frozen=True, kw_only=True):
    """
    One action on many jobs.

    @ivar created: when it was asked for, in seconds since the epoch.
    @ivar count: how many jobs there were then.
    @ivar last: the C{seq} of the last job that there was then.
    @ivar selection: which jobs; L{None} if they were named.
    @ivar job_ids: their ids, if they were named.
    """

    id: str
    action: Action
    created: float
    count: int
    last: int
    selection: Selection | None = None
    job_ids: tuple[str, ...] = ()


class Outcome(msgspec.Struct, frozen=True):
    """
    How far an action on many jobs has come.

    @ivar after: behind which job it goes on: a C{seq}, or a number of C{job_ids}.
    @ivar results: how many jobs met with which result.
    @ivar exceptions: the id and the result of the first of those that met with another one than was asked for.
    @ivar ended: when it was over, in seconds since the epoch; L{None} before.
    """

    after: int = 0
    results: dict[str, int] = {}
    exceptions: tuple[tuple[str, str], ...] = ()
    ended: float | None = None


class Progressed(msgspec.Struct, frozen=True):
    """An action on many jobs, and how far it has come."""

    bulk: Bulk
    outcome: Outcome


class IBulkStore(Interface):
    """The actions on many jobs that were promised.  Writes are like those of L{IStore}."""

    def begin(bulk: Bulk) -> Deferred[None]:
        """Record one that has come nowhere yet, and forget those that have been over for a week."""

    def get(id: str) -> Deferred[Progressed | None]:
        """One of them."""

    def under_way() -> Deferred[Sequence[Progressed]]:
        """Those that are not over, oldest first."""

    def proceed(id: str, outcome: Outcome) -> Deferred[None]:
        """It has come so far."""


class IStore(Interface):
    """
    What we promised: jobs, their history, and the outbox.  Every write is durable and atomic once its Deferred fires, but for
    L{bind}.

    Every method may fail with L{modabatchd.errors.StoreAway}; a write may or may not be there then.

    The object also provides L{twisted.application.service.IService}: C{startService} opens the database (the migrations
    have been run by then), C{stopService} waits for what runs.
    """

    instance: str = Attribute("The UUID of this installation, made with the database; names our jobs in a shared queue.")

    def schedd() -> Deferred[str | None]:
        """The scheduler that the live jobs belong to; L{None} when none was remembered."""

    def remember_schedd(name: str) -> Deferred[str]:
        """
        Record the scheduler that the jobs belong to from now on.  While there are live jobs, one that is recorded stays.

        @return: the one that is recorded now.  When it is not C{name}, another one has our live jobs.
        """

    def add(requests: Sequence[JobRequest], keys: Sequence[Key] = ()) -> Deferred[Sequence[Job]]:
        """
        Record jobs that the queue does not have yet, as idle.

        @param keys: by which the submissions of some of them will be known again, recorded in the same transaction.  A key,
            or the id of a job, that is there already is an error of the caller.
        """

    def bind(job_id: str, backend_id: BackendId) -> Deferred[None]:
        """
        Record the number that the queue gave a job.  Idempotent.

        Whoever asks sees it once it fires, but it is not durable before the next write is: should the machine crash, the number
        is found again in the queue, by the job's id.
        """

    def get(job_id: str) -> Deferred[Job | None]:
        """All about one job, history included."""

    def page(selection: Selection, limit: int, after: Place | None = None) -> Deferred[Page[Listed]]:
        """
        Up to C{limit} jobs.

        Cost does not grow with the number of jobs stored: where many do not fit, a page ends early, and may even be empty,
        though there is a next one.
        """

    def jobs(selection: Selection, limit: int, after: Place | None = None, history: bool = False) -> Deferred[Page[Job]]:
        """The same with all about each job; with its history only if that is asked for."""

    def counts() -> Deferred[Mapping[JobState, int]]:
        """How many jobs are in each state.  They are kept, not counted."""

    def version(job_id: str | None = None) -> str | None:
        """
        Names what a job is now, or what all of them are; no I/O.

        @return: while it is the same before a reading and after it, and whenever it is the same again, the reading gives the
            same; L{None} while something is being changed.  An unknown job may have a version.
        """

    def live(after: int, limit: int) -> Deferred[Sequence[Job]]:
        """Jobs that are not in a final state, ascending by C{seq}, without their history."""

    def tasks(job_id: str, states: Collection[JobState], limit: int, after: int = -1) -> Deferred[Sequence[Task]]:
        """Up to C{limit} tasks of a job array that are in one of these states, with indices above C{after}, ascending."""

    def task(job_id: str, index: int) -> Deferred[Task | None]:
        """One task of a job array."""

    def news_until() -> Deferred[str]:
        """How far the queue's news were read, when L{advance} was last told; empty before that."""

    def advance(steps: Sequence[Progress], until: str | None = None) -> Deferred[Collection[str]]:
        """
        Write steps in one transaction.

        A step for a job or a task that is already in a final state, or that is not there, changes nothing (and sends nothing):
        a completion is told once.  The steps of tasks move their array along (Note [The state of an array] in
        L{modabatchd.queue.tallies}), but only a step of its own makes it final.

        @param until: how far the queue's news were read that the steps come from.
        @return: the ids of the arrays whose last task is over, while they themselves are not final yet.
        """

    def events(after: int, limit: int) -> Deferred[Sequence[Event]]:
        """Up to C{limit} events with a number above C{after}, ascending; those of jobs that were forgotten are gone."""

    def latest_event() -> Deferred[int]:
        """The number of the event that was stored last; 0 if there is none."""

    def listen(heard: Callable[[], None]) -> None:
        """Have something called, on the reactor's thread, whenever a write that touches jobs has ended, well or not."""

    def expired(before: float, limit: int) -> Deferred[Sequence[str]]:
        """Ids of jobs settled before that time whose notifications are not waiting any more."""

    def forget(job_ids: Collection[str]) -> Deferred[None]:
        """Delete jobs with all that belongs to them.  Idempotent."""

    def due(now: float, limit: int) -> Deferred[Sequence[Delivery]]:
        """Messages whose next try is due, oldest first."""

    def delivered(message_id: str, attempt: Attempt) -> Deferred[None]:
        """A receiver took the message: log the try."""

    def postpone(message_id: str, attempt: Attempt, until: float) -> Deferred[None]:
        """A try failed: log and count it, and try again at that time."""

    def abandon(message_id: str, attempt: Attempt) -> Deferred[None]:
        """A try failed for good: log and count it, keep the message as a dead letter."""
