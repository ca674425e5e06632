"""
Reads of a few rows of SQLite, on the thread of the reactor.

Note [Glances]
==============
To have another thread read a few rows costs several times what the reading costs: each time a thread must wake up and get hold
of the interpreter.  A few rows of an index are read in some ten microseconds, as long as they are in memory.  So they are read
where they are wanted, and three things keep that short.  The connection waits for no lock: a reader of SQLite's journal needs
none that a writer holds for long, and when it is busy after all, a thread reads instead.  A statement that goes on for too
long is broken off.  And when a read took long because the disk had to be asked, the threads read everything for a while, so
that a slow disk costs the reactor one such read now and then.  (If it took long because the machine is overloaded, that would
not help: threads wait for a core as well, and more often.)
"""

from __future__ import annotations

import resource
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Executable
from sqlalchemy.dialects import sqlite

from modabatchd.store.connecting import read_url

#: Seconds that a read may take until it is broken off, and from when on it counts as slow.
_LONGEST: Final = 0.05
_SLOW: Final = 0.02
#: Seconds for which threads read after that.
_REST: Final = 5.0
#: After how many steps of SQLite's machine it is seen whether a read goes on for too long.
_STEPS: Final = 2000
_MOST_STATEMENTS: Final = 200

# The placeholders for lists of values are filled in by SQLAlchemy.
_DIALECT: Final = sqlite.dialect(paramstyle="named")


class Glances:
    """See Note [Glances].  It connects when it is first used; all on one thread."""

    def __init__(self, url: str, now: Callable[[], float] = time.monotonic, disk: Callable[[], int] | None = None) -> None:
        """
        @param url: of a file of SQLite.
        @param disk: how often this thread had to ask the disk so far; by default what the system says.
        """
        self._path = read_url(url).database or ""
        self._now = now
        self._disk = disk or _reads_of_disk
        self._connection: sqlite3.Connection | None = None
        self._statements: dict[Executable, tuple[str, Mapping[str, Any]]] = {}
        self._until = 0.0
        self._resting_until = 0.0

    def fetch(self, statement: Executable, values: Mapping[str, Any]) -> Sequence[Sequence[Any]] | None:
        """The rows of a statement; L{None} when a thread should read them."""
        began = self._now()
        if began < self._resting_until:
            return None
        asked = self._disk()
        self._until = began + _LONGEST
        try:
            text, given = self._compiled(statement)
            return self._connected().execute(text, {**given, **values}).fetchall()
        except sqlite3.Error:
            # Whatever it is, the thread will meet with it again, and tell.
            return None
        finally:
            ended = self._now()
            if ended - began > _SLOW and self._disk() > asked:
                self._resting_until = ended + _REST

    def close(self) -> None:
        """Read no more."""
        self._resting_until = float("inf")
        if self._connection is not None:
            self._connection.close()

    def _compiled(self, statement: Executable) -> tuple[str, Mapping[str, Any]]:
        known = self._statements.get(statement)
        if known is None:
            if len(self._statements) >= _MOST_STATEMENTS:
                self._statements.clear()
            compiled = statement.compile(dialect=_DIALECT)  # type: ignore[attr-defined]
            known = self._statements[statement] = (str(compiled), compiled.params)
        return known

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = sqlite3.connect(self._path, timeout=0, isolation_level=None)
            connection.execute("PRAGMA query_only = ON")
            connection.set_progress_handler(lambda: self._now() > self._until, _STEPS)
            self._connection = connection
        return self._connection


def _reads_of_disk() -> int:
    return resource.getrusage(resource.RUSAGE_THREAD).ru_inblock
