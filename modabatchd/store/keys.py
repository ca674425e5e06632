"""IKeys in the database of the jobs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, select, tuple_, update
from twisted.internet.defer import Deferred
from zope.interface import implementer

from modabatchd.idempotency import Answered, IKeys, Key
from modabatchd.store.calls import Read, Write
from modabatchd.store.rows import new_key
from modabatchd.store.schema import keys
from modabatchd.store.statements import ADD_KEYS
from modabatchd.store.versions import NOTHING

_THIS: Final = (keys.c.scope == bindparam("of"), keys.c.name == bindparam("named"))
_FIND: Final = select(
    keys.c.scope, keys.c.name, keys.c.digest, keys.c.at, keys.c.job_id, keys.c.status, keys.c.location, keys.c.body
).where(*_THIS)
_ANSWER: Final = update(keys).where(*_THIS)
_DROP: Final = delete(keys).where(*_THIS)
_OLDEST: Final = (
    select(keys.c.scope, keys.c.name).where(keys.c.at < bindparam("before")).order_by(keys.c.at).limit(bindparam("limit"))
)
_EXPIRE: Final = delete(keys).where(tuple_(keys.c.scope, keys.c.name).in_(_OLDEST))


@implementer(IKeys)
class SQLKeys:
    """See L{IKeys}."""

    def __init__(self, write: Write, read: Read) -> None:
        self._write = partial(write, touched=NOTHING)
        self._read = read

    def find(self, scope: str, name: str) -> Deferred[tuple[Key, Answered | None] | None]:
        """See L{IKeys.find}."""
        return self._read(_found, _FIND, of=scope, named=name)

    def begin(self, key: Key) -> Deferred[None]:
        """See L{IKeys.begin}."""
        return self._write(_begin, key)

    def answer(self, key: Key, answered: Answered) -> Deferred[None]:
        """See L{IKeys.answer}."""
        return self._write(_answer, key, answered)

    def drop(self, key: Key) -> Deferred[None]:
        """See L{IKeys.drop}."""
        return self._write(_drop, key)

    def expire(self, before: float, limit: int) -> Deferred[int]:
        """See L{IKeys.expire}."""
        return self._write(_expire, before, limit)


def _this(key: Key) -> dict[str, str]:
    return {"of": key.scope, "named": key.name}


def _begin(connection: Connection, key: Key) -> None:
    connection.execute(ADD_KEYS, new_key(key))


def _answer(connection: Connection, key: Key, answered: Answered) -> None:
    told = {"status": answered.status, "location": answered.location, "body": answered.body}
    if not connection.execute(_ANSWER.values(told), _this(key)).rowcount:
        connection.execute(ADD_KEYS, {**new_key(key), **told})


def _drop(connection: Connection, key: Key) -> None:
    connection.execute(_DROP, _this(key))


def _expire(connection: Connection, before: float, limit: int) -> int:
    return connection.execute(_EXPIRE, {"before": before, "limit": limit}).rowcount


def _found(rows: Sequence[Any]) -> tuple[Key, Answered | None] | None:
    if not rows:
        return None
    scope, name, digest, at, job_id, status, location, body = rows[0]
    key = Key(scope=scope, name=name, digest=digest, at=at, job_id=job_id)
    return key, None if status is None else Answered(status=status, location=location, body=body)
