"""IRegister in the database of the jobs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row
from twisted.internet.defer import Deferred
from zope.interface import implementer

from modabatchd.infrastructure.register import Change, Decision, Entry, IRegister, Kept, Overrides
from modabatchd.store import statements_register as statements
from modabatchd.store.calls import Read, Write
from modabatchd.store.rows import new_message
from modabatchd.store.sql import SQLStore
from modabatchd.store.statements import ADD_MESSAGES
from modabatchd.store.versions import NOTHING

_MEMORY: Final = "memory"
_OVERRIDES: Final = "overrides"
_TOLD: Final = "told"
_JOURNAL: Final = 10_000
_ENTRIES: Final = msgspec.json.Decoder(Entry)


@implementer(IRegister)
class SQLRegister:
    """See L{IRegister}."""

    def __init__(self, write: Write, read: Read, journal: int = _JOURNAL) -> None:
        """@param journal: how many decisions are kept."""
        self._write = write
        self._read = read
        self._journal = journal

    def load(self, month: str) -> Deferred[Kept]:
        """See L{IRegister.load}."""
        return Deferred.fromCoroutine(self._load(month))

    def write(self, change: Change) -> Deferred[None]:
        """See L{IRegister.write}."""
        return self._write(_write, change, self._journal)

    def one(self, name: str) -> Deferred[Entry | None]:
        """See L{IRegister.one}."""
        return self._read(lambda found: next(_entries(found), None), statements.ONE, name=name)

    def gone(self, limit: int) -> Deferred[Sequence[Entry]]:
        """See L{IRegister.gone}."""
        return self._read(lambda found: list(_entries(found)), statements.GONE, limit=limit)

    def decisions(self, limit: int, before: int) -> Deferred[Sequence[Decision]]:
        """See L{IRegister.decisions}."""
        return self._read(_decisions, statements.DECISIONS, limit=limit, before=before)

    async def _load(self, month: str) -> Kept:
        entries = await self._read(lambda found: tuple(_entries(found)), statements.ALIVE)
        values = await self._read(_pairs, statements.VALUES)
        spent = await self._read(_pairs, statements.SPENT, month=month)
        said = values.get(_OVERRIDES)
        overrides = Overrides() if said is None else msgspec.json.decode(said, type=Overrides)
        told = values.get(_TOLD, b"").decode()
        return Kept(entries=entries, memory=values.get(_MEMORY), overrides=overrides, spent=spent, told=told)


def in_store(store: SQLStore) -> SQLRegister:
    """The register in a store's database."""
    return SQLRegister(partial(store.write, touched=NOTHING), store.read)


def _write(connection: Connection, change: Change, journal: int) -> None:
    put_nodes, put_values, add_spent = statements.PUTS[connection.dialect.name]
    values = [{"name": name, "value": value} for name, value in _values(change)]
    for statement, rows in (
        (put_nodes, [_row(entry) for entry in change.entries]),
        (put_values, values),
        (add_spent, [msgspec.structs.asdict(spent) for spent in change.spent]),
    ):
        if rows:
            connection.execute(statement, rows)
    if change.forget is not None:
        connection.execute(statements.FORGET, {"before": change.forget})
    if change.messages:
        connection.execute(ADD_MESSAGES, [new_message(None, message) for message in change.messages])
    if change.decision is not None:
        at, body = change.decision
        connection.execute(statements.ADD_DECISION, {"at": at, "body": body})
        connection.execute(statements.SHORTEN, {"kept": journal})


def _values(change: Change) -> Iterator[tuple[str, bytes]]:
    if change.memory is not None:
        yield _MEMORY, change.memory
    if change.overrides is not None:
        yield _OVERRIDES, msgspec.json.encode(change.overrides)
    if change.told is not None:
        yield _TOLD, change.told.encode()


def _row(entry: Entry) -> dict[str, object]:
    node = entry.node
    text = msgspec.json.encode(entry).decode()
    return {"id": node.id, "name": node.name, "requested": node.requested, "stopped": node.stopped, "entry": text}


def _entries(found: Sequence[Row[Any]]) -> Iterator[Entry]:
    return (_ENTRIES.decode(row[0]) for row in found)


def _pairs(found: Sequence[Row[Any]]) -> dict[str, Any]:
    rows: Iterable[Sequence[Any]] = found
    return {name: value for name, value in rows}  # noqa: C416 - rows are no pairs to mypy


def _decisions(found: Sequence[Row[Any]]) -> list[Decision]:
    rows: Iterable[Sequence[Any]] = found
    return [Decision(seq, at, body) for seq, at, body in rows]
