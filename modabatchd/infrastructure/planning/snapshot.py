"""What was seen of the world at one moment, as far as a plan depends on it.  Values only."""

from __future__ import annotations

import enum

import msgspec

from modabatchd.infrastructure.look import DemandGroup, Presence
from modabatchd.infrastructure.node import Capacity, Node, NodeState, Offering


class SeenNode(msgspec.Struct, frozen=True, kw_only=True):
    """
    A node of ours: our record of it, and what the pool shows.

    @ivar capacity: what its size has; once it joined, what its startd shows.
    @ivar free: what no job has; nothing unless it is in the pool.
    @ivar jobs: how many run there.
    @ivar heard: whether the pool shows it.
    @ivar retiring: whether it is to go: it is never given work again, and stopped once it is empty.
    @ivar reason: why it is in the state that it is in, or is to go, as half a sentence.
    """

    id: str
    offering: Offering
    capacity: Capacity
    price: float
    state: NodeState
    requested: float
    free: Capacity = Capacity(cpus=0)
    jobs: int = 0
    heard: bool = False
    pinned: bool = False
    retiring: bool = False
    reason: str = ""


class OtherNode(msgspec.Struct, frozen=True):
    """A node of the pool that is not ours.  @ivar free: what no job has; nothing while it takes none."""

    total: Capacity
    free: Capacity


class OutcomeKind(enum.StrEnum):
    """What came of a try to start a node.  C{died}: the machine came into being, and ended before it joined."""

    STARTED = "started"
    NO_CAPACITY = "no_capacity"
    QUOTA = "quota"
    THROTTLED = "throttled"
    AWAY = "away"
    REFUSED = "refused"
    DIED = "died"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a provider said to a start.

    @ivar at: seconds since the epoch.
    @ivar retry_after: seconds for which it wants to be left alone.
    """

    offering: Offering
    kind: OutcomeKind
    at: float
    retry_after: float = 0.0


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """
    All that a plan is made from, beside the policy and what was learned.

    @ivar groups: the jobs that wait.
    @ivar nodes: ours, and no others; those that are gone may be left out.
    @ivar others: the other nodes of the pool.
    @ivar outcomes: of the starts since the last plan whose memory was kept.
    @ivar spent: in the current calendar month, in the policy's currency.
    @ivar stale: why this is not to be believed, as half a sentence; empty when it is.
    @ivar paused: whether the owner has stopped all scaling.
    """

    groups: tuple[DemandGroup, ...] = ()
    nodes: tuple[SeenNode, ...] = ()
    others: tuple[OtherNode, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    spent: float = 0.0
    stale: str = ""
    paused: bool = False


def seen(node: Node, presence: Presence | None, retiring: bool = False) -> SeenNode:
    """
    Put together what we recorded of a node and what the pool shows of it.

    @param presence: L{None} when the pool does not show it.
    @param retiring: whether it is to go.
    """
    state = node.state
    if presence is not None and presence.draining and state is NodeState.UP:
        # It was not us who drained it, so we must not undo that.
        state, retiring = NodeState.DRAINING, True
    elif presence is not None and state in (NodeState.REQUESTED, NodeState.BOOTING):
        state = NodeState.UP
    return SeenNode(
        id=node.id,
        offering=node.offering,
        capacity=node.capacity if presence is None else presence.total,
        price=node.price,
        state=state,
        requested=node.requested,
        free=Capacity(cpus=0) if presence is None else presence.free,
        jobs=0 if presence is None else len(presence.jobs),
        heard=presence is not None,
        pinned=node.pinned,
        retiring=retiring,
        reason=node.reason or "",
    )
