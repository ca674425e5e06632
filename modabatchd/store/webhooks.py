"""IWebhooks in the database of the jobs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row
from twisted.internet.defer import Deferred
from zope.interface import implementer

from modabatchd.notifications.endpoint import Endpoint
from modabatchd.notifications.interfaces import IWebhooks
from modabatchd.notifications.message import Attempt, Message, Told
from modabatchd.store import statements_webhooks as statements
from modabatchd.store.calls import Read, Write
from modabatchd.store.rows import encode
from modabatchd.store.versions import NOTHING

_ENDPOINTS: Final = msgspec.json.Decoder(Endpoint)


@implementer(IWebhooks)
class SQLWebhooks:
    """See L{IWebhooks}."""

    def __init__(self, write: Write, read: Read) -> None:
        self._write = partial(write, touched=NOTHING)
        self._read = read

    def endpoints(self) -> Deferred[Sequence[Endpoint]]:
        """See L{IWebhooks.endpoints}."""
        return self._read(_endpoints, statements.ENDPOINTS)

    def write(self, endpoint: Endpoint) -> Deferred[None]:
        """See L{IWebhooks.write}."""
        return self._write(_put, endpoint)

    def delete(self, endpoint_id: str) -> Deferred[None]:
        """See L{IWebhooks.delete}."""
        return self._write(_delete, endpoint_id)

    def told(self, job_id: str) -> Deferred[Sequence[Told]]:
        """See L{IWebhooks.told}."""
        return self._read(_told, statements.TOLD, job_id=job_id)

    def told_to(self, endpoint_id: str, limit: int, before: int) -> Deferred[Sequence[Told]]:
        """See L{IWebhooks.told_to}."""
        return self._read(_told, statements.TOLD_TO, to=endpoint_id, limit=limit, before=before)

    def dead(self, limit: int, before: int) -> Deferred[Sequence[Told]]:
        """See L{IWebhooks.dead}."""
        return self._read(_told, statements.DEAD, limit=limit, before=before)

    def revive(self, message_id: str, at: float) -> Deferred[bool]:
        """See L{IWebhooks.revive}."""
        return self._write(_revive, message_id, at)


def _put(connection: Connection, endpoint: Endpoint) -> None:
    values = {"of": endpoint.id, "text": encode(endpoint)}
    if not connection.execute(statements.CHANGE, values).rowcount:
        connection.execute(statements.ADD, {"id": endpoint.id, "created": endpoint.created, "entry": values["text"]})


def _delete(connection: Connection, endpoint_id: str) -> None:
    connection.execute(statements.DELETE_MESSAGES, {"to": endpoint_id})
    connection.execute(statements.DELETE, {"of": endpoint_id})


def _revive(connection: Connection, message_id: str, at: float) -> bool:
    return bool(connection.execute(statements.REVIVE, {"message_id": message_id, "time": at}).rowcount)


def _endpoints(found: Sequence[Row[Any]]) -> Sequence[Endpoint]:
    return [_ENDPOINTS.decode(entry) for (entry,) in found]


def _told(found: Sequence[Row[Any]]) -> Sequence[Told]:
    """The messages of rows, of which each tells of one try, those of a message together."""
    return [_one(list(tries)) for _, tries in groupby(found, key=lambda row: row[0])]


def _one(tries: Sequence[Sequence[Any]]) -> Told:
    seq, id, job_id, url, body, created, event, endpoint, due, delivered, abandoned = tries[0][:-3]
    message = Message(id=id, job_id=job_id, url=url, body=body, created=created, event=event, endpoint=endpoint)
    return Told(seq=seq, message=message, due=due, delivered=delivered, abandoned=abandoned, attempts=tuple(_attempts(tries)))


def _attempts(tries: Sequence[Sequence[Any]]) -> Iterator[Attempt]:
    for at, status, problem in (row[-3:] for row in tries):
        if at is not None:
            yield Attempt(at=at, status=status, problem=problem)
