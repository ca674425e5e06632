"""How much may still be started."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from modabatchd.infrastructure.node import Offering
from modabatchd.infrastructure.planning.choices import Choice
from modabatchd.infrastructure.planning.memory import BackOff
from modabatchd.infrastructure.planning.plan import WaitKind
from modabatchd.infrastructure.planning.snapshot import SeenNode
from modabatchd.infrastructure.policy import Policy

#: Why something is not started, in half a sentence, and until when, as far as is known.
Obstacle = tuple[WaitKind, str, float | None]

_MANY = 1 << 40
#: Sums of prices are not exact.
_CENT_OF_A_CENT = 1e-6


class Headroom:
    """
    What the limits leave, after all nodes that there are, and what may not be started for other reasons.

    @param nodes: all that cost money, those that boot or are being stopped included.
    @param blocked: why nothing at all is to be started.
    @param starts: when nodes were started in the last minute, the oldest first.
    """

    def __init__(
        self,
        policy: Policy,
        nodes: Iterable[SeenNode],
        back_offs: Mapping[Offering, BackOff],
        closed: Mapping[str, str],
        blocked: Obstacle | None,
        starts: tuple[float, ...],
        now: float,
    ) -> None:
        self._limits = policy.limits
        self._pools = {pool.name: pool for pool in policy.pools}
        self._back_offs = back_offs
        self._closed = closed
        self._blocked = blocked
        self._now = now
        self._rate_opens = (starts[0] if starts else now) + 60.0
        self._rate = policy.limits.starts_per_minute - len(starts)
        self._cost = 0.0
        self._nodes: Counter[str] = Counter()
        self._cores: Counter[str] = Counter()
        self._probes: set[Offering] = set()
        for node in nodes:
            self._count(node.offering.pool, node.capacity.cpus, node.price, 1)

    @property
    def probes(self) -> frozenset[Offering]:
        """Offerings that were half open and of which one was granted."""
        return frozenset(self._probes)

    def obstacle(self, choice: Choice) -> Obstacle | None:
        """Why not one more of it may be started; L{None} if it may."""
        return self._room(choice)[1]

    def grant(self, choice: Choice, wanted: int) -> int:
        """Take up to so many; how many it were."""
        offering = choice.offering
        granted = min(wanted, self._room(choice)[0])
        if granted > 0:
            self._count(offering.pool, choice.capacity.cpus, choice.price, granted)
            self._rate -= granted
            if offering in self._back_offs:
                self._probes.add(offering)
        return max(0, granted)

    def _count(self, pool: str, cores: int, price: float, copies: int) -> None:
        self._cost += price * copies
        self._nodes[pool] += copies
        self._cores[pool] += cores * copies

    def _room(self, choice: Choice) -> tuple[int, Obstacle | None]:
        """How many of it, and what stands against one more than that when it is none."""
        if self._blocked is not None:
            return 0, self._blocked
        least, obstacle = _MANY, None
        for left, why in (*self._of_offering(choice.offering), *self._of_pool(choice), *self._of_all(choice)):
            if left < least:
                least, obstacle = left, why
        return least, obstacle if least <= 0 else None

    def _of_offering(self, offering: Offering) -> list[tuple[int, Obstacle]]:
        if (reason := self._closed.get(offering.pool)) is not None:
            return [(0, (WaitKind.CLOSED, f"pool {offering.pool} is closed: {reason}", None))]
        off = self._back_offs.get(offering)
        if off is None:
            return []
        name = f"{offering.size} of pool {offering.pool}"
        if self._now < off.until and not off.probing:
            return [(0, (WaitKind.BACK_OFF, f"{name} is not asked for now: {off.cause}", off.until))]
        tried = self._now < off.until or offering in self._probes
        return [
            (0 if tried else 1, (WaitKind.BACK_OFF, f"one node of {name} is tried first, because last time {off.cause}", None))
        ]

    def _of_pool(self, choice: Choice) -> list[tuple[int, Obstacle]]:
        pool = self._pools[choice.offering.pool]
        found = []
        if pool.max_nodes is not None:
            found.append(
                (pool.max_nodes - self._nodes[pool.name], _limit(f"the limit of {pool.max_nodes} nodes of pool {pool.name}"))
            )
        if pool.max_cores is not None:
            left = (pool.max_cores - self._cores[pool.name]) // max(1, choice.capacity.cpus)
            found.append((left, _limit(f"the limit of {pool.max_cores} cores of pool {pool.name}")))
        return found

    def _of_all(self, choice: Choice) -> list[tuple[int, Obstacle]]:
        limits = self._limits
        found = [(limits.max_nodes - self._nodes.total(), self._most(limits.max_nodes))]
        if limits.max_cores is not None:
            left = (limits.max_cores - self._cores.total()) // max(1, choice.capacity.cpus)
            found.append((left, _limit(f"the limit of {limits.max_cores} cores")))
        if limits.max_hourly_cost is not None and choice.price > 0:
            left = int((limits.max_hourly_cost - self._cost + _CENT_OF_A_CENT) // choice.price)
            found.append((left, _limit(f"the limit of {limits.max_hourly_cost:.2f} an hour")))
        rate = f"{limits.starts_per_minute} nodes were started within a minute, which is the limit"
        found.append((self._rate, (WaitKind.LIMIT, rate, self._rate_opens)))
        return found

    def _most(self, nodes: int) -> Obstacle:
        there = self._nodes.total()
        if there <= nodes:
            return _limit(f"the limit of {nodes} nodes")
        return WaitKind.LIMIT, f"there are {there} nodes, and the limit is {nodes}", None


def _limit(what: str) -> Obstacle:
    return WaitKind.LIMIT, f"{what} is reached", None
