"""
The tables.  What the migrations make of an empty database is what stands here; a test compares them.

Note [Labels know their job's state]
====================================
A list may be narrowed to a state and a label at once.  Either index alone would walk all jobs that have the label, or all
that are in the state, and their number grows.  So a label's row repeats the state of its job, and both conditions are one
range of one index.  L{modabatchd.store.steps} changes both together.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Double, ForeignKey, Identity, Index, Integer, LargeBinary, MetaData, Table, Text

#: The table in which the migrations note how far they are.  It also tells our databases from others.
VERSION_TABLE: Final = "modabatch_version"

METADATA: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite gives numbers to rows only where the type is called INTEGER; its integers have 64 bits all the same.
_NUMBER: Final = BigInteger().with_variant(Integer, "sqlite")


def _job(primary_key: bool = False, nullable: bool = False) -> Column[int]:
    return Column("job", _NUMBER, ForeignKey("jobs.seq", ondelete="CASCADE"), nullable=nullable, primary_key=primary_key)


#: One row: the UUID of this installation, to whom its live jobs belong, and how far that one's news were read; C{NULL} where
#: that is not known.
installation: Final = Table(
    "installation",
    METADATA,
    Column("uuid", Text, primary_key=True),
    Column("backend", Text),
    Column("schedd", Text),
    Column("news", Text),
)

#: C{request} and C{sighting} hold JSON; what is searched for stands beside them.
jobs: Final = Table(
    "jobs",
    METADATA,
    Column("seq", _NUMBER, Identity(always=True), primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("previous_state", Text),
    Column("settled", Double),
    Column("backend_cluster", BigInteger),
    Column("backend_proc", BigInteger),
    Column("request", Text, nullable=False),
    Column("sighting", Text),
    # Of the tasks of an array, as JSON: kept, not counted.
    Column("tally", Text),
    # Never less than that of the job before, so that a time is a place in the order of C{seq}.
    Column("submitted", Double),
    sqlite_autoincrement=True,
)
Index(None, jobs.c.state, jobs.c.seq)
Index(None, jobs.c.name, jobs.c.state, jobs.c.seq)
_OVER: Final = jobs.c.settled.is_not(None)
Index(None, jobs.c.settled, jobs.c.seq, postgresql_where=_OVER, sqlite_where=_OVER)
Index(None, jobs.c.submitted, jobs.c.seq)

#: How many jobs are in each state: a row for every state.
counts: Final = Table("counts", METADATA, Column("state", Text, primary_key=True), Column("jobs", BigInteger, nullable=False))

#: See Note [Labels know their job's state].
labels: Final = Table(
    "labels",
    METADATA,
    _job(primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Column("state", Text, nullable=False),
    sqlite_with_rowid=False,
)
Index(None, labels.c.key, labels.c.value, labels.c.state, labels.c.job)
Index(None, labels.c.key, labels.c.state, labels.c.job)

#: The tasks of the arrays; C{sighting} is what L{modabatchd.store.rows_tasks} makes of it.
tasks: Final = Table(
    "tasks",
    METADATA,
    _job(primary_key=True),
    Column("task", Integer, primary_key=True),
    Column("state", Text, nullable=False),
    Column("sighting", Text),
    sqlite_with_rowid=False,
)
Index(None, tasks.c.job, tasks.c.state, tasks.c.task)

#: The history of the jobs.
changes: Final = Table(
    "changes",
    METADATA,
    Column("seq", _NUMBER, Identity(always=True), primary_key=True),
    _job(),
    Column("state", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("reason", Text),
)
Index(None, changes.c.job, changes.c.seq)

#: Actions on many jobs.  C{request} and C{outcome} hold JSON.
bulk: Final = Table(
    "bulk",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("created", Double, nullable=False),
    Column("ended", Double),
    Column("request", Text, nullable=False),
    Column("outcome", Text, nullable=False),
)
Index(None, bulk.c.ended)

#: The outbox.  C{due} is the time of the next try, C{NULL} when there will be none; C{job} is C{NULL} where it is about none.
messages: Final = Table(
    "messages",
    METADATA,
    Column("seq", _NUMBER, Identity(always=True), primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    _job(nullable=True),
    Column("url", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("created", Double, nullable=False),
    Column("due", Double),
    Column("attempts", Integer, nullable=False),
    Column("delivered", Double),
    Column("abandoned", Double),
    Column("problem", Text),
    Column("event", Text, nullable=False, server_default=""),
    Column("endpoint", Text),
)
Index(None, messages.c.job)
Index(None, messages.c.endpoint, messages.c.seq)
_DEAD: Final = messages.c.abandoned.is_not(None)
Index("ix_messages_abandoned", messages.c.seq, postgresql_where=_DEAD, sqlite_where=_DEAD)
_WAITING: Final = messages.c.due.is_not(None)
Index(None, messages.c.due, messages.c.seq, postgresql_where=_WAITING, sqlite_where=_WAITING)

#: See Note [A key and what it made] in L{modabatchd.idempotency}.  A job may be forgotten before its key, and after it.
keys: Final = Table(
    "keys",
    METADATA,
    Column("scope", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("at", Double, nullable=False),
    Column("job_id", Text),
    Column("status", Integer),
    Column("location", Text),
    Column("body", LargeBinary),
    sqlite_with_rowid=False,
)
Index(None, keys.c.at)

#: The tries to deliver messages.
attempts: Final = Table(
    "attempts",
    METADATA,
    Column("seq", _NUMBER, Identity(always=True), primary_key=True),
    Column("message", _NUMBER, ForeignKey("messages.seq", ondelete="CASCADE"), nullable=False),
    Column("at", Double, nullable=False),
    Column("status", Integer),
    Column("problem", Text),
)
Index(None, attempts.c.message, attempts.c.seq)

#: The registered receivers; C{entry} holds JSON.  A message may outlive its endpoint for a moment.
endpoints: Final = Table(
    "endpoints",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("created", Double, nullable=False),
    Column("entry", Text, nullable=False),
)
