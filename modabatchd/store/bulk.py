"""IBulkStore in the database of the jobs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update
from twisted.internet.defer import Deferred
from zope.interface import implementer

from modabatchd.store.calls import Read, Write
from modabatchd.store.interfaces import Bulk, IBulkStore, Outcome, Progressed
from modabatchd.store.schema import bulk as table
from modabatchd.store.sql import SQLStore
from modabatchd.store.versions import NOTHING

#: Seconds for which an operation that is over is remembered.
_KEPT: Final = 7 * 86400.0

_ROW: Final = (table.c.request, table.c.outcome)
_ADD: Final = insert(table)
_FORGET: Final = delete(table).where(table.c.ended < bindparam("before"))
_GET: Final = select(*_ROW).where(table.c.id == bindparam("id"))
_UNDER_WAY: Final = select(*_ROW).where(table.c.ended.is_(None)).order_by(table.c.created, table.c.id)
_PROCEED: Final = (
    update(table).where(table.c.id == bindparam("bulk_id")).values(outcome=bindparam("new"), ended=bindparam("at"))
)


@implementer(IBulkStore)
class SQLBulkStore:
    """See L{IBulkStore}."""

    def __init__(self, write: Write, read: Read) -> None:
        self._write = write
        self._read = read

    def begin(self, bulk: Bulk) -> Deferred[None]:
        """See L{IBulkStore.begin}."""
        return self._write(_begin, bulk)

    def get(self, id: str) -> Deferred[Progressed | None]:
        """See L{IBulkStore.get}."""
        return self._read(lambda found: next(iter(_progressed(found)), None), _GET, id=id)

    def under_way(self) -> Deferred[Sequence[Progressed]]:
        """See L{IBulkStore.under_way}."""
        return self._read(_progressed, _UNDER_WAY)

    def proceed(self, id: str, outcome: Outcome) -> Deferred[None]:
        """See L{IBulkStore.proceed}."""
        return self._write(_proceed, id, outcome)


def bulk_in(store: SQLStore) -> SQLBulkStore:
    """The operations in a store's database."""
    return SQLBulkStore(partial(store.write, touched=NOTHING), store.read)


def _begin(connection: Connection, bulk: Bulk) -> None:
    connection.execute(_FORGET, {"before": bulk.created - _KEPT})
    row = {"id": bulk.id, "created": bulk.created, "request": _text(bulk), "outcome": _text(Outcome())}
    connection.execute(_ADD, row)


def _proceed(connection: Connection, id: str, outcome: Outcome) -> None:
    connection.execute(_PROCEED, {"bulk_id": id, "new": _text(outcome), "at": outcome.ended})


def _text(value: msgspec.Struct) -> str:
    return msgspec.json.encode(value).decode()


def _progressed(found: Sequence[Row[Any]]) -> list[Progressed]:
    rows: Sequence[Any] = found
    return [
        Progressed(msgspec.json.decode(request, type=Bulk), msgspec.json.decode(outcome, type=Outcome))
        for request, outcome in rows
    ]
