"""The shipped planner, as a rule of the simulation."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, cast

from modabatchd.infrastructure.look import DemandGroup
from modabatchd.infrastructure.node import Capacity, Market, NodeState, Offering
from modabatchd.infrastructure.planning import (
    DrainNode,
    Memory,
    Plan,
    ResumeNode,
    SeenNode,
    Snapshot,
    StartNode,
    StopNode,
    plan,
)
from modabatchd.infrastructure.policy import Policy
from modabatchd.infrastructure.replay.cluster import Cluster, Kind, Machine
from modabatchd.infrastructure.replay.simulation import Start

#: A log's first second where it does not tell, in seconds since the epoch: a Monday.
EPOCH: Final = 1_000_080_000.0


class Planned:
    """
    Decides as the daemon does, whenever something has happened.

    @param policy: memory, disk and GPUs are not looked at.
    @param begins: the log's first second, in seconds since the epoch.
    """

    period: float | None = None
    patience: float | None = None

    def __init__(self, policy: Policy, begins: float = EPOCH, name: str = "modabatchd") -> None:
        self.name = name
        self._policy = policy
        self._begins = begins
        self._month = ""
        self._before = 0.0
        self._pools = frozenset(pool.name for pool in policy.pools)
        self._memory = Memory()
        self._offerings: dict[int, Offering] = {}
        self._ordered: list[Offering] = []

    def decide(self, cluster: Cluster, now: float, start: Start) -> float | None:
        """See L{modabatchd.infrastructure.replay.simulation.Rule}."""
        made = self._plan(cluster, now)
        self._memory = made.memory
        for step in made.actions:
            self._carry_out(step, cluster, now, start)
        if any(isinstance(step, DrainNode) for step in made.actions):
            # In the daemon this is the next look at the pool.
            return self.decide(cluster, now, start)
        return made.wake_at - self._begins

    def _plan(self, cluster: Cluster, now: float) -> Plan:
        groups = tuple(
            DemandGroup(
                id=str(cpus),
                count=len(jobs),
                each=Capacity(cpus=cpus),
                oldest=jobs[0].arrives + self._begins,
                pools=self._pools,
            )
            for cpus, jobs in cluster.waiting.items()
            if jobs
        )
        nodes = tuple([self._view(machine) for machine in cluster.machines.values()])
        shown = Snapshot(groups=groups, nodes=nodes, spent=self._spent(cluster, now))
        return plan(shown, self._policy, self._memory, now + self._begins)

    def _spent(self, cluster: Cluster, now: float) -> float:
        """In the calendar month, if there is a budget for it."""
        if self._policy.limits.monthly_budget is None:
            return 0.0
        total = cluster.money + sum(cluster.owed(machine, now) for machine in cluster.machines.values())
        month = f"{datetime.fromtimestamp(now + self._begins, UTC):%Y-%m}"
        if month != self._month:
            self._month, self._before = month, total
        return total - self._before

    def _view(self, machine: Machine) -> SeenNode:
        if machine.view is None:
            state = NodeState.DRAINING if machine.draining else NodeState.UP if machine.up else NodeState.BOOTING
            machine.view = SeenNode(
                id=f"{machine.id:08}",
                offering=self._offerings.setdefault(machine.id, self._ordered[machine.id - 1]),
                capacity=Capacity(cpus=machine.cores),
                price=machine.price,
                state=state,
                requested=machine.born + self._begins,
                free=Capacity(cpus=machine.free if machine.up else 0),
                jobs=machine.jobs,
                heard=machine.up,
            )
        return cast(SeenNode, machine.view)

    def _carry_out(self, step: object, cluster: Cluster, now: float, start: Start) -> None:
        if isinstance(step, StartNode):
            self._ordered.append(step.offering)
            spot = step.offering.market is Market.SPOT
            start(Kind(step.offering.size, step.capacity.cpus, step.price, spot))
        elif isinstance(step, DrainNode):
            cluster.drain(cluster.machines[int(step.node)])
        elif isinstance(step, ResumeNode):
            cluster.resume(cluster.machines[int(step.node)])
        elif isinstance(step, StopNode):
            cluster.stop(cluster.machines[int(step.node)], now)
