"""The shipped planner, as a rule of the simulation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

from modabatchd.infrastructure.look import DemandGroup
from modabatchd.infrastructure.node import Capacity, NodeState, Offering
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
from modabatchd.infrastructure.replay.cluster import Cluster, Machine

#: The log's first second, in seconds since the epoch: a Monday.
EPOCH: Final = 1_000_080_000.0


class Planned:
    """
    Decides as the daemon does, whenever something has happened.

    @param policy: memory, disk and GPUs are not in a log and not looked at.
    """

    period: float | None = None

    def __init__(self, policy: Policy, name: str = "modabatchd") -> None:
        self.name = name
        self._policy = policy
        self._pools = frozenset(pool.name for pool in policy.pools)
        self._memory = Memory()
        self._offerings: dict[int, Offering] = {}
        self._ordered: list[Offering] = []

    def decide(self, cluster: Cluster, now: float, start: Callable[[str, int, float], Machine | None]) -> float | None:
        """See L{modabatchd.infrastructure.replay.simulation.Rule}."""
        made = self._plan(cluster, now)
        self._memory = made.memory
        for step in made.actions:
            self._carry_out(step, cluster, now, start)
        if any(isinstance(step, DrainNode) for step in made.actions):
            # In the daemon this is the next look at the pool.
            return self.decide(cluster, now, start)
        return made.wake_at - EPOCH

    def _plan(self, cluster: Cluster, now: float) -> Plan:
        groups = tuple(
            DemandGroup(
                id=str(cpus), count=len(jobs), each=Capacity(cpus=cpus), oldest=jobs[0].arrives + EPOCH, pools=self._pools
            )
            for cpus, jobs in cluster.waiting.items()
            if jobs
        )
        nodes = tuple([self._view(machine) for machine in cluster.machines.values()])
        return plan(Snapshot(groups=groups, nodes=nodes), self._policy, self._memory, now + EPOCH)

    def _view(self, machine: Machine) -> SeenNode:
        if machine.view is None:
            state = NodeState.DRAINING if machine.draining else NodeState.UP if machine.up else NodeState.BOOTING
            machine.view = SeenNode(
                id=f"{machine.id:08}",
                offering=self._offerings.setdefault(machine.id, self._ordered[machine.id - 1]),
                capacity=Capacity(cpus=machine.cores),
                price=machine.price,
                state=state,
                requested=machine.born + EPOCH,
                free=Capacity(cpus=machine.free if machine.up else 0),
                jobs=machine.jobs,
                heard=machine.up,
            )
        return cast(SeenNode, machine.view)

    def _carry_out(
        self, step: object, cluster: Cluster, now: float, start: Callable[[str, int, float], Machine | None]
    ) -> None:
        if isinstance(step, StartNode):
            self._ordered.append(step.offering)
            start(step.offering.size, step.capacity.cpus, step.price)
        elif isinstance(step, DrainNode):
            cluster.drain(cluster.machines[int(step.node)])
        elif isinstance(step, ResumeNode):
            cluster.resume(cluster.machines[int(step.node)])
        elif isinstance(step, StopNode):
            cluster.stop(cluster.machines[int(step.node)], now)
