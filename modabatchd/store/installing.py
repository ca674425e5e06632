"""The one row about the installation, before the daemon runs."""

from __future__ import annotations

import uuid

from sqlalchemy import Connection, insert, select

from modabatchd.errors import StartupError
from modabatchd.store import statements
from modabatchd.store.schema import installation


def instance(connection: Connection) -> str:
    """The UUID of this installation, which is made when there is none."""
    known: str | None = connection.scalar(statements.INSTANCE)
    if known is not None:
        return known
    made = str(uuid.uuid4())
    connection.execute(insert(installation), {"uuid": made})
    return made


def let_backend_have(connection: Connection, backend: str) -> None:
    """
    Record whose the jobs are from now on.  A database of a release that did not record it is taken at the caller's word.

    A backend knows nothing of another's jobs, so they would all be told to be gone.

    @raise StartupError: there are live jobs, and another backend has them.
    """
    instance(connection)
    recorded: str | None = connection.scalar(statements.BACKEND)
    if recorded == backend:
        return
    if recorded is not None and connection.scalar(select(statements.ALIVE)):
        cure = (
            f"Start it once more with queue.backend = {recorded} until its jobs are over, or give this one another store.url."
        )
        raise StartupError(f"The database has jobs that {recorded} runs, and queue.backend is {backend} now.", cure)
    connection.execute(statements.REMEMBER_BACKEND, {"name": backend})
