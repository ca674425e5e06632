"""
What each node is good for: work now, work soon, work again, or nothing any more.

Note [Sizes that are smaller than they say]
===========================================
A machine that is sold with 2 GiB shows HTCondor a little less.  A job that asks for 2 GiB would have one started, not fit,
and have the next one started, for ever.  So what a node showed when it was up is remembered for its size, and believed
instead of the policy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from modabatchd.infrastructure.node import NodeState
from modabatchd.infrastructure.planning.choices import size_key
from modabatchd.infrastructure.planning.memory import Phase
from modabatchd.infrastructure.planning.plan import DrainNode, StopCause, StopNode
from modabatchd.infrastructure.planning.recollection import Recollection
from modabatchd.infrastructure.planning.snapshot import SeenNode
from modabatchd.infrastructure.policy import Policy, Pool

#: Seconds that a node has to turn itself off once its lease is over, before it is taken to be lost.
_AFTER_LEASE: Final = 120.0

#: Rules for nodes of a pool that its owner has removed: they are left alone while they work.
_NO_POOL: Final = Pool(name="", driver="", sizes=())


class Fleet:
    """
    All nodes, the oldest first, sorted by what they are good for.

    @ivar alive: those that cost money, or may.
    @ivar up: those that take jobs.
    @ivar resumable: those that drain, and could take jobs again.
    @ivar booting: those that will take jobs.
    @ivar drained: those that drain and are empty.
    @ivar drains, stops: what is to be done whatever the demand is.
    @ivar wakes: when one of them changes by the clock alone.
    """

    def __init__(self, nodes: Iterable[SeenNode], policy: Policy, recollection: Recollection, now: float) -> None:
        self._pools: Mapping[str, Pool] = {pool.name: pool for pool in policy.pools}
        self._recollection = recollection
        self._now = now
        self.alive = sorted((node for node in nodes if node.state.alive), key=lambda node: (node.requested, node.id))
        self.up: list[SeenNode] = []
        self.resumable: list[SeenNode] = []
        self.booting: list[SeenNode] = []
        self.drained: list[SeenNode] = []
        self.drains: list[DrainNode] = []
        self.stops: list[StopNode] = []
        self.wakes: list[float] = []
        for node in self.alive:
            self._sort(node, self._pools.get(node.offering.pool, _NO_POOL))
        self._learn_sizes()

    def _sort(self, node: SeenNode, pool: Pool) -> None:
        if node.state is NodeState.UP:
            self._up(node, pool)
        elif node.state is NodeState.DRAINING:
            self._draining(node, pool)
        elif node.state is not NodeState.STOPPING:
            self._booting(node, pool)

    def _booting(self, node: SeenNode, pool: Pool) -> None:
        before = self._recollection.before.get(node.id)
        if before is not None and before.phase is Phase.OVERDUE:
            self._recollection.in_phase(node.id, Phase.OVERDUE)
            self._overdue(node, pool)
            return
        due = self._recollection.in_phase(node.id, Phase.BOOTING, began=node.requested).since + pool.boot_timeout
        if node.retiring:
            self._stop(node, StopCause.EMPTY, f"{_to_go(node)}, and it has not joined the pool yet")
        elif self._now < due:
            self.booting.append(node)
            self.wakes.append(due)
        else:
            self._recollection.in_phase(node.id, Phase.OVERDUE, also=Phase.BOOTING)
            self._recollection.never_joined(node.offering.pool)
            self._overdue(node, pool)

    def _overdue(self, node: SeenNode, pool: Pool) -> None:
        self._stop(node, StopCause.NEVER_JOINED, f"it has not joined the pool within {pool.boot_timeout:g} s")

    def _up(self, node: SeenNode, pool: Pool) -> None:
        self._join(node)
        if not node.heard:
            self._unheard(node, pool)
            return
        ends = node.requested + pool.max_lifetime
        if node.retiring:
            self.drains.append(DrainNode(node=node.id, reason=_to_go(node)))
        elif self._now >= ends and not node.pinned:
            self.drains.append(
                DrainNode(node=node.id, reason=f"it is older than {pool.max_lifetime:g} s, which is as old as nodes get")
            )
        else:
            self.up.append(node)
            self.wakes.append(ends)

    def _join(self, node: SeenNode) -> None:
        before = self._recollection.before.get(node.id)
        if before is not None and before.phase in (Phase.BOOTING, Phase.OVERDUE):
            self._recollection.joined(node.offering.pool, self._now - before.since)
        elif before is None and self._recollection.is_new(node.requested):
            self._recollection.joined(node.offering.pool, self._now - node.requested)

    def _draining(self, node: SeenNode, pool: Pool) -> None:
        before = self._recollection.before.get(node.id)
        if not node.jobs and (node.heard or (before is not None and before.phase is Phase.DRAINED)):
            self._recollection.in_phase(node.id, Phase.DRAINED, also=Phase.DRAINING)
            self.drained.append(node)
            goes_on = node.heard
        elif node.heard:
            goes_on = self._still_draining(node, pool)
        else:
            self._unheard(node, pool)
            goes_on = False
        if goes_on and not node.retiring and self._now < node.requested + pool.max_lifetime:
            self.resumable.append(node)

    def _still_draining(self, node: SeenNode, pool: Pool) -> bool:
        """Whether the jobs on it may go on."""
        since = self._recollection.in_phase(node.id, Phase.DRAINING).since
        if pool.drain_timeout is None:
            return True
        if self._now < since + pool.drain_timeout:
            self.wakes.append(since + pool.drain_timeout)
            return True
        reason = f"it has been draining for {pool.drain_timeout:g} s, which is as long as the policy waits for jobs"
        self._stop(node, StopCause.DRAIN_TIMEOUT, reason, node.jobs)
        return False

    def _unheard(self, node: SeenNode, pool: Pool) -> None:
        """The pool does not show a node that was in it: jobs may run there until its lease is over."""
        due = self._recollection.in_phase(node.id, Phase.LOST).since + pool.lease + _AFTER_LEASE
        if self._now < due:
            self.wakes.append(due)
        else:
            self._stop(
                node,
                StopCause.LOST,
                f"nobody has heard of it for {pool.lease + _AFTER_LEASE:g} s, so its lease is over",
                node.jobs,
            )

    def _stop(self, node: SeenNode, cause: StopCause, reason: str, jobs: int = 0) -> None:
        if not node.pinned:
            self.stops.append(StopNode(node=node.id, cause=cause, reason=reason, jobs=jobs))

    def _learn_sizes(self) -> None:
        """
        What nodes of each size turned out to have; the youngest one tells.  See Note [Sizes that are smaller than they say].
        """
        youngest = {(node.offering.pool, node.offering.size): node.capacity for node in self.up}
        for (pool, size), capacity in youngest.items():
            self._recollection.turned_out[size_key(pool, size)] = capacity


def _to_go(node: SeenNode) -> str:
    return f"it is to go, because {node.reason}" if node.reason else "it is to go"
