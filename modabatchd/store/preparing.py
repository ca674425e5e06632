"""
The database before the daemon runs: made, checked, brought up to date.

Note [Two daemons at once]
==========================
Two processes may be started on the same database.  The migrations run in one transaction, which PostgreSQL lets begin only
with an advisory lock in hand.  A file of SQLite is not even a database before its first transaction, so its directory is
locked around all of it; the second process finds the work done.

That is about preparing.  What keeps a second daemon off a database that one works on is in L{modabatchd.store.claiming}.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, inspect, text
from sqlalchemy.exc import SQLAlchemyError

import modabatchd.store.schema_costs
import modabatchd.store.schema_register  # noqa: F401 - their tables belong to METADATA
from modabatchd.errors import StartupError
from modabatchd.store.claiming import refuse_if_claimed
from modabatchd.store.connecting import read_url, to_prepare
from modabatchd.store.failures import reason
from modabatchd.store.installing import instance, let_backend_have
from modabatchd.store.schema import VERSION_TABLE

_MIGRATIONS: Final = Path(__file__).parent / "migrations"
#: Any number will do, as long as no other program locks it in our database.
_LOCK: Final = 0x6D6F6461


def prepare(url: str, backend: str | None = None) -> str:
    """
    Make the database if it is not there, see that it is sound and ours, and bring it up to date.  Blocking.

    No connection is left open, so the process may fork afterwards.

    @param backend: what is going to run the jobs; L{None} when nothing is, and what is recorded stays.
    @return: the UUID of this installation, which is made with the database.
    @raise StartupError: the database cannot be reached or used, another daemon works on it, or its live jobs are another
        backend's.
    """
    parsed = read_url(url)
    with _told(parsed), _alone(parsed):
        engine = _engine(parsed)
        try:
            return _prepare(engine, backend)
        finally:
            engine.dispose()


def migrations() -> Config:
    """What alembic has to know of our migrations; there is no alembic.ini."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config


def _prepare(engine: Engine, backend: str | None) -> str:
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            _check(connection)
        else:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        if _refuse_others(connection):
            refuse_if_claimed(connection, instance(connection))
        config = migrations()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        if backend is not None:
            let_backend_have(connection, backend)
        return instance(connection)


def _check(connection: Connection) -> None:
    """
    Look for damage.

    @raise sqlite3.DatabaseError: there is some.
    """
    result = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    if result != "ok":
        raise sqlite3.DatabaseError(result)


def _refuse_others(connection: Connection) -> bool:
    """
    See that the database is empty, or that these migrations know it.

    @return: whether they do.
    @raise StartupError: it is another program's, or of a newer release.
    """
    tables = inspect(connection).get_table_names()
    if tables and VERSION_TABLE not in tables:
        cause = "The database holds tables, but not those of modabatchd."
        raise StartupError(cause, "Set store.url to a database of its own.")
    known = {script.revision for script in ScriptDirectory.from_config(migrations()).walk_revisions()}
    found = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_heads()
    if not known.issuperset(found):
        cause = f"The database was made by a newer release of modabatchd (its revision is {', '.join(found)})."
        raise StartupError(cause, "Install that release again, or set store.url to another database.")
    return bool(found)


def _engine(url: URL) -> Engine:
    try:
        return to_prepare(url)
    except ModuleNotFoundError:
        raise StartupError("PostgreSQL needs the package psycopg.", "Install modabatchd[postgresql].") from None


@contextmanager
def _told(url: URL) -> Iterator[None]:
    """Errors of the database, which can be long, become one line without the password."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, OSError) as problem:
        line = reason(problem).rstrip(".:")
        secret = url.password
        raise StartupError(*_advice(url, line.replace(str(secret), "***") if secret else line)) from None


def _advice(url: URL, problem: str) -> tuple[str, str]:
    if url.drivername == "sqlite":
        cause = f"The database {url.database} cannot be used: {problem}."
        return cause, "See that the file is ours and sound, or restore it from a backup."
    cause = f"The PostgreSQL database {url.database or ''} cannot be used: {problem}."
    return cause, "See that PostgreSQL runs and that store.url is right."


@contextmanager
def _alone(url: URL) -> Iterator[None]:
    """Keep other processes off a file of SQLite, and make it if it is not there.  See Note [Two daemons at once]."""
    if url.drivername != "sqlite":
        yield
        return
    path = Path(url.database or "")
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        if not path.exists() or not path.stat().st_size:
            _make_file(path)
        yield
    finally:
        os.close(directory)


def _make_file(path: Path) -> None:
    # The files beside it (-wal, -shm) get its mode.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    with closing(sqlite3.connect(path)) as connection:
        # The file shrinks when jobs are deleted.  It can be said of an empty file only, and takes effect with the next line.
        connection.execute("PRAGMA auto_vacuum = FULL")
        connection.execute("PRAGMA journal_mode = WAL")
