"""
How the two databases are spoken to.

Note [One writer]
=================
SQLite takes one writer at a time and tells the others that the database is locked; so all writes go through one connection,
in one thread, each transaction locked from its beginning.  PostgreSQL would take more, but then two transactions could
commit in another order than they took their numbers, and whoever pages through the list with a cursor would step over the
job that appears late.  So it gets one writer as well: jobs appear in the order of C{seq}.  Reads have connections of
their own, so no list waits for a commit.

Note [Soon durable]
===================
What can be found out again need not wait for the disk.  SQLite in its NORMAL mode writes such a transaction to its journal
and does not sync it; the next one that is synced takes along what stands before it, and a crash of the machine cuts the journal
between two transactions, never within one.  PostgreSQL does the same with C{synchronous_commit} off.

Note [Ends of a connection]
===========================
A server that is gone without a word, with its machine or its network, leaves a connection that waits for hours.  Keepalives
and a limit to unacknowledged data end it on our side, and the same settings of the session on the server's, so that the
locks of a daemon whose machine crashed are free soon.  A statement that takes too long is ended by the server.  A server that
is frozen acknowledges and does nothing; that is what L{modabatchd.store.calls} is for.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError

from modabatchd.errors import StartupError

#: Seconds that a connection waits for a lock of SQLite, which another program may hold.
_PATIENCE: Final = 10
#: SQLite keeps its journal, which a large transaction may blow up, no longer than this many bytes.
_LONGEST_JOURNAL: Final = 64 << 20
#: What libpq is told; see Note [Ends of a connection].  Seconds, the last one milliseconds.
_LIBPQ: Final[Mapping[str, int]] = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
#: What the server is told, in the same units.
_SESSION: Final[Mapping[str, int]] = {
    "tcp_keepalives_idle": 10,
    "tcp_keepalives_interval": 5,
    "tcp_keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
#: Milliseconds after which PostgreSQL ends a statement of the daemon: before the caller has lost patience.
_LONGEST_STATEMENT: Final[Mapping[str, int]] = {"statement_timeout": 15_000}

#: The option of an engine that L{soon} makes.
_SOON: Final = "modabatchd_soon"


def read_url(text: str) -> URL:
    """
    The URL of a database, with the driver that we use.

    @raise StartupError: it cannot be one.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise _unfit("It cannot be read") from None
    if url.drivername in ("postgresql", "postgresql+psycopg"):
        return url.set(drivername="postgresql+psycopg")
    if url.drivername != "sqlite":
        raise _unfit("It names neither SQLite nor PostgreSQL")
    if not url.database or not Path(url.database).is_absolute():
        raise _unfit("It names no absolute path")
    return url


def to_prepare(url: URL) -> Engine:
    """
    Transactions that hold the lock of SQLite from their beginning; connecting changes nothing in the database.

    A statement may take long: a migration does.
    """
    if url.drivername != "sqlite":
        return _postgresql(url, _SESSION, pool_pre_ping=True)
    return _locking(url)


def to_write(url: URL) -> Engine:
    """Transactions like those of L{to_prepare}, in a database that is known to be ours.  See Note [One writer]."""
    if url.drivername != "sqlite":
        engine = _postgresql(url, {**_SESSION, **_LONGEST_STATEMENT}, pool_pre_ping=True)
        event.listen(engine, "begin", _begin_soon)
        return engine
    engine = _locking(url)
    event.listen(engine, "connect", _write_ahead)
    return engine


def soon(engine: Engine) -> Engine:
    """What L{to_write} gave, with the same connection, for transactions as in Note [Soon durable]."""
    return engine.execution_options(**{_SOON: True})


def to_read(url: URL) -> Engine:
    """Every statement sees what was committed before it; there are no transactions."""
    if url.drivername != "sqlite":
        engine = _postgresql(url, {**_SESSION, **_LONGEST_STATEMENT}, isolation_level="AUTOCOMMIT")
        event.listen(engine, "connect", _follow_indexes)
        return engine
    engine = _sqlite(url)
    for prepare in (_set_up, _write_ahead, _refuse_writes):
        event.listen(engine, "connect", prepare)
    return engine


def to_claim(url: URL) -> Engine:
    """For the lock that L{modabatchd.store.claiming.Claim} holds in PostgreSQL."""
    return _postgresql(url, {**_SESSION, **_LONGEST_STATEMENT}, isolation_level="AUTOCOMMIT")


def arguments(url: URL, session: Mapping[str, int]) -> dict[str, Any]:
    """
    What the driver is told beside the URL of a PostgreSQL database, which has the last word.

    @param session: settings of the session.
    """
    told: dict[str, Any] = {name: value for name, value in _LIBPQ.items() if name not in url.query}
    # The last one counts.  What libpq would take from its environment must be repeated.
    given = url.query.get("options", os.environ.get("PGOPTIONS", ""))
    settings = [f"-c {name}={value}" for name, value in session.items()]
    told["options"] = " ".join([*settings, *([given] if isinstance(given, str) else given)]).strip()
    return told


def _postgresql(url: URL, session: Mapping[str, int], **options: Any) -> Engine:
    # The parameters of a statement may be the secrets of a job, and errors are logged.
    return create_engine(url, hide_parameters=True, connect_args=arguments(url, session), **options)


def _sqlite(url: URL) -> Engine:
    return create_engine(url, hide_parameters=True, connect_args={"timeout": _PATIENCE})


def _locking(url: URL) -> Engine:
    engine = _sqlite(url)
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", _begin)
    return engine


def _set_up(connection: sqlite3.Connection, _: Any) -> None:
    # Without it the driver begins transactions on its own, too late and unlocked.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA journal_size_limit = {_LONGEST_JOURNAL}")


def _write_ahead(connection: sqlite3.Connection, _: Any) -> None:
    # The file keeps this, but a copy that was restored from a backup may not have it.
    connection.execute("PRAGMA journal_mode = WAL")


def _refuse_writes(connection: sqlite3.Connection, _: Any) -> None:
    connection.execute("PRAGMA query_only = ON")


def _follow_indexes(connection: DBAPIConnection, _: Any) -> None:
    # Every read of ours is a few ranges of indexes.  Statistics of tables that grow fast are out of date, and would have
    # PostgreSQL read all of a table.
    cursor = connection.cursor()
    cursor.execute("SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off")
    cursor.close()
    connection.commit()


def _begin(connection: Connection) -> None:
    # It cannot be changed within a transaction.
    connection.exec_driver_sql(f"PRAGMA synchronous = {'NORMAL' if _is_soon(connection) else 'FULL'}")
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin_soon(connection: Connection) -> None:
    if _is_soon(connection):
        connection.exec_driver_sql("SET LOCAL synchronous_commit TO off")


def _is_soon(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get(_SOON))


def _unfit(cause: str) -> StartupError:
    cure = "Set store.url to sqlite:////absolute/path or postgresql://user:password@host/database."
    return StartupError(f"The URL of the database cannot be used: {cause[0].lower()}{cause[1:]}.", cure)
