"""
ICosts in the database of the jobs.

Note [Runs are read off the jobs]
=================================
What the queue said last of each job stands in the table of jobs: on which node it runs, and since when.  So runs are noted
from there, every now and then, and nobody who moves jobs along has to know of money.  A run that began and was broken off
between two of these times is missed; what it would have been charged is charged to nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row
from twisted.internet.defer import Deferred
from zope.interface import implementer

from modabatchd.infrastructure.charging import Charge, Run, charges
from modabatchd.infrastructure.costs import Charged, ICosts, RunCost
from modabatchd.infrastructure.node import Capacity
from modabatchd.infrastructure.presences import PREFIX, node_of
from modabatchd.infrastructure.register import Entry
from modabatchd.queue.job import JobRequest, JobState, Sighting
from modabatchd.store import statements_costs as statements
from modabatchd.store.sql import SQLStore
from modabatchd.store.versions import NOTHING

_UNTIL: Final = "charged"
_BUSY: Final = (JobState.RUNNING, JobState.SUSPENDED)
_ENTRIES: Final = msgspec.json.Decoder(Entry)
_REQUESTS: Final = msgspec.json.Decoder(JobRequest)
_SIGHTINGS: Final = msgspec.json.Decoder(Sighting)

Values = dict[str, Any]


@implementer(ICosts)
class SQLCosts:
    """See L{ICosts} and Note [Runs are read off the jobs]."""

    def __init__(self, store: SQLStore) -> None:
        self._store = store

    def charge(self, at: float, until: float) -> Deferred[None]:
        """See L{ICosts.charge}."""
        return Deferred.fromCoroutine(self._charge(at, until))

    def until(self) -> Deferred[float | None]:
        """See L{ICosts.until}."""
        return self._store.read(lambda found: float(found[0][0]) if found else None, statements.UNTIL, name=_UNTIL)

    def months(self) -> Deferred[Sequence[str]]:
        """See L{ICosts.months}."""
        return self._store.read(lambda found: [row[0] for row in reversed(found)], statements.MONTHS)

    def charged(self, month: str, label: str) -> Deferred[Charged]:
        """See L{ICosts.charged}."""
        return self._store.read(_charged, statements.CHARGED, month=month, label=label)

    def runs(self, job: int) -> Deferred[Sequence[RunCost]]:
        """See L{ICosts.runs}."""
        return self._store.read(_run_costs, statements.RUNS_OF, job=job)

    async def _charge(self, at: float, until: float) -> None:
        since = await self.until()
        # Jobs may have settled while the last time was charged.
        seen = await self._store.read(lambda found: list(_runs_seen(found, at)), statements.MOVED, since=since or until)
        await self._store.write(_write, seen, since, until, touched=NOTHING)


def _write(connection: Connection, seen: Sequence[Values], since: float | None, until: float) -> None:
    """Note what was seen, and charge what there was since the last time."""
    note, _, put_value = statements.WRITES[connection.dialect.name]
    again = [{"of": run["job"], "before": run["number"], "at": run["started"]} for run in seen if run["number"] > 1]
    for statement, rows in ((note, seen), (statements.SUPERSEDE, again)):
        if rows:
            connection.execute(statement, rows)
    if since is not None and since >= until:
        return
    for statement, rows in _charged_rows(connection, since, until):
        if rows:
            connection.execute(statement, rows)
    connection.execute(put_value, [{"name": _UNTIL, "value": f"{until!r}".encode()}])


def _charged_rows(connection: Connection, since: float | None, until: float) -> Iterator[tuple[Any, list[Values]]]:
    if since is None:
        return
    nodes = [_ENTRIES.decode(row[0]).node for row in connection.execute(statements.NODES, {"since": since})]
    runs = [_run(row) for row in connection.execute(statements.RUNS, {"since": since, "until": until})]
    found = list(charges(nodes, runs, since, until))
    yield statements.CHARGE_RUN, [{"of": each.run.key[0], "which": each.run.key[1], "more": each.amount} for each in found]
    yield statements.WRITES[connection.dialect.name][1], _summed(found)


def _summed(found: Iterable[Charge]) -> list[Values]:
    """By label; the empty one is for all jobs."""
    sums: dict[tuple[str, str, str, str], float] = {}
    for each in found:
        for label, value in {"": "", **each.run.labels}.items():
            key = each.month, label, value, each.pool
            sums[key] = sums.get(key, 0.0) + each.amount
    names = ("month", "label", "value", "pool")
    return [{**dict(zip(names, key, strict=True)), "amount": amount} for key, amount in sorted(sums.items())]


def _runs_seen(found: Iterable[Sequence[Any]], at: float) -> Iterator[Values]:
    for seq, state, settled, text in found:
        seen = None if text is None else _SIGHTINGS.decode(text)
        run = None if seen is None else _seen(seen, None if state in _BUSY else at if settled is None else settled)
        if run is not None:
            yield {"job": seq, "cost": 0.0, **run}


def _seen(seen: Sighting, noticed: float | None) -> Values | None:
    """The last run of a job, if it was on a node of ours.  @param noticed: when it was seen to be over."""
    node, started = node_of(seen.host or ""), seen.current_started or seen.started
    if started is None or not node.startswith(PREFIX):
        return None
    exact = noticed is not None and seen.completed is not None and seen.completed >= started
    return {"number": max(1, seen.run_count), "node": node, "started": started, "ended": seen.completed if exact else noticed}


def _run(row: Sequence[Any]) -> Run:
    job, number, node, started, ended, text = row
    request = _REQUESTS.decode(text)
    asked = request.resources
    return Run(
        key=(job, number),
        node=node,
        started=started,
        ended=ended,
        asked=Capacity(cpus=asked.cpus, memory=asked.memory, gpus=asked.gpus),
        labels=request.labels,
    )


def _run_costs(found: Sequence[Row[Any]]) -> list[RunCost]:
    rows: Iterable[Sequence[Any]] = found
    return [RunCost(number=number, node=node, started=began, ended=end, cost=cost) for number, node, began, end, cost in rows]


def _charged(found: Sequence[Row[Any]]) -> Charged:
    sums: dict[str, dict[str, float]] = {"spent": {}, "pools": {}, "values": {}}
    rows: Iterable[Sequence[Any]] = found
    for what, name, amount in rows:
        sums[what][name] = amount
    return Charged(**sums)
