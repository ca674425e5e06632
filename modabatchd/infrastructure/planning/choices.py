"""What could be started."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter

import msgspec

from modabatchd.infrastructure.node import Capacity, Market, Offering
from modabatchd.infrastructure.planning.packing import Vector, offered
from modabatchd.infrastructure.policy import Policy, Pool, Size, Spot


class Choice(msgspec.Struct, frozen=True):
    """
    An offering, and what one gets for what.

    @ivar room: what jobs find on an empty node of it.
    """

    offering: Offering
    capacity: Capacity
    room: Vector
    price: float


def choices(policy: Policy, turned_out: Mapping[str, Capacity]) -> list[Choice]:
    """
    All that the policy has, the cheapest first, and of the same price in the owner's order.

    @param turned_out: what nodes really had, by pool and size, where that was seen.
    """
    found = [choice for pool in policy.pools for size in pool.sizes for choice in _of(pool, size, turned_out)]
    found.sort(key=attrgetter("price"))
    return found


def _of(pool: Pool, size: Size, turned_out: Mapping[str, Capacity]) -> Iterator[Choice]:
    capacity = turned_out.get(size_key(pool.name, size.id), size.capacity)
    room = offered(capacity, capacity)
    for market, price in markets(pool, size):
        for zone in pool.zones:
            yield Choice(Offering(pool=pool.name, size=size.id, zone=zone, market=market), size.capacity, room, price)


def markets(pool: Pool, size: Size) -> Sequence[tuple[Market, float]]:
    """Where a size can be had, and for how much."""
    found = []
    if pool.spot is not Spot.NEVER and size.spot_price is not None:
        found.append((Market.SPOT, size.spot_price))
    if pool.spot is not Spot.ONLY:
        found.append((Market.ON_DEMAND, size.price))
    return found


def size_key(pool: str, size: str) -> str:
    """By which a size is remembered.  The name of a pool has no slash."""
    return f"{pool}/{size}"
