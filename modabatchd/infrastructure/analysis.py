"""
Why a job does not run yet.  Pure.

Note [Jobs have no name here]
=============================
Planning knows shapes of jobs and their number, not single jobs; that is why it costs the same for ten and for a hundred
thousand.  So a job is found by its shape, and if what becomes of the jobs of that shape differs, all of it is told, with the
numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from modabatchd.infrastructure.node import Capacity, NodeState
from modabatchd.infrastructure.outlook import rounded
from modabatchd.infrastructure.planning import Plan, SeenNode, Snapshot, StartNode, Wait, WaitKind


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """
    What jobs of a shape wait for.

    @ivar kind: C{impossible}, C{starting}, or what L{WaitKind} has.
    @ivar count: how many of them.
    @ivar reason: a sentence.
    @ivar until: when that changes by itself, in seconds since the epoch, as far as is known.
    """

    kind: str
    count: int
    reason: str
    nodes: tuple[str, ...] = ()
    until: float | None = None


def causes(asked: Capacity, snapshot: Snapshot, plan: Plan, now: float) -> list[Cause]:
    """
    Why idle jobs of a shape wait; empty if nobody has counted such a job yet.

    @param asked: what a job asks for, as its owner wrote it; disk does not count.
    """
    groups = {group.id for group in snapshot.groups if _alike(group.each, asked)}
    nodes = {node.id: node for node in snapshot.nodes}
    return [*_impossible(groups, plan), *_waiting(groups, plan, nodes, now), *_starting(groups, plan)]


def _alike(each: Capacity, asked: Capacity) -> bool:
    same = rounded(asked)
    return (each.cpus, each.memory, each.gpus) == (same.cpus, same.memory, same.gpus)


def _impossible(groups: set[str], plan: Plan) -> Iterator[Cause]:
    for each in plan.unsatisfiable:
        if each.group in groups:
            yield Cause(kind="impossible", count=each.count, reason=f"No pool can ever run this: {each.reason}.")


def _waiting(groups: set[str], plan: Plan, nodes: Mapping[str, SeenNode], now: float) -> Iterator[Cause]:
    for step in plan.steps:
        if isinstance(step, Wait) and step.group in groups:
            reason = _booting(step, nodes, now) if step.kind is WaitKind.BOOTING else f"Waits, because {step.reason}."
            names = tuple(name for name in step.nodes if name in nodes)
            yield Cause(kind=step.kind.value, count=step.count, reason=reason, nodes=names, until=step.until)


def _booting(step: Wait, nodes: Mapping[str, SeenNode], now: float) -> str:
    young = [nodes[name] for name in step.nodes if name in nodes and nodes[name].state is not NodeState.UP]
    if not young:
        return f"Waits, because {step.reason}."
    first = min(young, key=lambda node: node.requested)
    return f"Waits for a node of pool {first.offering.pool}, booting since {max(0.0, now - first.requested):.0f} s."


def _starting(groups: set[str], plan: Plan) -> Iterator[Cause]:
    for step in plan.steps:
        if isinstance(step, StartNode):
            count = sum(served.count for served in step.serves if served.group in groups)
            if count:
                reason = f"A node of pool {step.offering.pool} is being started for it."
                yield Cause(kind="starting", count=count, reason=reason)
