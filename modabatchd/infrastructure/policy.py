"""
What an owner has written down: which machines may be started, how many, for how much, and how long one may wait for work.

Values only.  Durations are seconds, money is in the policy's currency, prices are per hour.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from pathlib import Path

import msgspec

from modabatchd.infrastructure.node import Capacity


class Objective(enum.StrEnum):
    """What is to be small: the bill, the waits, or a bit of both."""

    COST = "cost"
    BALANCED = "balanced"
    LATENCY = "latency"

    @property
    def patience(self) -> float:
        """For how many seconds a node may stay idle to spare somebody the wait for another one, beside the time to boot it."""
        return {Objective.COST: 0.0, Objective.BALANCED: 1200.0, Objective.LATENCY: 3600.0}[self]


class Spot(enum.StrEnum):
    """Whether a pool's nodes may be ones that the provider takes back when it likes."""

    NEVER = "never"
    PREFERRED = "preferred"
    ONLY = "only"


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """
    A kind of machine.

    @ivar id: the provider's id of it.
    @ivar spot_price: what it costs at most on the spot market; L{None} where it is not to be had there.
    """

    id: str
    capacity: Capacity
    price: float
    spot_price: float | None = None


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """
    Nodes of one kind, at one provider.

    @ivar driver: libcloud's name of the provider, or C{local}.
    @ivar sizes: the owner's order; of two that cost the same for a job, the one with more room is taken.
    @ivar zones: where nodes may be; the empty one leaves it to the provider.
    @ivar min_nodes: how many are kept even without work.
    @ivar max_nodes: of this pool; L{None} for no other limit than that of all pools.
    @ivar boot_timeout: a node that has not joined by then is replaced.
    @ivar drain_timeout: a node that drains for longer is stopped with its jobs; L{None}: it waits for them, however long.
    @ivar lease: a node that lost the pool turns itself off after so long, and is stopped a little later.
    @ivar max_lifetime: a node this old takes no new jobs; its token ends with it.
    @ivar billing_quantum: what is paid for is a whole number of these; 0 where seconds are billed.
    @ivar requirements: a ClassAd expression that its startds add to theirs: which jobs they take.
    @ivar labels: what its costs are told by.
    @ivar options: what the driver is told beside image, size and zone: network, key, ...
    @ivar account: what opens the provider's door but is no secret: region, host, project, ...
    @ivar credentials: a file with the secrets, which are never in the policy.
    """

    name: str
    driver: str
    sizes: tuple[Size, ...]
    zones: tuple[str, ...] = ("",)
    image: str = ""
    min_nodes: int = 0
    max_nodes: int | None = None
    max_cores: int | None = None
    boot_timeout: float = 900.0
    drain_timeout: float | None = None
    lease: float = 1200.0
    max_lifetime: float = 90 * 86400.0
    spot: Spot = Spot.NEVER
    billing_quantum: float = 0.0
    requirements: str = ""
    labels: Mapping[str, str] = {}
    options: Mapping[str, str] = {}
    account: Mapping[str, str] = {}
    credentials: Path | None = None


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """
    What is never exceeded, nodes that boot or are being stopped counted.  L{None}: no limit.

    @ivar max_hourly_cost: of all nodes together.
    @ivar monthly_budget: once this much was spent in a calendar month (UTC), nothing is started; what runs goes on.
    """

    max_nodes: int = 10
    max_cores: int | None = None
    starts_per_minute: int = 30
    max_hourly_cost: float | None = None
    monthly_budget: float | None = None


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """
    A time at which some nodes are kept up even without work.

    @ivar cron: when it begins: minute, hour, day of month, month, day of week.
    @ivar until: the time of day at which it ends, C{HH:MM}; the first one after its begin.
    @ivar pool: whose nodes.
    @ivar timezone: an IANA name; the times are of it.
    """

    cron: str
    until: str
    min_nodes: int
    pool: str
    timezone: str = "UTC"


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """
    All of it.

    @ivar idle: for how long a node without work is kept; L{None}: as long as it pays, by what was learned.
    @ivar currency: what money is counted in; empty if nobody said.
    """

    pools: tuple[Pool, ...]
    objective: Objective = Objective.BALANCED
    dry_run: bool = False
    idle: float | None = None
    limits: Limits = Limits()
    schedules: tuple[Schedule, ...] = ()
    currency: str = ""

    def pool(self, name: str) -> Pool | None:
        """The pool of this name; L{None} when the owner has removed it."""
        return next((pool for pool in self.pools if pool.name == name), None)
