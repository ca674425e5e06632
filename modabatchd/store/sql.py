"""
IStore on SQLAlchemy Core: SQLite or PostgreSQL.

Note [One of many]
==================
Jobs that come one by one while a transaction is under way are recorded by the next one together (Note [Group commit] in
L{modabatchd.gathering}).  A transaction that the database refuses because of one of them is undone as a whole; then each half
is tried, until the one is found and alone refused.  When the database is away, or full, that is nobody's fault, and all are
told so.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, Executable, Row
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from modabatchd.errors import NoSpace, StoreAway
from modabatchd.gathering import Gathering
from modabatchd.idempotency import Key
from modabatchd.notifications.message import Attempt, Delivery
from modabatchd.queue.job import BackendId, Job, JobRequest, JobState, Task
from modabatchd.store import rows, rows_tasks, statements, statements_lists, statements_tasks, transactions
from modabatchd.store.calls import Calls
from modabatchd.store.connecting import read_url, soon, to_read, to_write
from modabatchd.store.failures import meaning, unclaimed
from modabatchd.store.glancing import Glances
from modabatchd.store.interfaces import Event, IStore, Listed, Page, Place, Progress, Selection
from modabatchd.store.lines import Lines
from modabatchd.store.lists import Lists
from modabatchd.store.pages import Pages
from modabatchd.store.versions import NOTHING, Touched, Versions
from modabatchd.workers import IWorkers

R = TypeVar("R")
T = TypeVar("T")
#: Does the same with many things, and has a result for each.
Rounds = Callable[[Connection, Sequence[T]], Sequence[R]]

#: How many jobs are recorded in one transaction, when they come one by one.
_TOGETHER: Final = 1000
#: Seconds that the end waits for the threads: for calls in a hurry, and a little for what is cut then.
_LAST_WAIT: Final = 4.0


@implementer(IStore)
class SQLStore(Service):
    """
    See L{IStore}.  A full disk is told as L{NoSpace}, a database that does not answer as L{StoreAway}; other errors of the
    database are SQLAlchemy's.

    It connects when it is first asked for something, so the process may fork before that.
    """

    def __init__(
        self,
        url: str,
        instance: str,
        writer: IWorkers,
        readers: IWorkers,
        clock: IReactorTime | None = None,
        allowed: Callable[[], bool] = lambda: True,
        glances: Glances | None = None,
    ) -> None:
        """
        @param url: of a database that L{modabatchd.store.preparing.prepare} has seen.
        @param instance: what it returned.
        @param writer: one thread; see Note [One writer] in L{modabatchd.store.connecting}.
        @param readers: a few threads, ten at most.
        @param clock: for deadlines; L{None} waits as long as it takes.
        @param allowed: whether the database is ours now, so that writes may be made; L{modabatchd.store.claiming.Claim.held}.
        @param glances: reads a few rows without a thread; closed at the end.
        """
        self.setName("store")
        self.instance = instance
        parsed = read_url(url)
        self._writing = to_write(parsed)
        self._reading = to_read(parsed)
        self._clock = clock
        self._allowed = allowed
        self._pages = Pages()
        self._versions = Versions(secrets.token_hex(6))
        self._listeners: list[Callable[[], None]] = []
        self._glances = glances
        self._lists = Lists(self.read, self._glance)
        self._writes = Calls(clock, "writing", writer, Lines(self._writing).cut)
        self._reads = Calls(clock, "reading", readers, Lines(self._reading).cut)
        adding = self._rounds(transactions.add_all, self._writing, lambda together: [request.id for request in together[0]])
        binding = self._rounds(transactions.bind_all, soon(self._writing), lambda number: number[:1])
        self._adding = Gathering(adding, _TOGETHER, hopeless=_is_away)
        self._binding = Gathering(binding, _TOGETHER, hopeless=_is_away)

    def hurry(self) -> None:
        """
        The daemon is about to end: calls, those under way included, get only a few seconds from now on.

        Services that stop before this one may wait for it.  Idempotent.
        """
        self._writes.hurry()
        self._reads.hurry()

    def stopService(self) -> Deferred[None]:
        """Wait for what runs, though not long for a frozen database; then close the connections.  The workers still run."""
        super().stopService()
        return Deferred.fromCoroutine(self._close())

    def schedd(self) -> Deferred[str | None]:
        """See L{IStore.schedd}."""
        return self.read(_only, statements.SCHEDD)

    def remember_schedd(self, name: str) -> Deferred[str]:
        """See L{IStore.remember_schedd}."""
        return self.write(transactions.remember_schedd, name, touched=NOTHING)

    def add(self, requests: Sequence[JobRequest], keys: Sequence[Key] = ()) -> Deferred[Sequence[Job]]:
        """See L{IStore.add}."""
        return self._adding.add([(requests, keys)])[0]

    def bind(self, job_id: str, backend_id: BackendId) -> Deferred[None]:
        """See L{IStore.bind}."""
        return self._binding.add([(job_id, backend_id)])[0]

    def get(self, job_id: str) -> Deferred[Job | None]:
        """See L{IStore.get}."""
        return self._glance(_job, statements.GET, id=job_id)

    def page(self, selection: Selection, limit: int, after: Place | None = None) -> Deferred[Page[Listed]]:
        """See L{IStore.page} and Note [Pages that are remembered] in L{modabatchd.store.pages}."""
        key, version = (selection, limit, after), self.version()
        if (known := self._pages.get(key, version)) is not None:
            return succeed(known)
        found = self._lists.page(selection, limit, after)
        return found.addCallback(lambda page: self._pages.remember(key, page, version) if self.version() == version else page)

    def jobs(self, selection: Selection, limit: int, after: Place | None = None, history: bool = False) -> Deferred[Page[Job]]:
        """See L{IStore.jobs}."""
        return self._lists.jobs(selection, limit, after, history)

    def counts(self) -> Deferred[Mapping[JobState, int]]:
        """See L{IStore.counts}."""
        return self._glance(rows.counts, statements.COUNTS)

    def version(self, job_id: str | None = None) -> str | None:
        """See L{IStore.version}."""
        return self._versions.version(job_id)

    def live(self, after: int, limit: int) -> Deferred[Sequence[Job]]:
        """See L{IStore.live}."""
        return self.read(_each(rows.job), statements_lists.LIVE, **statements_lists.live(after, limit))

    def tasks(self, job_id: str, states: Collection[JobState], limit: int, after: int = -1) -> Deferred[Sequence[Task]]:
        """See L{IStore.tasks}."""
        values = {"id": job_id, "states": [state.value for state in states], "limit": limit, "after": after}
        return self.read(_each(partial(rows_tasks.task, job_id)), statements_tasks.TASKS, **values)

    def task(self, job_id: str, index: int) -> Deferred[Task | None]:
        """See L{IStore.task}."""
        found = self.read(_each(partial(rows_tasks.task, job_id)), statements_tasks.ONE_TASK, id=job_id, index=index)
        return found.addCallback(lambda tasks: tasks[0] if tasks else None)

    def news_until(self) -> Deferred[str]:
        """See L{IStore.news_until}."""
        return self.read(_only, statements.NEWS).addCallback(lambda until: until or "")

    def advance(self, steps: Sequence[Progress], until: str | None = None) -> Deferred[Collection[str]]:
        """See L{IStore.advance}."""
        return self.write(transactions.advance, steps, until, touched={step.job_id for step in steps})

    def events(self, after: int, limit: int) -> Deferred[Sequence[Event]]:
        """See L{IStore.events}."""
        return self.read(_each(rows.event), statements.EVENTS, after=after, limit=limit)

    def latest_event(self) -> Deferred[int]:
        """See L{IStore.latest_event}."""
        return self._glance(_only, statements.LATEST_EVENT)

    def listen(self, heard: Callable[[], None]) -> None:
        """See L{IStore.listen}."""
        self._listeners.append(heard)

    def expired(self, before: float, limit: int) -> Deferred[Sequence[str]]:
        """See L{IStore.expired}."""
        return self.read(_each(_first), statements.EXPIRED, before=before, limit=limit)

    def forget(self, job_ids: Collection[str]) -> Deferred[None]:
        """See L{IStore.forget}."""
        return self.write(transactions.forget, job_ids, touched=job_ids)

    def due(self, now: float, limit: int) -> Deferred[Sequence[Delivery]]:
        """See L{IStore.due}."""
        return self.read(_each(rows.delivery), statements.DUE, now=now, limit=limit)

    def delivered(self, message_id: str, attempt: Attempt) -> Deferred[None]:
        """See L{IStore.delivered}."""
        return self.write(transactions.tried, statements.DELIVERED, message_id, attempt, attempt.at, touched=NOTHING)

    def postpone(self, message_id: str, attempt: Attempt, until: float) -> Deferred[None]:
        """See L{IStore.postpone}."""
        return self.write(transactions.tried, statements.POSTPONE, message_id, attempt, until, touched=NOTHING)

    def abandon(self, message_id: str, attempt: Attempt) -> Deferred[None]:
        """See L{IStore.abandon}."""
        return self.write(transactions.tried, statements.ABANDON, message_id, attempt, attempt.at, touched=NOTHING)

    async def _close(self) -> None:
        self.hurry()
        if self._glances is not None:
            self._glances.close()
        idle = DeferredList([self._writes.idle(), self._reads.idle()], consumeErrors=True)
        if self._clock is not None:
            idle.addTimeout(_LAST_WAIT, self._clock)
        await idle
        for closed in (self._writes.run(self._writing.dispose), self._reads.run(self._reading.dispose)):
            with suppress(StoreAway):
                await closed

    def write(self, work: Callable[..., R], *args: Any, touched: Touched = None) -> Deferred[R]:
        """
        Have C{work} called with a connection, and C{args}, in a transaction.  For what else this package stores.

        @param touched: see Note [Versions] in L{modabatchd.store.versions}.
        """
        return self._touch(touched, self._in_transaction, self._writing, work, *args)

    def read(self, convert: Callable[[Sequence[Row[Any]]], R], statement: Executable, **values: Any) -> Deferred[R]:
        """What C{convert} makes of the rows of a statement.  For what else this package stores."""
        return self._reads.run(self._fetch, convert, statement, values)

    def _touch(self, touched: Touched, work: Callable[..., R], *args: Any) -> Deferred[R]:
        self._versions.begin(touched)
        return self._writes.run(work, *args, ended=lambda: self._written(touched))

    def _glance(self, convert: Callable[[Sequence[Any]], R], statement: Executable, **values: Any) -> Deferred[R]:
        """The same for a few rows, on this thread if that is possible now.  See L{modabatchd.store.glancing}."""
        found = None if self._glances is None or self._reads.hurried else self._glances.fetch(statement, values)
        return self.read(convert, statement, **values) if found is None else succeed(convert(found))

    def _written(self, touched: Touched) -> None:
        self._versions.end(touched)
        if touched is None or touched:
            for heard in self._listeners:
                heard()

    def _rounds(
        self, work: Rounds[T, R], engine: Engine, named: Callable[[T], Iterable[str]]
    ) -> Callable[[Sequence[T]], Deferred[Sequence[Any]]]:
        """
        Have C{work} done for all that waits, in one transaction.  See Note [One of many].

        @param named: which jobs a thing touches.
        """

        def write(things: Sequence[T]) -> Deferred[Sequence[Any]]:
            touched = [job_id for thing in things for job_id in named(thing)]
            return self._touch(touched, self._in_few_transactions, engine, work, things)

        return write

    def _in_few_transactions(self, engine: Engine, work: Rounds[T, R], things: Sequence[T]) -> Sequence[Any]:
        try:
            return self._in_transaction(engine, work, things)
        except (StoreAway, NoSpace):
            raise
        except Exception:
            if len(things) == 1:
                return [Failure()]
        middle = len(things) // 2
        halves = (things[:middle], things[middle:])
        return [result for half in halves for result in self._in_few_transactions(engine, work, half)]

    def _in_transaction(self, engine: Engine, work: Callable[..., R], *args: Any) -> R:
        if not self._allowed():
            raise unclaimed()
        with _told(), engine.begin() as connection:
            return work(connection, *args)

    def _fetch(self, convert: Callable[[Sequence[Row[Any]]], R], statement: Executable, values: dict[str, Any]) -> R:
        with _told():
            try:
                return convert(self._fetch_once(statement, values))
            except DBAPIError as problem:
                if not problem.connection_invalidated or self._reads.hurried:
                    raise
            # PostgreSQL was restarted, and the connections that were open are gone: a second one is fresh.
            return convert(self._fetch_once(statement, values))

    def _fetch_once(self, statement: Executable, values: dict[str, Any]) -> Sequence[Row[Any]]:
        with self._reading.connect() as connection:
            return connection.execute(statement, values).all()


@contextmanager
def _told() -> Iterator[None]:
    """Errors that callers know what to do about are raised as ours."""
    try:
        yield
    except SQLAlchemyError as problem:
        known = meaning(problem)
        if known is None:
            raise
        raise known from problem


def _is_away(problem: BaseException) -> bool:
    return isinstance(problem, StoreAway)


def _job(found: Sequence[Row[Any]]) -> Job | None:
    width = len(rows.JOB)
    return rows.job(found[0], rows.history(row[width:] for row in found)) if found else None


def _each(convert: Callable[[Row[Any]], R]) -> Callable[[Sequence[Row[Any]]], Sequence[R]]:
    return lambda found: [convert(row) for row in found]


def _only(found: Sequence[Row[Any]]) -> Any:
    return found[0][0]


def _first(row: Row[Any]) -> str:
    return str(row[0])
