"""What an HTCondor pool looks like from outside: jobs that wait, in groups, and the nodes.  Values only."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from modabatchd.infrastructure.node import Capacity


class DemandGroup(msgspec.Struct, frozen=True, kw_only=True):
    """
    Waiting jobs of one shape (HTCondor's autocluster).

    @ivar id: tells it from the others of the same look.
    @ivar count: how many jobs.
    @ivar each: what one asks for.
    @ivar oldest: when the first of them was submitted, in seconds since the epoch.
    @ivar pools: the pools whose nodes their requirements match.
    """

    id: str
    count: int
    each: Capacity
    oldest: float
    pools: frozenset[str] = frozenset()


class Presence(msgspec.Struct, frozen=True, kw_only=True):
    """
    A node in the pool, as its slots show it.

    @ivar name: the startd's.
    @ivar free: what no job has.
    @ivar jobs: the global ids of the jobs that run there.
    @ivar draining: whether it takes no new jobs.
    @ivar heard: when the collector last heard of it, in seconds since the epoch.
    """

    name: str
    total: Capacity
    free: Capacity
    jobs: tuple[str, ...] = ()
    draining: bool = False
    heard: float


class PoolLook(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the pool looked like at one moment.  Times are seconds since the epoch.

    @ivar presences: of all nodes, also those that are not ours.
    @ivar collector_since: when the collector was started; one that was started a moment ago knows no node yet.
    """

    at: float
    demand: tuple[DemandGroup, ...] = ()
    presences: tuple[Presence, ...] = ()
    collector_since: float = 0.0

    @property
    def by_name(self) -> Mapping[str, Presence]:
        """The nodes by name."""
        return {presence.name: presence for presence in self.presences}
