"""IStore on SQLAlchemy Core: SQLite or PostgreSQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Executable, Row
from sqlalchemy.exc import DBAPIError
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from zope.interface import implementer

from modabatchd.errors import NoSpace
from modabatchd.notifications.message import Delivery
from modabatchd.queue.job import BackendId, Job, JobRequest, JobState, StateChange
from modabatchd.store import rows, statements
from modabatchd.store.engines import read_url, reading_engine, writing_engine
from modabatchd.store.interfaces import IStore, Listed, Progress, Selection
from modabatchd.store.steps import Standing, plan
from modabatchd.workers import IWorkers

R = TypeVar("R")

#: How many ids one statement names: databases limit the number of parameters.
_IDS: Final = 500
#: PostgreSQL's code for a full disk.
_DISK_FULL: Final = "53100"


@implementer(IStore)
class SQLStore(Service):
    """
    See L{IStore}.  A full disk is told as L{NoSpace}; other errors of the database are SQLAlchemy's.

    It connects when it is first asked for something, so the process may fork before that.
    """

    def __init__(self, url: str, instance: str, writer: IWorkers, readers: IWorkers) -> None:
        """
        @param url: of a database that L{modabatchd.store.preparing.prepare} has seen.
        @param instance: what it returned.
        @param writer: one thread; see Note [One writer] in L{modabatchd.store.engines}.
        @param readers: a few threads, ten at most.
        """
        self.setName("store")
        self.instance = instance
        self._writer = writer
        self._readers = readers
        parsed = read_url(url)
        self._writing = writing_engine(parsed)
        self._reading = reading_engine(parsed)
        self._under_way = 0
        self._idle: Deferred[None] | None = None

    def stopService(self) -> Deferred[None]:
        """Wait for what runs, then close the connections.  The workers must still run."""
        super().stopService()
        return Deferred.fromCoroutine(self._close())

    def add(self, requests: Sequence[JobRequest]) -> Deferred[Sequence[Job]]:
        """See L{IStore.add}."""
        return self._write(_add, requests)

    def bind(self, job_id: str, backend_id: BackendId) -> Deferred[None]:
        """See L{IStore.bind}."""
        values = {"job_id": job_id, "cluster": backend_id.cluster, "proc": backend_id.proc}
        return self._write(_execute, statements.BIND, values)

    def get(self, job_id: str) -> Deferred[Job | None]:
        """See L{IStore.get}."""
        return self._read(_job, statements.GET, id=job_id)

    def page(self, selection: Selection, limit: int, after: int = 0) -> Deferred[Sequence[Listed]]:
        """See L{IStore.page}."""
        conditions = statements.conditions(selection)
        return self._read(_each(rows.listed), statements.page(selection), limit=limit, after=after, **conditions)

    def live(self, after: int, limit: int) -> Deferred[Sequence[Job]]:
        """See L{IStore.live}."""
        return self._read(_each(rows.job), statements.LIVE, after=after, limit=limit)

    def advance(self, steps: Sequence[Progress]) -> Deferred[None]:
        """See L{IStore.advance}."""
        return self._write(_advance, steps)

    def expired(self, before: float, limit: int) -> Deferred[Sequence[str]]:
        """See L{IStore.expired}."""
        return self._read(_each(_first), statements.EXPIRED, before=before, limit=limit)

    def forget(self, job_ids: Collection[str]) -> Deferred[None]:
        """See L{IStore.forget}."""
        return self._write(_forget, job_ids)

    def due(self, now: float, limit: int) -> Deferred[Sequence[Delivery]]:
        """See L{IStore.due}."""
        return self._read(_each(rows.delivery), statements.DUE, now=now, limit=limit)

    def delivered(self, message_id: str, at: float) -> Deferred[None]:
        """See L{IStore.delivered}."""
        return self._write(_execute, statements.DELIVERED, {"message_id": message_id, "time": at})

    def postpone(self, message_id: str, until: float, problem: str) -> Deferred[None]:
        """See L{IStore.postpone}."""
        return self._write(_execute, statements.POSTPONE, {"message_id": message_id, "time": until, "why": problem})

    def abandon(self, message_id: str, at: float, problem: str) -> Deferred[None]:
        """See L{IStore.abandon}."""
        return self._write(_execute, statements.ABANDON, {"message_id": message_id, "time": at, "why": problem})

    async def _close(self) -> None:
        if self._under_way:
            self._idle = Deferred()
            await self._idle
        await self._writer.run(self._writing.dispose)
        await self._readers.run(self._reading.dispose)

    def _write(self, work: Callable[..., R], *args: Any) -> Deferred[R]:
        return self._run(self._writer, self._in_transaction, work, *args)

    def _read(self, convert: Callable[[Sequence[Row[Any]]], R], statement: Executable, **values: Any) -> Deferred[R]:
        return self._run(self._readers, self._fetch, convert, statement, values)

    def _run(self, workers: IWorkers, work: Callable[..., Any], *args: Any) -> Deferred[Any]:
        self._under_way += 1
        done: Deferred[Any] = workers.run(work, *args)
        return done.addBoth(self._ended)

    def _ended(self, result: R) -> R:
        self._under_way -= 1
        if not self._under_way and self._idle is not None:
            self._idle.callback(None)
        return result

    def _in_transaction(self, work: Callable[..., R], *args: Any) -> R:
        try:
            with self._writing.begin() as connection:
                return work(connection, *args)
        except DBAPIError as problem:
            if _full(problem):
                cause = "The disk of the database is full; nothing was recorded."
                raise NoSpace(cause, "Make room on it, then try again.") from problem
            raise

    def _fetch(self, convert: Callable[[Sequence[Row[Any]]], R], statement: Executable, values: dict[str, Any]) -> R:
        try:
            return convert(self._fetch_once(statement, values))
        except DBAPIError as problem:
            if not problem.connection_invalidated:
                raise
        # PostgreSQL was restarted, and the connections that were open are gone: a second one is fresh.
        return convert(self._fetch_once(statement, values))

    def _fetch_once(self, statement: Executable, values: dict[str, Any]) -> Sequence[Row[Any]]:
        with self._reading.connect() as connection:
            return connection.execute(statement, values).all()


def _add(connection: Connection, requests: Sequence[JobRequest]) -> Sequence[Job]:
    if not requests:
        return []
    seqs = connection.execute(statements.ADD_JOBS, [rows.new_job(request) for request in requests]).scalars().all()
    added = [
        Job(seq=seq, request=request, state=JobState.IDLE, history=(StateChange(JobState.IDLE, request.submitted),))
        for seq, request in zip(seqs, requests, strict=True)
    ]
    _execute(connection, statements.ADD_LABELS, [row for job in added for row in rows.new_labels(job)])
    _execute(connection, statements.ADD_CHANGES, [rows.new_change(job.seq, *job.history) for job in added])
    return added


def _advance(connection: Connection, steps: Sequence[Progress]) -> None:
    standings = {
        id: Standing(seq, JobState(state))
        for ids in _portions({step.job_id for step in steps})
        for id, seq, state in connection.execute(statements.STANDINGS, {"ids": ids})
    }
    writes = plan(steps, standings)
    _execute(connection, statements.ADVANCE, writes.jobs)
    _execute(connection, statements.RELABEL, writes.labels)
    _execute(connection, statements.ADD_CHANGES, writes.changes)
    _execute(connection, statements.ADD_MESSAGES, writes.messages)


def _forget(connection: Connection, job_ids: Collection[str]) -> None:
    for ids in _portions(job_ids):
        connection.execute(statements.FORGET, {"ids": ids})


def _execute(connection: Connection, statement: Executable, values: Any) -> None:
    """Execute a statement once, or once for each of several sets of values; for none of them not at all."""
    if values:
        connection.execute(statement, values)


def _portions(ids: Collection[str]) -> Iterable[Sequence[str]]:
    everything = list(ids)
    return (everything[start : start + _IDS] for start in range(0, len(everything), _IDS))


def _job(found: Sequence[Row[Any]]) -> Job | None:
    width = len(rows.JOB)
    return rows.job(found[0], rows.history(row[width:] for row in found)) if found else None


def _each(convert: Callable[[Row[Any]], R]) -> Callable[[Sequence[Row[Any]]], Sequence[R]]:
    return lambda found: [convert(row) for row in found]


def _first(row: Row[Any]) -> str:
    return str(row[0])


def _full(problem: DBAPIError) -> bool:
    code = getattr(problem.orig, "sqlite_errorcode", None)
    return code == sqlite3.SQLITE_FULL or getattr(problem.orig, "sqlstate", None) == _DISK_FULL
