"""The statements about nodes, each built once, but for those that the two databases write differently."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Table, bindparam, delete, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from modabatchd.store.schema_register import decisions, nodes, scaling, spending

ALIVE: Final = select(nodes.c.entry).where(nodes.c.stopped.is_(None)).order_by(nodes.c.requested, nodes.c.id)
ONE: Final = select(nodes.c.entry).where(or_(nodes.c.name == bindparam("name"), nodes.c.id == bindparam("name")))
GONE: Final = (
    select(nodes.c.entry).where(nodes.c.stopped.is_not(None)).order_by(nodes.c.stopped.desc()).limit(bindparam("limit"))
)
FORGET: Final = delete(nodes).where(nodes.c.stopped < bindparam("before"))

VALUES: Final = select(scaling.c.name, scaling.c.value)
SPENT: Final = select(spending.c.pool, spending.c.amount).where(spending.c.month == bindparam("month"))

DECISIONS: Final = (
    select(decisions.c.seq, decisions.c.at, decisions.c.body)
    .where(decisions.c.seq < bindparam("before"))
    .order_by(decisions.c.seq.desc())
    .limit(bindparam("limit"))
)
ADD_DECISION: Final = decisions.insert()
#: The journal keeps so many of the newest.
SHORTEN: Final = delete(decisions).where(
    decisions.c.seq <= select(func.max(decisions.c.seq)).scalar_subquery() - bindparam("kept")
)


def put(dialect: str, table: Table, *, add: str = "") -> Any:
    """
    Write rows, each instead of the one with its key.

    @param dialect: SQLAlchemy's name of the database's.
    @param add: a column whose values are added up.
    """
    insert: Any = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement = insert(table)
    keys = {column.name for column in table.primary_key}
    new = {column.name: statement.excluded[column.name] for column in table.columns if column.name not in keys}
    if add:
        new[add] = table.c[add] + new[add]
    return statement.on_conflict_do_update(index_elements=sorted(keys), set_=new)


PUTS: Final = {
    dialect: (put(dialect, nodes), put(dialect, scaling), put(dialect, spending, add="amount"))
    for dialect in ("sqlite", "postgresql")
}
