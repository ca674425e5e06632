"""
Which of the nodes without work are kept, and for how long.

Note [The stack of idle nodes]
==============================
What counts is not which node is idle but how many are: when work comes, it takes one of them, and it would be a waste if that
were the one that all the others had to wait for.  So the idle nodes of a pool are a stack: one more is put on top with the
time at which it came, and work takes away the top, whichever node it is that got it.  The lowest entry then tells since when
there was at least one node too many, the second since when there were two, and so on, and each of them is a ski rental of its
own.  Nodes that boot and that no job waits for any more are idle already.

What is let go is the youngest node: the negotiator fills the oldest first, so that is the one that would be idle again first.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping

from modabatchd.infrastructure.planning.fleet import Fleet
from modabatchd.infrastructure.planning.idling import longest, paid_end, rank, time_out
from modabatchd.infrastructure.planning.memory import Idle, Phase, Spell
from modabatchd.infrastructure.planning.plan import DrainNode
from modabatchd.infrastructure.planning.recollection import Recollection, gap_key
from modabatchd.infrastructure.planning.snapshot import SeenNode
from modabatchd.infrastructure.policy import Objective, Policy, Pool

#: A shorter quantum is not worth staying for.
_QUANTUM = 600.0
#: Seconds before the end of a quantum at which a node must begin to go.
_MARGIN = 60.0


class Keeping:
    """
    Looks at all nodes without work.

    @param reserved: nodes on which waiting jobs are about to run.
    @param called: how many nodes come into each pool because work does.
    @ivar drains: those that go now.
    @ivar wakes: when the next ones may.
    """

    def __init__(
        self,
        policy: Policy,
        fleet: Fleet,
        reserved: Collection[str],
        called: Mapping[str, int],
        recollection: Recollection,
        now: float,
    ) -> None:
        self._policy = policy
        self._recollection = recollection
        self._now = now
        self._quanta = {pool.name: pool.billing_quantum for pool in policy.pools}
        self._cheapness = {pool.name: cheapness(pool) for pool in policy.pools}
        self._idle: defaultdict[str, list[SeenNode]] = defaultdict(list)
        self.drains: list[DrainNode] = []
        self.wakes: list[float] = []
        self._leaving: Counter[str] = Counter()
        depths: Counter[str] = Counter()
        for node in fleet.up:
            if not node.jobs and node.id not in reserved and not node.pinned and not self._still_here(node):
                self._idle[node.offering.pool].append(node)
                depths[node.offering.pool] += 1
        for node in fleet.booting:
            if node.id not in reserved and not node.pinned:
                depths[node.offering.pool] += 1
        for pool in sorted({*depths, *recollection.idle}):
            stack = list(recollection.idle.get(pool, ()))
            self._call_back(pool, stack, called.get(pool, 0))
            self._fit(pool, stack, depths[pool])
            self._forget(pool, stack)
            recollection.idle[pool] = tuple(stack)

    def _still_here(self, node: SeenNode) -> bool:
        """Whether it was to be drained before, which has not come to pass; then it is again."""
        before = self._recollection.before.get(node.id)
        if before is None or before.phase is not Phase.DRAINING:
            return False
        self._drain(node, before, "it was to be drained before, and still takes jobs")
        return True

    def _drain(self, node: SeenNode, spell: Spell, reason: str) -> None:
        self._recollection.spells[node.id] = spell
        self._leaving[node.offering.pool] += 1
        self.drains.append(DrainNode(node=node.id, reason=reason))

    def _call_back(self, pool: str, stack: list[Idle], count: int) -> None:
        """Nodes come into the pool, because so much work does: their ghosts would have had it."""
        for index in reversed(range(len(stack))):
            if count > 0 and stack[index].ghost:
                self._end(pool, stack, index)
                count -= 1

    def _fit(self, pool: str, stack: list[Idle], depth: int) -> None:
        """Make the stack as high as there are idle nodes, the ghosts not counted."""
        living = len(stack) - sum(one.ghost for one in stack)
        for index in reversed(range(len(stack))):
            if living > depth and not stack[index].ghost:
                self._end(pool, stack, index)
                living -= 1
        stack += [Idle(self._now)] * (depth - living)

    def _forget(self, pool: str, stack: list[Idle]) -> None:
        """Ghosts of an age that no time-out can reach."""
        for index in reversed(range(len(stack))):
            if stack[index].ghost and self._now - stack[index].since > longest(self._cost(pool)):
                self._end(pool, stack, index)

    def _end(self, pool: str, stack: list[Idle], index: int) -> None:
        self._recollection.gap(pool, rank(index), stack.pop(index).since)

    def let_go(self, spare: Callable[[str], int]) -> None:
        """
        Drain the nodes whose time is over.

        @param spare: tells how many nodes a pool has above its minimum.
        """
        for pool, stack in sorted(self._recollection.idle.items()):
            left = list(stack)
            for index, one in enumerate(stack):
                hold = self._hold(pool, rank(index))
                node = None
                if not one.ghost and self._leaving[pool] < spare(pool):
                    node = self._going(pool, one.since + hold)
                if node is not None:
                    self._drain(node, Spell(Phase.DRAINING, self._now), self._reason(pool, one.since, hold))
                    left[index] = Idle(one.since, ghost=True)
            self._recollection.idle[pool] = tuple(left)

    def _going(self, pool: str, due: float) -> SeenNode | None:
        """
        Which node goes when one may since some time, the youngest first; none while that time is to come, or all are paid
        for.
        """
        if self._now < due:
            self.wakes.append(due)
            return None
        quantum = self._quanta.get(pool, 0.0)
        for index in reversed(range(len(self._idle[pool]))):
            node = self._idle[pool][index]
            leaves = 0.0 if quantum < _QUANTUM else paid_end(node.requested, self._now, quantum) - _MARGIN
            if self._now >= leaves:
                return self._idle[pool].pop(index)
            self.wakes.append(leaves)
        return None

    def _hold(self, pool: str, rank: int) -> float:
        if pool not in self._quanta:
            return 0.0
        if self._policy.idle is not None:
            return self._policy.idle
        return time_out(self._recollection.gaps.get(gap_key(pool, rank), ()), self._cost(pool))

    def _cost(self, pool: str) -> float:
        """What letting a node go costs, in seconds of its price."""
        boot = self._recollection.boot_time(pool)
        patience = self._policy.objective.patience
        if self._policy.objective is Objective.BALANCED:
            patience = self._recollection.fair_cost(pool, boot + patience) - boot
        return boot + patience * self._cheapness.get(pool, 1.0)

    def _reason(self, pool: str, since: float, hold: float) -> str:
        if pool not in self._quanta:
            return "it has no work, and its pool is not in the policy any more"
        return (
            f"there has been a node without work too many for {self._now - since:.0f} s, and more than {hold:.0f} s do not pay"
        )


def cheapness(pool: Pool) -> float:
    """
    How much less than the largest size an idle node of the pool costs: half of them are taken to be large, the others of any
    size.

    A wait is worth as much money whatever is waited for, and that is more seconds of a small node's price than of a large
    one's.
    """
    prices = [size.price for size in pool.sizes]
    largest, mean = max(prices), sum(prices) / len(prices)
    return 2 * largest / (largest + mean) if largest else 1.0
