"""
Engines: how the two databases are spoken to.

Note [One writer]
=================
SQLite takes one writer at a time and tells the others that the database is locked; so all writes go through one connection,
in one thread, each transaction locked from its beginning.  PostgreSQL would take more, but then two transactions could
commit in another order than they took their numbers, and whoever pages through the list with a cursor would step over the
job that appears late.  So it gets one writer as well: jobs appear in the order of C{seq}.  Reads have connections of
their own, so no list waits for a commit.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError

from modabatchd.errors import StartupError

#: Seconds that a connection waits for a lock of SQLite, which another program may hold, or for PostgreSQL to answer.
_PATIENCE: Final = 10
#: SQLite keeps its journal, which a large transaction may blow up, no longer than this many bytes.
_LONGEST_JOURNAL: Final = 64 << 20


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


def preparing_engine(url: URL) -> Engine:
    """Transactions that hold the lock of SQLite from their beginning; connecting changes nothing in the database."""
    if url.drivername != "sqlite":
        return create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": _PATIENCE})
    engine = create_engine(url, connect_args={"timeout": _PATIENCE})
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", _begin)
    return engine


def writing_engine(url: URL) -> Engine:
    """The same for a database that is known to be ours.  See Note [One writer]."""
    engine = preparing_engine(url)
    if url.drivername == "sqlite":
        event.listen(engine, "connect", _write_ahead)
    return engine


def reading_engine(url: URL) -> Engine:
    """Every statement sees what was committed before it; there are no transactions."""
    if url.drivername != "sqlite":
        engine = create_engine(url, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": _PATIENCE})
        event.listen(engine, "connect", _follow_indexes)
        return engine
    engine = create_engine(url, connect_args={"timeout": _PATIENCE})
    for prepare in (_set_up, _write_ahead, _refuse_writes):
        event.listen(engine, "connect", prepare)
    return engine


def _set_up(connection: sqlite3.Connection, _: Any) -> None:
    # Without it the driver begins transactions on its own, too late and unlocked.
    connection.isolation_level = None
    connection.execute("PRAGMA synchronous = FULL")
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
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _unfit(cause: str) -> StartupError:
    cure = "Set store.url to sqlite:////absolute/path or postgresql://user:password@host/database."
    return StartupError(f"The URL of the database cannot be used: {cause[0].lower()}{cause[1:]}.", cure)
