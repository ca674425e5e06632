"""Nodes, pools and plans as the API shows them.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from email.utils import formatdate
from typing import Any

import msgspec

from modabatchd.infrastructure import money
from modabatchd.infrastructure.journal import Written
from modabatchd.infrastructure.look import Presence
from modabatchd.infrastructure.node import NodeState
from modabatchd.infrastructure.planning import Memory, Snapshot, Step, Unsatisfiable
from modabatchd.infrastructure.policy import Limits, Policy, Pool
from modabatchd.infrastructure.register import Decision, Entry, Overrides
from modabatchd.infrastructure.scaling import Round


class CapacityView(msgspec.Struct, frozen=True):
    """Cores, MiB, KiB, devices."""

    cpus: int
    memory: int
    disk: int
    gpus: int


class NodeView(msgspec.Struct, frozen=True, kw_only=True):
    """
    A node.  Dates are RFC 2822 in UTC; what is not known (yet) is null.

    @ivar id: by which plans and decisions call it; wherever a name is asked for, it will do.
    @ivar price: per hour, in the policy's currency.
    @ivar cost: what it has cost so far.
    @ivar age: seconds since it was ordered, until it was gone.
    @ivar jobs: the scheduler's ids of the jobs that run there.
    @ivar retiring: whether it is to go once it is empty.
    @ivar reason: why it is in the state it is in.
    """

    id: str
    name: str
    pool: str
    size: str
    zone: str
    market: str
    state: NodeState
    capacity: CapacityView
    price: float
    cost: float
    age: float
    requested: str
    joined: str | None
    stopped: str | None
    machine: str | None
    jobs: tuple[str, ...]
    pinned: bool
    retiring: bool
    reason: str | None


class NodeDetails(NodeView, frozen=True, kw_only=True):
    """@ivar console: what its machine printed, kept if it never joined."""

    console: str


class PoolView(msgspec.Struct, frozen=True, kw_only=True):
    """
    A pool.

    @ivar state: "open"; "closed", because nodes never joined, until it is opened again; "broken", it cannot be used.
    @ivar reason: why it is not open.
    @ivar nodes: how many there are, by state.
    @ivar spent: this month.
    @ivar hourly_cost: of all its nodes.
    """

    name: str
    driver: str
    state: str
    reason: str | None
    nodes: dict[str, int]
    spent: float
    hourly_cost: float
    labels: dict[str, str]


class LimitsView(msgspec.Struct, frozen=True, kw_only=True):
    """What is never exceeded; null: no limit."""

    max_nodes: int
    max_cores: int | None
    starts_per_minute: int
    max_hourly_cost: float | None
    monthly_budget: float | None


class InfrastructureView(msgspec.Struct, frozen=True, kw_only=True):
    """
    All of it.

    @ivar at: when it was looked at last (RFC 2822, UTC).
    @ivar stale: why that look was not believed, so that nothing was done; null when it was.
    @ivar own_limits: whether the limits were changed at run time.
    @ivar waiting: how many jobs wait for a node.
    """

    at: str | None
    stale: str | None
    paused: bool
    dry_run: bool
    objective: str
    currency: str
    limits: LimitsView
    own_limits: bool
    waiting: int
    spent: float
    hourly_cost: float
    pools: tuple[PoolView, ...]
    nodes: tuple[NodeView, ...]


class PlanView(msgspec.Struct, frozen=True, kw_only=True):
    """
    What would be done now.

    @ivar reason: why there is no step, where that is not plain.
    @ivar again: in how many seconds one would look again, even if nothing happens until then.
    """

    at: str
    stale: str | None
    reason: str | None
    steps: tuple[Step, ...]
    unsatisfiable: tuple[Unsatisfiable, ...]
    again: float


class DecisionView(msgspec.Struct, frozen=True):
    """A line of the journal: when, and what (as of a plan, with the demand, the nodes and the money that it was made from)."""

    seq: int
    at: str
    decision: Written


def node_view(entry: Entry, presence: Presence | None, now: float) -> NodeView:
    """A node in a list."""
    return NodeView(**_node(entry, presence, now))


def node_details(entry: Entry, presence: Presence | None, now: float) -> NodeDetails:
    """A node in full."""
    return NodeDetails(**_node(entry, presence, now), console=entry.console)


def limits_view(limits: Limits) -> LimitsView:
    """Limits."""
    return LimitsView(**msgspec.structs.asdict(limits))


def plan_view(made: Round) -> PlanView:
    """A plan that was made to be looked at."""
    return PlanView(
        at=formatdate(made.at),
        stale=made.snapshot.stale or None,
        reason=made.plan.reason or None,
        steps=made.plan.steps,
        unsatisfiable=made.plan.unsatisfiable,
        again=max(0.0, made.plan.wake_at - made.at),
    )


def decision_view(decision: Decision) -> DecisionView:
    """A line of the journal."""
    return DecisionView(decision.seq, formatdate(decision.at), msgspec.json.decode(decision.body, type=Written))


def infrastructure_view(
    policy: Policy,
    entries: Iterable[Entry],
    overrides: Overrides,
    memory: Memory,
    broken: Mapping[str, str],
    spent: Mapping[str, float],
    last: Round | None,
    now: float,
) -> InfrastructureView:
    """
    All of it.

    @param broken: pools that cannot be used.
    @param last: the last round; L{None} before the first.
    """
    nodes = list(entries)
    presences = {} if last is None else last.observation.presences
    names = dict.fromkeys([*(pool.name for pool in policy.pools), *broken, *(node.node.offering.pool for node in nodes)])
    return InfrastructureView(
        at=None if last is None else formatdate(last.at),
        stale=None if last is None else last.snapshot.stale or None,
        paused=overrides.paused,
        dry_run=policy.dry_run,
        objective=policy.objective.value,
        currency=policy.currency,
        limits=limits_view(policy.limits),
        own_limits=overrides.limits is not None,
        waiting=0 if last is None else waiting(last.snapshot),
        spent=round(sum(spent.values()), 6),
        hourly_cost=_hourly(nodes),
        pools=tuple(_pool(name, policy.pool(name), nodes, memory, broken, spent) for name in names),
        nodes=tuple(node_view(entry, presences.get(entry.node.name), now) for entry in nodes),
    )


def waiting(snapshot: Snapshot) -> int:
    """How many jobs wait."""
    return sum(group.count for group in snapshot.groups)


def _node(entry: Entry, presence: Presence | None, now: float) -> dict[str, Any]:
    node, offering = entry.node, entry.node.offering
    end = now if node.stopped is None else node.stopped
    whole = msgspec.structs.replace(entry, booked=None)
    return {
        "id": node.id,
        "name": node.name,
        "pool": offering.pool,
        "size": offering.size,
        "zone": offering.zone,
        "market": offering.market.value,
        "state": node.state,
        "capacity": CapacityView(node.capacity.cpus, node.capacity.memory, node.capacity.disk, node.capacity.gpus),
        "price": node.price,
        "cost": round(sum(spent.amount for spent in money.due(whole, end)), 6),
        "age": round(max(0.0, end - node.requested), 1),
        "requested": formatdate(node.requested),
        "joined": _date(node.joined),
        "stopped": _date(node.stopped),
        "machine": node.machine_id,
        "jobs": () if presence is None else presence.jobs,
        "pinned": node.pinned,
        "retiring": entry.retiring,
        "reason": node.reason,
    }


def _pool(
    name: str,
    pool: Pool | None,
    nodes: Iterable[Entry],
    memory: Memory,
    broken: Mapping[str, str],
    spent: Mapping[str, float],
) -> PoolView:
    mine = [entry for entry in nodes if entry.node.offering.pool == name]
    counts: dict[str, int] = {}
    for entry in mine:
        counts[entry.node.state.value] = counts.get(entry.node.state.value, 0) + 1
    gone = None if pool or name in broken else "it is not in the policy any more; its nodes are left alone"
    wrong, closed = broken.get(name, gone), memory.closed.get(name)
    return PoolView(
        name=name,
        driver=pool.driver if pool else "",
        state="broken" if wrong else "closed" if closed else "open",
        reason=wrong or closed,
        nodes=counts,
        spent=round(spent.get(name, 0.0), 6),
        hourly_cost=_hourly(mine),
        labels=dict(pool.labels) if pool else {},
    )


def _hourly(nodes: Iterable[Entry]) -> float:
    return round(sum(entry.node.price for entry in nodes), 6)


def _date(at: float | None) -> str | None:
    return None if at is None else formatdate(at)
