"""The tables of the nodes."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Double, Identity, Index, Integer, LargeBinary, Table, Text

from modabatchd.store.schema import METADATA

# See L{modabatchd.store.schema}.
_NUMBER: Final = BigInteger().with_variant(Integer, "sqlite")

#: C{entry} holds JSON; what is searched for stands beside it.
nodes: Final = Table(
    "nodes",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("requested", Double, nullable=False),
    Column("stopped", Double),
    Column("entry", Text, nullable=False),
)
_ALIVE: Final = nodes.c.stopped.is_(None)
_GONE: Final = nodes.c.stopped.is_not(None)
Index(None, nodes.c.requested, postgresql_where=_ALIVE, sqlite_where=_ALIVE)
Index(None, nodes.c.stopped, postgresql_where=_GONE, sqlite_where=_GONE)

#: The journal.  C{body} holds JSON.
decisions: Final = Table(
    "decisions",
    METADATA,
    Column("seq", _NUMBER, Identity(always=True), primary_key=True),
    Column("at", Double, nullable=False),
    Column("body", LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)

#: Single values, in JSON: the planner's memory, and what the owner has said.
scaling: Final = Table(
    "scaling", METADATA, Column("name", Text, primary_key=True), Column("value", LargeBinary, nullable=False)
)

#: What was spent on nodes that are gone.
spending: Final = Table(
    "spending",
    METADATA,
    Column("month", Text, primary_key=True),
    Column("pool", Text, primary_key=True),
    Column("amount", Double, nullable=False),
)
