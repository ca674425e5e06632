"""
From the steps of a plan to what is recorded before they are carried out.  Pure.

Note [The last look]
====================
A node is stopped only if a look that was made after the decision shows that it still may be: drained and empty, or not in the
pool at all.  A node that drains gets no new job, so nothing can change between that look and its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from modabatchd.infrastructure.judging import changed
from modabatchd.infrastructure.look import Presence
from modabatchd.infrastructure.node import Capacity, Node, NodeState, Offering, node_name
from modabatchd.infrastructure.planning import DrainNode, Plan, ResumeNode, StartNode, StopCause, StopNode
from modabatchd.infrastructure.register import Entry


class Intents(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes as they are once the steps are carried out, by step."""

    started: tuple[Entry, ...] = ()
    drained: tuple[Entry, ...] = ()
    resumed: tuple[Entry, ...] = ()
    stopped: tuple[Entry, ...] = ()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All of them."""
        return (*self.started, *self.drained, *self.resumed, *self.stopped)


def intents(
    plan: Plan, stops: Iterable[StopNode], entries: Mapping[str, Entry], new_id: Callable[[], str], now: float
) -> Intents:
    """
    What is to be recorded.

    @param stops: those that may be carried out.
    @param new_id: makes UUIDs.
    """
    steps = plan.steps
    return Intents(
        started=tuple(
            ordered(new_id(), step.offering, step.capacity, step.price, step.reason, now)
            for step in steps
            if isinstance(step, StartNode)
        ),
        drained=tuple(drained(entries[step.node], step.reason) for step in steps if isinstance(step, DrainNode)),
        resumed=tuple(resumed(entries[step.node], step.reason, now) for step in steps if isinstance(step, ResumeNode)),
        stopped=tuple(stopped(entries[step.node], step.reason) for step in stops),
    )


def may_stop(step: StopNode, presence: Presence | None) -> bool:
    """Whether a fresh look allows it.  See Note [The last look]."""
    if step.cause is StopCause.DRAIN_TIMEOUT or presence is None:
        return True
    return step.cause is StopCause.EMPTY and presence.draining and not presence.jobs


def ordered(node_id: str, offering: Offering, capacity: Capacity, price: float, reason: str, now: float) -> Entry:
    """A new node."""
    node = Node(
        id=node_id,
        name=node_name(node_id),
        offering=offering,
        capacity=capacity,
        price=price,
        state=NodeState.REQUESTED,
        requested=now,
        reason=reason,
    )
    return Entry(node=node)


def drained(entry: Entry, reason: str) -> Entry:
    """It takes no new jobs from now on."""
    return changed(entry, state=NodeState.DRAINING, reason=reason)


def resumed(entry: Entry, reason: str, now: float) -> Entry:
    """It takes jobs again from now on."""
    return msgspec.structs.replace(changed(entry, state=NodeState.UP, reason=reason), resumed=now, retiring=False)


def stopped(entry: Entry, reason: str) -> Entry:
    """It ends."""
    return changed(entry, state=NodeState.STOPPING, reason=reason)
