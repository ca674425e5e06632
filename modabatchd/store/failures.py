"""What an error of a database means.  Pure."""

from __future__ import annotations

import sqlite3
from typing import Final

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError, TimeoutError

from modabatchd.errors import ModabatchError, NoSpace, StoreAway

#: PostgreSQL's code for a full disk.
_DISK_FULL: Final = "53100"
#: And for one that takes no writes: it has become the copy of another.
_READ_ONLY: Final = "25006"
#: Errors of SQLite that may pass.  It has one class for these and for mistakes in a statement.
_PASSING: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN})


def meaning(problem: SQLAlchemyError) -> ModabatchError | None:
    """
    The error that callers are told: L{NoSpace} or L{StoreAway}.

    @return: L{None} when it is a defect, of ours or of the database.
    """
    if _full(problem):
        return NoSpace("The disk of the database is full; nothing was recorded.", "Make room on it, then try again.")
    return away() if _passing(problem) else None


def away() -> StoreAway:
    """The database did not do what it was asked, for now."""
    cure = "Try again in a few seconds; if that does not help, the operator must see to the database."
    return StoreAway("The database does not answer.", cure)


def unclaimed() -> StoreAway:
    """The database is not known to be ours."""
    cure = "Try again in a few seconds; if that does not help, see whether another modabatchd works on the same database."
    return StoreAway("The database may be another daemon's at the moment; nothing was recorded.", cure)


def reason(problem: BaseException) -> str:
    """One line on an error, for the log; without the statement and its parameters."""
    original = getattr(problem, "orig", None) or problem
    lines = str(original).strip().splitlines() or [type(original).__name__]
    return lines[0]


def _full(problem: SQLAlchemyError) -> bool:
    return _sqlite_code(problem) == sqlite3.SQLITE_FULL or _state(problem) == _DISK_FULL


def _passing(problem: SQLAlchemyError) -> bool:
    code = _sqlite_code(problem)
    if code is not None:
        return code & 0xFF in _PASSING
    if _state(problem) == _READ_ONLY:
        return True
    lost = isinstance(problem, DBAPIError) and problem.connection_invalidated
    return lost or isinstance(problem, OperationalError | InterfaceError | TimeoutError)


def _sqlite_code(problem: SQLAlchemyError) -> int | None:
    code: int | None = getattr(getattr(problem, "orig", None), "sqlite_errorcode", None)
    return code


def _state(problem: SQLAlchemyError) -> str | None:
    state: str | None = getattr(getattr(problem, "orig", None), "sqlstate", None)
    return state
