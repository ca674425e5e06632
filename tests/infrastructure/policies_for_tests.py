"""Policies and snapshots to make plans from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from modabatchd.infrastructure.look import DemandGroup
from modabatchd.infrastructure.node import Capacity, Market, NodeState, Offering
from modabatchd.infrastructure.planning import Memory, Plan, SeenNode, Snapshot, plan
from modabatchd.infrastructure.policy import Limits, Objective, Policy, Pool, Size

NOW = 1_700_000_000.0
POOL = "burst"


def size(cpus: int, price: float | None = None, memory: int | None = None, **more: Any) -> Size:
    memory = 2048 * cpus if memory is None else memory
    return Size(
        id=f"c{cpus}", capacity=Capacity(cpus=cpus, memory=memory), price=0.02 * cpus if price is None else price, **more
    )


def pool(*sizes: int, name: str = POOL, **more: Any) -> Pool:
    return Pool(**{"name": name, "driver": "local", "sizes": tuple(size(cpus) for cpus in sizes or (1, 2, 4, 8)), **more})


def policy(*pools: Pool, objective: Objective = Objective.BALANCED, limits: Limits | None = None, **more: Any) -> Policy:
    limits = Limits(max_nodes=50, starts_per_minute=100) if limits is None else limits
    return Policy(pools=pools or (pool(),), objective=objective, limits=limits, **more)


def group(
    count: int, cpus: int = 1, memory: int = 0, name: str = "g", pools: Iterable[str] = (POOL,), gpus: int = 0
) -> DemandGroup:
    each = Capacity(cpus=cpus, memory=memory, gpus=gpus)
    return DemandGroup(id=name, count=count, each=each, oldest=NOW - 30, pools=frozenset(pools))


def node(
    name: str,
    cpus: int = 8,
    state: NodeState = NodeState.UP,
    jobs: int = 0,
    free: int | None = None,
    born: float = NOW - 600,
    **more: Any,
) -> SeenNode:
    capacity = Capacity(cpus=cpus, memory=2048 * cpus)
    here = state in (NodeState.UP, NodeState.DRAINING)
    left = (cpus - jobs if free is None else free) if here else 0
    fields: dict[str, Any] = {
        "offering": Offering(pool=POOL, size=f"c{cpus}"),
        "price": 0.02 * cpus,
        "heard": here,
        "free": Capacity(cpus=left, memory=2048 * left),
    }
    return SeenNode(id=name, capacity=capacity, state=state, requested=born, jobs=jobs, **{**fields, **more})


class World:
    """What the daemon would be: carries plans out at once, and looks again."""

    def __init__(self, rules: Policy, *nodes: SeenNode, memory: Memory | None = None, now: float = NOW) -> None:
        self.rules = rules
        self.nodes = {node.id: node for node in nodes}
        self.groups: tuple[DemandGroup, ...] = ()
        self.memory = Memory() if memory is None else memory
        self.now = now
        self.spent = 0.0
        self.numbers = 0

    def look(self, **more: Any) -> Snapshot:
        return Snapshot(groups=self.groups, nodes=tuple(self.nodes.values()), **{"spent": self.spent, **more})

    def plan(self, after: float = 0.0, **more: Any) -> Plan:
        """The next plan, so many seconds later, with what it remembers kept."""
        self.now += after
        made = plan(self.look(**more), self.rules, self.memory, self.now)
        self.memory = made.memory
        return made

    def step(self, after: float = 0.0, **more: Any) -> Plan:
        """And carry it out."""
        made = self.plan(after, **more)
        for action in made.actions:
            self._carry_out(action)
        return made

    def _carry_out(self, action: Any) -> None:
        kind = type(action).__name__
        if kind == "StartNode":
            self.numbers += 1
            name = f"new-{self.numbers}"
            self.nodes[name] = SeenNode(
                id=name,
                offering=action.offering,
                capacity=action.capacity,
                price=action.price,
                state=NodeState.REQUESTED,
                requested=self.now,
            )
        elif kind == "StopNode":
            self.change(action.node, state=NodeState.STOPPING, heard=False, jobs=0)
        else:
            self.change(action.node, state=NodeState.DRAINING if kind == "DrainNode" else NodeState.UP)

    def change(self, name: str, **fields: Any) -> None:
        self.nodes[name] = msgspec.structs.replace(self.nodes[name], **fields)

    def join(self, name: str) -> None:
        self.change(name, state=NodeState.UP, heard=True, free=self.nodes[name].capacity)


def kinds(made: Plan) -> list[str]:
    """What a plan does, in short."""
    return [type(action).__name__ for action in made.actions]


def sizes(made: Plan) -> list[str]:
    """What a plan starts."""
    return [action.offering.size for action in made.actions if type(action).__name__ == "StartNode"]


SPOT = Market.SPOT
