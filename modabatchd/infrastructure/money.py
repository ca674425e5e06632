"""What nodes cost.  Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

from modabatchd.infrastructure.register import Entry, Spent

_HOUR: Final = 3600.0


def month(at: float) -> str:
    """The calendar month (UTC) of a time, as C{2024-02}."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m}"


def begin(at: float) -> float:
    """When the calendar month (UTC) of a time began."""
    moment = datetime.fromtimestamp(at, UTC)
    return datetime(moment.year, moment.month, 1, tzinfo=UTC).timestamp()


def due(entry: Entry, until: float, quantum: float = 0.0) -> Iterator[Spent]:
    """
    What a node has cost until a time, by month, beyond what is booked.

    @param quantum: seconds of which whole numbers are paid for; 0 where each second is.
    """
    node = entry.node
    since = node.requested if entry.booked is None else entry.booked
    if quantum > 0:
        until = max(until, node.requested + quantum * math.ceil(max(0.0, until - node.requested) / quantum))
    while since < until:
        end = min(until, next_month(since))
        yield Spent(month(since), node.offering.pool, node.price * (end - since) / _HOUR)
        since = end


def unbooked(entries: Iterable[Entry], now: float, when: str | None = None) -> float:
    """What nodes that are alive have cost in a month, this one if no other is named, beyond what is booked."""
    when = when or month(now)
    return sum(spent.amount for entry in entries for spent in due(entry, now) if spent.month == when)


def next_month(at: float) -> float:
    """When the calendar month (UTC) after that of a time begins."""
    moment = datetime.fromtimestamp(at, UTC)
    year, number = divmod(moment.year * 12 + moment.month, 12)
    return datetime(year, number + 1, 1, tzinfo=UTC).timestamp()
