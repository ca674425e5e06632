"""
One daemon for a database.

Note [One daemon for a database]
================================
Two daemons on one database take each other's running jobs for lost.  The directory that each of them has locked tells nothing
about it, because C{store.url} may name one database from two of them.

A file of SQLite has a file beside it that the daemon's process locks for as long as it lives, like the one of
L{modabatchd.startup.lock}.  Not the file itself: one that was restored from a backup would have another lock.

In PostgreSQL a session holds an advisory lock, and its number is made of the installation's UUID, because a database may hold
several installations in as many schemas.  A session cannot be kept over a fork, so before the fork it is only seen that nobody
holds the lock; it is taken as the first of all services starts, which waits for it, on the reactor's thread: nothing else
runs yet, and twistd tells whoever started it.

Note [A lock that is lost]
==========================
The session ends with its connection, and whatever ended that may have ended those of the store too, or not.  So it is looked
after every few seconds, the lock is taken again at once if it is gone, and until that succeeds the store refuses to write.
What remains is a moment in which another daemon may begin; then this one must stop without a further word to the store.

Our own last session may hold the lock for a while after we have lost it, when the network fails.  It is known by its number and
the time it began, and is ended; that is not another daemon.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from modabatchd.errors import StartupError, StoreAway
from modabatchd.looping import Repeating
from modabatchd.store.connecting import read_url, to_claim
from modabatchd.store.failures import away, meaning
from modabatchd.store.lines import Lines
from modabatchd.workers import IWorkers

#: Seconds between two looks at the lock.
_INTERVAL: Final = 2.0
_CAUSE: Final = "Another modabatchd works on this database."
_CURE: Final = "Stop it, or give this one a store.url of its own."
#: PostgreSQL keeps the lock until it has noticed; see Note [Ends of a connection].
_CURE_OR_WAIT: Final = f"{_CURE} If its machine has crashed, wait half a minute."

_TRY: Final = text("SELECT pg_try_advisory_lock(:key)")
_ALIVE: Final = text("SELECT 1")
_SELF: Final = text("SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()")
_HOLDER: Final = text(
    "SELECT pid, backend_start FROM pg_stat_activity JOIN pg_locks USING (pid) "
    "WHERE locktype = 'advisory' AND granted AND objsubid = 1 "
    "AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
    "AND (classid::bigint << 32) | objid::bigint = :key"
)
_END: Final = text("SELECT pg_terminate_backend(:pid)")


class Claimed(StartupError):
    """Another daemon works on this database."""


def claim_file(url: str) -> None:
    """
    Keep other daemons off a file of SQLite for as long as this process, or one forked from it, lives.  Nothing happens for
    PostgreSQL.  To be called before the database is prepared.  See Note [One daemon for a database].

    @raise StartupError: one works on it, or its directory cannot be used.
    """
    parsed = read_url(url)
    if parsed.drivername != "sqlite":
        return
    # There are several ways to a file, but it has one lock.
    path = f"{os.path.realpath(parsed.database or '')}-lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as problem:
        cause = f"The file {path} cannot be used: {problem.strerror}."
        raise StartupError(cause, "Let the daemon's user write there, or name another place as store.url.") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise Claimed(f"Another modabatchd works on the database {parsed.database}.", _CURE) from None


def refuse_if_claimed(connection: Connection, instance: str) -> None:
    """
    See that no daemon holds the lock of a PostgreSQL database; it is not taken.

    @raise StartupError: one does.
    """
    if connection.dialect.name != "sqlite" and connection.execute(_HOLDER, {"key": _key(instance)}).first() is not None:
        raise Claimed(_CAUSE, _CURE_OR_WAIT)


class Claim(Service):
    """
    Holds the lock of a PostgreSQL database while it runs; for SQLite it does nothing.  The store stands on it.

    See Note [A lock that is lost].
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, url: str, instance: str, worker: IWorkers, stop: Callable[[], object]) -> None:
        """
        @param worker: one thread.
        @param stop: ends the daemon; called once, when another one has the database.
        """
        self.setName("claim")
        self._key = _key(instance)
        self._worker = worker
        self._stop = stop
        parsed = read_url(url)
        self._engine = None if parsed.drivername == "sqlite" else to_claim(parsed)
        self._lines = None if self._engine is None else Lines(self._engine)
        self._loop = Repeating(clock, _INTERVAL, self._look, "claim")
        self._connection: Connection | None = None
        self._session: Any = None
        self._held = self._engine is None
        self._superseded = False
        self._ending = False

    def held(self) -> bool:
        """Whether the database is ours now, as far as we know."""
        return self._held

    def startService(self) -> None:
        """
        Take the lock.  Blocking; see Note [One daemon for a database].

        @raise StartupError: another daemon has it, or the database does not answer.
        """
        if self._engine is not None:
            try:
                self._hold()
            except StoreAway as problem:
                self._log.critical("The database cannot be claimed: {problem}", problem=problem.cause)
                raise StartupError(problem.cause, problem.cure) from problem
            except Claimed as problem:
                self._log.critical("{problem} {cure}", problem=problem.cause, cure=problem.cure)
                raise
            self._held = True
            self._loop.startService()
        super().startService()

    def stopService(self) -> Deferred[None] | None:
        """Let others have the database.  The worker must still run."""
        super().stopService()
        return None if self._lines is None else Deferred.fromCoroutine(self._let_go(self._lines))

    async def _let_go(self, lines: Lines) -> None:
        self._ending = True
        self._held = False
        looked = self._loop.stopService()
        # PostgreSQL ends the session, and the thread that may be waiting for it is free.
        lines.cut(for_good=True)
        if looked is not None:
            await looked
        await self._worker.run(self._drop)

    async def _look(self) -> None:
        if self._superseded:
            return
        try:
            await self._worker.run(self._hold)
        except Claimed as problem:
            self._held = False
            self._superseded = True
            self._log.critical("{problem} This one stops.", problem=problem.cause)
            self._stop()
        except BaseException:
            self._held = False
            raise
        else:
            self._held = not self._ending

    def _hold(self) -> None:
        """
        See that the lock is ours, and take it if it is not.

        @raise Claimed: another daemon has it.
        @raise StoreAway: it cannot be had now.
        """
        if self._alive():
            return
        try:
            self._take()
        except BaseException as problem:
            self._drop()
            known = meaning(problem) if isinstance(problem, SQLAlchemyError) else None
            if known is None:
                raise
            raise known from problem

    def _alive(self) -> bool:
        if self._connection is None:
            return False
        try:
            self._connection.scalar(_ALIVE)
        except SQLAlchemyError:
            self._drop()
            return False
        return True

    def _take(self) -> None:
        assert self._engine is not None  # noqa: S101 - there is nothing to be taken in SQLite
        connection = self._connection = self._engine.connect()
        if not connection.scalar(_TRY, {"key": self._key}):
            self._end_last_session(connection)
        self._session = tuple(connection.execute(_SELF).one())

    def _end_last_session(self, connection: Connection) -> None:
        """
        @raise Claimed: it is not ours that holds the lock.
        @raise StoreAway: it was ours, and will be gone soon.
        """
        holder = connection.execute(_HOLDER, {"key": self._key}).first()
        if holder is not None and tuple(holder) != self._session:
            raise Claimed(_CAUSE, _CURE_OR_WAIT)
        if holder is not None:
            connection.scalar(_END, {"pid": holder.pid})
        raise away()

    def _drop(self) -> None:
        """End the session, and with it the lock."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()


def _key(instance: str) -> int:
    return int.from_bytes(uuid.UUID(instance).bytes[:8], signed=True)
