"""Decisions as the journal has them.  Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from modabatchd.infrastructure.node import Capacity
from modabatchd.infrastructure.planning import Plan, Snapshot, Step, Unsatisfiable, Wait


class Shape(msgspec.Struct, frozen=True):
    """So many jobs of a shape wait."""

    group: str
    count: int
    each: Capacity
    pools: tuple[str, ...]


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """
    A decision.

    @ivar demand: the jobs that waited.
    @ivar nodes: how many nodes there were, by state.
    @ivar spent: this month.
    @ivar reason: why there is no step at all, where that is not plain.
    @ivar by_hand: whether the owner did it.
    @ivar notices: what the owner was told with it.
    """

    demand: tuple[Shape, ...] = ()
    nodes: dict[str, int] = {}
    spent: float = 0.0
    steps: tuple[Step, ...] = ()
    unsatisfiable: tuple[Unsatisfiable, ...] = ()
    reason: str = ""
    by_hand: bool = False
    notices: tuple[str, ...] = ()


def written(snapshot: Snapshot, plan: Plan, notices: Iterable[str] = ()) -> Written:
    """What the journal says of a plan, and of what it was made from."""
    nodes: dict[str, int] = {}
    for node in snapshot.nodes:
        nodes[node.state.value] = nodes.get(node.state.value, 0) + 1
    return Written(
        demand=tuple(Shape(group.id, group.count, group.each, tuple(sorted(group.pools))) for group in snapshot.groups),
        nodes=nodes,
        spent=round(snapshot.spent, 6),
        steps=plan.steps,
        unsatisfiable=plan.unsatisfiable,
        reason=plan.reason,
        notices=tuple(notices),
    )


def encode(decision: Written) -> bytes:
    """As JSON."""
    return msgspec.json.encode(decision)


def gist(plan: Plan) -> bytes:
    """What must differ for a decision without any action to be worth a line of its own."""
    waits = sorted({(step.kind.value, step.reason) for step in plan.steps if isinstance(step, Wait)})
    return msgspec.json.encode([waits, sorted({each.reason for each in plan.unsatisfiable}), plan.reason])
