"""What the scaling service knows of the world: clouds that have machines, and a pool that has nodes and waiting jobs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec
from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from modabatchd.infrastructure.look import DemandGroup, PoolLook, Presence
from modabatchd.infrastructure.node import Machine, Node

__all__ = ["DemandGroup", "ICloud", "IPoolStatus", "Order", "PoolLook", "Presence"]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """
    A machine to be started.

    @ivar node: whose name and id the machine gets; its offering names size, zone and market.
    @ivar user_data: what cloud-init, or whatever takes its place, is told.  Holds the node's own short-lived token.
    @ivar options: what the pool says beside that: image, network, key, ...
    """

    node: Node
    user_data: str
    options: Mapping[str, str] = {}


class ICloud(Interface):
    """
    One account at one provider, as one pool uses it.

    Every method fails with one of L{modabatchd.infrastructure.errors} and with nothing else.  The object also provides
    L{twisted.application.service.IService}.
    """

    name: str = Attribute("The pool's name.")

    def start(order: Order) -> Deferred[Machine]:
        """
        Create a machine.  Idempotent by the node's id: if there is one with its tag, that one is the result.

        After a failure of unknown outcome (L{CloudAway}), the machine may be there or come into being later: L{machines} tells.
        """

    def machines() -> Deferred[Sequence[Machine]]:
        """
        All machines that carry our installation's tag, in whatever state; never one that is not ours.

        An empty list is a fact only if the provider said so; whatever could be a misreading is a failure.
        """

    def stop(machine_id: str) -> Deferred[None]:
        """Destroy a machine of ours.  Idempotent; repeated until L{machines} no longer shows it, or shows it as terminated."""

    def console(machine_id: str) -> Deferred[str]:
        """What the machine printed while it booted, the last 64 KiB of it; empty where the provider does not tell."""


class IPoolStatus(Interface):
    """
    The HTCondor pool that the nodes join.

    Every method fails with L{modabatchd.errors.QueueAway} when the pool does not answer, or not completely.
    """

    def look() -> Deferred[PoolLook]:
        """Waiting jobs in groups, and all nodes; fails rather than tell a part of it."""

    def drain(name: str) -> Deferred[None]:
        """Let a node take no new jobs and finish those that it has.  Idempotent."""

    def resume(name: str) -> Deferred[None]:
        """Let a draining node take jobs again.  Idempotent."""

    def dismiss(name: str) -> Deferred[None]:
        """A node has been drained and is about to go: end its daemons gracefully and forget its ads.  Idempotent."""

    def token(name: str, lifetime: float) -> Deferred[str]:
        """An IDTOKEN with which a node may advertise itself by that name, and nothing else, for so many seconds."""

    def revoke(names: Collection[str]) -> Deferred[None]:
        """These nodes are gone: let nobody use their tokens any more, as far as that is possible.  Idempotent."""
